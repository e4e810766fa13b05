"""vanishing_gradients: gradients die out on their way to the first layers, and nothing is learned."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from tui_trainer.diagnostics import fit_remedies, remedies
from tui_trainer.diagnostics.curves import finite
from tui_trainer.diagnostics.learning import is_done, learned, learned_nothing, reference_loss
from tui_trainer.diagnostics.rule import Problem, Rule
from tui_trainer.diagnostics.usual_rates import is_hot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.diagnostics.fix import Fix
    from tui_trainer.diagnostics.history import History


class VanishingGradients(Rule):
    """Small gradients are also what a run ends with that has learned all there is: it must have learned little, and
    its loss stand still.

    `norm`: global gradient norm. `ratio`: largest norm among the first third of the weights over that of the last
    third. `epochs`: how long the loss must have stood still. `improvement`: what counts as still, as a share of the
    loss of a predictor without inputs. `nothing`: share of what there is to learn up to which nothing is learned.
    """

    code = "vanishing_gradients"
    thresholds: ClassVar[Mapping[str, float]] = {
        "norm": 1e-3,
        "ratio": 1e-3,
        "epochs": 3,
        "improvement": 0.02,
        "nothing": 0.05,
    }
    fix_ids = (
        "less_regularisation",
        "activation",
        "shallower",
        "batch_norm",
        "skip_connections",
        "raise_lr_10",
        "lower_lr_10",
        "lower_lr_100",
        "new_seed",
    )

    def on_epoch(self, history: History) -> Problem | None:
        """Gradients tiny, loss flat, nothing learned."""
        profile = _profile(history)
        ratio = _ratio(profile)
        norm = history.epochs[-1].grad_norm
        tiny = norm is not None and 0 < norm < self.limit.norm
        steep = ratio is not None and ratio < self.limit.ratio
        if not (tiny or steep) or not self._suffers(history, ratio if steep else None):
            return None
        since = max(1, history.epoch - int(self.limit.epochs) + 1)
        if steep:
            first, last = profile[0], profile[-1]
            what = (
                f"The gradient of {first[0]} has a norm of {first[1]:.2g}, that of {last[0]} {last[1]:.2g}: the ratio of "
                f"first to last layers is {ratio:.1e} (threshold {self.limit.ratio:g})"
            )
        else:
            what = f"The gradient norm is {norm:.1e} (threshold {self.limit.norm:g})"
        loss = history.epochs[-1].metrics.get("train_loss", math.nan)
        return Problem(
            severity="critical" if steep else "warning",
            message=f"{what}, and the loss stands still at {loss:.4g} since epoch {since}.",
            evidence={
                "value": ratio if steep else norm,
                "threshold": self.limit.ratio if steep else self.limit.norm,
                "ratio": ratio,
                "grad_norm": norm,
                "layer": profile[0][0] if profile else None,
                "layers": dict(profile[:40]),
                "learned": learned(self.facts, history, epochs=3),
                "since_epoch": since,
            },
            fixes=self._fixes(steep=steep),
            since=0,
        )

    def _suffers(self, history: History, ratio: float | None) -> bool:
        """Whether nothing is learned, or, by the evidence of a `ratio`, the loss stands still on the way."""
        epochs = int(self.limit.epochs)
        losses = history.metric("train_loss", since_change=True)
        scale = reference_loss(self.facts, history)
        if len(losses) < epochs or not scale or is_done(self.facts, history):
            return False
        if not learned_nothing(self.facts, history, epochs=epochs, nothing=self.limit.nothing):
            if ratio is None:  # a small norm is also what a noise floor looks like
                return False
            epochs *= 2
        elif ratio is not None and ratio < self.limit.ratio**2:
            return True  # what falls is what the last layers can do by themselves
        window = finite(losses[-epochs:])
        if len(window) < epochs or len(losses) < epochs:
            return False
        fallen = max(window[0], window[1]) - min(window[-2:])
        return bool(fallen < self.limit.improvement * abs(scale))

    def _fixes(self, *, steep: bool) -> tuple[Fix, ...]:
        config = self.facts.config
        cures = remedies.for_deep_models(config)
        # A rate far too high carries units to where no gradient is left: raising it would be the wrong way.
        rates = (
            fit_remedies.lower_rates(config)
            if is_hot(config)
            else [remedies.raise_rate(config, 10, fresh=True)]
        )
        ordered = [*cures, *rates] if steep else [*rates, *cures]
        return fit_remedies.freed_first(config, [*ordered, remedies.change_seed(config)])


def _profile(history: History) -> list[tuple[str, float]]:
    """Gradient norms of the weights in the model's order, of the newest epoch."""
    row = (history.rows.get("gradient_stats") or [{}])[0]
    return [
        (name, float(value))
        for name, value in row.items()
        if name.rpartition(".")[2].startswith("weight")
        and isinstance(value, (int, float))
        and math.isfinite(value)
    ]


def _ratio(profile: list[tuple[str, float]]) -> float | None:
    """First third over last third; None where it says nothing about depth.

    Norms of exactly 0 everywhere before the last layers come of dead units or unused parameters, unless the fall
    towards them is gradual.
    """
    third = len(profile) // 3 or 1
    if len(profile) < 2:
        return None
    first = max(value for _, value in profile[:third])
    last = max(value for _, value in profile[-third:])
    if last == 0:
        return None
    if first == 0 and not any(0 < value < 1e-3 * last for _, value in profile):
        return None
    return first / last
