"""The small chart in the diagnostics panel: the quantity that shows what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_trainer.screens.cases import fix_marks
from tui_trainer.screens.chart import Chart
from tui_trainer.screens.chart_content import chart_content
from tui_trainer.screens.chart_options import ChartOptions
from tui_trainer.screens.chart_scene import Scene
from tui_trainer.screens.painting import Channel

if TYPE_CHECKING:
    from tui_trainer.screens.canvas import Drawing, Picture
    from tui_trainer.screens.painting import ChartPainter
    from tui_trainer.screens.panels import Glyphs
    from tui_trainer.screens.view import RunView


class EvidenceChart(Chart, can_focus=False):
    """Only shows: the whole run, whatever the keys have made of the charts above."""

    def __init__(self, painter: ChartPainter, glyphs: Glyphs) -> None:
        super().__init__(id="evidence")
        self._painter, self._glyphs = painter, glyphs
        self._channel: Channel | None = None  # made when the charts above have theirs
        self._picture: Picture | None = None

    def on_mount(self) -> None:
        """No signs but ASCII where there are no others."""
        self.set_class(self._glyphs.ascii, "-ascii")

    def show(self, name: str, view: RunView) -> None:
        """The recorded quantity `name`."""
        if not self.size.width:
            return
        content = chart_content(
            Scene(view.recorded, ChartOptions(), name),
            (self.size.width, self.size.height),
            ascii_only=self._glyphs.ascii,
            fixes=fix_marks(view),
        )
        note = content.note.replace(" · ", ", ") if self._glyphs.ascii else content.note
        self.set_border(content.title, content.legend, note)
        if self._channel is None:
            self._channel = Channel(self._painter, "diagnosis")
            self._channel.on_painted = self._painted
        if content.picture != self._picture:
            self._picture = content.picture
            self._channel.request("evidence", content.picture)

    def _painted(self, _key: str, drawing: Drawing) -> None:
        """Called on the painter's thread."""
        if self.app.is_running:
            self.app.call_later(self.set_drawing, drawing)
