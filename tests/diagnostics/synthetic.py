"""Histories that no run had, for rules to judge; and small real runs, for what rules make of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from tests.engine.conftest import merged
from tui_trainer.config.hashing import config_hash
from tui_trainer.config.loading import LoadedConfig, parse_config
from tui_trainer.diagnostics.facts import RunFacts
from tui_trainer.diagnostics.registry import own_rules
from tui_trainer.diagnostics.watch import Watch
from tui_trainer.engine.events import (
    DiagnosticRaised,
    EpochFinished,
    Event,
    NonFiniteSkipped,
    SeriesRow,
    StepLogged,
)
from tui_trainer.session.run_folder import create
from tui_trainer.session.run_session import RunRequest, RunSession

PER_EPOCH = 50  # steps
TEN_CLASSES = {
    "task": "classification",
    "loss": "cross_entropy",
    "classes": 10,
    "train_samples": 1600,
    "val_samples": 400,
    "trivial": {"val_accuracy": 0.1, "val_loss": 2.303},
    "linear": {"val_accuracy": 0.93},
}
NUMBERS = {
    "task": "regression",
    "loss": "mse",
    "train_samples": 300,
    "val_samples": 80,
    "trivial": {"val_mse": 6000.0, "val_mae": 65.0, "val_r2": 0.0},
    "zero": {"val_mse": 29000.0, "val_mae": 150.0},
    "linear": {"val_mse": 3000.0, "val_r2": 0.5},
}


def facts_of(
    changes: dict[str, Any] | None = None,
    *,
    context: dict[str, Any] | None = None,
    epochs: int = 20,
    metrics: tuple[str, ...] | None = None,
) -> RunFacts:
    """A run of digits, or of what `context` says."""
    known = TEN_CLASSES if context is None else context
    if metrics is None:
        metrics = ("mae", "r2") if known.get("task") == "regression" else ("accuracy",)
    config = parse_config(merged({"name": "made", "training": {"epochs": epochs}}, changes or {}))
    return RunFacts(
        config=config,
        epochs=epochs,
        steps_per_epoch=PER_EPOCH,
        metrics=metrics,
        monitor="val_loss",
        monitor_mode="min",
        context=known,
    )


def epoch(
    number: int, loss: float, *, norm: float | None = 0.5, rate: float = 1e-3, **metrics: float
) -> EpochFinished:
    """Validation is as training unless `metrics` say otherwise."""
    values = {"train_loss": loss, "val_loss": loss} | metrics
    values |= {f"val_{name[6:]}": value for name, value in metrics.items() if name.startswith("train_")}
    return EpochFinished(
        time=0.0, epoch=number, step=number * PER_EPOCH, metrics=values, learning_rate=rate, lr_reduced=False,
        grad_norm=norm, epoch_time=1.0, samples_per_second=100.0, data_wait=0.0, gpu_util=None, is_best=False,
        best_epoch=0, best_value=math.nan, epochs_without_improvement=0, checkpoints=(),
    )  # fmt: skip


def epochs(
    losses: Iterable[float], accuracy: Sequence[float] | float | None = None, **others: Any
) -> list[Event]:
    """Finished epochs with these train losses; `accuracy` per epoch, or the same in all."""
    found: list[Event] = []
    for number, loss in enumerate(losses, 1):
        metrics = {}
        if accuracy is not None:
            metrics["train_accuracy"] = accuracy if isinstance(accuracy, float) else accuracy[number - 1]
        found.append(epoch(number, loss, **metrics, **others))
    return found


def step(number: int, loss: float, norm: float | None = 0.5) -> StepLogged:
    return StepLogged(
        time=0.0, epoch=(number - 1) // PER_EPOCH + 1, step=number, step_in_epoch=(number - 1) % PER_EPOCH + 1,
        loss=loss, learning_rate=1e-3, grad_norm=norm, samples_per_second=100.0,
    )  # fmt: skip


def steps(
    losses: Sequence[float], norms: Sequence[float | None] | float | None = 0.5, *, start: int = 10
) -> list[Event]:
    """Logged steps, ten apart."""
    return [
        step(start + 10 * place, loss, norms[place] if isinstance(norms, Sequence) else norms)
        for place, loss in enumerate(losses)
    ]


def layers(number: int, norms: Sequence[float]) -> SeriesRow:
    """The gradient norms of a stack of linear layers, weights in order."""
    row: dict[str, float | int | str] = {"epoch": number, "total_grad_norm": max(norms)}
    for place, norm in enumerate(norms):
        row |= {f"layers.{2 * place}.weight": norm, f"layers.{2 * place}.bias": norm}
    return SeriesRow(time=0.0, series="gradient_stats", epoch=number, step=number * PER_EPOCH, row=row)


def with_layers(events: Iterable[Event], norms: Sequence[float]) -> Iterator[Event]:
    """The same layers in front of each epoch, as the trainer tells them."""
    for event in events:
        if isinstance(event, EpochFinished):
            yield layers(event.epoch, norms)
        yield event


def skip(number: int, *, consecutive: int = 1, loss: float = math.nan, **others: Any) -> NonFiniteSkipped:
    values: dict[str, Any] = {"parameter": None, "batch_rows": (4, 9)} | others
    return NonFiniteSkipped(
        time=0.0,
        epoch=(number - 1) // PER_EPOCH + 1,
        step=number,
        loss=loss,
        consecutive=consecutive,
        **values,
    )


def watch(code: str, facts: RunFacts, thresholds: dict[str, float] | None = None) -> Watch:
    return Watch([own_rules()[code](facts, thresholds)], facts)


def told(
    code: str, facts: RunFacts, events: Iterable[Event], thresholds: dict[str, float] | None = None
) -> list[DiagnosticRaised]:
    """What one rule says of these events; a rule that raises fails the test."""
    watching = watch(code, facts, thresholds)
    found = [item for event in events for item in watching.observe(event)]
    assert watching.troubles == []
    return found


def raised(folder: Path, changes: dict[str, Any]) -> dict[str, DiagnosticRaised]:
    """Really train, on one thread and without checkpoints, and give the first diagnostic of each code."""
    base = {
        "name": "real",
        "seed": 1,
        "device": "cpu",
        "scheduler": {"target": "none"},
        "early_stopping": {"enabled": False},
        "checkpoint": {
            "save_best": False,
            "save_last": False,
            "checkpoint_every_n_epochs": None,
            "checkpoint_every_n_minutes": None,
        },
        "diagnostics": {"on_trigger": "report"},
    }
    config = parse_config(merged(base, changes))
    made = create(
        folder / "run",
        name="real",
        mode="baseline",
        config_hash=config_hash(config),
        config_folder=folder,
        lineage=None,
    )
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        session = RunSession(RunRequest(loaded=LoadedConfig(config, None, folder, ""), folder=made))
        reader = session.subscribe("test")
        session.start()
        assert session.wait(240)
        seen = reader.poll(0)
    finally:
        torch.set_num_threads(before)
    found: dict[str, DiagnosticRaised] = {}
    for event in seen:
        if isinstance(event, DiagnosticRaised) and event.severity != "info":
            found.setdefault(event.code, event)
    return found
