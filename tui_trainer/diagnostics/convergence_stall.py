"""convergence_stall: the run has stopped learning before it learned much, or never began."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tui_trainer.diagnostics import fit_remedies, remedies
from tui_trainer.diagnostics.curves import finite, middle, noise, slope, without_improvement
from tui_trainer.diagnostics.learning import (
    SIGNAL,
    UNJUDGED,
    at_floor,
    attainable,
    is_done,
    is_judged,
    is_known,
    largest_harmless_loss,
    learned,
    learned_nothing,
    reference_loss,
    trivial_loss,
)
from tui_trainer.diagnostics.rule import Problem, Rule
from tui_trainer.diagnostics.usual_rates import is_cold, is_hot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.diagnostics.fix import Fix
    from tui_trainer.diagnostics.history import History
    from tui_trainer.engine.events import Severity


_NEXT_TO_NOTHING = 1000.0  # times below the usual rate


class ConvergenceStall(Rule):
    """No improvement is also how a good run ends: it must have learned little, and its train loss be at rest too.

    `epochs`: without improvement; `critical_epochs`: and the severity that follows. `flat_epochs`: for a run that is no
    better than a predictor without inputs. `flat`: share of that predictor's loss by which the train loss must have
    fallen to count as moving; `still`: the same for a rate a thousand times below what is usual. `nothing`: share of
    what there is to learn that counts as nothing. `learned`: share above which a plateau is an ordinary end; where
    simple predictors tell what can be had, `of_simple` times theirs.
    """

    code = "convergence_stall"
    thresholds: ClassVar[Mapping[str, float]] = {
        "epochs": 10,
        "critical_epochs": 15,
        "flat_epochs": 5,
        "flat": 0.02,
        "still": 0.001,
        "nothing": 0.05,
        "learned": 0.25,
        "of_simple": 0.5,
    }
    fix_ids = (
        "less_regularisation",
        "find_lr",
        "raise_lr_10",
        "lower_lr_10",
        "lower_lr_100",
        "constant_lr",
        "adam",
        "new_seed",
        "larger_model",
        "check_labels",
    )

    def on_epoch(self, history: History) -> Problem | None:
        """Epochs without improvement, for a run that has learned little."""
        losses = history.metric("train_loss", since_change=True)
        scale = reference_loss(self.facts, history)
        if not scale or is_done(self.facts, history):
            return None
        flat = self._at_nothing(history, losses, abs(scale))
        if flat >= self.limit.flat_epochs:
            return self._problem(history, flat, began=False)
        unmoved = self._unmoved(history, losses, abs(scale))
        if unmoved >= self.limit.flat_epochs:
            return self._problem(history, unmoved, began=False)
        monitored = history.metric(self.facts.monitor, since_change=True)
        min_delta = self.facts.config.early_stopping.min_delta
        idle = without_improvement(monitored, mode=self.facts.monitor_mode, min_delta=min_delta)
        if idle < self.limit.epochs or self._learned_enough(history):
            return None
        before, since = finite(losses[:-idle]), finite(losses[-idle:])
        if before and since and min(before) - min(since) > self.limit.flat * abs(scale):
            return None  # the train loss still falls: what does not follow is the validation set
        return self._problem(history, idle, began=True)

    def _at_nothing(self, history: History, losses: list[float], scale: float) -> int:
        """How many of the latest epochs were spent at the level of a predictor without inputs, without a fall."""
        least, count = int(self.limit.flat_epochs), 0
        longest = min(len(losses), max(2 * least, int(2 * self.limit.critical_epochs)))
        for length in range(least, longest + 1):
            window = finite(losses[-length:])
            if len(window) < least or not learned_nothing(
                self.facts, history, epochs=length, nothing=self.limit.nothing
            ):
                break
            fallen = -slope(window) * (len(window) - 1)
            if fallen > max(self.limit.flat * scale, 2 * noise(window)):
                break
            count = length
        return count if 2 * count >= longest else 0  # else it was on its way a moment ago

    def _unmoved(self, history: History, losses: list[float], scale: float) -> int:
        """How many epochs a rate next to nothing has left the train loss where it was; 0 for any other. New weights can
        be better than no inputs by chance, and stay so."""
        config, count = self.facts.config, len(losses)
        if not is_cold(config, factor=_NEXT_TO_NOTHING) or len(finite(losses)) < max(1, count):
            return 0
        moved = max(losses) - min(losses)
        if moved > self.limit.still * scale or at_floor(self.facts, history, epochs=count):
            return 0
        return count

    def _learned_enough(self, history: History) -> bool:
        target = self.facts.config.targets
        if target is not None and target.metric in (history.epochs[-1].metrics if history.epochs else ()):
            return False  # somebody said what is good enough, and it is not reached
        share = learned(self.facts, history)
        simple = attainable(self.facts)
        if simple is None or simple < SIGNAL or not is_known(self.facts):
            return share is None or share >= self.limit.learned
        return at_floor(self.facts, history, epochs=len(history.epochs), share=self.limit.of_simple)

    def _problem(self, history: History, idle: int, *, began: bool) -> Problem:
        epoch = history.epochs[-1]
        loss = epoch.metrics.get("train_loss")
        critical = idle >= self.limit.critical_epochs
        judged = is_judged(self.facts)
        severity: Severity = "info" if not judged else "critical" if critical else "warning"
        since = max(1, epoch.epoch - idle + 1)
        monitor = self.facts.monitor
        share = learned(self.facts, history, epochs=None if began else idle)
        if began:
            what = f"Neither {monitor} nor the train loss has improved for {idle} epochs (threshold {self.limit.epochs:g})"
        else:
            at_nothing = learned_nothing(self.facts, history, epochs=idle, nothing=self.limit.nothing)
            what = (
                f"The train loss stands at {loss:.4g} for {idle} epochs (threshold {self.limit.flat_epochs:g}), "
                + ("no better than without looking at the inputs" if at_nothing else "where it began")
            )
        told = f"; {max(share, 0):.0%} of what there is to learn is learned" if share is not None else ""
        return Problem(
            severity=severity,
            message=f"{what}{told}.{'' if judged else UNJUDGED}",
            evidence={
                "value": idle,
                "threshold": self.limit.epochs if began else self.limit.flat_epochs,
                "loss": loss,
                "monitored": epoch.metrics.get(monitor),
                "reference_loss": reference_loss(self.facts, history),
                "learned": share,
                "learning_rate": epoch.learning_rate,
                "since_epoch": since,
            },
            fixes=self._fixes(history),
        )

    def _thrown_off(self, history: History) -> bool:
        """Whether it was too large a rate: the loss is, or has been, worse than that of any sound model."""
        usual = largest_harmless_loss(self.facts, history)
        known = trivial_loss(self.facts)
        if usual is None or known is None:
            return False
        losses = finite([history.start_loss, *history.metric("train_loss")])
        if max(losses, default=0.0) > 1.5 * usual:
            return True
        now, start = middle(losses[-5:]), history.start_loss
        where_it_began = start is not None and now <= 1.01 * start and not is_hot(self.facts.config)
        return now > 1.01 * usual and not where_it_began

    def _fixes(self, history: History) -> tuple[Fix, ...]:
        config = self.facts.config
        fixes: list[Fix | None] = []
        if remedies.rate_has_decayed(config, history):
            fixes.append(remedies.constant_rate(config))
        if self._thrown_off(history) and not is_cold(config):
            fixes += fit_remedies.lower_rates(config)
        else:
            fixes += [remedies.find_rate(config), remedies.raise_rate(config, 10, fresh=True)]
        fixes += [
            remedies.change_seed(config),
            remedies.use_adam(config),
            remedies.larger_model(config),
            remedies.advice(
                "check_labels",
                "look at twenty samples with their labels",
                "labels that do not belong to their inputs cannot be learned by any setting",
            ),
        ]
        return fit_remedies.freed_first(config, fixes)
