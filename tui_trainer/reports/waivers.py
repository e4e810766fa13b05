"""What was waved through at the gates of a run: every later report carries it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui_trainer.reports.diagnosis_content import Waiver
from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from collections.abc import Mapping


def waivers_of(record: Mapping[str, Any]) -> tuple[Waiver, ...]:
    """The waived items in `gates` of a run's record ({gate: {item: {state, reason}}}); that may be absent."""
    gates = record.get("gates")
    found = []
    for gate, items in gates.items() if isinstance(gates, dict) else ():
        for item, entry in items.items() if isinstance(items, dict) else ():
            if isinstance(entry, dict) and entry.get("state") == "waived":
                reason = clean_text(entry.get("reason") or "", limit=500)
                found.append(Waiver(clean_text(gate, limit=60), clean_text(item, limit=60), reason))
    return tuple(found)
