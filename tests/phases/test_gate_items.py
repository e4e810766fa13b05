"""What a config may sign and waive is what the gates ask for."""

from __future__ import annotations

from tui_trainer.config import gate_items
from tui_trainer.phases import baseline_checks, diagnosis_gate, plan_checks


def test_the_config_knows_every_item_of_every_gate() -> None:
    items = [*plan_checks.ITEMS, *baseline_checks.ITEMS, *(item for item, _ in diagnosis_gate.ITEMS)]
    assert [item.name for item in items if not item.signed] == list(gate_items.CHECKED)
    assert {item.name for item in items if item.signed} <= set(gate_items.SIGNED)
