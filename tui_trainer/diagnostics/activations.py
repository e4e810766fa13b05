"""What the rules about activations share: layers that the last probes found beyond a limit, in a model that suffers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from tui_trainer.diagnostics.rule import Problem, Rule
from tui_trainer.diagnostics.standing import suffering
from tui_trainer.engine.events import ACTIVATIONS

if TYPE_CHECKING:
    from collections.abc import Collection

    from tui_trainer.diagnostics.fix import Fix
    from tui_trainer.diagnostics.history import History

_ENOUGH = 32  # samples in a probe


class ActivationRule(Rule, ABC):
    """Looks at one column of the probes of modules of some `kinds`; the threshold on it has the column's name.

    The other thresholds: `probes`: in how many probes in a row. `short`: how far, in skill, the model stays below a
    simple predictor after more than `early` epochs; such a layer in a good model is none of our business. `critical`:
    share from which on hardly anything gets through.
    """

    column: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]

    def on_epoch(self, history: History) -> Problem | None:
        """A problem where layers are beyond the limit and training suffers; worth knowing where they merely are."""
        column, most = self.column, float(getattr(self.limit, self.column))
        layers = layers_beyond(history, column, most, self.kinds, probes=int(self.limit.probes))
        if not layers:
            return None
        worst = layers[0]
        loss = suffering(self.facts, history, short=self.limit.short, early=self.limit.early)
        since = first_seen(history, column, most, worst["layer"])
        more = f", and of {len(layers) - 1} more" if len(layers) > 1 else ""
        critical = worst[column] >= self.limit.critical
        return Problem(
            severity="info" if loss is None else "critical" if critical else "warning",
            message=(
                f"{self.in_words(worst, more)} (limit {most:.0%}), since epoch {since}"
                + (f"; {loss}." if loss else ", though the model learns.")
            ),
            evidence=evidence_of(layers, column, most, since),
            fixes=self.fixes(worst["kind"]) if loss else (),
        )

    @abstractmethod
    def in_words(self, worst: dict[str, Any], more: str) -> str:
        """What was found in the worst layer, and in how many `more`."""

    @abstractmethod
    def fixes(self, kind: str) -> tuple[Fix, ...]:
        """What to do about layers of that kind, the best first."""


def layers_beyond(
    history: History, column: str, limit: float, kinds: Collection[str], *, probes: int
) -> list[dict[str, Any]]:
    """Rows of this epoch's probe with `column` above `limit`, as it was in the `probes` - 1 before; the worst first."""
    looked = history.probes.get(ACTIVATIONS, [])[-probes:]
    if len(looked) < probes or looked[-1][0] != history.epoch:
        return []
    beyond = [
        {
            row["layer"]: row
            for row in rows
            if row["kind"] in kinds and row["samples"] >= _ENOUGH and row[column] > limit
        }
        for _, rows in looked
    ]
    found = [row for name, row in beyond[-1].items() if all(name in earlier for earlier in beyond)]
    return sorted(found, key=lambda row: -row[column])


def first_seen(history: History, column: str, limit: float, layer: str) -> int:
    """The earliest of the kept probes' epochs from which on `layer` has been beyond `limit`."""
    since = history.epoch
    for epoch, rows in reversed(history.probes.get(ACTIVATIONS, [])):
        if not any(row["layer"] == layer and row[column] > limit for row in rows):
            break
        since = epoch
    return since


def evidence_of(layers: list[dict[str, Any]], column: str, limit: float, since: int) -> dict[str, Any]:
    """The numbers that a diagnostic tells."""
    return {
        "layer": layers[0]["layer"],
        "value": layers[0][column],
        "threshold": limit,
        "since_epoch": since,
        "samples": layers[0]["samples"],
        "units": layers[0]["units"],
        "kind": layers[0]["kind"],
        "layers": {row["layer"]: row[column] for row in layers[:10]},
        "count": len(layers),
    }
