"""The app with the Diagnose screen in front, on a diagnosis that is given."""

from __future__ import annotations

from fake_run import InlinePainter, until

from tui_trainer.screens import panels
from tui_trainer.screens.app import MLTrainerApp
from tui_trainer.screens.diagnose import DiagnoseScreen
from tui_trainer.screens.diagnose_parts import LossChart
from tui_trainer.screens.diagnose_view import DiagnoseDesk


class Opened:
    """The app, its Diagnose screen, and what was asked of the desk."""

    def __init__(self, view, *, signs=panels.UNICODE, refusal=None, **options) -> None:
        painter = InlinePainter()
        self.asked: list[tuple] = []
        self.refusal = refusal
        desk = DiagnoseDesk(
            carry=self._carry,
            sign=lambda item, note: self.asked.append(("sign", item, note)),
            waive=lambda item, reason: self.asked.append(("waive", item, reason)),
            again=lambda: self.asked.append(("again",)),
        )
        self.app = MLTrainerApp(None, painter=painter, ascii=signs.ascii, **options)
        self.screen = DiagnoseScreen(painter, signs, view, desk, clock=lambda: 0.0)

    def _carry(self, changes):
        self.asked.append(("carry", changes))
        return self.refusal

    async def open(self, pilot, *keys):
        await self.app.push_screen(self.screen)
        await pilot.pause()
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        chart = self.screen.query_one(LossChart)
        await until(pilot, lambda: not chart.size.height or len(chart.rows) == chart.size.height)
        await pilot.pause()

    def text(self):
        return "\n".join(strip.text for strip in self.app.screen._compositor.render_strips())
