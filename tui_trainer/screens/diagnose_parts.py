"""The parts of the Diagnose screen: the row of sections, the chart of the losses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from textual.message import Message

from tui_trainer.screens.canvas import Curve, Picture
from tui_trainer.screens.chart import Chart
from tui_trainer.screens.chart_content import fit_legend
from tui_trainer.screens.diagnose_rows import section_row
from tui_trainer.screens.painting import Channel
from tui_trainer.screens.rows import Rows
from tui_trainer.screens.series import Series, thin

if TYPE_CHECKING:
    from textual.events import Click

    from tui_trainer.reports.diagnosis_content import Curves
    from tui_trainer.screens.canvas import Drawing
    from tui_trainer.screens.diagnose_view import DiagnoseView
    from tui_trainer.screens.painting import ChartPainter
    from tui_trainer.screens.panels import Glyphs


class SectionBar(Rows):
    """The names of the sections with their keys; a click shows one."""

    class Chosen(Message):
        """The section of this name was clicked."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self) -> None:
        super().__init__(id="sections")
        self._places: tuple[tuple[int, int, str], ...] = ()

    def show(self, view: DiagnoseView, current: str) -> None:
        """Mark the section that is shown, and those in which something is wrong."""
        row, self._places = section_row(view, current, self.content_size.width)
        self.set_rows([row])

    def on_click(self, event: Click) -> None:
        """Show what is under the mouse."""
        x = event.get_content_offset_capture(self).x
        for first, end, name in self._places:
            if first <= x < end:
                self.post_message(self.Chosen(name))


class LossChart(Chart, can_focus=False):
    """Training and validation loss by epoch: the best epoch and where the gap opened are marked."""

    def __init__(self, painter: ChartPainter, glyphs: Glyphs) -> None:
        super().__init__(id="curves")
        self._painter, self._glyphs = painter, glyphs
        self._channel: Channel | None = None
        self._picture: Picture | None = None

    def on_mount(self) -> None:
        """No signs but ASCII where there are no others."""
        self.set_class(self._glyphs.ascii, "-ascii")

    def on_unmount(self) -> None:
        """Listen no longer."""
        if self._channel is not None:
            self._channel.close()

    def show(self, view: DiagnoseView) -> None:
        """The losses of the view, where there is a place for them."""
        width, height = self.size
        if not width or not height or view.diagnosis is None:
            return
        picture, broken = loss_picture(view, (width, height), self._glyphs)
        entries = [
            (sign, words, role)
            for role, words, sign in (
                ("train", "train", "*" if self._glyphs.ascii else "─"),
                ("val", "validation", "o" if self._glyphs.ascii else "●"),
            )
            if any(curve.role == role for curve in picture.curves)
        ]
        title, legend = fit_legend("Loss", entries, width - 4)
        self.set_border(title, legend, f"{broken} non-finite" if broken else "")
        if self._channel is None:
            self._channel = Channel(self._painter, "diagnose")
            self._channel.on_painted = self._painted
        if picture != self._picture:
            self._picture = picture
            self._channel.request("losses", picture)

    def _painted(self, _key: str, drawing: Drawing) -> None:
        """Called on the painter's thread."""
        if self.app.is_running:
            self.app.call_later(self._take, drawing)

    def _take(self, drawing: Drawing) -> None:
        if self.is_mounted:
            self.set_drawing(drawing)


def loss_picture(view: DiagnoseView, size: tuple[int, int], glyphs: Glyphs) -> tuple[Picture, int]:
    """What to draw, and how many values are not finite."""
    width, height = size
    found: Curves | None = view.diagnosis.curves if view.diagnosis is not None else None
    curves: list[Curve] = []
    for name, role, style in (("train_loss", "train", "line"), ("val_loss", "val", "dots")):
        series = Series().extend(view.losses.get(name, ()))
        if series.xs or series.broken:
            xs, ys = thin(series, 0.0, series.xs[-1] if series.xs else 0.0, width)
            curves.append(Curve(role, style, tuple(xs), tuple(ys), series.broken))
    broken = sum(len(curve.broken) for curve in curves)
    gap = found.gap if found is not None else None
    marks = (
        ((float(gap.opened), ("the gap opens", "gap")),) if gap is not None and gap.opened is not None else ()
    )
    best = found.best_epoch if found is not None else None
    picture = Picture(
        width,
        height,
        tuple(curves),
        best=None if best is None or not math.isfinite(best) else float(best),
        ascii=glyphs.ascii,
        marks=marks,
    )
    return picture, broken
