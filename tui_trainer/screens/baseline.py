"""Phase 2: the screen on which a baseline trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Footer

from tui_trainer.screens import panels
from tui_trainer.screens.log_pane import LogPane
from tui_trainer.screens.machine import machine_rows, machine_title
from tui_trainer.screens.rows import Chart, Rows
from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult

    from tui_trainer.screens.canvas import Picture, Row
    from tui_trainer.screens.painting import ChartPainter
    from tui_trainer.screens.view import RunView

TRAIN, VALIDATION, FAINT = "#56b4e9", "#e69f00", "#7d8590"  # as in app.tcss
SLOW_SECONDS = 1.0  # charts and log are most of what goes over the wire: 10 kB a time at 120 × 34


class BaselineScreen(Screen[None]):
    """Charts, the run's numbers, its log: the latest view it was given, the pictures the painter draws."""

    # Textual declares these as instance variables and reads them from the class.
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (160, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-tiny"), (16, "-short"), (30, "-tall"), (42, "-high")]  # noqa: RUF012

    def __init__(self, painter: ChartPainter, glyphs: panels.Glyphs, view: RunView) -> None:
        super().__init__()
        self._painter = painter
        self._glyphs = glyphs
        self._view = view
        self._scales: dict[str, str] = {}
        self._charted = -1

    def compose(self) -> ComposeResult:
        """Header, charts beside the run panel, log, keys."""
        yield Rows(id="header")
        with Horizontal(id="main"):
            with Vertical(id="charts"):
                yield Chart(id="loss")
                with Horizontal(id="lower"):
                    yield Chart(id="metric")
                    yield Chart(id="norm")
            with Vertical(id="side"):
                yield Rows(id="run")
                yield Rows(id="machine")
                yield Rows(id="epochs")
        yield LogPane(id="log")
        yield Footer()

    def on_mount(self) -> None:
        """Name the panels and listen to the painter."""
        self._painter.on_painted = self._painted
        self.query_one("#epochs").border_title = "Epochs: loss, validation metric"
        self.query_one("#log").border_title = "Log"
        self.call_after_refresh(self._show_again)
        self.set_interval(SLOW_SECONDS, self._show_slow)

    def show(self, view: RunView) -> None:
        """Show a newer view."""
        self._view = view
        header = self.query_one("#header", Rows)
        header.set_rows([panels.header_row(view, header.size.width, self._glyphs)])
        run = self.query_one("#run", Rows)
        run.set_title(f"Run, attempt {view.attempt}" if view.attempt > 1 else "Run")
        run.set_rows(panels.run_rows(view, run.size.width, run.size.height, self._glyphs))
        machine = self.query_one("#machine", Rows)
        machine.set_title(machine_title(view))
        machine.set_rows(machine_rows(view, machine.size.width, machine.size.height, self._glyphs))
        epochs = self.query_one("#epochs", Rows)
        if epochs.size.height:
            epochs.set_rows(panels.epoch_rows(view, epochs.size.width, epochs.size.height))
        if view.is_over or len(view.series) != self._charted:
            self._show_slow()  # a curve has begun or ended; otherwise the timer is soon enough

    def on_resize(self) -> None:
        """Lay the text out anew once the panels have their new sizes."""
        self.call_after_refresh(self._show_again)

    def on_chart_resized(self) -> None:
        """Draw for the new size."""
        self._show_charts()

    def _show_again(self) -> None:
        self.show(self._view)
        self._show_slow()

    def _show_slow(self) -> None:
        self.query_one("#log", LogPane).show(self._view)
        self._show_charts()

    def _show_charts(self) -> None:
        view = self._view
        self._charted = len(view.series)
        metric = panels.metric_title(view.metric) if view.metric else "Metric"
        both = [("─", "train", TRAIN), ("●", "validation", VALIDATION)]
        self._request(
            "loss",
            "Loss",
            [*both, ("┄", "each batch", FAINT)],
            panels.loss_picture,
            "batch_loss",
            "train_loss",
            "val_loss",
        )
        name = view.metric or ""
        self._request("metric", metric, both, panels.metric_picture, f"train_{name}", f"val_{name}")
        self._request("norm", "Gradient norm", [], panels.norm_picture, "grad_norm")

    def _request(
        self,
        key: str,
        title: str,
        legend: list[tuple[str, str, str]],
        picture: Callable[[RunView, int, int, panels.Glyphs], Picture],
        *curves: str,
    ) -> None:
        chart = self.query_one(f"#{key}", Chart)
        if not chart.size.width or not chart.size.height:
            return
        if self._glyphs.ascii:
            legend = [({"─": "*", "●": "o", "┄": "."}[sign], text, color) for sign, text, color in legend]
        if chart.size.width < 44:
            legend = [item for item in legend if item[1] != "each batch"]
        broken = panels.broken_count(self._view, *curves)
        notes = [self._scales.get(key, ""), f"{broken} non-finite" if broken else ""]
        if not self._painter.alive:
            notes = ["no charts: the painter process ended"]
        chart.set_legend(clean_text(title), legend, ", ".join(filter(None, notes)))
        self._painter.request(key, picture(self._view, chart.size.width, chart.size.height, self._glyphs))

    def _painted(self, key: str, rows: list[Row], scale: str) -> None:
        """Called on the painter's thread."""
        app = self.app
        if app.is_running:
            app.call_later(self._take_picture, key, rows, scale)

    def _take_picture(self, key: str, rows: list[Row], scale: str) -> None:
        note = "log scale" if scale == "log" else ""
        if self._scales.get(key, "") != note:
            self._scales[key] = note
            self._show_charts()
        self.query_one(f"#{key}", Chart).set_rows(rows)
