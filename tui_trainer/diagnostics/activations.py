"""What the rules about activations share: layers that the last probes found beyond a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui_trainer.engine.events import ACTIVATIONS

if TYPE_CHECKING:
    from collections.abc import Collection

    from tui_trainer.diagnostics.history import History

_ENOUGH = 32  # samples in a probe


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
        "layers": {row["layer"]: row[column] for row in layers[:10]},
        "count": len(layers),
    }
