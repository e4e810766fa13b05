"""Where a run stands between a predictor without inputs and the best simple one: does training really suffer?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tui_trainer.diagnostics.curves import finite, middle

if TYPE_CHECKING:
    from tui_trainer.diagnostics.facts import RunFacts
    from tui_trainer.diagnostics.history import History

_WORDS = {"linear": "a linear model", "neighbours": "the five nearest train samples"}
_COLUMNS = ("accuracy", "r2", "mse", "rmse", "mae", "loss")
_RECENT = 3  # epochs


@dataclass(frozen=True)
class Standing:
    """Skill on both sets: 0 as a predictor without inputs, 1 without error; `noise`: what chance can do to it in a
    validation set of this size (two standard errors).

    `metric`: the column that it is taken from, without `val_`; `value`, `trivial`, `simple`: the values in that column
    of the model, the trivial and the best simple predictor (None where there is none), which `simple_skill` and
    `simple_name` are of.
    """

    metric: str
    train: float
    val: float
    noise: float
    value: float
    trivial: float
    simple: float | None = None
    simple_skill: float | None = None
    simple_name: str = ""

    def short_by(self) -> float:
        """How far the better of the two sets stays below the best simple predictor, beyond one standard error (both
        are of the same samples); 0 or less: not."""
        if self.simple_skill is None:
            return 0.0
        return self.simple_skill - max(self.train, self.val) - self.noise / 2

    def is_trivial(self, skill: float) -> bool:
        """Whether neither set shows more than `skill`, which chance alone can give."""
        return max(self.train, self.val) < max(skill, self.noise)

    def in_words(self) -> str:
        """`val_accuracy 0.42, where always predicting the most frequent class reaches 0.4 and …`."""
        reached = f"{self.trivial:.4g} needs no inputs"
        if self.simple is not None:
            reached = f"{_WORDS[self.simple_name]} reaches {self.simple:.4g} and {reached}".replace(
                "samples reaches", "samples reach"
            )
        return f"val_{self.metric} {self.value:.4g}, where {reached}"


def standing(facts: RunFacts, history: History, *, epochs: int = _RECENT) -> Standing | None:
    """Of the latest epochs (their median); None where no column has a known yardstick."""
    for metric in _COLUMNS:
        trivial = facts.trivial(f"val_{metric}")
        if trivial is None or not math.isfinite(trivial) or _unlike(facts, metric):
            continue
        recent = [middle(finite(history.metric(f"{side}_{metric}")[-epochs:])) for side in ("train", "val")]
        if not all(map(math.isfinite, recent)):
            continue
        skills = [_skill(metric, value, trivial) for value in recent]
        simple = _best_simple(facts, metric, trivial)
        return Standing(
            metric, skills[0], skills[1], _noise(facts, metric, recent[1], skills[1], trivial),
            recent[1], trivial, *(simple or (None, None, "")),
        )  # fmt: skip
    return None


def _unlike(facts: RunFacts, metric: str) -> bool:
    """The loss is no measure of skill where it has weights, or is not the one the yardstick is of."""
    known = ("cross_entropy", "bce", "bce_with_logits", "mse", "l1")
    return metric == "loss" and (
        bool(facts.config.loss.args)
        or facts.context.get("loss") not in known
        or facts.trivial("val_loss") == 0
    )


def _skill(metric: str, value: float, trivial: float) -> float:
    if metric in ("accuracy", "r2"):
        return (value - trivial) / max(1e-9, 1 - trivial)
    return 1 - value / max(1e-12, trivial)


def _best_simple(facts: RunFacts, metric: str, trivial: float) -> tuple[float, float, str] | None:
    """Value, skill and name of the best predictor that needs no training."""
    found = []
    for name in _WORDS:
        value = facts.context.get(name, {}).get(f"val_{metric}")
        if value is not None and math.isfinite(value):
            found.append((float(value), _skill(metric, float(value), trivial), name))
    return max(found, key=lambda item: item[1]) if found else None


def _noise(facts: RunFacts, metric: str, value: float, skill: float, trivial: float) -> float:
    samples = max(1, facts.val_samples)
    if metric == "accuracy":
        share = min(max(value, 1 / (samples + 2)), 1 - 1 / (samples + 2))
        return 2 * math.sqrt(share * (1 - share) / samples) / max(1e-9, 1 - trivial)
    return 2 * math.sqrt(1 / samples) * max(0.0, 1 - skill)


def suffering(facts: RunFacts, history: History, *, short: float, early: float) -> str | None:
    """In words, how training shows that something is wrong; None where it does not.

    It learns nothing; or, after more than `early` epochs, it stays more than `short` in skill below a simple predictor.
    Where neither can be known: the train loss has lost less than a fifth of its first value.
    """
    now = standing(facts, history)
    if now is not None:
        late = history.epoch - history.changed_epoch > early
        return now.in_words() if now.is_trivial(0.1) or (late and now.short_by() > short) else None
    losses = finite(history.metric("train_loss"))
    first = history.start_loss
    if not losses or first is None or not first > 0 or min(losses) < 0:
        return None
    if losses[-1] > 0.8 * first:
        return f"train_loss {losses[-1]:.4g} after {first:.4g} at the start"
    return None
