"""Fixes that several rules offer, built from the config of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui_trainer.config.schema import LARGEST_COUNT
from tui_trainer.diagnostics.fix import BEFORE, BEST, LAST_VALID, Fix, value_at
from tui_trainer.diagnostics.usual_rates import is_cold, usual_rate

if TYPE_CHECKING:
    from tui_trainer.config.schema import Config
    from tui_trainer.diagnostics.history import History

CLIP_NORM = 1.0
_WIDTHS: dict[str, tuple[str, Any]] = {"cnn": ("channels", [32, 64]), "lstm": ("hidden_size", 128)}
_CAPACITY = "room for what the model cannot represent now; slower, and easier to overfit"
FROM_START = "from the start"
_SCALES: dict[str, tuple[str, bool]] = {
    **dict.fromkeys(("breast_cancer", "diabetes", "wine"), ("standardize", True)),
    "npz": ("standardize", False),
    "table": ("normalize", True),
}
"""The argument by which a data target scales its inputs, and what it is by default."""


def lower_rate(
    config: Config,
    factor: float,
    *,
    checkpoint: str | None = LAST_VALID,
    clip: bool = False,
    fresh: bool = False,
) -> Fix:
    """The learning rate divided by `factor`, from a checkpoint (None: from here), or from new weights."""
    old = config.optimizer.learning_rate
    new = _rounded(old / factor)
    changes: dict[str, Any] = {"optimizer.learning_rate": new}
    title = f"LR {old:.3g} → {new:.3g}"
    clipped = clip and config.training.gradient_clip_norm is None
    if clipped:
        changes["training.gradient_clip_norm"] = CLIP_NORM
        title += f", clip gradients at {CLIP_NORM:g}"
    return Fix(
        id=f"lower_lr_{factor:g}" + ("_clip" if clipped else ""),
        title=f"{title}, {FROM_START if fresh else _place(checkpoint)}",
        effect="smaller steps: divergence and swings end; training is slower at first",
        changes=changes,
        action="restart_fresh" if fresh else "continue" if checkpoint is None else "restart_from",
        checkpoint=None if fresh else checkpoint,
    )


def raise_rate(config: Config, factor: float, *, fresh: bool = False) -> Fix:
    """The learning rate times `factor`."""
    old = config.optimizer.learning_rate
    new = _rounded(old * factor)
    return Fix(
        id=f"raise_lr_{factor:g}",
        title=f"LR {old:.3g} → {new:.3g}, {'from the start' if fresh else 'from here'}",
        effect="larger steps: faster progress; too large shows as swings or a rising loss within an epoch",
        changes={"optimizer.learning_rate": new},
        action="restart_fresh" if fresh else "continue",
    )


def find_rate(config: Config, *, fresh: bool = True) -> Fix:
    """The learning rate that a range test finds; where it finds none and the present one is tiny, the usual one."""
    guess = usual_rate(config) if is_cold(config) else None
    return Fix(
        id="find_lr",
        title=f"find the learning rate by a range test, {'from the start' if fresh else 'from here'}",
        effect="up to 100 trial steps on a copy; then the rate at which the loss fell fastest",
        changes={"optimizer.learning_rate": guess or config.optimizer.learning_rate},
        action="restart_fresh" if fresh else "continue",
        range_test=True,
    )


def clip(*, checkpoint: str | None = LAST_VALID, fresh: bool = False) -> Fix:
    """Gradients scaled down to a norm of 1."""
    return Fix(
        id="clip",
        title=f"clip gradients at {CLIP_NORM:g}, {FROM_START if fresh else _place(checkpoint)}",
        effect="no single batch can throw the weights away; a rate that is too high is hidden by it",
        changes={"training.gradient_clip_norm": CLIP_NORM},
        action="restart_fresh" if fresh else "continue" if checkpoint is None else "restart_from",
        checkpoint=None if fresh else checkpoint,
    )


def normalise_inputs(config: Config) -> Fix:
    """Inputs of mean 0 and spread 1: by the data target's own argument where it is off, else for a person to do."""
    argument, usual = _SCALES.get(config.data.target, ("", True))
    if not config.data.args.get(argument, usual):
        return from_start(
            "standardize",
            f"data.args.{argument}: true",
            "features of mean 0 and spread 1: gradients of like size in all layers",
            {f"data.args.{argument}": True},
        )
    return advice(
        "normalise_inputs",
        "bring inputs (and regression targets) to mean 0 and spread 1, then start again",
        "gradients near 1 from the first step; a higher learning rate becomes possible",
    )


def safer_precision(config: Config, device: str) -> Fix:
    """bf16 where the device has it, else fp32: neither overflows where fp16 does."""
    new = "bf16" if device.startswith("cuda") else "fp32"
    return Fix(
        id="safer_precision",
        title=f"precision {config.training.precision} → {new}, {_place(LAST_VALID)}",
        effect="values above 65,504 no longer overflow; fp32 is slower, bf16 is not",
        changes={"training.precision": new},
        action="restart_from",
        checkpoint=LAST_VALID,
    )


def more_weight_decay(config: Config) -> Fix:
    """Ten times the weight decay, at least 1e-4."""
    old = config.optimizer.weight_decay
    new = max(1e-4, _rounded(old * 10))
    return Fix(
        id="weight_decay",
        title=f"weight decay {old:g} → {new:g}, from the best checkpoint",
        effect="smaller weights: the gap between training and validation narrows",
        changes={"optimizer.weight_decay": new},
        action="restart_from",
        checkpoint=BEST,
    )


def for_deep_models(config: Config) -> tuple[Fix, ...]:
    """What lets gradients reach the first layers: by config where the model is one of ours, else what to change.

    With torch's default initialisation SELU (Klambauer et al. 2017) carries a signal through more layers than any other
    of our activations; but more than four layers without skip connections learn slower than two, if at all: fewer layers
    come first there.
    """
    model, args, found = config.model.target, config.model.args, []
    if model == "mlp":
        old, hidden = str(args.get("activation", "relu")), args.get("hidden", [128])
        if old != "selu":
            found.append(
                _of_model("activation", {"model.args.activation": "selu"}, f"activation {old} → selu")
            )
        if isinstance(hidden, list) and len(hidden) > 3:
            changes: dict[str, Any] = {"model.args.hidden": hidden[:2]}
            if old in ("sigmoid", "tanh"):
                changes["model.args.activation"] = "selu"
            fewer = _of_model("shallower", changes, f"{len(hidden)} hidden layers → 2")
            found.insert(0 if len(hidden) > 4 else len(found), fewer)
    elif model == "cnn" and args.get("batch_norm") is False:
        found.append(
            _of_model("batch_norm", {"model.args.batch_norm": True}, "batch normalisation: off → on")
        )
    found.append(
        advice(
            "skip_connections",
            "in the model: ReLU or GELU for sigmoid and tanh, normalisation after each layer, skip connections, He or "
            "Xavier initialisation",
            "the gradient reaches the first layers; each of the four helps by itself",
        )
    )
    return tuple(found)


def use_adam(config: Config) -> Fix | None:
    """Adam in place of another optimizer, at the rate that a range test finds, else its usual one; None where it is
    Adam."""
    old = config.optimizer.target
    if old.startswith("adam"):
        return None
    return Fix(
        id="adam",
        title=f"{old} → adam, the learning rate by a range test, from the start",
        effect="a step size of its own for each weight: less depends on the rate",
        changes={"optimizer.target": "adam", "optimizer.learning_rate": 1e-3, "optimizer.args": {}},
        action="restart_fresh",
        range_test=True,
    )


def cosine(config: Config) -> Fix | None:
    """A rate that falls over the whole run; None where it does already."""
    if config.scheduler.target in ("cosine", "cosine_with_warmup", "one_cycle", "linear"):
        return None
    return Fix(
        id="cosine",
        title=f"schedule {config.scheduler.target} → cosine, from the start",
        effect="large steps first, small ones at the end: swings die out by themselves",
        changes={"scheduler.target": "cosine", "scheduler.interval": "epoch", "scheduler.args": {}},
        action="restart_fresh",
    )


def constant_rate(config: Config) -> Fix:
    """No schedule: the rate stays what it is at the start."""
    return Fix(
        id="constant_lr",
        title=f"schedule {config.scheduler.target} → none, from the start",
        effect="the learning rate no longer falls before anything is learned",
        changes={"scheduler.target": "none", "scheduler.args": {}},
        action="restart_fresh",
    )


def rate_has_decayed(config: Config, history: History) -> bool:
    """Whether the schedule has taken the rate down to a hundredth of what it was, or less."""
    rates = [item.learning_rate for item in history.epochs]
    return config.scheduler.target != "none" and bool(rates) and rates[-1] <= 0.01 * max(rates)


def more_epochs(config: Config) -> Fix:
    """Three times as many epochs."""
    new = min(3 * config.training.epochs, LARGEST_COUNT)
    return Fix(
        id="more_epochs",
        title=f"epochs {config.training.epochs} → {new}, from here",
        effect="more time at the same pace; costs three runs",
        changes={"training.epochs": new},
        by_itself=False,
    )


def larger_batch(config: Config, factor: int, samples: int) -> Fix | None:
    """Batches `factor` times as large; None where the data has no more for a batch."""
    old = config.data.batch_size
    new = min(old * factor, samples or old * factor)
    if new <= old:
        return None
    return Fix(
        id="larger_batch",
        title=f"batch size {old} → {new}, from the start",
        effect="gradients with less noise; fewer steps an epoch",
        changes={"data.batch_size": new},
        action="restart_fresh",
    )


def larger_model(config: Config) -> Fix:
    """A model of more capacity: by config where it is one of ours, else for a person to do."""
    model, args = config.model.target, config.model.args
    changes: dict[str, Any] = {}
    if model == "linear":
        changes, what = (
            {"model.target": "mlp", "model.args": {"hidden": [128]}},
            "linear → mlp, one layer of 128",
        )
    elif model == "mlp":
        widths = args.get("hidden", [128])
        hidden = [2 * width for width in widths] if isinstance(widths, list) else [2 * widths]
        hidden = hidden if len(hidden) > 1 else hidden * 2
        changes, what = {"model.args.hidden": hidden}, f"hidden layers {widths} → {hidden}"
    elif model in _WIDTHS:
        name, default = _WIDTHS[model]
        old = args.get(name, default)
        new = [2 * width for width in old] if isinstance(old, list) else 2 * old
        changes, what = {f"model.args.{name}": new}, f"{name} {old} → {new}"
    else:
        return advice("larger_model", "more layers or wider ones, then start again", _CAPACITY)
    return Fix(
        id="larger_model",
        title=f"{what}, from the start",
        effect=_CAPACITY,
        changes=changes,
        action="restart_fresh",
    )


def swap_activation(
    old: str,
    new: str,
    *,
    checkpoint: str | None = LAST_VALID,
    fresh: bool = False,
    config: Config | None = None,
) -> Fix:
    """Activation modules of one class replaced by another (see `models.swap`), and those that `config` swaps already.

    Weights and optimizer stay, unless training begins anew (`fresh`).
    """
    swaps = {**(config.model.swap if config else {}), old: new}
    kept = "" if fresh else "; the weights stay"
    return Fix(
        id=f"swap_{old.lower()}_{new.lower()}",
        title=f"{old} → {new} in the model, {FROM_START if fresh else _place(checkpoint)}",
        effect=f"{new} passes a gradient on where {old} passes none{kept}",
        changes={"model.swap": swaps},
        action="restart_fresh" if fresh else "continue" if checkpoint is None else "restart_from",
        checkpoint=None if fresh else checkpoint,
    )


def change_seed(config: Config) -> Fix:
    """New initial weights and another order of samples."""
    return Fix(
        id="new_seed",
        title=f"seed {config.seed} → {config.seed + 1}, from the start",
        effect="other initial weights: a bad start is not repeated",
        changes={"seed": config.seed + 1},
        action="restart_fresh",
    )


def stop_here(reason: str = "the best checkpoint is kept") -> Fix:
    """End the run; what it reached stays."""
    return Fix(
        id="stop",
        title="stop now and keep the best checkpoint",
        effect=reason,
        action="stop",
    )


def from_start(name: str, title: str, effect: str, changes: dict[str, Any]) -> Fix:
    """Settings that only make sense from new weights on."""
    return Fix(
        id=name, title=f"{title}, {FROM_START}", effect=effect, changes=changes, action="restart_fresh"
    )


def advice(name: str, title: str, effect: str, *, changes: dict[str, Any] | None = None) -> Fix:
    """Something that a person has to do or judge; it is shown, and never applied by itself."""
    return Fix(
        id=name,
        title=title,
        effect=effect,
        changes=changes or {},
        action="restart_fresh" if changes else "stop",
        by_itself=False,
    )


def argument(config: Config, key: str) -> Any:
    """What the config gives an argument such as `model.args.dropout`; None where it leaves it out."""
    return value_at(config, key)


def _of_model(name: str, changes: dict[str, Any], title: str) -> Fix:
    return Fix(
        id=name,
        title=f"{title}, from the start",
        effect="the gradient reaches the first layers",
        changes=changes,
        action="restart_fresh",
    )


def _place(checkpoint: str | None) -> str:
    return {
        None: "from here",
        LAST_VALID: "from the last valid checkpoint",
        BEST: "from the best checkpoint",
        BEFORE: "from the last checkpoint before it",
    }.get(checkpoint, f"from {checkpoint}")


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
