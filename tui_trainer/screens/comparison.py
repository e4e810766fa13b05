"""Several runs side by side: two charts with a curve a run, the settings that differ, the results."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, ClassVar

from rich.style import Style
from rich.text import Text
from textual import work
from textual.containers import Horizontal
from textual.message import Message
from textual.screen import Screen
from textual.widgets import DataTable

from tui_trainer.screens.canvas import Curve, Picture
from tui_trainer.screens.chart import Chart
from tui_trainer.screens.chart_content import fit_legend, fit_note
from tui_trainer.screens.key_bar import KeyBar
from tui_trainer.screens.keys import COMPARE_BINDINGS
from tui_trainer.screens.painting import Channel
from tui_trainer.screens.resizing import outdated
from tui_trainer.screens.rows import Rows
from tui_trainer.screens.run_table import cell
from tui_trainer.screens.series import Series, thin
from tui_trainer.screens.y_axis import y_axis
from tui_trainer.session.comparison import ABSENT, UNKNOWN, Comparison, compare
from tui_trainer.session.wording import clean_text, crop, format_metric, is_share

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.events import Resize

    from tui_trainer.screens import panels
    from tui_trainer.screens.canvas import Drawing, Run
    from tui_trainer.screens.painting import ChartPainter
    from tui_trainer.session.comparison import ComparedMetric
    from tui_trainer.session.run_index import RunEntry

LETTERS = "ABCDEF"
MOST_RUNS = len(LETTERS)
LETTERS_ON_A_CURVE = 3
LABEL_WIDTH, LEAST_CELL = 26, 14
TableRow = tuple[str, list[tuple[str, str]]]  # label, and (text, role) of each run; no cells: a heading


class CompareScreen(Screen[None]):
    """Compares up to `MOST_RUNS` runs. Each has a letter, which stands on its curves, and a colour."""

    shows_own_run = False
    help_bindings = tuple(COMPARE_BINDINGS)
    BINDINGS: ClassVar[list[BindingType]] = [*COMPARE_BINDINGS]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (160, "-wide")]  # noqa: RUF012 (read from the class)
    VERTICAL_BREAKPOINTS = [(0, "-tiny"), (16, "-short"), (30, "-tall"), (42, "-high")]  # noqa: RUF012

    class Compared(Message):
        """The runs were read."""

        def __init__(self, comparison: Comparison) -> None:
            super().__init__()
            self.comparison = comparison

    def __init__(
        self,
        runs: Sequence[RunEntry],
        painter: ChartPainter,
        glyphs: panels.Glyphs,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self._runs, self._glyphs, self._clock = tuple(runs), glyphs, clock
        self._painter = Channel(painter, "compare")
        self._comparison: Comparison | None = None
        self._metric = ""
        self._asked: dict[str, Picture] = {}

    def compose(self) -> ComposeResult:
        """Header, charts, table, keys."""
        yield Rows(id="header")
        with Horizontal(id="charts"):
            yield Chart(id="left")
            yield Chart(id="right")
        yield DataTable(id="table", cursor_type="none")
        yield KeyBar()

    def on_mount(self) -> None:
        """Read the runs behind the first paint."""
        for chart in self.query(Chart):
            chart.can_focus = False  # there is nothing to choose in these
        self._painter.on_painted = self._painted
        self.query_one(DataTable).focus()
        self._read()

    def on_unmount(self) -> None:
        """Listen no longer."""
        self._painter.close()

    @work(thread=True)
    def _read(self) -> None:
        self.post_message(self.Compared(compare(self._runs)))

    def on_compare_screen_compared(self, message: Compared) -> None:
        """Show what was read."""
        self._comparison = message.comparison
        monitored = self._runs[0].monitor
        names = list(self._comparison.curves)
        self._metric = monitored if monitored in names else next(iter(names), "")
        self._show()

    def on_resize(self, event: Resize) -> None:
        """Lay out anew once the sizes are known."""
        if not outdated(self, event):
            self.call_after_refresh(self._show)

    def on_chart_resized(self) -> None:
        """Draw for the new size."""
        self._show_charts()

    # Showing

    def _show(self) -> None:
        width = self.size.width
        header = self.query_one("#header", Rows)
        count = f"{len(self._runs)} runs" if self._comparison is not None else "reading…"
        header.set_rows(
            [((" mltrainer  ", "brand"), ("Compare  ", "strong"), (crop(count, max(0, width - 21)), "dim"))]
        )
        if self._comparison is not None and width:
            self._fill(self.query_one(DataTable), self._comparison)
            self._show_charts()

    def _fill(self, table: DataTable[Any], comparison: Comparison) -> None:
        room = self.size.width - LABEL_WIDTH - 3
        each = min(36, max(LEAST_CELL, room // len(self._runs) - 2))
        table.clear(columns=True)
        table.add_column("", width=LABEL_WIDTH, key="label")
        for index, run in enumerate(self._runs):
            name = crop(f"{LETTERS[index]} {clean_text(run.name, limit=100)}", each)
            table.add_column(self._text((name, f"run{index + 1}")), width=each, key=LETTERS[index])
        for label, cells in table_rows(comparison, self._clock()):
            heading = Text(crop(label, LABEL_WIDTH), Style(bold=not cells), no_wrap=True)
            table.add_row(heading, *(self._text((crop(text, each), role)) for text, role in cells))

    def _text(self, run: Run) -> Text:
        text, role = run
        look = self.query_one("#header", Rows).get_component_rich_style(f"rows--{role}", partial=True)
        return Text(
            text, Style(color=look.color, bold=look.bold) if role != "text" else Style(), no_wrap=True
        )

    def _show_charts(self) -> None:
        if self._comparison is None:
            return
        other = next((name for name in ("val_loss", "train_loss") if name != self._metric), "")
        for key, metric in (("left", self._metric), ("right", other)):
            chart = self.query_one(f"#{key}", Chart)
            if chart.size.width and chart.size.height:
                self._request(key, chart, metric, self._comparison)

    def _request(self, key: str, chart: Chart, metric: str, comparison: Comparison) -> None:
        width, height = chart.size
        curves, broken = curves_of(comparison, metric, width)
        values = [y for curve in curves for y in curve.ys]
        share = bool(values) and is_share(metric) and 0 <= min(values) <= max(values) <= 1
        y = y_axis(values, "auto", share=share)
        entries = [
            (LETTERS[index], clean_text(run.name, limit=60), f"run{index + 1}")
            for index, run in enumerate(self._runs)
        ]
        title, legend = fit_legend(clean_text(metric, limit=40), entries, width - 4)
        note = fit_note(broken, ["log"] if y.log else [], width - 4)
        if not self._painter.alive:
            note = "no charts: the painter process ended"
        chart.set_border(title, legend, note)
        picture = Picture(
            width, height, curves, share=share, ascii=self._glyphs.ascii, y=y if values else None
        )
        if self._asked.get(key) != picture:
            self._asked[key] = picture
            self._painter.request(key, picture)

    def _painted(self, key: str, drawing: Drawing) -> None:
        """Called on the painter's thread."""
        if self.app.is_running:
            self.app.call_later(self._take_drawing, key, drawing)

    def _take_drawing(self, key: str, drawing: Drawing) -> None:
        if self.is_mounted:
            self.query_one(f"#{key}", Chart).set_drawing(drawing)

    # Keys

    def action_metric(self, direction: int) -> None:
        """Show the next metric in the first chart."""
        names = list(self._comparison.curves) if self._comparison is not None else []
        if names:
            self._metric = names[(names.index(self._metric) + direction) % len(names)]
            self._show_charts()

    def action_close(self) -> None:
        """Back to the list."""
        self.dismiss()


def curves_of(comparison: Comparison, metric: str, width: int) -> tuple[tuple[Curve, ...], list[str]]:
    """A curve a run, at most two points a column each; which runs have values that are not finite."""
    curves: list[Curve] = []
    broken: list[str] = []
    for index, points in enumerate(comparison.curves.get(metric, ())):
        series = Series().extend(points)
        if series.broken_count:
            broken.append(f"{LETTERS[index]}: {series.broken_count} non-finite")
        if series.xs or series.broken:
            last = series.xs[-1] if series.xs else 0.0
            xs, ys = thin(series, 0.0, last, width)
            # Where curves coincide, their letters stand one beside the other.
            at = tuple(
                (part + (index + 0.5) / MOST_RUNS) / LETTERS_ON_A_CURVE for part in range(LETTERS_ON_A_CURVE)
            )
            curves.append(
                Curve(f"run{index + 1}", "line", tuple(xs), tuple(ys), series.broken, LETTERS[index], at)
            )
    return tuple(curves), broken


def table_rows(comparison: Comparison, now: float) -> list[TableRow]:
    """The table under the charts: results first, then the settings that tell the runs apart."""
    runs = comparison.runs
    rows: list[TableRow] = [("Results", [])]
    for label, key in (
        ("status", "status"),
        ("epochs", "epochs"),
        ("took", "duration"),
        ("problems", "diagnostics"),
    ):
        rows.append((label, [cell(run, key, now=now, size=None) for run in runs]))
    if len({run.monitor for run in runs}) == 1:
        best = [run.best for run in runs]
        better = "max" if runs[0].monitor_mode == "max" else "min"
        rows.append((f"best {clean_text(runs[0].monitor)}", _metric_cells(runs[0].monitor, best, better)))
        epochs = [("-", "dim") if run.best_epoch is None else (str(run.best_epoch), "text") for run in runs]
        rows.append(("  at epoch", epochs))
    else:
        names = [(f"{clean_text(run.monitor)} {format_metric(run.monitor, run.best)}", "text")
                 if run.best is not None else ("-", "dim") for run in runs]  # fmt: skip
        rows.append(("best, as monitored", names))
    rows += [(f"last {clean_text(item.name)}", _compared(item)) for item in comparison.metrics]
    rows.append((f"Settings that differ: {len(comparison.settings) or 'none'}", []))
    for setting in comparison.settings:
        first = setting.values[0]
        rows.append((clean_text(setting.key), [_setting_cell(value, first) for value in setting.values]))
    rows += [
        (f"{LETTERS[index]}: {clean_text(why, limit=200)}", []) for index, why in comparison.unread.items()
    ]
    return rows


def _compared(metric: ComparedMetric) -> list[tuple[str, str]]:
    return _metric_cells(metric.name, metric.values, metric.better)


def _metric_cells(name: str, values: Sequence[float | None], better: str | None) -> list[tuple[str, str]]:
    """The values of one metric; the best one is marked where one end is the better one and they differ."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    best = None
    if better is not None and len(set(finite)) > 1:
        best = min(finite) if better == "min" else max(finite)
    cells = []
    for value in values:
        if value is None:
            cells.append(("-", "dim"))
        elif not math.isfinite(value):
            cells.append((format_metric(name, value), "bad"))
        else:
            text = format_metric(name, value)
            cells.append((f"{text} best", "good") if value == best else (text, "text"))
    return cells


def _setting_cell(value: Any, first: Any) -> tuple[str, str]:
    """A setting's value; what differs from the first run stands out."""
    if value is UNKNOWN:
        return "?", "warn"
    text = "-" if value is ABSENT else "none" if value is None else clean_text(value, limit=200)
    return text, "text" if value == first else "warn"
