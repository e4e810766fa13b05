"""slow_convergence: the loss falls steadily, but far too slowly to get anywhere in the epochs that are left."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tui_trainer.diagnostics import fit_remedies, remedies
from tui_trainer.diagnostics.curves import finite, noise, slope
from tui_trainer.diagnostics.learning import (
    SIGNAL,
    UNJUDGED,
    attainable,
    is_done,
    is_judged,
    learned,
    reference_loss,
)
from tui_trainer.diagnostics.rule import Problem, Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.diagnostics.fix import Fix
    from tui_trainer.diagnostics.history import History

_WINDOW = 4  # epochs over which the pace is taken
_LONGEST = 10  # epochs to watch first


class SlowConvergence(Rule):
    """The pace is steady, so that the end can be foreseen: a run that slows down has most of its work behind it.

    `epochs`: epochs to watch first, and `part` of the epochs planned (ten at most). `learned`: share of what there is
    to learn that the run would have to reach by its end (of what simple predictors reach, where that is known).
    `steady`: present pace over the mean pace so far, below which the run is slowing down. `gathering`: newest step
    over the present pace, above which it is only beginning to learn.
    """

    code = "slow_convergence"
    thresholds: ClassVar[Mapping[str, float]] = {
        "epochs": 4,
        "part": 0.3,
        "learned": 0.5,
        "steady": 0.2,
        "gathering": 1.5,
    }
    fix_ids = (
        "less_regularisation",
        "constant_lr",
        "find_lr",
        "raise_lr_10",
        "adam",
        "raise_lr_3",
        "more_epochs",
    )

    def on_epoch(self, history: History) -> Problem | None:
        """Where the present pace would lead by the last epoch."""
        losses = history.metric("train_loss", since_change=True)
        scale = reference_loss(self.facts, history)
        watch = max(_WINDOW, self.limit.epochs, min(_LONGEST, self.limit.part * self.facts.epochs))
        if len(losses) < watch or not scale or scale <= 0 or is_done(self.facts, history):
            return None
        pace = self._pace(history, losses)
        share, simple = learned(self.facts, history), attainable(self.facts)
        needed = self.limit.learned * (simple if simple is not None and simple >= SIGNAL else 1.0)
        if pace is None or share is None or share >= needed:
            return None
        loss, left = losses[-1], max(0, self.facts.epochs - history.epoch)
        foreseen = loss - pace * left
        reached = (scale - foreseen) / scale
        if reached >= needed:
            return None
        judged = is_judged(self.facts)
        return Problem(
            severity="warning" if judged else "info",
            message=(
                f"The loss falls by {pace:.3g} an epoch: at this pace it will be {foreseen:.4g} after the last epoch, "
                f"from {loss:.4g} now. Without looking at the inputs it would be {scale:.4g}; {max(reached, 0):.0%} of "
                f"that would be learned (threshold {needed:.0%}).{'' if judged else UNJUDGED}"
            ),
            evidence={
                "value": pace,
                "threshold": max(0.0, (loss - (1 - needed) * scale) / max(left, 1)),
                "loss": loss,
                "foreseen": foreseen,
                "epochs_left": left,
                "learned": share,
                "learning_rate": history.epochs[-1].learning_rate,
                "since_epoch": history.epoch - len(losses) + 1,
            },
            fixes=self._fixes(history),
            acts=left >= watch,  # else no fix could show in time that it helps
        )

    def _pace(self, history: History, losses: list[float]) -> float | None:
        """By how much the loss falls in an epoch; None where that is no steady fall, or where it is yet to come."""
        window = finite(losses[-_WINDOW:])
        rates = [item.learning_rate for item in history.epochs[-3:]]
        if len(window) < _WINDOW or rates[-1] > 1.01 * min(rates):  # a warm-up
            return None
        pace = -slope(window)
        first = finite(losses)[0]
        steady = pace > 0 and pace >= self.limit.steady * (first - losses[-1]) / (len(losses) - 1)
        if not steady or pace * _WINDOW < 2 * noise(losses[-8:]):
            return None
        return pace if window[-2] - window[-1] <= self.limit.gathering * pace else None

    def _fixes(self, history: History) -> tuple[Fix, ...]:
        config = self.facts.config
        fixes = [
            remedies.constant_rate(config) if remedies.rate_has_decayed(config, history) else None,
            remedies.find_rate(config),
            remedies.raise_rate(config, 10),
            remedies.use_adam(config),
            remedies.raise_rate(config, 3),
            remedies.more_epochs(config),
        ]
        return fit_remedies.freed_first(config, fixes)
