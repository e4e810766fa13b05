"""Phase 2: the screen on which a baseline trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.containers import Horizontal, Vertical
from textual.screen import Screen

from tui_trainer.screens import panels
from tui_trainer.screens.chart_grid import ChartGrid
from tui_trainer.screens.desk import Desk
from tui_trainer.screens.diagnosis import DiagnosisPanel
from tui_trainer.screens.gate_panel import GatePanel
from tui_trainer.screens.key_bar import KeyBar
from tui_trainer.screens.keys import DIAGNOSIS_BINDINGS, GATE_KEY, MORE_FIX_KEYS
from tui_trainer.screens.log_pane import LogPane
from tui_trainer.screens.machine import machine_rows, machine_title
from tui_trainer.screens.phase_header import RUN_ALONE
from tui_trainer.screens.resizing import outdated
from tui_trainer.screens.rows import Panel, Rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.events import Resize

    from tui_trainer.screens.canvas import Row
    from tui_trainer.screens.chart_memory import ChartMemory
    from tui_trainer.screens.gate_view import GateDesk, GateView
    from tui_trainer.screens.painting import ChartPainter
    from tui_trainer.screens.phase_header import Marks
    from tui_trainer.screens.view import RunView

SLOW_SECONDS = 1.0  # charts and log are most of what goes over the wire: 10 kB a time at 120 × 34


class BaselineScreen(Screen[None]):
    """Charts, the run's numbers, its log: the latest view it was given, the pictures the painter draws."""

    shows_own_run = True
    BINDINGS: ClassVar[list[BindingType]] = [*DIAGNOSIS_BINDINGS, *MORE_FIX_KEYS, GATE_KEY]

    # Textual declares these as instance variables and reads them from the class.
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (160, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-tiny"), (16, "-short"), (30, "-tall"), (42, "-high")]  # noqa: RUF012

    AUTO_FOCUS = "#log"

    def __init__(
        self,
        painter: ChartPainter,
        glyphs: panels.Glyphs,
        view: RunView,
        chart_memory: ChartMemory | None = None,
        desk: Desk | None = None,
        *,
        marks: Callable[[], Marks] = lambda: RUN_ALONE,
        gate: GateDesk | None = None,
    ) -> None:
        super().__init__()
        self.charts = ChartGrid(painter, glyphs, view, chart_memory, id="charts")
        self.diagnosis = DiagnosisPanel(painter, glyphs, view, desk or Desk())
        self._glyphs = glyphs
        self._view = view
        self._charted = -1
        self._marks = marks
        self.gate = GatePanel(glyphs, gate)

    def compose(self) -> ComposeResult:
        """Header, charts beside the run panel, log or diagnostics, keys."""
        yield Rows(id="header")
        with Horizontal(id="main"):
            yield self.charts
            with Vertical(id="side"):
                yield Panel(id="run")
                yield Panel(id="machine")
                yield Panel(id="epochs")
        yield LogPane(id="log")
        yield self.diagnosis
        yield self.gate
        yield KeyBar()

    def on_mount(self) -> None:
        """Name the panels."""
        self.query_one("#epochs").border_title = "Epochs: loss, validation metric"
        self.query_one("#log").border_title = "Log"
        self.call_after_refresh(self._show_again)
        self.set_interval(SLOW_SECONDS, self._show_slow)

    def show(self, view: RunView) -> None:
        """Show a newer view; what a dialog covers waits until it closes, for each change there repaints all."""
        self._view = view
        if not self.is_mounted:
            return  # it is being made
        if self._covered:
            self.diagnosis.announce(view)
            return
        header = self.query_one("#header", Rows)
        header.set_rows([self.header(header.size.width)])
        run = self.query_one("#run", Rows)
        run.set_title(f"Run, attempt {view.attempt}" if view.attempt > 1 else "Run")
        run.set_rows(panels.run_rows(view, run.size.width, run.size.height, self._glyphs))
        machine = self.query_one("#machine", Rows)
        machine.set_title(machine_title(view))
        machine.set_rows(machine_rows(view, machine.size.width, machine.size.height, self._glyphs))
        epochs = self.query_one("#epochs", Rows)
        if epochs.size.height:
            epochs.set_rows(panels.epoch_rows(view, epochs.size.width, epochs.size.height))
        self.diagnosis.take(view)
        if view.is_over or len(view.recorded.traces) != self._charted:
            self._show_slow()  # a curve has begun or ended; otherwise the timer is soon enough

    @property
    def _covered(self) -> bool:
        return self.app.screen is not self

    def on_screen_resume(self) -> None:
        """Show what came while something else was in front."""
        self.diagnosis.hold()
        self.call_after_refresh(self._show_again)

    def header(self, width: int) -> Row:
        """The first row: which run this is, and its state."""
        return panels.header_row(self._view, width, self._glyphs, self._marks())

    def on_resize(self, event: Resize) -> None:
        """Lay the text out anew once the panels have their new sizes."""
        if not outdated(self, event):
            self.call_after_refresh(self._show_again)

    @on(Panel.Resized)
    def _panel_resized(self) -> None:
        self.show(self._view)

    def _show_again(self) -> None:
        self.show(self._view)
        self._show_slow()

    def _show_slow(self) -> None:
        if self._covered:
            return
        self._charted = len(self._view.recorded.traces)
        self.query_one("#log", LogPane).show(self._view)
        self.charts.show(self._view)
        self.diagnosis.take(self._view)  # it may have waited for somebody who typed
        self.diagnosis.draw()

    def show_gate(self, view: GateView) -> None:
        """Show the gate as it stands; it takes the log's place when there is first something to see."""
        opens = view.begun and not self.gate.begun
        self.gate.take(view)
        header = self.query_one("#header", Rows)
        header.set_rows([self.header(header.size.width)])  # the phases have other states now
        if opens:
            self.set_class(True, "-gate")
        elif not view.begun:
            self.set_class(False, "-gate")
        if self.has_class("-gate"):
            self.call_after_refresh(self._gate_opened)
        self.refresh_bindings()

    def _gate_opened(self) -> None:
        self.gate.show_again()
        if self.focused is None or isinstance(self.focused, (LogPane, GatePanel)):
            self.gate.take_focus()

    def action_toggle_gate(self) -> None:
        """The gate, or the log again."""
        if not self.has_class("-gate"):
            self.set_class(True, "-gate")
            self.call_after_refresh(self._gate_opened)
            return
        inside = self.focused is None or self.gate in self.focused.ancestors
        self.set_class(False, "-gate")
        if inside:
            self.call_after_refresh(lambda: self.set_focus(self.query_one(LogPane)))
        self.call_after_refresh(self._show_again)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of the diagnostics panel are its own while it is open; a gate is there once the run is over."""
        if action == "diagnosis":
            return self.diagnosis.takes(str(parameters[0]))
        if action == "toggle_gate":
            return self.gate.begun and self.diagnosis.mode == "closed"
        return super().check_action(action, parameters)

    def action_diagnosis(self, what: str, number: int = 0) -> None:
        """What a key of the diagnostics panel does."""
        self.diagnosis.act(what, number)
        if self.diagnosis.mode == "closed" and self.has_class("-gate"):
            self.call_after_refresh(self._gate_opened)
