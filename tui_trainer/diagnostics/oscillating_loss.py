"""oscillating_loss: the loss swings up and down instead of falling."""

from __future__ import annotations

import itertools
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

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.diagnostics.fix import Fix
    from tui_trainer.diagnostics.history import History


class OscillatingLoss(Rule):
    """Epoch means have little batch noise left; what still swings there comes of steps that are too large.

    `epochs`: window. `turns`: share of epochs at which the loss changes direction. `amplitude`: median change from one
    epoch to the next, as a share of the loss; `amplitude_else` for losses of the user's own, whose parts may pull
    against each other, and for runs that are as good as simple predictors. `scale`: the same as a share of the loss of
    a predictor without inputs: swings of a loss near 0 hurt nobody. `done`: share of what there is to learn from which
    on nothing is said.
    """

    code = "oscillating_loss"
    thresholds: ClassVar[Mapping[str, float]] = {
        "epochs": 7,
        "turns": 0.5,
        "amplitude": 0.05,
        "amplitude_else": 0.15,
        "scale": 0.02,
        "done": 0.97,
    }
    fix_ids = ("lower_lr_3", "lower_lr_10", "lower_lr_100", "larger_batch", "adam", "cosine", "clip")

    def on_epoch(self, history: History) -> Problem | None:
        """Swings over the window, and no progress across it."""
        count = int(self.limit.epochs)
        losses = finite(history.metric("train_loss", since_change=True)[-count:])
        scale = reference_loss(self.facts, history)
        if len(losses) < count or not scale:
            return None
        changes = [abs(b - a) for a, b in itertools.pairwise(losses)]
        amplitude, level = middle(changes), middle(losses)
        relative = amplitude / abs(level) if level else 0.0
        least = self.limit.amplitude
        if trivial_loss(self.facts) is None or at_floor(self.facts, history, epochs=count):
            least = self.limit.amplitude_else
        if (
            turns(losses) < self.limit.turns
            or relative < least
            or amplitude < self.limit.scale * abs(scale)
            or is_done(self.facts, history, share=self.limit.done, epochs=count)
        ):
            return None
        half = count // 2
        if min(losses[-half:]) < min(losses[:-half]) - amplitude:
            return None
        since = history.epoch - count + 1
        judged = is_judged(self.facts)
        return Problem(
            severity="warning" if judged else "info",
            message=(
                f"The train loss swings by {amplitude:.3g} from epoch to epoch ({relative:.0%} of its level of {level:.3g}; "
                f"threshold {least:.0%}) and changed direction in {turns(losses):.0%} of the epochs "
                f"since epoch {since}, without falling.{'' if judged else UNJUDGED}"
            ),
            evidence={
                "value": relative,
                "threshold": least,
                "amplitude": amplitude,
                "turns": turns(losses),
                "losses": losses,
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
