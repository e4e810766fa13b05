"""How much a run has learned: the guard that keeps rules quiet about runs that have done their work.

Several signs look alike in a run that is done and in one that never began: gradients near 0, a flat loss. What tells
them apart is where the run stands between a predictor that sees no inputs (0) and one that is always right (1).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tui_trainer.diagnostics.curves import finite

if TYPE_CHECKING:
    from tui_trainer.diagnostics.facts import RunFacts
    from tui_trainer.diagnostics.history import History

UNJUDGED = (
    " It is a loss of the user's own with no metric beside it: two players in balance look like this too, so it may well be "
    "in order."
)
"""What a message adds where `is_judged` is False."""
SIGNAL = 0.02
"""Share that simple predictors must reach for theirs to be a measure."""

_LOSSES = {
    "cross_entropy": "val_loss",
    "bce": "val_loss",
    "bce_with_logits": "val_loss",
    "mse": "val_mse",
    "l1": "val_mae",
}


def trivial_loss(facts: RunFacts) -> float | None:
    """The loss of a predictor that sees no inputs; None where the loss has weights, or is not one we know."""
    column = _LOSSES.get(str(facts.context.get("loss", "")))
    if column is None or facts.config.loss.args:
        return None
    value = facts.trivial(column)
    return value if value is not None and value > 0 and math.isfinite(value) else None


def reference_loss(facts: RunFacts, history: History) -> float | None:
    """What a loss is large or small against: that of a predictor without inputs, else where the run started."""
    known = trivial_loss(facts)
    if known is not None:
        return known
    starts = finite([history.start_loss, *history.metric("train_loss")[:1]])
    return max(starts) if starts else None


def largest_harmless_loss(facts: RunFacts, history: History) -> float | None:
    """The loss that a model with sound weights hardly ever exceeds: that of always predicting the mean or zero, else
    the first that was logged (by which a run that went wrong at once may already be beyond all bounds)."""
    known = trivial_loss(facts)
    if known is None:
        return history.start_loss
    column = _LOSSES[str(facts.context["loss"])]
    zero = facts.context.get("zero", {}).get(column, known)
    return max(known, float(zero))


def learned(facts: RunFacts, history: History, *, epochs: int | None = None) -> float | None:
    """The best share of what there is to learn that train metrics show, over all epochs or the latest `epochs`.

    1: nothing left; 0 or less: no better than without looking at the inputs. None where nothing tells: no known
    metric, and a loss that is below 0 or has no known scale.
    """
    share = _best(history, _known(facts), epochs)
    if share is None and (first := reference_loss(facts, history)):
        losses = finite(history.metric("train_loss"))
        if losses and first > 0 and min(losses) >= 0:
            share = (first - min(losses[-(epochs or 0) :])) / first
    return share


def attainable(facts: RunFacts) -> float | None:
    """The share that simple predictors (linear, nearest neighbours) reach on the validation set: what can be had
    without effort. Near 0 where the inputs hardly tell anything, or only something more complicated."""
    shares = []
    for simple in ("linear", "neighbours"):
        figures = facts.context.get(simple) or {}
        trivial = facts.trivial("val_accuracy")
        if "val_accuracy" in figures and trivial is not None and trivial < 1:
            shares.append((float(figures["val_accuracy"]) - trivial) / (1 - trivial))
        if "val_r2" in figures:
            shares.append(float(figures["val_r2"]))
    known = finite(shares)
    return max(known) if known else None


def at_floor(facts: RunFacts, history: History, *, epochs: int, share: float = 0.9) -> bool:
    """Whether the run is about as good as simple predictors that do learn something: noise may forbid more."""
    simple = attainable(facts)
    if simple is None or simple < SIGNAL:
        return False
    now = _best(history, [*_known(facts), *_known(facts, "val")], epochs)
    return now is not None and now >= share * simple


def learned_nothing(facts: RunFacts, history: History, *, epochs: int, nothing: float) -> bool:
    """Whether the latest `epochs` are no better than a predictor without inputs.

    `nothing`: share of what there is to learn that still counts as nothing. The loss tells a little from nothing; a
    metric on few samples scatters, and may show three times as much. Where simple predictors reach little themselves,
    less than a third of theirs is asked.
    """
    simple = attainable(facts)
    if simple is not None and simple > 0:
        nothing = min(2 * nothing, 0.3 * simple)
    by_loss = [item for item in _known(facts) if item[0] == "train_loss"]
    others = [item for item in _known(facts) if item[0] != "train_loss"]
    loss, metric = _best(history, by_loss, epochs), _best(history, others, epochs)
    if loss is None and metric is None:
        share = learned(facts, history, epochs=epochs)
        return share is not None and share <= nothing
    return (loss is None or loss <= nothing) and (metric is None or metric <= 3 * nothing)


def is_known(facts: RunFacts) -> bool:
    """Whether any column of the metric log can be held against a predictor without inputs."""
    return bool(_known(facts))


def is_judged(facts: RunFacts) -> bool:
    """Whether a train loss that stands still, or rises, shows that training suffers.

    It does where a metric is looked at as well, and for the losses that we know, which fall as the model learns. What
    a user's own loss does tells nothing by itself: of two players that pay each other, one wins what the other loses,
    and learned weights of several tasks shift while all of them improve.
    """
    name = facts.config.loss.target
    own = name is not None and (":" in name or "." in name) and not name.startswith("torch.nn")
    return bool(facts.metrics) or is_known(facts) or not own


def is_done(facts: RunFacts, history: History, *, share: float = 0.95, epochs: int = 3) -> bool:
    """Whether there is hardly anything left to learn: `share` of it is learned, or the config's target is met."""
    target = facts.config.targets
    if target is not None and any(
        facts.reached(target.metric, value) for value in finite(history.metric(target.metric)[-epochs:])
    ):
        return True
    now = learned(facts, history, epochs=epochs)
    return now is not None and now >= share


def _best(history: History, columns: list[tuple[str, float, float]], epochs: int | None) -> float | None:
    """The best share that the columns show over the latest epochs."""
    shares = []
    for name, worst, perfect in columns:
        values = finite(history.metric(name)[-(epochs or 0) :])
        if values and worst != perfect:
            best = max(values) if perfect > worst else min(values)
            shares.append((best - worst) / (perfect - worst))
    return max(shares) if shares else None


def _known(facts: RunFacts, phase: str = "train") -> list[tuple[str, float, float]]:
    """Columns with the value of a predictor without inputs and that of a perfect one."""
    found = []
    if "accuracy" in facts.metrics:
        found.append((f"{phase}_accuracy", facts.trivial("val_accuracy") or 0.0, 1.0))
    if "r2" in facts.metrics:
        found.append((f"{phase}_r2", 0.0, 1.0))
    if (loss := trivial_loss(facts)) is not None:
        found.append((f"{phase}_loss", loss, 0.0))
    return found
