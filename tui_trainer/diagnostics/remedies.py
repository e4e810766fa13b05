"""Fixes that several rules offer, built from the config of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui_trainer.diagnostics.fix import BEST, LAST_VALID, Fix, value_at

if TYPE_CHECKING:
    from tui_trainer.config.schema import Config

CLIP_NORM = 1.0


def lower_rate(
    config: Config, factor: float, *, checkpoint: str | None = LAST_VALID, clip: bool = False
) -> Fix:
    """The learning rate divided by `factor`, from a checkpoint (None: from here)."""
    old = config.optimizer.learning_rate
    new = _rounded(old / factor)
    changes: dict[str, Any] = {"optimizer.learning_rate": new}
    title = f"LR {old:.3g} → {new:.3g}"
    if clip and config.training.gradient_clip_norm is None:
        changes["training.gradient_clip_norm"] = CLIP_NORM
        title += f", clip gradients at {CLIP_NORM:g}"
    return Fix(
        id=f"lower_lr_{factor:g}" + ("_clip" if clip else ""),
        title=f"{title}, {_place(checkpoint)}",
        effect="smaller steps: divergence and swings end; training is slower at first",
        changes=changes,
        action="continue" if checkpoint is None else "restart_from",
        checkpoint=checkpoint,
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
    """The learning rate that a range test finds."""
    return Fix(
        id="find_lr",
        title=f"find the learning rate by a range test, {'from the start' if fresh else 'from here'}",
        effect="up to 100 trial steps on a copy; then the rate at which the loss fell fastest",
        changes={"optimizer.learning_rate": config.optimizer.learning_rate},
        action="restart_fresh" if fresh else "continue",
        range_test=True,
    )


def clip(*, checkpoint: str | None = LAST_VALID) -> Fix:
    """Gradients scaled down to a norm of 1."""
    return Fix(
        id="clip",
        title=f"clip gradients at {CLIP_NORM:g}, {_place(checkpoint)}",
        effect="no single batch can throw the weights away; a rate that is too high is hidden by it",
        changes={"training.gradient_clip_norm": CLIP_NORM},
        action="continue" if checkpoint is None else "restart_from",
        checkpoint=checkpoint,
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


def _place(checkpoint: str | None) -> str:
    return {
        None: "from here",
        LAST_VALID: "from the last valid checkpoint",
        BEST: "from the best checkpoint",
    }.get(checkpoint, f"from {checkpoint}")


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
