"""A trainer's whole state, out of it and back in: the content of a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from tui_trainer.config.errors import RunFolderError
from tui_trainer.data.seeds import restore_rng_state
from tui_trainer.engine.events import from_json_number, json_safe
from tui_trainer.engine.progress import EpochProgress
from tui_trainer.engine.snapshot import Constant

if TYPE_CHECKING:
    from torch import nn

    from tui_trainer.engine.trainer import Trainer

FORMAT = 1
NEEDED_TO_GO_ON = ("rng", "sampler", "progress", "history", "epoch_complete")
"""What a file of mere weights lacks."""


def capture(trainer: Trainer) -> dict[str, Any]:
    """The state as nested dicts of primitives and live tensors (to be copied at once); `history` is added later."""
    parts = trainer.parts
    progress = trainer.progress.state_dict()
    return {
        "format": FORMAT,
        "model_state_dict": parts.model.state_dict(),
        "optimizer_state_dict": parts.optimizer.state_dict(),
        "scheduler_state_dict": parts.schedule.state_dict(),
        "scaler_state_dict": parts.precision.state_dict(),
        "loss_state_dict": {} if parts.loss.module is None else parts.loss.module.state_dict(),
        "epoch": trainer.epoch,
        "step": trainer.step,
        "step_in_epoch": trainer.progress.steps,
        "epoch_complete": trainer.epoch_complete,
        "epochs": trainer.epochs,
        "val_loss": json_safe(trainer.latest.get("val_loss")),
        "metrics": {name: json_safe(value) for name, value in trainer.latest.items()},
        "config": Constant(trainer.config_content),
        "config_hash": trainer.config_hash,
        "data_fingerprint": trainer.data_fingerprint,
        "torch_version": str(torch.__version__),
        "rng": trainer.rng_outside(),
        "sampler": {
            "seed": trainer.config.seed,
            "epoch": trainer.epoch,
            "samples": parts.train.samples,
            "position": trainer.progress.position,
            "order_digest": trainer.order_digest(),
        },
        "progress": progress,
        "train_metrics": trainer.metrics.state_dict(),
        "best": trainer.best.state_dict(),
        "early_stopping": trainer.patience.state_dict(),
        "retention": trainer.retention.state_dict(),
        "counters": {
            "consecutive_skips": trainer.consecutive_skips,
            "skipped": trainer.skipped,
            "overflowed": trainer.overflowed,
            "first_anomaly": trainer.first_anomaly,
        },
        "memory": {
            "training": trainer.step_runner.memory.state_dict(),
            "validation": trainer.validation_memory.state_dict(),
            "loss_shares": trainer.step_runner.shares.state_dict(),
        },
        "last_learning_rate": trainer.last_learning_rate,
        "interventions": [dict(item) for item in trainer.interventions],
    }


def restore(trainer: Trainer, state: dict[str, Any]) -> None:
    """Put `state` back, so that the very next batch is the one that followed it.

    Raises `RunFolderError` when the checkpoint is of another format, model, optimizer or sample order.
    """
    if state.get("format") != FORMAT:
        raise RunFolderError(
            f"The checkpoint has format {state.get('format')!r}; this version reads format {FORMAT}. "
            "Resume with the version of mltrainer-tui that wrote it, or set model.init_from to use its weights."
        )
    parts = trainer.parts
    load_weights(parts.model, state["model_state_dict"])
    if parts.loss.module is not None:
        load_weights(parts.loss.module, state["loss_state_dict"])
    try:
        parts.optimizer.load_state_dict(state["optimizer_state_dict"])
        parts.schedule.load_state_dict(state["scheduler_state_dict"])
        parts.precision.load_state_dict(state["scaler_state_dict"])
    except (ValueError, KeyError, RuntimeError, TypeError) as error:
        raise RunFolderError(
            f"The checkpoint's optimizer or scheduler state does not fit this config ({error}). Resume with the "
            "run's own training_config.yaml, or set model.init_from to use the weights alone."
        ) from error
    trainer.epoch, trainer.step = state["epoch"], state["step"]
    trainer.epoch_complete = state["epoch_complete"]
    if state["epochs"] != state["config"]["training"]["epochs"]:  # asked for while it ran
        trainer.epochs = max(trainer.epochs, state["epochs"])
    trainer.progress.load_state_dict(state["progress"])
    trainer.metrics.load_state_dict(state["train_metrics"])
    trainer.best.load_state_dict(state["best"])
    trainer.patience.load_state_dict(state["early_stopping"])
    trainer.retention.load_state_dict(state["retention"])
    counters = state["counters"]
    trainer.consecutive_skips, trainer.skipped = counters["consecutive_skips"], counters["skipped"]
    trainer.overflowed, trainer.first_anomaly = counters["overflowed"], counters["first_anomaly"]
    keep_in_memory(trainer, state)
    trainer.last_learning_rate = state["last_learning_rate"]
    trainer.interventions = [dict(item) for item in state.get("interventions", ())]
    trainer.history = list(state["history"])
    trainer.latest = {name: from_json_number(value) for name, value in state["metrics"].items()}
    sampler = state["sampler"]
    if sampler["order_digest"] != trainer.order_digest():
        raise RunFolderError(
            f"The sample order of epoch {trainer.epoch} is not the one the checkpoint was taken in "
            f"({sampler['samples']} samples then, {parts.train.samples} now): data, seed or PyTorch's generator "
            "changed. Resume with the same data and versions, or start a new run with model.init_from."
        )
    restore_rng_state(state["rng"])


def keep_in_memory(trainer: Trainer, state: dict[str, Any]) -> None:
    """Go on with batches in the pieces that were found to fit into memory."""
    if "memory" in state:  # not in files of earlier versions
        memory = state["memory"]
        trainer.step_runner.memory.load_state_dict(memory["training"])
        trainer.validation_memory.load_state_dict(memory["validation"])
        trainer.step_runner.shares.load_state_dict(memory["loss_shares"])


def go_back(trainer: Trainer, state: dict[str, Any]) -> None:
    """Stand where `state` was taken, though training has gone on since; the planned number of epochs stays.

    Raises what `restore` raises; the trainer is of no use then.
    """
    trainer.step = state["step"]  # first: where the rest fails, nothing of it is worth saving
    extensions = [item for item in trainer.interventions if item["command"] == "extend"]
    trainer.forget_step_in_progress()
    trainer.progress = EpochProgress()
    trainer.metrics.reset()
    trainer.stop = trainer.rollback = trainer.saved_at = None
    restore(trainer, state)
    trainer.interventions += [item for item in extensions if item not in trainer.interventions]


def load_weights(model: nn.Module, weights: dict[str, Any]) -> None:
    """Raises `RunFolderError` where they are of another model."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).split("\n")[1:4]]
        raise RunFolderError(
            f"The checkpoint is of another model: {' '.join(lines)[:400]} Resume with the config that trained it "
            "(training_config.yaml in its run folder), or start a new run."
        ) from error
