"""A checklist as rows, for any screen: its items, one of them in full, what keeps the gate shut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_trainer.screens import plan_gate
from tui_trainer.screens.plan_view import PlanView

if TYPE_CHECKING:
    from tui_trainer.phases.gate import Checklist
    from tui_trainer.screens.canvas import Row, Run
    from tui_trainer.screens.panels import Glyphs

entry_rows = plan_gate.entry_rows
item_rows = plan_gate.item_rows


def checklist_rows(checklist: Checklist, width: int, glyphs: Glyphs) -> list[Row]:
    """A row an item: its state, its title and, where there is room, the evidence."""
    return plan_gate.gate_rows(PlanView(checklist=checklist), width, glyphs)


def missing_runs(checklist: Checklist, glyphs: Glyphs) -> list[Run]:
    """What keeps the gate shut, in one line, with the keys that help."""
    failed = [entry.item.name for entry in checklist.missing if entry.finding.state == "failed"]
    unsigned = [entry.item.name for entry in checklist.missing if entry.item.signed]
    parts = [
        f"failed: {', '.join(failed)} (w waives)" if failed else "",
        f"to sign (s): {', '.join(unsigned)}" if unsigned else "",
    ]
    count = len(checklist.missing)
    words = f"{glyphs.missing} {count} item{'s keep' if count > 1 else ' keeps'} the gate shut: "
    return [(words, "bad" if failed else "warn"), ("; ".join(filter(None, parts)), "text")]
