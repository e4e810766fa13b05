"""underfitting: the model is poor on train and validation alike, and no longer improves."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tui_trainer.diagnostics import fit_remedies, remedies
from tui_trainer.diagnostics.curves import finite, middle
from tui_trainer.diagnostics.rule import Problem, Rule
from tui_trainer.diagnostics.standing import Standing, standing
from tui_trainer.diagnostics.usual_rates import is_hot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.diagnostics.fix import Fix
    from tui_trainer.diagnostics.history import History


_HELD_BACK_EPOCHS = 3  # where the cause is plain from the config


class Underfitting(Rule):
    """Measures both sets against predictors that need no training (`context.trivial`, `.linear`, `.neighbours`).

    In units of skill (0: as without inputs, 1: without error): `trivial`: no more than that is nothing learned;
    `short`: so far below the best simple predictor is poor. `flat`: relative fall of train_loss over `window` epochs
    below which it stands. `epochs`: not before; after three already, where nothing is learned and regularisation is
    plainly too strong.
    """

    code = "underfitting"
    thresholds: ClassVar[Mapping[str, float]] = {
        "trivial": 0.1,
        "short": 0.1,
        "flat": 0.03,
        "window": 4,
        "epochs": 6,
    }
    fix_ids = (
        "less_regularisation",
        "find_lr",
        "raise_lr_10",
        "lower_lr_10",
        "lower_lr_100",
        "larger_model",
        "more_epochs",
    )

    def on_epoch(self, history: History) -> Problem | None:
        """A problem where both sets are poor, and flat."""
        limit, window = self.limit, int(self.limit.window)
        epochs = len(history.epochs) - history.changed_epoch
        held_back = epochs < limit.epochs and fit_remedies.is_held_back(self.facts.config)
        if held_back:
            window = 2
        if epochs < max(_HELD_BACK_EPOCHS if held_back else limit.epochs, window + 1):
            return None
        now = standing(self.facts, history)
        if now is None:
            return None
        trivial, short = now.is_trivial(limit.trivial), now.short_by() > limit.short
        if not (trivial or (short and not held_back)) or self.facts.reached(f"val_{now.metric}", now.value):
            return None
        losses = finite(history.metric("train_loss", since_change=True))[-window - 1 :]
        if len(losses) <= window:
            return None
        fall = (middle(losses[:2]) - middle(losses[-2:])) / max(1e-12, abs(middle(losses[:2])))
        flat = fall < limit.flat
        return Problem(
            severity="warning" if flat else "info",
            message=(
                f"Train and validation are both {'no better than chance' if trivial else 'poor'}: {now.in_words()}; "
                f"train_loss fell by {max(0.0, fall):.1%} in {window} epochs "
                f"(limit {limit.flat:.0%}){'' if flat else ', so it may only need time'}."
            ),
            evidence={
                "value": now.value,
                "threshold": now.trivial if trivial else now.simple,
                "metric": f"val_{now.metric}",
                "train_skill": now.train,
                "val_skill": now.val,
                "simple_skill": now.simple_skill,
                "simple": now.simple_name,
                "fall": fall,
                "since_epoch": history.epoch - window,
            },
            fixes=self._fixes(now, trivial=trivial, flat=flat),
        )

    def _fixes(self, now: Standing, *, trivial: bool, flat: bool) -> tuple[Fix, ...]:
        config = self.facts.config
        freed = fit_remedies.less_regularisation(config)
        hot = is_hot(config)
        find = remedies.find_rate(config)
        rate = (
            (*fit_remedies.lower_rates(config), find)
            if hot
            else (find, remedies.raise_rate(config, 10, fresh=True))
        )
        larger = remedies.larger_model(config)
        few = config.optimizer.learning_rate < 1e-4
        linear_is_short = now.simple_name == "neighbours" and config.model.target == "linear"
        ordered: tuple[Fix, ...] = (
            (larger, *rate) if linear_is_short or not (trivial or few or hot) else (*rate, larger)
        )
        if not flat:
            ordered = (remedies.more_epochs(config), *ordered)
        return (*([freed] if freed else []), *ordered)
