"""Going on under another config: what a checkpoint's state still means there, and what begins anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui_trainer.data.seeds import restore_rng_state
from tui_trainer.engine.events import from_json_number
from tui_trainer.engine.state import keep_in_memory, load_weights

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import nn

    from tui_trainer.engine.trainer import Trainer


def transplant(trainer: Trainer, state: dict[str, Any], changed: Collection[str]) -> None:
    """Let a new `trainer` go on from `state`, which was taken under a config that differs in the keys `changed`.

    Weights stay (where the model is another, those whose names and shapes fit); the optimizer's state stays as long as
    model and optimizer are the same, the schedule's as long as its length and kind are, with the new learning rate in
    proportion. Another sample order begins the epoch anew. Patience begins anew: a fix deserves a chance. Raises
    `RunFolderError` where the state does not fit.
    """
    parts = trainer.parts
    other_model = _touched(changed, "model.") and not _same_weights(parts.model, state["model_state_dict"])
    other_loss = _touched(changed, "loss.")
    _take_over_weights(trainer, state, other_model=other_model, other_loss=other_loss)
    if not (other_model or other_loss or _touched(changed, "optimizer.target", "optimizer.args")):
        _take_over_optimizer(trainer, state, changed)
    if not _touched(changed, "training.precision"):
        parts.precision.load_state_dict(state["scaler_state_dict"])
    trainer.epoch, trainer.step = state["epoch"], state["step"]
    trainer.epoch_complete = state["epoch_complete"]
    if state["epochs"] != state["config"]["training"]["epochs"]:
        trainer.epochs = max(trainer.epochs, state["epochs"])
    if state["epoch_complete"] or not _touched(changed, "data.", "seed"):
        trainer.progress.load_state_dict(state["progress"])
        trainer.metrics.load_state_dict(state["train_metrics"])
    _take_over_past(trainer, state)
    if other_loss:  # another scale: what was best on the old one would stay so for ever
        _forget_best_loss(trainer)
    if not other_model:
        keep_in_memory(trainer, state)
    restore_rng_state(state["rng"])


def _take_over_weights(
    trainer: Trainer, state: dict[str, Any], *, other_model: bool, other_loss: bool
) -> None:
    parts = trainer.parts
    if other_model:
        _load_what_fits(parts.model, state["model_state_dict"])
    else:
        load_weights(parts.model, state["model_state_dict"])
    if parts.loss.module is not None and not other_loss:
        load_weights(parts.loss.module, state["loss_state_dict"])


def _take_over_past(trainer: Trainer, state: dict[str, Any]) -> None:
    """Best, history and counters; patience starts to count anew."""
    trainer.best.load_state_dict(state["best"])
    trainer.patience.load_state_dict(state["early_stopping"])
    trainer.patience.epochs_since = 0
    trainer.retention.load_state_dict(state["retention"])
    counters = state["counters"]
    trainer.skipped, trainer.overflowed = counters["skipped"], counters["overflowed"]
    trainer.first_anomaly = counters["first_anomaly"]
    trainer.last_learning_rate = None
    trainer.interventions = [dict(item) for item in state.get("interventions", ())]
    trainer.history = list(state["history"])
    trainer.latest = {name: from_json_number(value) for name, value in state["metrics"].items()}


def _forget_best_loss(trainer: Trainer) -> None:
    config = trainer.config
    for best, monitor in (
        (trainer.best, config.checkpoint.monitor),
        (trainer.patience, config.early_stopping.monitor),
    ):
        if monitor.endswith("_loss"):
            best.value, best.epoch, best.step = None, 0, 0


def _take_over_optimizer(trainer: Trainer, state: dict[str, Any], changed: Collection[str]) -> None:
    """The optimizer's state, its settings as the new config has them, and the schedule where it still fits."""
    parts = trainer.parts
    schedule_stays = not _touched(
        changed, "scheduler.", "data.", "training.epochs", "training.gradient_accumulation_steps"
    )
    rate_changed = "optimizer.learning_rate" in changed
    if rate_changed and parts.schedule.why_not_scaled is not None:
        schedule_stays = False
    own = [
        {name: value for name, value in group.items() if name != "params"}
        for group in parts.optimizer.param_groups
    ]
    parts.optimizer.load_state_dict(state["optimizer_state_dict"])
    taken = ("weight_decay",) if schedule_stays else ("weight_decay", "lr", "initial_lr", "max_lr", "min_lr")
    for group, fresh in zip(parts.optimizer.param_groups, own, strict=True):
        for name in taken:
            if name in fresh:
                group[name] = fresh[name]
    if schedule_stays:
        parts.schedule.load_state_dict(state["scheduler_state_dict"])
        if rate_changed:
            before = float(state["config"]["optimizer"]["learning_rate"])
            parts.schedule.scale(trainer.config.optimizer.learning_rate / before)


def _same_weights(model: nn.Module, weights: dict[str, Any]) -> bool:
    """Whether these are weights of a model of this form, whatever its activations are."""
    own = model.state_dict()
    return own.keys() == weights.keys() and all(
        own[name].shape == item.shape for name, item in weights.items()
    )


def _touched(changed: Collection[str], *prefixes: str) -> bool:
    return any(key.startswith(prefixes) for key in changed)


def _load_what_fits(model: nn.Module, weights: dict[str, Any]) -> None:
    own = model.state_dict()
    fitting = {
        name: value for name, value in weights.items() if name in own and own[name].shape == value.shape
    }
    model.load_state_dict(fitting, strict=False)
