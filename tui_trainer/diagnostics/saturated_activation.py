"""saturated_activation: tanh or sigmoid outputs sit at their ends, where no gradient passes, and learning stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tui_trainer.diagnostics import fit_remedies, remedies
from tui_trainer.diagnostics.activations import ActivationRule
from tui_trainer.diagnostics.usual_rates import is_hot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.diagnostics.fix import Fix


class SaturatedActivation(ActivationRule):
    """Of hidden layers. `saturated`: share of a layer's outputs within 1 % of an end (beyond ±0.99; below 0.01 or
    above 0.99); the others as in `ActivationRule`.
    """

    code = "saturated_activation"
    column = "saturated"
    kinds = ("Tanh", "Sigmoid")
    thresholds: ClassVar[Mapping[str, float]] = {
        "saturated": 0.5,
        "probes": 2,
        "short": 0.1,
        "early": 4,
        "critical": 0.95,
    }
    fix_ids = (
        "swap_tanh_relu", "swap_sigmoid_relu", "lower_lr_10", "lower_lr_100", "standardize", "normalise_inputs",
        "new_seed",
    )  # fmt: skip

    def in_words(self, worst: dict[str, Any], more: str) -> str:
        """Which share of the outputs."""
        return f"{worst['saturated']:.0%} of the outputs of {worst['layer']} ({worst['kind']}){more} are at an end"

    def fixes(self, kind: str) -> tuple[Fix, ...]:
        """Units without ends, smaller steps, inputs of a scale that does not reach them."""
        config = self.facts.config
        scale = remedies.normalise_inputs(config)
        swap = remedies.swap_activation(kind, "ReLU", fresh=True, config=config)
        lower = fit_remedies.lower_rates(config)
        ordered = [*lower, swap] if is_hot(config) else [swap, *lower]
        first, last = ([scale], []) if scale.by_itself else ([], [scale])
        return (*first, *ordered, remedies.change_seed(config), *last)
