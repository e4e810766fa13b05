"""The app on a run with diagnostics, for tests of the panel: what it shows, and keys."""

from __future__ import annotations

import sample_run as sample
from fake_run import FakeRun, InlinePainter, until

from tui_trainer.engine.events import LogLine
from tui_trainer.screens.app import MLTrainerApp
from tui_trainer.screens.key_bar import KeyBar
from tui_trainer.screens.page import Page
from tui_trainer.screens.rows import Rows

SIZE = (120, 34)
LATER = 10.0


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class open_app:
    """The app on a run that has come to step 500 and then emitted `told`; the panel, if it came up, takes keys."""

    def __init__(self, *told, run=None, size=SIZE, settled=True, **options):
        self.run = run or FakeRun([*sample.events(20, until_step=500), *told])
        self.clock = Clock()
        self.app = MLTrainerApp(lambda: self.run, painter=InlinePainter(), clock=self.clock, **options)
        self._size, self._settled = size, settled
        self._context = None

    async def __aenter__(self):
        self._context = self.app.run_test(size=self._size)
        self.pilot = await self._context.__aenter__()
        await until(self.pilot, lambda: self.app.view.step is not None and self.app.handle is not None)
        await self.rest()
        if self._settled:
            self.clock.now += LATER
        return self

    async def __aexit__(self, *error):
        await self._context.__aexit__(*error)

    @property
    def panel(self):
        return self.app.screen_stack[0].diagnosis

    async def rest(self):
        """Until the screen stands."""
        for _ in range(4):
            await self.pilot.pause()

    async def press(self, *keys):
        await self.pilot.press(*keys)
        await self.rest()

    async def emit(self, *events):
        """Until what is emitted is on the screen."""
        marker = LogLine(time=sample.START, level="info", text=f"marker {self.app.view.log_total}")
        self.run.emit(*events, marker)
        await until(self.pilot, lambda: any(entry.text == marker.text for entry in self.app.view.log[-5:]))
        await self.rest()

    async def comes_up(self):
        await until(self.pilot, lambda: self.panel.mode == "one")
        await self.rest()

    async def closes(self):
        await until(self.pilot, lambda: self.panel.mode == "closed")
        await self.rest()

    @property
    def shown(self):
        return self.panel.case.told.id

    def text(self, name="#facts"):
        rows = self.panel.query_one(name, Page).rows
        return "\n".join("".join(part for part, _ in row) for row in rows)

    @property
    def header(self):
        rows = self.app.screen.query_one("#header", Rows).rows
        return "".join(part for row in rows for part, _ in row)

    @property
    def keys(self):
        """Those in the last row."""
        return [(hint.key, hint.label) for hint in self.app.screen.query_one(KeyBar)._hints]

    @property
    def notes(self):
        return [(note.title, note.message) for note in self.app._notifications]
