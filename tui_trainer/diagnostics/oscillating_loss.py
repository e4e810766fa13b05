"""oscillating_loss: the loss swings up and down instead of falling."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tui_trainer.diagnostics import remedies
from tui_trainer.diagnostics.curves import finite, middle, turns
from tui_trainer.diagnostics.fix import BEST
from tui_trainer.diagnostics.learning import (
    UNJUDGED,
    at_floor,
    is_done,
    is_judged,
    learned_nothing,
    reference_loss,
    trivial_loss,
)
from tui_trainer.diagnostics.rule import Problem, Rule
from tui_trainer.diagnostics.standing import standing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.diagnostics.fix import Fix
    from tui_trainer.diagnostics.history import History


# Train loss over validation loss, below which it is not the steps that make validation swing.
_OVERFITTED = 0.5
_STILL_FALLING = 0.1  # of the train loss within a window: the run gets there in spite of its swings


@dataclass(frozen=True, slots=True)
class _Swings:
    """The latest losses of a column, how far they move from one epoch to the next, and how often they turn."""

    column: str
    losses: list[float]
    amplitude: float
    level: float
    turns: float

    @classmethod
    def of(cls, history: History, column: str, count: int) -> _Swings | None:
        """None where there are fewer than `count` since the course of training last changed."""
        losses = finite(history.metric(column, since_change=True)[-count:])
        if len(losses) < count:
            return None
        changes = [abs(b - a) for a, b in itertools.pairwise(losses)]
        return cls(column, losses, middle(changes), middle(losses), turns(losses))

    @property
    def relative(self) -> float:
        """The amplitude as a share of the level."""
        return self.amplitude / abs(self.level) if self.level else 0.0

    def falls(self, by: float) -> bool:
        """Whether the second half reaches lower than the first, by more than that."""
        half = len(self.losses) // 2
        return min(self.losses[-half:]) < min(self.losses[:-half]) - by


class OscillatingLoss(Rule):
    """Epoch means have little batch noise left; what still swings there comes of steps that are too large.

    `epochs`: window. `turns`: share of epochs at which the loss changes direction. `amplitude`: median change from one
    epoch to the next, as a share of the loss; `amplitude_else` for losses of the user's own, whose parts may pull
    against each other, and for runs that are as good as simple predictors. `scale`: the same as a share of the loss of
    a predictor without inputs: swings of a loss near 0 hurt nobody. `done`: share of what there is to learn from which
    on nothing is said.

    Where the train loss is calm, the validation loss is looked at: it scatters in many good runs, so it must swing by
    `val_amplitude` and `val_scale`, and the model be `short` in skill of a simple predictor.
    """

    code = "oscillating_loss"
    thresholds: ClassVar[Mapping[str, float]] = {
        "epochs": 7,
        "turns": 0.5,
        "amplitude": 0.05,
        "amplitude_else": 0.15,
        "scale": 0.02,
        "done": 0.97,
        "val_amplitude": 0.25,
        "val_scale": 0.05,
        "short": 0.05,
    }
    fix_ids = ("lower_lr_3", "lower_lr_10", "lower_lr_100", "larger_batch", "adam", "cosine", "clip")

    def on_epoch(self, history: History) -> Problem | None:
        """Swings over the window, and no progress across it."""
        count = int(self.limit.epochs)
        scale = reference_loss(self.facts, history)
        if not scale or is_done(self.facts, history, share=self.limit.done, epochs=count):
            return None
        least = self.limit.amplitude
        if trivial_loss(self.facts) is None or at_floor(self.facts, history, epochs=count):
            least = self.limit.amplitude_else
        train = _Swings.of(history, "train_loss", count)
        if train is None:
            return None
        if self._swings(train, least, self.limit.scale * abs(scale)) and not train.falls(train.amplitude):
            return self._problem(history, train, least)
        val = _Swings.of(history, "val_loss", count)
        least = self.limit.val_amplitude
        if (
            val is not None
            and self._swings(val, least, self.limit.val_scale * abs(scale))
            and not val.falls(0.0)
            and not train.falls(_STILL_FALLING * abs(train.level))
            and self._validation_suffers(history, train, val)
        ):
            return self._problem(history, val, least)
        return None

    def _swings(self, seen: _Swings, relative: float, absolute: float) -> bool:
        return seen.turns >= self.limit.turns and seen.relative >= relative and seen.amplitude >= absolute

    def _validation_suffers(self, history: History, train: _Swings, val: _Swings) -> bool:
        """Whether the model is worse for it than a simple predictor; overfitting and schedules that go up and down are
        told apart."""
        rates = [item.learning_rate for item in history.epochs[-len(val.losses) :]]
        if any(b > 1.01 * a for a, b in itertools.pairwise(rates)) or train.level < _OVERFITTED * val.level:
            return False
        now = standing(self.facts, history, epochs=len(val.losses))
        if now is None or now.simple_skill is None:
            return False
        return now.simple_skill - now.val - now.noise / 2 > float(self.limit.short)

    def _problem(self, history: History, seen: _Swings, least: float) -> Problem:
        since = history.epoch - len(seen.losses) + 1
        judged = is_judged(self.facts)
        which = "train" if seen.column == "train_loss" else "validation"
        return Problem(
            severity="warning" if judged else "info",
            message=(
                f"The {which} loss swings by {seen.amplitude:.3g} from epoch to epoch ({seen.relative:.0%} of its level of "
                f"{seen.level:.3g}; threshold {least:.0%}) and changed direction in {seen.turns:.0%} of the epochs "
                f"since epoch {since}, without falling.{'' if judged else UNJUDGED}"
            ),
            evidence={
                "value": seen.relative,
                "threshold": least,
                "column": seen.column,
                "amplitude": seen.amplitude,
                "turns": seen.turns,
                "losses": seen.losses,
                "learning_rate": history.epochs[-1].learning_rate,
                "since_epoch": since,
            },
            fixes=self._fixes(fresh=learned_nothing(self.facts, history, epochs=history.epoch, nothing=0.1)),
        )

    def _fixes(self, *, fresh: bool) -> tuple[Fix, ...]:
        config = self.facts.config
        fixes = [
            remedies.lower_rate(config, 10, fresh=True)
            if fresh
            else remedies.lower_rate(config, 3, checkpoint=BEST),
            remedies.lower_rate(config, 100, fresh=True)
            if fresh
            else remedies.lower_rate(config, 10, checkpoint=BEST),
            remedies.larger_batch(config, 4, self.facts.train_samples),
            remedies.cosine(config),
            remedies.use_adam(config),
            None if config.training.gradient_clip_norm else remedies.clip(checkpoint=BEST),
        ]
        return tuple(item for item in fixes if item is not None)
