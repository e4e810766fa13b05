"""The Textual app: owns the screens, passes keys on as commands, never takes the training down with it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import importlib
import signal
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from textual import on
from textual.app import App, SystemCommand
from textual.message import Message
from textual.screen import ModalScreen

from tui_trainer.screens import controls, panels
from tui_trainer.screens.baseline import BaselineScreen
from tui_trainer.screens.captured import OutputTail
from tui_trainer.screens.desk import Desk
from tui_trainer.screens.dialogs import Ask, Help, Saving
from tui_trainer.screens.feed import Feed
from tui_trainer.screens.ignored import Ignored, ignore_always
from tui_trainer.screens.key_help import help_groups, palette_commands
from tui_trainer.screens.keys import BINDINGS, OWN_ACTIONS, PANEL_ACTIONS
from tui_trainer.screens.log_pane import LogPane
from tui_trainer.screens.machine_screen import MachineScreen
from tui_trainer.screens.phases import BASELINE, PLAN, Phases, mode_of
from tui_trainer.screens.preferences import Preferences, remember
from tui_trainer.screens.textual_repairs import let_closed_screens_go
from tui_trainer.screens.themes import HIGH_CONTRAST, THEME_VARIABLES
from tui_trainer.screens.view import RunView
from tui_trainer.session.run_folder import DEFAULT_ROOT
from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from textual.binding import Binding, BindingType
    from textual.screen import Screen
    from textual.theme import Theme

    from tui_trainer.screens.chart_grid import ChartGrid
    from tui_trainer.screens.chart_memory import ChartMemory
    from tui_trainer.screens.diagnose import DiagnoseScreen
    from tui_trainer.screens.painting import ChartPainter
    from tui_trainer.screens.planner import Planner
    from tui_trainer.screens.runs import RunsScreen
    from tui_trainer.screens.terminal import Terminal
    from tui_trainer.session.protocol import RunHandle

WELCOME = "? shows every key, Ctrl+P finds every action. q saves and quits. Should the connection be lost, the training goes on."
WELCOME_SECONDS = 8.0
SLOW_TERMINAL_SECONDS = 0.5  # between looks whether a terminal that is behind has caught up
PATIENT_LOOKS = 3  # seconds that the last event of a run that is over may take to get here

LATER = ("tui_trainer.screens.control_dialogs", "tui_trainer.screens.runs")
"""Imported once the run has begun: the first paint does without them, the first key shall not wait for them."""

Reason = Literal["quit", "detached", "abandoned", "not_started", "crashed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the app was left.

    "quit": the run is over. "detached": the terminal is gone, the run goes on. "abandoned": the user did not
    wait for the last checkpoint. "not_started": `error` says why. "crashed": the app failed, the run goes on.
    `signal` is the number of the signal that ended it.
    """

    reason: Reason
    handle: RunHandle | None
    view: RunView
    error: BaseException | None = None
    signal: int | None = None


class MLTrainerApp(App[Outcome]):
    """Shows a run that `start` begins, on a thread of its own, after the first paint."""

    TITLE = "mltrainer-tui"
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*BINDINGS]
    ENABLE_COMMAND_PALETTE = True

    class Updated(Message):
        """There is a newer view in `app.view`."""

    class Started(Message):
        """The run has begun."""

        def __init__(self, handle: RunHandle) -> None:
            super().__init__()
            self.handle = handle

    class StartFailed(Message):
        """The run could not be begun."""

        def __init__(self, error: BaseException) -> None:
            super().__init__()
            self.error = error

    def __init__(
        self,
        start: Callable[[], RunHandle] | None,
        *,
        painter: ChartPainter,
        name: str = "",
        terminal: Terminal | None = None,
        ascii: bool = False,  # noqa: A002 (says what it is)
        view: RunView | None = None,
        preferences: Preferences | None = None,
        chart_memory: ChartMemory | None = None,
        run_roots: Sequence[Path] = (DEFAULT_ROOT,),
        ignored: Ignored | None = None,
        planner: Planner | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`start` None: nothing begins by itself; with a `planner` the app then opens on the plan."""
        let_closed_screens_go()
        begun = planner is None or start is not None
        self.DEFAULT_MODE = mode_of(BASELINE if begun else PLAN)  # type: ignore[misc]  # theirs is of the class
        super().__init__()
        self._ignored, self._clock = ignored or Ignored(), clock
        self._preferences = preferences or Preferences()
        self.register_theme(HIGH_CONTRAST)
        if self._preferences.theme in self.available_themes:
            self.theme = self._preferences.theme
        self.set_keymap(self._preferences.keys)
        self.view = view or RunView(name=name)
        self.handle: RunHandle | None = None
        self._start_run = start
        self._painter = painter
        self._chart_memory = chart_memory
        self._run_roots = tuple(run_roots)
        self._terminal = terminal
        self.glyphs = panels.ASCII if ascii else panels.UNICODE
        self._feed: Feed | None = None
        self.tail = OutputTail(terminal.output) if terminal is not None else None
        self._update_pending = False
        self.leaving = False
        self._signal: int | None = None
        self._asked_to_stop = False
        self._awaited = 0
        self._answers = controls.Answers()
        self.phases = Phases(self, planner, self._baseline, self._diagnose, begun=begun)
        if planner is not None:
            planner.on_failure = lambda error: self._tell(self.StartFailed(error))

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The colours that our styles name beside Textual's."""
        return THEME_VARIABLES

    def _baseline(self) -> BaselineScreen:
        desk = Desk(self.send, self._ignore_always, self._clock, self._own_folder)
        return BaselineScreen(
            self._painter,
            self.glyphs,
            self.view,
            self._chart_memory,
            desk,
            marks=lambda: self.phases.marks,
            gate=self.phases.after.gate_desk,
        )

    def _diagnose(self) -> DiagnoseScreen:
        from tui_trainer.screens.diagnose import DiagnoseScreen

        after = self.phases.after
        view = after.diagnoser.view
        shown = view if view.name else replace(view, name=self.view.name)
        return DiagnoseScreen(
            self._painter, self.glyphs, shown, after.diagnose_desk, marks=lambda: self.phases.marks
        )

    def on_mount(self) -> None:
        """Take over prints and signals, and start the run behind the first paint."""
        if self.glyphs.ascii:
            self.add_class("-ascii")  # on the app: all its screens and dialogs stand below it
        if self._terminal is not None:
            self._terminal.use_streams()
            self._handle_signals()
            self.set_interval(1.0, self._check_terminal)
        if self._start_run is not None:
            self.begin(self._start_run)
        self.theme_changed_signal.subscribe(self, self._theme_chosen)
        self._welcome()

    def begin(self, start: Callable[[], RunHandle]) -> None:
        """Have `start` begin the run, on the feed's thread, and follow it, no other any more."""
        if self._feed is not None:
            self._follow_another()
        self._feed = feed = Feed(
            start,
            on_started=self._on_started,
            on_view=lambda view: self._on_view(view) if self._feed is feed else None,
            on_error=lambda error: self._tell(self.StartFailed(error)),
            tail=self.tail,
            name=self.view.name,
        )
        self.call_after_refresh(self._feed.start)

    def _follow_another(self) -> None:
        """Forget the run that is over."""
        if self._feed is not None:
            self._feed.stop()
        name = self.phases.planner.view.name if self.phases.planner is not None else ""
        self.view, self.handle = RunView(name=name, ignored_codes=self._ignored.codes), None
        self._answers, self._asked_to_stop, self._awaited = controls.Answers(), False, 0

    def _theme_chosen(self, theme: Theme) -> None:
        self._preferences = remember(self._preferences, theme=theme.name)

    def _welcome(self) -> None:
        """What a newcomer must know, once; what is wrong with the user's own keys, every time."""
        for note in filter(None, (*self._preferences.notes, self._ignored.note)):
            self.notify(clean_text(note, limit=300), severity="warning", timeout=12, markup=False)
        if not self._preferences.welcomed:
            self.notify(WELCOME, title="Welcome", timeout=WELCOME_SECONDS, markup=False)
            self._preferences = remember(self._preferences, welcomed=True)

    def _handle_signals(self) -> None:
        loop, here = asyncio.get_running_loop(), contextvars.copy_context()

        def stop(number: int, _frame: object) -> None:
            """Tell the run at once: the loop may be far behind, and asyncio's own signals get lost in a crowd."""
            self._ask_run_to_stop(number)
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._on_stop_signal, number, context=here)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        loop.add_signal_handler(signal.SIGHUP, self._on_hang_up)

    def _on_stop_signal(self, number: int) -> None:
        """First: checkpoint and leave. Again: leave without waiting."""
        again, self._signal = self._signal is not None, number
        if again:
            self.action_abandon()
        else:
            self._leave()

    def _check_terminal(self) -> None:
        """A terminal can vanish without a signal (a tmux that is killed, a pty whose other end closes)."""
        if self._terminal is None:
            return
        if self.leaving and self._is_over():  # its last event is due; a run that died has none
            self._awaited += 1
            if self._awaited > PATIENT_LOOKS:
                self.exit(Outcome("quit", self.handle, self.view, signal=self._signal))
        if self._terminal.gone:
            self._on_hang_up()
        elif self._terminal.writer is not None and self._terminal.writer.repaint_due():
            self.screen.refresh()

    def _on_hang_up(self) -> None:
        self.exit(Outcome("detached", self.handle, self.view, signal=signal.SIGHUP))

    # Called on the feed's thread

    def _tell(self, message: Message) -> None:
        with contextlib.suppress(RuntimeError):  # the app has closed meanwhile
            self.post_message(message)

    def _on_started(self, handle: RunHandle) -> None:
        self.handle = handle  # at once: a stop signal may come before the message is read
        self._tell(self.Started(handle))
        for module in LATER:
            importlib.import_module(module)

    def _on_view(self, view: RunView) -> None:
        self.view = replace(view, ignored_codes=self._ignored.codes)
        if not self._update_pending:
            self._update_pending = True
            self._tell(self.Updated())

    # Messages

    @on(Started)
    def _started(self, message: Started) -> None:
        """Remember the run; a wish to leave that came before it began is granted now."""
        self.handle = message.handle
        if self.leaving:
            self._ask_run_to_stop(self._signal)

    @on(StartFailed)
    def _start_failed(self, message: StartFailed) -> None:
        """Back to the plan where there is one to mend; else there is nothing to show: leave, the caller says why."""
        if not self.leaving and self.phases.take_back(message.error):
            return
        self.exit(Outcome("not_started", None, self.view, error=message.error))

    @on(Updated)
    def _updated(self) -> None:
        """Show the newest view; leave when that is what was waited for."""
        if self._terminal is not None and self._terminal.is_behind and not self.view.is_over:
            self.set_timer(SLOW_TERMINAL_SECONDS, self.post_update)
            return
        self._update_pending = False
        self.show(self.view)
        self._answers.tell(self)
        never_began = self.view.status == "failed" and not self.view.attempt
        if self.view.is_over and (self.leaving or never_began):
            self.exit(Outcome("quit", self.handle, self.view, signal=self._signal))

    def post_update(self) -> None:
        """Show the newest view when its turn comes."""
        self.post_message(self.Updated())

    def show(self, view: RunView) -> None:
        """Show `view` on the phase's screen, whatever dialog is in front of it."""
        self.view = view
        if not self.is_running:
            return  # it is closing: the screens' parts go one by one
        self.phases.show(view)
        for screen in self.screen_stack:
            if isinstance(screen, MachineScreen) and screen.is_mounted:
                screen.show(view)

    # Keys

    def action_pause(self) -> None:
        """Pause, or go on."""
        self.send("resume" if self.view.status == "paused" else "pause")

    def action_checkpoint(self) -> None:
        """Save a checkpoint at the next step."""
        self.send("checkpoint")

    def action_learning_rate(self) -> None:
        """Ask for a learning rate, then set it."""
        controls.ask_learning_rate(self)

    def action_epochs(self) -> None:
        """Ask for a number of epochs, then change it."""
        controls.ask_epochs(self)

    def action_roll_back(self) -> None:
        """Ask for a checkpoint, ask again, then go back to it."""
        controls.ask_roll_back(self)

    def action_stop(self) -> None:
        """Ask when, then stop the run and stay."""
        controls.ask_stop(self)

    def action_leave(self) -> None:
        """Leave at once when the run is over; else ask, then let it save first."""
        if self.leaving:
            return
        unsaved = self.phases.planning and self.phases.unsaved
        if not unsaved and (self._is_over() or self.phases.planning):
            self._leave()
            return
        if isinstance(self.screen, ModalScreen):
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._leave()

        if self.phases.planning:
            text = "The config was edited and not saved."
            self.push_screen(Ask("Leave without saving?", text, "leave", "keep planning"), answered)
            return
        text = "The run stops after its current step and writes a checkpoint. It can be resumed later."
        self.push_screen(Ask("Checkpoint and quit?", text, "save and quit", "keep training"), answered)

    def action_abandon(self) -> None:
        """Leave without waiting for the run."""
        self.exit(Outcome("abandoned", self.handle, self.view, signal=self._signal))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that steer this app's run are not there while another run is looked at."""
        if action in OWN_ACTIONS | PANEL_ACTIONS:
            pages = (item for item in reversed(self.screen_stack) if not isinstance(item, ModalScreen))
            page = next(pages, None)  # below the dialogs
            if action == "runs" and getattr(page, "lists_runs", False):
                return True
            if action in OWN_ACTIONS:
                return bool(getattr(page, "shows_own_run", True))
            return isinstance(page, BaselineScreen)
        return super().check_action(action, parameters)

    def action_runs(self) -> None:
        """Open the list of runs, once."""
        from tui_trainer.screens.runs import RunsScreen
        from tui_trainer.session.run_index import RunIndex

        if isinstance(self.screen, ModalScreen) or any(
            isinstance(item, RunsScreen) for item in self.screen_stack
        ):
            return
        folder = self.handle.folder if self.handle is not None else None
        roots = [*self._run_roots, *([folder.parent] if folder is not None else [])]
        self.push_screen(RunsScreen(RunIndex(roots), self._painter, self.glyphs, present=self._own_folder))

    def on_runs_screen_overlaid(self, message: RunsScreen.Overlaid) -> None:
        """Draw the runs chosen from the list behind this one's curves, and show that."""
        if not isinstance(self.screen, BaselineScreen):
            self.pop_screen()
        self.set_overlays(message.folders)

    def _own_folder(self) -> Path | None:
        return self.handle.folder if self.handle is not None else None

    def action_diagnostics(self) -> None:
        """What is wrong and how to mend it; once more: everything that was found."""
        if isinstance(self.screen, BaselineScreen):
            self.screen.diagnosis.toggle()

    def _ignore_always(self, code: str) -> None:
        """Hear no more of this kind, in no run."""
        self._ignored = ignore_always(self._ignored, code)
        if self._ignored.note:
            self.notify(clean_text(self._ignored.note, limit=300), severity="warning", markup=False)
        self.view = replace(self.view, ignored_codes=self._ignored.codes)

    def action_help(self) -> None:
        """Keys, and how to read the screen."""
        self.push_screen(Help(help_groups(self, self._preferences.keys)))

    def applies(self, binding: Binding) -> bool:
        """Whether the key does anything on the page in front."""
        return self.check_action(binding.action.partition("(")[0], ()) is not False

    def action_copy_folder(self) -> None:
        """Put the run folder's path on the clipboard, through the terminal: that works over SSH too."""
        if self.handle is None:
            self.notify("The run has not started yet.", markup=False)
            return
        self.copy_to_clipboard(str(self.handle.folder))
        self.notify(f"Copied: {clean_text(self.handle.folder)}", markup=False)

    def action_machine(self) -> None:
        """All of the machine on a page of its own."""
        if not isinstance(self.screen, MachineScreen):
            self.push_screen(MachineScreen(self.glyphs, self.view))

    def action_metrics(self) -> None:
        """Choose the charts."""
        if (charts := self._charts()) is not None:
            charts.action_metrics()

    def action_full_chart(self) -> None:
        """One chart over the whole screen, or back."""
        if (charts := self._charts()) is not None:
            charts.action_full()

    def set_overlays(self, folders: Sequence[Path]) -> None:
        """Show the curves of the runs in these folders behind this run's: three at most, none to end it."""
        if (charts := self._charts()) is not None:
            charts.set_overlays(folders)

    def _charts(self) -> ChartGrid | None:
        """The charts in front, or right behind the dialog in front."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, BaselineScreen) and screen.is_mounted:
                return screen.charts
        return None

    def action_log_filter(self) -> None:
        """Filter the log by a text that is typed now."""
        if pane := self._log_pane():
            pane.begin_filter()

    def action_log_level(self) -> None:
        """Show other levels of the log."""
        if pane := self._log_pane():
            pane.next_level()

    def action_log_pause(self) -> None:
        """Hold the log still, or follow it again."""
        if pane := self._log_pane():
            pane.toggle_follow()

    def action_log_follow(self) -> None:
        """Show the newest lines of the log."""
        if pane := self._log_pane():
            pane.action_scroll_end()

    def _log_pane(self) -> LogPane | None:
        """The log, where it is to be seen."""
        pane = self.screen.query_one(LogPane) if isinstance(self.screen, BaselineScreen) else None
        if pane is not None and not pane.display:
            said = "There is no room for the log here; a larger terminal shows it."
            if self.screen.has_class("-diagnosis"):
                said = "The diagnostics stand where the log was: close them with Esc."
            self.notify(said, markup=False)
            return None
        return pane

    def action_phase(self, number: int) -> None:
        """Open a phase's screen."""
        self.phases.open(number)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The command palette: the action of every key that does something here, and Textual's own."""
        yield from palette_commands(self, screen)
        for command in super().get_system_commands(screen):
            if command.title not in ("Quit", "Keys", "Screenshot"):
                yield command

    def _is_over(self) -> bool:
        return self.view.is_over or (self.handle is not None and self.handle.wait(0))

    @property
    def run_folder(self) -> Path | None:
        """Of the run that can be commanded; None, having said why, where none can be."""
        if self.handle is not None and not self._is_over():
            return self.handle.folder
        said = "The run has not started yet." if self.handle is None else "The run is over already."
        self.notify(said, markup=False)
        return None

    def send(self, command: str, **details: Any) -> bool:
        """Ask the run for a command, and tell its answer when it comes; False where nothing can be asked."""
        if self.handle is None or self.run_folder is None:
            return False
        self._answers.expect(command)
        self.handle.send(command, **details)
        return True

    def _leave(self) -> None:
        """Stop the run, wait for its last event while saying so, then exit."""
        self.leaving = True
        if self.phases.planning or self.view.is_over or (self._is_over() and not self._asked_to_stop):
            self.exit(Outcome("quit", self.handle, self.view, signal=self._signal))
            return
        self.push_screen(Saving())
        self._ask_run_to_stop(self._signal)

    def _ask_run_to_stop(self, number: int | None = None) -> None:
        """Once, because of the signal `number` if there was one."""
        if self.handle is None or self._asked_to_stop:
            return
        self._asked_to_stop = True
        if number is None:
            self.handle.send("stop")
        else:
            self.handle.stop_for_signal(signal.Signals(number).name)

    async def on_unmount(self) -> None:
        """Watch no longer, plan no longer."""
        self.phases.close()
        if self._feed is not None:
            self._feed.stop()
