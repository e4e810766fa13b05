"""loss_spike: the loss jumped, and what had been learned did not come back."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from tui_trainer.diagnostics import fit_remedies, remedies
from tui_trainer.diagnostics.curves import finite, middle, noise
from tui_trainer.diagnostics.fix import BEFORE
from tui_trainer.diagnostics.learning import UNJUDGED, is_judged, reference_loss
from tui_trainer.diagnostics.rule import Problem, Rule
from tui_trainer.diagnostics.usual_rates import is_hot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.diagnostics.fix import Fix
    from tui_trainer.diagnostics.history import History

_FEWEST = 10  # logged steps before a jump
_JUST_BEFORE = 3  # of them that come right before it
_CREPT = 0.25  # share of the rise that had crept up by then: it was no jump
_MOST = 30


class LossSpike(Rule):
    """A bump that recovers is part of many good runs; so the loss must stay up.

    `spread`: height of the jump in units of the loss's own scatter before it. `lost`: share of the progress so far that
    is gone. `steps`: logged steps for which it stays so; `epochs`: finished epochs that show it by themselves.
    """

    code = "loss_spike"
    thresholds: ClassVar[Mapping[str, float]] = {"spread": 8.0, "lost": 0.3, "steps": 6, "epochs": 2}
    fix_ids = ("less_regularisation", "lower_lr_2_clip", "lower_lr_2", "lower_lr_10", "clip")

    def on_step(self, history: History) -> Problem | None:
        """The latest logged steps all far above those before."""
        steps, count = history.steps, int(self.limit.steps)
        if len(steps) < _FEWEST + count or not min(steps[-1].loss, steps[-2].loss) > steps[-1 - count].loss:
            return None  # nearly every step of every run ends here
        latest = finite(item.loss for item in islice(reversed(steps), count))
        earlier = finite(
            item.loss
            for item in islice(reversed(steps), count, count + _MOST)
            if item.epoch > history.changed_epoch
        )
        if len(latest) < count or len(earlier) < _FEWEST:
            return None
        level, scatter = middle(earlier[:_FEWEST]), noise(earlier)
        bound = max(
            level + self.limit.spread * scatter, level + self.limit.lost * (self._top(history) - level)
        )
        if not (min(latest) > bound and self._top(history) > level):
            return None
        if not _sudden(earlier[:_JUST_BEFORE], level, middle(latest)):
            return None
        first = steps[-count]
        place = {"since_epoch": first.epoch, "since_step": first.step}
        return self._problem(history, (level, middle(latest), bound), place, steps[-1 - count].step)

    def on_epoch(self, history: History) -> Problem | None:
        """The latest epochs all far above the best before them."""
        count = int(self.limit.epochs)
        epochs = history.epochs[history.changed_epoch :]
        losses = finite(history.metric("train_loss", since_change=True))
        if len(losses) != len(epochs) or len(losses) < 3 + count:
            return None
        earlier, latest = losses[:-count], losses[-count:]
        level = min(earlier[-4:])
        if not min(latest) > level:
            return None
        scatter = noise(earlier[-10:])
        bound = max(
            level + self.limit.spread * scatter, level + self.limit.lost * (self._top(history) - level)
        )
        if not min(latest) > bound or not self._top(history) > level:
            return None
        if not _sudden(earlier[-1:], level, middle(latest)):
            return None
        before = epochs[-count - 1]
        place = {"since_epoch": before.epoch + 1, "since_step": before.step}
        return self._problem(history, (level, middle(latest), bound), place, before.step)

    def _top(self, history: History) -> float:
        """Where learning started from."""
        starts = finite(
            [history.start_loss, *history.metric("train_loss")[:1], reference_loss(self.facts, history)]
        )
        return middle(starts)

    def _problem(
        self, history: History, levels: tuple[float, float, float], place: dict[str, Any], step: int
    ) -> Problem:
        level, now, bound = levels
        lost = (now - level) / (self._top(history) - level)
        judged = is_judged(self.facts)
        return Problem(
            severity="info" if not judged else "critical" if lost >= 1 else "warning",
            message=(
                f"The loss jumped from {level:.3g} to {now:.3g} (threshold {bound:.3g}) in epoch {place['since_epoch']} and "
                f"stays there: {lost:.0%} of the progress is lost.{'' if judged else UNJUDGED}"
            ),
            evidence={"value": now, "threshold": bound, "before": level, "lost": lost, **place},
            fixes=self._fixes(),
            since=step,
        )

    def _fixes(self) -> tuple[Fix, ...]:
        config = self.facts.config
        lower = remedies.lower_rate(config, 10, checkpoint=BEFORE)
        fixes = [
            remedies.lower_rate(config, 2, checkpoint=BEFORE, clip=True),
            None if config.training.gradient_clip_norm else remedies.clip(checkpoint=BEFORE),
        ]
        ordered = [lower, *fixes] if is_hot(config) else [*fixes, lower]
        return fit_remedies.freed_first(config, ordered)


def _sudden(before: list[float], level: float, now: float) -> bool:
    """Whether the loss was still near its `level` just `before` it was `now`; two players of one loss, say, take turns
    more slowly."""
    return middle(before) - level <= _CREPT * (now - level)
