"""The app on a run that is over, with the gate that was found."""

from __future__ import annotations

import test_snapshots as runs
from fake_run import InlinePainter, settle

from tui_trainer.screens.app import MLTrainerApp
from tui_trainer.screens.gate_view import GateDesk


class Judged:
    """The app, its Baseline screen, and what was asked of the gate's desk."""

    def __init__(self, gate, run=None, **options) -> None:
        self.gate = gate
        self.asked: list[tuple] = []
        self.app = MLTrainerApp(None, painter=InlinePainter(), view=run or runs.FINISHED, **options)

    async def open(self, pilot, *keys):
        screen = self.app.screen
        screen.gate._desk = GateDesk(
            sign=lambda item, note: self.asked.append(("sign", item, note)),
            waive=lambda item, reason: self.asked.append(("waive", item, reason)),
            again=lambda: self.asked.append(("again",)),
        )
        await settle(pilot)
        if self.gate is not None:
            screen.show_gate(self.gate)
        await pilot.pause()
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        await pilot.pause()
