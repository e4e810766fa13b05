"""dying_relu: most units of a ReLU layer are never active, and the model does not learn."""

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


class DyingRelu(Rule):
    """Reads the probes of ReLU modules.

    `dead`: share of a layer's units without a positive output on any probe sample. `probes`: in how many probes in a
    row. `short`: how far, in skill, the model stays below a simple predictor
    after more than `early` epochs; a sparse layer in a good model is none
    of our business. `critical`: share from which on hardly anything gets through.
    """

    code = "dying_relu"
    thresholds: ClassVar[Mapping[str, float]] = {
        "dead": 0.5,
        "probes": 2,
        "short": 0.1,
        "early": 4,
        "critical": 0.95,
    }
    fix_ids = ("swap_relu_leakyrelu", "swap_relu6_leakyrelu", "lower_lr_10", "lower_lr_100", "new_seed")

    def on_epoch(self, history: History) -> Problem | None:
        """A problem where layers are dead and training suffers; worth knowing where they merely are."""
        limit = self.limit
        layers = layers_beyond(history, "dead", limit.dead, ("ReLU", "ReLU6"), probes=int(limit.probes))
        if not layers:
            return None
        worst = layers[0]
        loss = suffering(self.facts, history, short=limit.short, early=limit.early)
        since = first_seen(history, "dead", limit.dead, worst["layer"])
        more = f", and of {len(layers) - 1} more" if len(layers) > 1 else ""
        return Problem(
            severity="info" if loss is None else "critical" if worst["dead"] >= limit.critical else "warning",
            message=(
                f"{worst['dead']:.0%} of the {worst['units']} units of {worst['layer']}{more} were not active for any "
                f"of {worst['samples']} validation samples (limit {limit.dead:.0%}), since epoch {since}"
                + (f"; {loss}." if loss else ", though the model learns.")
            ),
            evidence=evidence_of(layers, "dead", limit.dead, since) | {"units": worst["units"]},
            fixes=self._fixes(worst["kind"]) if loss else (),
        )

    def _fixes(self, kind: str) -> tuple[Fix, ...]:
        config = self.facts.config
        swap = remedies.swap_activation(kind, "LeakyReLU", fresh=True, config=config)
        lower = fit_remedies.lower_rates(config)
        ordered = [*lower, swap] if fit_remedies.is_hot(config) else [swap, *lower]
        return (*ordered, remedies.change_seed(config))
