"""The charts of a run: up to four beside each other or one over the whole screen, and every key that changes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.containers import Container

from tui_trainer.screens import chart_options as change
from tui_trainer.screens.cases import fix_marks
from tui_trainer.screens.chart import Chart
from tui_trainer.screens.chart_content import chart_content
from tui_trainer.screens.chart_cursor import cursor_column, move, reading, step_at_column
from tui_trainer.screens.chart_memory import ChartMemory, remembered
from tui_trainer.screens.chart_scene import Scene, chosen_charts
from tui_trainer.screens.keys import CHART_BINDINGS
from tui_trainer.screens.metric_picker import MetricPicker
from tui_trainer.screens.overlays import Overlay, read_overlay

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.events import DescendantFocus

    from tui_trainer.screens.canvas import Drawing, Picture
    from tui_trainer.screens.chart_options import ChartOptions
    from tui_trainer.screens.painting import ChartPainter
    from tui_trainer.screens.panels import Glyphs
    from tui_trainer.screens.view import RunView

LEAST_WIDTH, LEAST_HEIGHT = 34, 9  # of a chart with its border, beside or above others


def arrange(count: int, width: int, height: int) -> tuple[int, ...]:
    """How many of `count` charts stand in each row where there are so many cells: one at least, the first widest."""
    across, down = max(1, width // LEAST_WIDTH), max(1, height // LEAST_HEIGHT)
    if count <= 1 or (across == 1 and down == 1):
        return (1,)
    if across == 1:
        return (1,) * min(count, down)
    if down == 1:
        return (min(count, across),)
    return {2: (1, 1), 3: (1, 2)}.get(count, (2, 2))


class ChartGrid(Container):
    """Shows the newest view it was given. Options are one immutable value, replaced by what a key asks for."""

    BINDINGS: ClassVar[list[BindingType]] = [*CHART_BINDINGS]

    def __init__(
        self,
        painter: ChartPainter,
        glyphs: Glyphs,
        view: RunView,
        memory: ChartMemory | None = None,
        *,
        id: str | None = None,  # noqa: A002 (Textual's name)
    ) -> None:
        super().__init__(id=id)
        self._painter, self._glyphs, self._view = painter, glyphs, view
        self._memory = memory or ChartMemory()
        self._options, self._note = self._memory.load()
        self._charts = tuple(Chart(id=f"chart-{number}") for number in range(change.MOST_CHARTS))
        self._names: tuple[str, ...] = ()
        self._shown: tuple[str, ...] = ()  # the chart in each visible widget
        self._rows: tuple[int, ...] = ()
        self._current = 0  # which of the names the keys are for
        self._full = False
        self._overlays: dict[Path, Overlay] = {}
        self._asked: dict[str, Picture] = {}

    @property
    def options(self) -> ChartOptions:
        """What is shown, and how."""
        return self._options

    @property
    def names(self) -> tuple[str, ...]:
        """The charts chosen that this run has."""
        return self._names

    @property
    def current(self) -> str:
        """The chart that the keys are for."""
        return self._names[self._current] if self._current < len(self._names) else "loss"

    @property
    def is_full(self) -> bool:
        """Whether one chart has the whole screen."""
        return self._full

    def compose(self) -> ComposeResult:
        """As many charts as there can be; those without room or use are hidden."""
        for chart in self._charts:
            chart.set_class(self._glyphs.ascii, "-ascii")
            yield chart

    def on_mount(self) -> None:
        """Listen to the painter; say when the remembered settings were no good."""
        self._painter.on_painted = self._painted
        if self._note:
            self.app.notify(self._note, severity="warning", markup=False)

    # What is shown

    def show(self, view: RunView) -> None:
        """Show a newer view."""
        self._view = view
        self._draw()

    def set_overlays(self, folders: Sequence[Path]) -> None:
        """Compare with the runs in these folders (three at most), read in the background; none: no longer."""
        self._options = change.with_overlays(self._options, tuple(folders))
        missing = [folder for folder in self._options.overlays if folder not in self._overlays]
        if missing:
            self.run_worker(lambda: self._read(missing), thread=True, group="overlays", exit_on_error=False)
        self._draw()

    def _read(self, folders: Sequence[Path]) -> None:
        found = [read_overlay(folder) for folder in folders]
        self.app.call_from_thread(self._take_overlays, found)

    def _take_overlays(self, found: Sequence[Overlay]) -> None:
        for overlay in found:
            if overlay.problem:
                self.app.notify(overlay.problem, severity="warning", markup=False)
            else:
                self._overlays[overlay.folder] = overlay
        self._draw()

    def _compared(self) -> list[Overlay]:
        return [self._overlays[folder] for folder in self._options.overlays if folder in self._overlays]

    def on_chart_resized(self) -> None:
        """Draw for the new size."""
        self._draw()

    def on_resize(self) -> None:
        """Find room for as many charts as fit now."""
        self._draw()

    def _draw(self) -> None:
        if not self.is_mounted or not self.size.width:
            return
        self._names = chosen_charts(self._options, self._view.recorded, self._view.metrics)
        self._current = min(self._current, len(self._names) - 1)
        self._arrange()
        for chart, name in zip(self._charts, self._shown, strict=False):
            if chart.size.width and chart.size.height:
                self._draw_one(chart, name)

    def _arrange(self) -> None:
        """Give the charts their places: a new layout only when it is another one."""
        rows = (1,) if self._full else arrange(len(self._names), *self.size)
        first = max(0, min(self._current, len(self._names) - sum(rows)))
        shown = self._names[first : first + sum(rows)]
        if (shown, rows) == (self._shown, self._rows):
            return
        self._shown, self._rows = shown, rows
        self.styles.grid_size_columns = max(rows)
        self.styles.grid_size_rows = len(rows)
        self.styles.grid_rows = "3fr 2fr" if rows == (1, 2) else "1fr"
        self._charts[0].styles.column_span = max(rows) if rows[0] == 1 else 1
        for number, chart in enumerate(self._charts):
            chart.display = number < len(shown)
        if any(chart.has_focus for chart in self._charts):
            self._charts[shown.index(self.current)].focus()

    def _scene(self, name: str) -> Scene:
        return Scene(self._view.recorded, self._options, name, self._compared())

    def _draw_one(self, chart: Chart, name: str) -> None:
        scene, size = self._scene(name), (chart.size.width, chart.size.height)
        some = len(self._shown) < len(self._names)
        content = chart_content(
            scene,
            size,
            best_epoch=self._view.best_epoch if name == self._view.monitored_chart else 0,
            ascii_only=self._glyphs.ascii,
            place=f"{self._names.index(name) + 1}/{len(self._names)}" if some else "",
            fixes=fix_marks(self._view),
        )
        note = content.note
        if not self._painter.alive:
            note = "no charts: the painter process ended"
        elif self._options.cursor is not None:
            note = reading(scene, size[0] - 4)
        if self._glyphs.ascii:
            note = note.replace(" · ", ", ").replace("°", "")
        chart.set_border(content.title, content.legend, note)
        chart.set_cursor(cursor_column(scene, chart.columns))
        key = str(chart.id)
        if self._asked.get(key) != content.picture:
            self._asked[key] = content.picture
            self._painter.request(key, content.picture)

    def _painted(self, key: str, drawing: Drawing) -> None:
        """Called on the painter's thread."""
        if self.app.is_running:
            self.app.call_later(self._take_drawing, key, drawing)

    def _take_drawing(self, key: str, drawing: Drawing) -> None:
        for chart, name in zip(self._charts, self._shown, strict=False):
            if chart.id == key:
                chart.set_drawing(drawing)
                chart.set_cursor(cursor_column(self._scene(name), chart.columns))

    # Keys and mouse

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """The keys are for the chart that has the focus."""
        for chart, name in zip(self._charts, self._shown, strict=False):
            if chart is event.widget:
                self._current = self._names.index(name)

    def on_chart_pointed(self, message: Chart.Pointed) -> None:
        """Read the values under the mouse."""
        for chart, name in zip(self._charts, self._shown, strict=False):
            if chart is message.chart:
                step = step_at_column(self._scene(name), message.column, chart.columns)
                self._change(change.put_cursor(self._options, step, self._last))

    def on_chart_scrolled(self, message: Chart.Scrolled) -> None:
        """Look closer or from farther away."""
        self.action_zoom(1 if message.inwards else -1)

    @property
    def _last(self) -> float:
        return float(self._view.recorded.last_step)

    def _change(self, options: ChartOptions) -> None:
        before, self._options = self._options, options
        self._draw()
        if remembered(before) != remembered(options) and self._memory.path is not None:
            self.run_worker(
                lambda: self._save(options),
                thread=True,
                group="chart-memory",
                exclusive=True,
                exit_on_error=False,
            )

    def _save(self, options: ChartOptions) -> None:
        if note := self._memory.save(options):
            self.app.call_from_thread(self.app.notify, note, severity="warning", markup=False)

    def action_full(self) -> None:
        """One chart over the whole screen, or back to all of them."""
        self._full = not self._full
        self.screen.set_class(self._full, "-full-chart")
        self._draw()
        shown = self._shown.index(self.current) if self.current in self._shown else 0
        self._charts[shown].focus()

    def action_back(self) -> None:
        """Take away the cursor; then leave the full screen; then leave the charts."""
        if self._options.cursor is not None:
            self._change(change.put_cursor(self._options, None, self._last))
        elif self._full:
            self.action_full()
        else:
            self.screen.set_focus(None)

    def action_other(self, by: int) -> None:
        """The next or the previous of the chosen charts."""
        self._current = (self._current + by) % len(self._names)
        self._draw()
        self._charts[self._shown.index(self.current)].focus()

    def action_axis(self) -> None:
        """x by epoch, step, time."""
        self._change(change.next_axis(self._options))

    def action_scale(self) -> None:
        """This chart's y: auto, log, linear."""
        self._change(change.next_scale(self._options, self.current))

    def action_smoothing(self) -> None:
        """How much the past weighs in the smoothed curves."""
        self._change(change.next_smoothing(self._options))

    def action_zoom(self, inwards: int) -> None:
        """Show half, or twice as much."""
        factor = change.ZOOM if inwards > 0 else 1 / change.ZOOM
        self._change(change.zoom(self._options, factor, self._last))

    def action_pan(self, by: int) -> None:
        """Earlier or later."""
        self._change(change.pan(self._options, by * change.PAN, self._last))

    def action_follow(self) -> None:
        """The whole run again, up to the newest step."""
        self._change(change.follow(self._options))

    def action_cursor(self, by: int) -> None:
        """One column to a side; the first time, to the newest values."""
        chart = (
            self._charts[self._shown.index(self.current)] if self.current in self._shown else self._charts[0]
        )
        step = move(self._scene(self.current), chart.columns, forward=by > 0)
        self._change(change.put_cursor(self._options, step, self._last))

    def action_metrics(self) -> None:
        """Choose what is shown."""
        self.app.push_screen(MetricPicker(self._view, self._names, self._toggle))

    def _toggle(self, name: str) -> tuple[tuple[str, ...], str]:
        """Show a chart, or no longer. The charts then shown, and what to tell the user."""
        options = change.toggle_chart(self._options, self._names, name)
        if isinstance(options, str):
            return self._names, options
        self._change(options)
        return self._names, ""
