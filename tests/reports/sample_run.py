"""A run nobody trained: the events of a plausible digits baseline, with a fixed clock."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tui_trainer.engine.events import (
    CheckpointSaved,
    DiagnosticRaised,
    EpochFinished,
    EpochStarted,
    Event,
    LogLine,
    NonFiniteSkipped,
    RunFinished,
    RunStarted,
    StepLogged,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

START = 1_760_000_000.0
FACTS = {
    "CONFIG": [
        "Configuration: configs/baseline_template.yaml",
        "Mode: baseline",
        "Epochs: 20",
        "Early stopping: enabled (patience=10)",
    ],
    "REPRODUCIBILITY": ["Python random seed: 42", "NumPy seed: 42", "PyTorch manual seed: 42"],
    "DATA": [
        "Train dataset: 1437 samples",
        "Validation dataset: 360 samples",
        "Train batches: 45 (batch_size=32)",
    ],
    "MODEL": ["Architecture: MLP", "Parameters: 9,610", "Device: cpu"],
    "OPTIMIZER": ["Type: Adam", "Learning rate: 1.00e-03"],
    "SCHEDULER": ["Type: ReduceLROnPlateau"],
    "CRITERION": ["Loss function: CrossEntropyLoss"],
}


def started(**changes: Any) -> RunStarted:
    values: dict[str, Any] = {
        "time": START,
        "run_id": "r1",
        "name": "digits-baseline",
        "mode": "baseline",
        "attempt": 1,
        "epochs": 20,
        "steps_per_epoch": 45,
        "batch_size": 32,
        "device": "cpu",
        "parameters": 9610,
        "metrics": ("accuracy",),
        "monitor": "val_loss",
        "monitor_mode": "min",
        "facts": FACTS,
    }
    return RunStarted(**(values | changes))


def epoch_finished(epoch: int, **changes: Any) -> EpochFinished:
    accuracy = 0.975 - 0.6 * math.exp(-epoch / 2)
    values: dict[str, Any] = {
        "time": START + epoch,
        "epoch": epoch,
        "step": 45 * epoch,
        "metrics": {
            "train_loss": 0.05 + 2.2 * math.exp(-epoch / 2.5),
            "val_loss": 0.1 + 2 * math.exp(-epoch / 2.3),
            "train_accuracy": min(1.0, accuracy + 0.01),
            "val_accuracy": accuracy,
        },
        "learning_rate": 1e-3 if epoch < 12 else 5e-4,
        "lr_reduced": epoch == 12,
        "grad_norm": 0.8,
        "epoch_time": 0.93,
        "samples_per_second": 1545.0,
        "data_wait": 0.03,
        "gpu_util": None,
        "is_best": True,
        "best_epoch": epoch,
        "best_value": 0.1 + 2 * math.exp(-epoch / 2.3),
        "epochs_without_improvement": 0,
        "checkpoints": ("best_model.pt", "last_model.pt"),
    }
    return EpochFinished(**(values | changes))


def step(number: int, **changes: Any) -> StepLogged:
    epoch = (number - 1) // 45 + 1
    values: dict[str, Any] = {
        "time": START + number / 45,
        "epoch": epoch,
        "step": number,
        "step_in_epoch": number - 45 * (epoch - 1),
        "loss": 0.06 + 2.3 * math.exp(-number / 110) * (1 + 0.25 * math.sin(number * 1.7)),
        "learning_rate": 1e-3 if epoch < 12 else 5e-4,
        "grad_norm": 0.5 + 3 * math.exp(-number / 80),
        "samples_per_second": 1540.0 + 20 * math.sin(number),
    }
    return StepLogged(**(values | changes))


def diagnostic(**changes: Any) -> DiagnosticRaised:
    values: dict[str, Any] = {
        "time": START + 3.2,
        "id": "nan_loss-1",
        "code": "nan_loss",
        "severity": "critical",
        "epoch": 4,
        "step": 146,
        "message": "the loss became NaN on one batch",
        "evidence": {"loss": math.nan, "rows": [3, 17, 240], "gradient": {"first": "net.0.weight"}},
        "fixes": (
            {
                "id": "lower_lr",
                "title": "Learning rate ÷ 10, clip gradients at 1.0",
                "config_diff": {"optimizer": {"learning_rate": 1e-4}, "training.gradient_clip_norm": 1.0},
                "action": "restart",
            },
        ),
        "playbook": "diagnostics/nan_loss.md",
    }
    return DiagnosticRaised(**(values | changes))


def finished(**changes: Any) -> RunFinished:
    summary = {
        "status": "completed",
        "epochs": 20,
        "best_epoch": 20,
        "best_val_loss": 0.1003,
        "final_val_accuracy": 0.975,
        "best_val_accuracy": 0.975,
        "duration_seconds": 21.4,
        "diagnostics": [],
        "run_dir": "/runs/digits-baseline",
        "exit_code": 0,
    } | changes.pop("summary", {})
    values: dict[str, Any] = {"time": START + 21, "status": "completed", "message": "", "summary": summary}
    return RunFinished(**(values | changes))


def events(epochs: int = 20, *, until_step: int | None = None, broken: bool = False) -> Iterator[Event]:
    """The run's events; `until_step` cuts it there, `broken` puts a non-finite batch into epoch 4."""
    yield started()
    last = 45 * epochs if until_step is None else until_step
    for number in range(1, last + 1):
        if number % 45 == 1:
            yield EpochStarted(time=START + number / 45, epoch=(number - 1) // 45 + 1, step=number - 1)
        if broken and number == 146:
            yield NonFiniteSkipped(
                time=START + number / 45,
                epoch=4,
                step=146,
                loss=math.nan,
                parameter="net.0.weight",
                consecutive=1,
                batch_rows=(3, 17, 240),
            )
            yield diagnostic()
        if number % 5 == 0:
            yield step(number)
        if number % 45 == 0:
            epoch = number // 45
            yield epoch_finished(epoch)
            yield CheckpointSaved(
                time=START + epoch,
                files=("best_model.pt", "last_model.pt"),
                epoch=epoch,
                step=number,
                size_bytes=121_000,
                seconds=0.01,
            )
    if until_step is None:
        yield LogLine(time=START + 20.9, level="info", text="user code says: done [/red] [00]")
        yield finished()
