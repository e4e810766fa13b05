"""Fixes for what a model remembers, and which classes it prefers: regularisation, size, weights of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui_trainer.diagnostics.fix import Fix
from tui_trainer.diagnostics.remedies import advice, from_start, lower_rate
from tui_trainer.diagnostics.usual_rates import is_out_of_bounds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tui_trainer.config.schema import Config

_DROPOUT = ("mlp", "cnn", "lstm")
_DECAYED = ("adam", "adamw", "nadam", "radam", "sgd", "rmsprop", "asgd", "adamax", "adagrad", "adadelta")
_EARLY_PATIENCE = 5


def lower_rates(config: Config) -> list[Fix]:
    """The learning rate ÷ 10 and ÷ 100 from new weights; the larger step first where the rate is out of all bounds."""
    factors = (100, 10) if is_out_of_bounds(config) else (10, 100)
    return [lower_rate(config, factor, fresh=True) for factor in factors]


def is_held_back(config: Config) -> bool:
    """Whether regularisation is so strong that hardly anything can be learned."""
    optimizer, dropout = config.optimizer, config.model.args.get("dropout", 0.0)
    decay = optimizer.weight_decay * (optimizer.learning_rate if optimizer.target.lower() == "adamw" else 1)
    return decay >= 0.02 or (isinstance(dropout, (int, float)) and dropout >= 0.8)


def freed_first(config: Config, fixes: Iterable[Fix | None]) -> tuple[Fix, ...]:
    """The fixes that there are; before them, where regularisation alone explains any trouble, less of it."""
    kept = tuple(fix for fix in fixes if fix is not None)
    freed = less_regularisation(config) if is_held_back(config) else None
    return kept if freed is None else (freed, *kept)


def takes_weight_decay(config: Config) -> bool:
    """Whether the optimizer is one of those that know weight decay."""
    return config.optimizer.target.lower() in _DECAYED and "weight_decay" not in config.optimizer.args


def more_dropout(config: Config) -> Fix:
    """Dropout, or more of it: by config where the model is one of ours."""
    old = config.model.args.get("dropout", 0.0)
    effect = "units cannot rely on each other: less is learned by heart; training takes longer"
    if config.model.target not in _DROPOUT or not isinstance(old, (int, float)) or old >= 0.6:
        return advice("dropout_in_code", "in the model: dropout of 0.3 to 0.5 before the last layers", effect)
    new = 0.3 if old < 0.2 else 0.5 if old < 0.4 else 0.7
    return from_start("dropout", f"dropout {old:g} → {new:g}", effect, {"model.args.dropout": new})


def smaller_model(config: Config) -> Fix:
    """A quarter of the width: by config where the model is one of ours."""
    effect = "less room to learn by heart; too small shows as underfitting"
    names: dict[str, tuple[str, Any]] = {
        "mlp": ("hidden", [128]), "cnn": ("channels", [32, 64]), "lstm": ("hidden_size", 128), "resnet18": ("width", 64),
    }  # fmt: skip
    if config.model.target not in names:
        return advice(
            "smaller_model_in_code", "in the model: fewer or narrower layers, then start again", effect
        )
    name, default = names[config.model.target]
    old = config.model.args.get(name, default)
    new = [max(4, width // 4) for width in old] if isinstance(old, list) else max(4, int(old) // 4)
    return from_start("smaller_model", f"{name} {old} → {new}", effect, {f"model.args.{name}": new})


def less_regularisation(config: Config) -> Fix | None:
    """No weight decay, and dropout of at most 0.1; None where there is next to none."""
    changes: dict[str, Any] = {}
    words = []
    decay, dropout = config.optimizer.weight_decay, config.model.args.get("dropout", 0.0)
    if decay > 1e-4:
        changes["optimizer.weight_decay"] = 0.0
        words.append(f"weight decay {decay:g} → 0")
    if config.model.target in _DROPOUT and isinstance(dropout, (int, float)) and dropout > 0.1:
        changes["model.args.dropout"] = 0.0
        words.append(f"dropout {dropout:g} → 0")
    if not changes:
        return None
    effect = "nothing holds the weights back from fitting the data; watch the gap to validation"
    return from_start("less_regularisation", ", ".join(words), effect, changes)


def stop_early(config: Config) -> Fix | None:
    """Early stopping with a patience of 5; None where the run stops as early already."""
    stopping = config.early_stopping
    if stopping.enabled and stopping.patience <= _EARLY_PATIENCE:
        return None
    old = f"patience {stopping.patience}" if stopping.enabled else "off"
    return Fix(
        id="early_stopping",
        title=f"early stopping: {old} → patience {_EARLY_PATIENCE}, from here",
        effect=f"the run ends by itself, {_EARLY_PATIENCE} epochs after its best; the best state is kept",
        changes={"early_stopping.enabled": True, "early_stopping.patience": _EARLY_PATIENCE},
    )


def balanced_loss(config: Config, task: str) -> Fix | None:
    """Each class weighs the same in the loss; None where the loss is none that takes weights, or has them."""
    loss = config.loss
    name = loss.target or {"classification": "cross_entropy", "binary": "bce_with_logits"}.get(task, "")
    argument = {
        "cross_entropy": "weight", "nll": "weight", "multi_margin": "weight", "bce": "pos_weight",
        "bce_with_logits": "pos_weight",
    }.get(name)  # fmt: skip
    if argument is None or loss.args.get(argument) is not None:
        return None
    return from_start(
        "balanced_loss",
        f"loss: {argument} balanced",
        "a mistake on a rare class costs as much as its share is small: recall rises, precision falls",
        {f"loss.args.{argument}": "balanced"},
    )


def watch_macro_f1(config: Config) -> Fix | None:
    """Judge by the mean F1 of the classes; None where that is done."""
    if config.checkpoint.monitor == "val_f1":
        return None
    names = [item if isinstance(item, str) else item.model_dump() for item in config.metrics or ["accuracy"]]
    changes: dict[str, Any] = {"metrics": names if "f1" in names else [*names, "f1"]}
    for section in ("checkpoint", "early_stopping"):
        changes |= {f"{section}.monitor": "val_f1", f"{section}.monitor_mode": "max"}
    return advice(
        "macro_f1",
        "judge by macro F1 instead of the loss, from the start",
        "the best epoch is one that is good for every class; cures nothing by itself",
        changes=changes,
    )
