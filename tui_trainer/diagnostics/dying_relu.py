"""dying_relu: most units of a ReLU layer are never active, and the model does not learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tui_trainer.diagnostics import fit_remedies, remedies
from tui_trainer.diagnostics.activations import ActivationRule
from tui_trainer.diagnostics.usual_rates import is_hot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.diagnostics.fix import Fix


class DyingRelu(ActivationRule):
    """`dead`: share of a layer's units without a positive output on any probe sample; the others as in
    `ActivationRule`.
    """

    code = "dying_relu"
    column = "dead"
    kinds = ("ReLU", "ReLU6")
    thresholds: ClassVar[Mapping[str, float]] = {
        "dead": 0.5,
        "probes": 2,
        "short": 0.1,
        "early": 4,
        "critical": 0.95,
    }
    fix_ids = (
        "less_regularisation",
        "swap_relu_leakyrelu",
        "swap_relu6_leakyrelu",
        "lower_lr_10",
        "lower_lr_100",
        "new_seed",
    )

    def in_words(self, worst: dict[str, Any], more: str) -> str:
        """Which share of how many units, on how many samples."""
        return (
            f"{worst['dead']:.0%} of the {worst['units']} units of {worst['layer']}{more} were not active for any "
            f"of {worst['samples']} validation samples"
        )

    def fixes(self, kind: str) -> tuple[Fix, ...]:
        """Units that cannot die, smaller steps, other weights."""
        config = self.facts.config
        swap = remedies.swap_activation(kind, "LeakyReLU", fresh=True, config=config)
        lower = fit_remedies.lower_rates(config)
        ordered = [*lower, swap] if is_hot(config) else [swap, *lower]
        return fit_remedies.freed_first(config, [*ordered, remedies.change_seed(config)])
