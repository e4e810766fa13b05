"""exploding_gradients: gradients, or the loss they come from, have grown out of all proportion."""

from __future__ import annotations

import itertools
import math
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from tui_trainer.diagnostics import fit_remedies, remedies
from tui_trainer.diagnostics.curves import finite, middle
from tui_trainer.diagnostics.learning import largest_harmless_loss, learned_nothing, trivial_loss
from tui_trainer.diagnostics.rule import Problem, Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.diagnostics.fix import Fix
    from tui_trainer.diagnostics.history import History
    from tui_trainer.engine.events import EpochFinished, StepLogged

_LATEST = 3  # logged steps, two of which must show it
_BEFORE = 30  # logged steps before these
_FEWEST_BEFORE = 5
_SMALL_RATE = 0.05  # with gradients clipped at 1, so far do the weights move in a step


class ExplodingGradients(Rule):
    """A large norm alone is no problem: a regression on raw targets has one from its first step, and learns.

    `norm`: global gradient norm (before clipping). `factor`: times its running median. `loss_factor`: times the loss
    of a predictor without inputs (or the first loss) from which on the loss itself has exploded; `carried`: the same for
    an epoch after which nothing is learned. `epochs`: finished
    epochs after which a large norm with a loss worse than without inputs is not the start any more. `consecutive`:
    non-finite batches in a row after which the weights must be at fault.
    """

    code = "exploding_gradients"
    thresholds: ClassVar[Mapping[str, float]] = {
        "norm": 100.0,
        "factor": 10.0,
        "loss_factor": 1000.0,
        "carried": 100.0,
        "epochs": 3,
        "consecutive": 5,
    }
    fix_ids = (
        "less_regularisation",
        "clip",
        "lower_lr_10_clip",
        "lower_lr_10",
        "lower_lr_100",
        "standardize",
        "normalise_inputs",
    )

    def on_step(self, history: History) -> Problem | None:
        """Two of the three latest logged steps far above all that was usual, or a loss beyond all bounds."""
        step = history.steps[-1]
        norm = step.grad_norm
        if norm is not None and norm <= self.limit.norm:
            return None  # nearly every step of every run ends here
        latest = list(islice(reversed(history.steps), _LATEST))
        if found := self._loss_exploded(history, latest):
            return found
        if norm is None or not math.isfinite(norm):
            return None
        high = [item for item in latest if item.grad_norm is not None and item.grad_norm > self.limit.norm]
        earlier = list(islice(reversed(history.steps), _LATEST, _LATEST + _BEFORE))
        usual = middle(finite(item.grad_norm for item in earlier))
        if len(high) < 2 or len(earlier) < _FEWEST_BEFORE or not norm >= self.limit.factor * usual:
            return None
        if sum(item.grad_norm >= self.limit.factor * usual for item in high if item.grad_norm) < 2:
            return None
        before, now = (
            middle(finite(item.loss for item in earlier)),
            middle(finite(item.loss for item in latest)),
        )
        suffers = not now <= before
        start = high[-1]
        return self._problem(
            history,
            f"The gradient norm is {norm:.3g}, {norm / usual:.0f} times its running median ({usual:.3g}; "
            f"thresholds {self.limit.norm:g} and {self.limit.factor:g} times), since step {start.step}"
            + (f"; the loss went from {before:.3g} to {now:.3g}." if suffers else "."),
            {
                "value": norm,
                "threshold": self.limit.norm,
                "running_median": usual,
                "loss": now,
                "loss_before": before,
            },
            since=start,
            critical=suffers,
        )

    def on_epoch(self, history: History) -> Problem | None:
        """A large norm still, and a loss worse than without looking at the inputs: the start is no excuse any more."""
        epoch = history.epochs[-1]
        norm, loss = epoch.grad_norm, epoch.metrics.get("train_loss", math.nan)
        if found := self._epoch_exploded(history, epoch) or self._carried_off(history):
            return found
        known = trivial_loss(self.facts)
        if norm is None or not norm > self.limit.norm or known is None or not self.facts.is_classification:
            return None
        since = len(history.epochs) - history.changed_epoch
        val = epoch.metrics.get("val_loss", loss)
        if since < self.limit.epochs or not (loss > 2 * known and val > 2 * known):
            return None
        return self._problem(
            history,
            f"The gradient norm is {norm:.3g} (threshold {self.limit.norm:g}) after {since} epochs, and the loss of "
            f"{loss:.3g} is worse than without looking at the inputs ({known:.3g}).",
            {
                "value": norm,
                "threshold": self.limit.norm,
                "loss": loss,
                "loss_without_inputs": known,
                "since_epoch": 1,
            },
            since=None,
            critical=loss > 10 * known,
        )

    def on_skip(self, history: History) -> Problem | None:
        """Different batches fail with the same weights: it is the weights that were carried off."""
        skip = history.skip
        if (
            skip is None
            or skip.consecutive < self.limit.consecutive
            or skip.bad_data
            or history.first_skip == 1
        ):
            return None
        before = [item for item in islice(reversed(history.steps), 20) if math.isfinite(item.loss)]
        norms = finite(item.grad_norm for item in before)
        bound = 2 * (self._bound(history) or math.inf)
        grew = bool(norms) and (norms[0] > self.limit.norm or before[0].loss > bound)
        if len(before) >= _LATEST and not grew and skip.loss != math.inf:
            return None  # nothing had grown: an unsafe operation is likelier, see nan_loss
        first = skip.step - skip.consecutive + 1
        return self._problem(
            history,
            f"{skip.consecutive} different batches in a row gave a non-finite loss or gradient with the same weights, "
            f"since step {first}: the steps before had carried the weights off"
            + (f" (gradient norm {norms[0]:.3g} when last seen)." if norms else "."),
            {
                "value": norms[0] if norms else None,
                "threshold": self.limit.norm,
                "since_step": first,
                "loss": skip.loss,
            },
            since=None,
            step=first,
            critical=True,
        )

    def _bound(self, history: History) -> float | None:
        return largest_harmless_loss(self.facts, history)

    def _loss_exploded(self, history: History, latest: list[StepLogged]) -> Problem | None:
        usual, start = self._bound(history), history.start_loss
        if usual is None or usual <= 0:
            return None
        bound = self.limit.loss_factor * usual
        high = [item for item in latest if item.loss >= bound and math.isfinite(item.loss)]
        newest = latest[0]
        falls = all(a.loss < b.loss for a, b in itertools.pairwise(latest))
        falling = (
            start is not None
            and start >= bound
            and ((newest.epoch == 1 and newest.loss < start / 2) or falls)
        )
        if len(high) < 2 or newest not in high or falling:
            return None
        return self._problem(
            history,
            f"The loss is {newest.loss:.3g}, {newest.loss / usual:.3g} times what it is without looking at the inputs "
            f"or at the start ({usual:.3g}; threshold {self.limit.loss_factor:g} times), since step {high[-1].step}.",
            {"value": newest.loss, "threshold": bound, "loss_usual": usual, "grad_norm": newest.grad_norm},
            since=high[-1],
            critical=True,
        )

    def _epoch_exploded(self, history: History, epoch: EpochFinished) -> Problem | None:
        usual = self._bound(history)
        if usual is None or usual <= 0:
            return None
        bound = self.limit.loss_factor * usual
        loss = epoch.metrics.get("train_loss", math.nan)
        val = epoch.metrics.get("val_loss", math.nan)
        worst = val if val >= bound else loss if epoch.epoch > 1 else math.nan
        if not bound <= worst < math.inf or self._falls_from_the_start(history, bound, val):
            return None
        if val <= usual:
            return None  # a single batch, perhaps, that did no harm: the model is sound
        which = "validation" if worst == val else "train"
        return self._problem(
            history,
            f"The {which} loss is {worst:.3g}, {worst / usual:.3g} times what it is without looking at the inputs or at "
            f"the start ({usual:.3g}; threshold {self.limit.loss_factor:g} times), in epoch {epoch.epoch}.",
            {
                "value": worst,
                "threshold": bound,
                "loss_usual": usual,
                "grad_norm": epoch.grad_norm,
                "since_epoch": epoch.epoch,
            },
            since=None,
            step=history.epochs[-2].step if len(history.epochs) > 1 else 0,
            critical=True,
        )

    def _falls_from_the_start(self, history: History, bound: float, val: float) -> bool:
        """A loss that was large at the first step and has fallen in every epoch since: initial weights far too large for
        the targets, which training mends."""
        start, losses = history.start_loss, history.metric("train_loss")
        return (
            start is not None
            and start >= bound
            and all(b < 0.9 * a for a, b in itertools.pairwise(losses))
            and val < losses[-1] < math.inf
        )

    def _carried_off(self, history: History) -> Problem | None:
        """A loss that was enormous in an epoch, in steps that were perhaps never logged, and nothing learned since."""
        usual = self._bound(history)
        losses = history.metric("train_loss", since_change=True)
        if usual is None or usual <= 0 or len(losses) < 2:
            return None
        worst = max(finite(losses[:-1]), default=0.0)
        if worst < self.limit.carried * usual or losses[-1] >= worst:
            return None
        if 0.1 * losses[-2] < losses[-1] < 0.9 * losses[-2]:
            return None  # on its way down from a start that was far off
        if not learned_nothing(self.facts, history, epochs=1, nothing=0.05) or losses[-1] > 2 * usual:
            return None
        place = history.changed_epoch + losses.index(worst)
        return self._problem(
            history,
            f"The train loss was {worst:.3g} in epoch {place + 1}, {worst / usual:.3g} times what it is without looking at "
            f"the inputs ({usual:.3g}; threshold {self.limit.carried:g} times): that carried the weights off, and nothing is "
            f"learned since (train loss {losses[-1]:.4g}).",
            {
                "value": worst,
                "threshold": self.limit.carried * usual,
                "loss_usual": usual,
                "since_epoch": place + 1,
            },
            since=None,
            step=history.epochs[place - 1].step if place else 0,
            critical=True,
        )

    def _problem(
        self,
        history: History,
        message: str,
        evidence: dict[str, Any],
        *,
        since: StepLogged | None,
        critical: bool,
        step: int | None = None,
    ) -> Problem:
        if since is not None:
            evidence |= {"since_epoch": since.epoch, "since_step": since.step}
            step = since.step
        if layer := _largest(history):
            evidence["layer"], evidence["layer_norm"] = layer
            message += f" The largest gradient is that of {layer[0]} ({layer[1]:.3g})."
        early = (
            not history.epochs or (step or 0) <= history.epochs[0].step or evidence.get("since_epoch") == 1
        )
        return Problem(
            severity="critical" if critical else "warning",
            message=message,
            evidence=evidence,
            fixes=self._fixes(fresh=early),
            since=step,
        )

    def _fixes(self, *, fresh: bool) -> tuple[Fix, ...]:
        """From before it began; where that is the first epoch, from the start."""
        config = self.facts.config
        # Clipped at 1, the gradients of raw targets would move nothing at so low a rate.
        small = self._is_large() and config.optimizer.learning_rate <= _SMALL_RATE
        lower = remedies.lower_rate(config, 10, clip=not small, fresh=fresh)
        lowest, scaled = remedies.lower_rate(config, 100, fresh=fresh), remedies.normalise_inputs(config)
        if small or config.training.gradient_clip_norm is not None:
            return fit_remedies.freed_first(config, [lower, lowest, scaled])
        return fit_remedies.freed_first(config, [lower, remedies.clip(fresh=fresh), scaled])

    def _is_large(self) -> bool:
        """A regression on raw targets, whose gradients are large by nature."""
        zero = self.facts.context.get("zero", {}).get("val_mse", 0.0)
        return bool(zero > self.limit.norm)


def _largest(history: History) -> tuple[str, float] | None:
    """The parameter with the largest gradient when layers were last measured, and its norm."""
    row = (history.rows.get("gradient_stats") or [{}])[0]
    norms = {
        name: float(value)
        for name, value in row.items()
        if name not in ("epoch", "total_grad_norm")
        and isinstance(value, (int, float))
        and math.isfinite(value)
    }
    return max(norms.items(), key=lambda item: item[1]) if norms else None
