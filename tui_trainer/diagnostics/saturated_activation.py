"""saturated_activation: tanh or sigmoid outputs sit at their ends, where no gradient passes, and learning stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tui_trainer.diagnostics import fit_remedies, remedies
from tui_trainer.diagnostics.activations import evidence_of, first_seen, layers_beyond
from tui_trainer.diagnostics.rule import Problem, Rule
from tui_trainer.diagnostics.standing import suffering

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.diagnostics.fix import Fix
    from tui_trainer.diagnostics.history import History


class SaturatedActivation(Rule):
    """Reads the probes of tanh and sigmoid modules in hidden layers.

    `saturated`: share of a layer's outputs within 1 % of an end (beyond ±0.99; below 0.01 or above 0.99). `probes`: in
    how many probes in a row. `short`: how far, in skill, the model stays below a simple predictor after more than
    `early` epochs. `critical`: share
    from which on hardly any gradient gets through.
    """

    code = "saturated_activation"
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

    def on_epoch(self, history: History) -> Problem | None:
        """A problem where layers are saturated and training suffers; worth knowing where they merely are."""
        limit = self.limit
        layers = layers_beyond(
            history, "saturated", limit.saturated, ("Tanh", "Sigmoid"), probes=int(limit.probes)
        )
        if not layers:
            return None
        worst = layers[0]
        loss = suffering(self.facts, history, short=limit.short, early=limit.early)
        since = first_seen(history, "saturated", limit.saturated, worst["layer"])
        more = f", and of {len(layers) - 1} more" if len(layers) > 1 else ""
        return Problem(
            severity="info"
            if loss is None
            else "critical"
            if worst["saturated"] >= limit.critical
            else "warning",
            message=(
                f"{worst['saturated']:.0%} of the outputs of {worst['layer']} ({worst['kind']}){more} are at an end "
                f"(limit {limit.saturated:.0%}), since epoch {since}"
                + (f"; {loss}." if loss else ", though the model learns.")
            ),
            evidence=evidence_of(layers, "saturated", limit.saturated, since) | {"kind": worst["kind"]},
            fixes=self._fixes(worst["kind"]) if loss else (),
        )

    def _fixes(self, kind: str) -> tuple[Fix, ...]:
        config = self.facts.config
        scale = remedies.normalise_inputs(config)
        swap = remedies.swap_activation(kind, "ReLU", fresh=True, config=config)
        lower = fit_remedies.lower_rates(config)
        ordered = [*lower, swap] if fit_remedies.is_hot(config) else [swap, *lower]
        first, last = ([scale], []) if scale.by_itself else ([], [scale])
        return (*first, *ordered, remedies.change_seed(config), *last)
