"""Navigation: the five phases' screens, which of them is in front, and what begins when one is opened."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from textual.screen import ModalScreen, Screen

from tui_trainer.screens.aftermath import Aftermath
from tui_trainer.screens.key_bar import KeyBar
from tui_trainer.screens.page import Page
from tui_trainer.screens.phase_header import PHASES, RUN_ALONE, phase_row
from tui_trainer.screens.resizing import outdated
from tui_trainer.screens.rows import Rows
from tui_trainer.screens.wrapping import wrap_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult
    from textual.events import Resize

    from tui_trainer.screens.app import MLTrainerApp
    from tui_trainer.screens.baseline import BaselineScreen
    from tui_trainer.screens.canvas import Row
    from tui_trainer.screens.diagnose import DiagnoseScreen
    from tui_trainer.screens.diagnose_view import Changes
    from tui_trainer.screens.panels import Glyphs
    from tui_trainer.screens.phase_header import Mark, Marks
    from tui_trainer.screens.plan import PlanScreen
    from tui_trainer.screens.planner import Planner
    from tui_trainer.screens.view import RunView

GATE_NOT_PASSED = 3  # the exit code
PLAN, BASELINE, DIAGNOSE = 1, 2, 3
COMPLETE = ("completed", "early_stopped")
TO_COME = {
    4: (
        "A search for better settings, where the baseline fell short of its target.",
        "It is to come in a later version. t on the plan's screen has the settings of a search; nothing reads them yet.",
    ),
    5: (
        "The final training, the test set, the exported model with its card.",
        "It is to come in a later version. Meanwhile the run folder's checkpoints/best_model.pt opens with",
        "    torch.load(path, weights_only=True)",
    ),
}


class PhasePage(Screen[None]):
    """A phase that has no screen of its own yet: what it will be, and what does its work meanwhile."""

    shows_own_run = False
    lists_runs = True
    AUTO_FOCUS = "#page"

    def __init__(
        self, number: int, glyphs: Glyphs, name: Callable[[], str], marks: Callable[[], Marks]
    ) -> None:
        super().__init__()
        self.number = number
        self._glyphs, self._run_name, self._marks = glyphs, name, marks

    def compose(self) -> ComposeResult:
        """Header, text, keys."""
        yield Rows(id="header")
        yield Page(id="page")
        yield KeyBar()

    def on_mount(self) -> None:
        """Name the page."""
        self.query_one("#page").border_title = f"Phase {self.number}, {PHASES[self.number - 1]}"

    def on_screen_resume(self) -> None:
        """Show the present states of the phases."""
        self.call_after_refresh(self._show)

    def on_resize(self, event: Resize) -> None:
        """Lay the text out anew."""
        if not outdated(self, event):
            self.call_after_refresh(self._show)

    def _show(self) -> None:
        header, page = self.query_one("#header", Rows), self.query_one("#page", Page)
        marks, width = self._marks(), header.size.width
        header.set_rows([phase_row(self._run_name(), [], width, self._glyphs, marks=marks, here=self.number)])
        rows: list[Row] = []
        for line in TO_COME[self.number]:
            indent = len(line) - len(line.lstrip())
            rows += wrap_runs(
                [(line, "code" if indent else "text")], page.text_width, first=((" " * indent, "text"),)
            )
        page.set_rows(rows)


def mode_of(number: int) -> str:
    """The mode, as Textual calls a stack of screens, that a phase has."""
    return f"phase-{number}"


class Phases:
    """The phases' screens of an app, each at the bottom of a stack of its own; its pages and dialogs stand above it.

    `planner` None: the app was opened on a run, without a plan.
    """

    def __init__(
        self,
        app: MLTrainerApp,
        planner: Planner | None,
        baseline: Callable[[], BaselineScreen],
        diagnose: Callable[[], DiagnoseScreen],
        *,
        begun: bool,
    ) -> None:
        """`begun`: a run begins with the app."""
        self._app, self.planner = app, planner
        self._make_baseline, self._make_diagnose = baseline, diagnose
        self.baseline: BaselineScreen | None = None
        self.begun = begun
        self.after = Aftermath(app, self.carry)
        for number in range(1, len(PHASES) + 1):
            app.add_mode(mode_of(number), partial(self._make, number))

    @property
    def marks(self) -> Marks:
        """The state of each phase."""
        if self.planner is None:
            return RUN_ALONE
        view = self._app.view
        baseline: Mark = "later"
        if self.begun or self.baseline is not None:
            baseline = "here" if not view.is_over else "passed" if view.status in COMPLETE else "missing"
        plan: Mark = "passed" if self.begun else self.planner.view.mark
        found = self.after.diagnoser.view
        diagnose: Mark = "later"
        if found.busy or found.checklist is not None:
            passed = found.checklist is not None and found.checklist.passed
            diagnose = "here" if found.busy else "passed" if passed else "missing"
        return (plan, baseline, diagnose, "later", "later")

    def open(self, number: int) -> None:
        """Bring a phase's screen to the front; the run, if there is one, goes on as it does."""
        app = self._app
        if isinstance(app.screen, ModalScreen):
            return
        if number == PLAN and self.planner is None:
            app.notify("This run was begun without a plan's screen.", markup=False)
            return
        next_one = not self.begun and (self.baseline is None or app.current_mode == mode_of(PLAN))
        if number == BASELINE and next_one and not self._begin():
            return
        while len(app.screen_stack) > 1:
            app.pop_screen()
        app.switch_mode(mode_of(number))
        if number == BASELINE and self.baseline is not None:
            self.baseline.show(app.view)

    def _begin(self) -> bool:
        """Start the run that was planned; False, having said what is missing, where the gate is shut."""
        planner = self.planner
        if planner is None:
            return False
        view = planner.view
        if not view.passed or view.error is not None:
            self._app.notify(_what_is_missing(planner), title="Not yet", severity="warning", markup=False)
            return False
        if self.after.busy:
            words = "The run that is over is still being looked at: the next one begins a moment later."
            self._app.notify(words, title="Not yet", severity="warning", markup=False)
            return False
        self._put_away()
        self.begun = True
        self._app.begin(planner.begin())
        return True

    def _put_away(self) -> None:
        """Close the screens of the run before, where there was one."""
        if self.baseline is None:
            return
        self.baseline = None
        self.after.forget()
        for number in (DIAGNOSE, BASELINE):
            self._app.remove_mode(mode_of(number))
            self._app.add_mode(mode_of(number), partial(self._make, number))

    def carry(self, changes: Changes) -> str | None:
        """Take a recommendation's changes into the plan of the next run; returns why that failed."""
        if self.planner is None:
            return "This run was begun without a plan's screen: optimization_config.yaml in its folder has the changes."
        problem = self.planner.carry(changes)
        if problem is None:
            self.begun = False
        return problem

    def take_back(self, error: BaseException) -> bool:
        """Go back to the plan where a run that was to begin was refused; False where there is no plan to mend."""
        from tui_trainer.config.errors import UserError

        planner = self.planner
        if planner is None or not self.begun or not isinstance(error, UserError):
            return False
        planned = planner.view.loaded is not None
        if not planned and error.exit_code != GATE_NOT_PASSED:
            return False  # the config itself, a run folder: nothing that a plan could mend
        self.begun = False
        planner.refused(str(error) if error.exit_code != GATE_NOT_PASSED else None)
        self.open(PLAN)
        return True

    @property
    def planning(self) -> bool:
        """Whether there is a plan and no run yet."""
        return self.planner is not None and not self.begun

    @property
    def unsaved(self) -> bool:
        """Whether the plan has edits that no file has."""
        return self.planner is not None and self.planner.view.unsaved

    def show(self, view: RunView) -> None:
        """Tell the screens of the run, in front or not, what became of it."""
        over = self.begun and view.is_over
        if self.planner is not None and over and self.planner.view.run != "over":
            self.planner.run_is("over")
        if over and view.attempt and self._app.handle is not None and not self._app.leaving:
            self.after.run_is_over(self._app.handle, view.name)
        if self.baseline is not None:
            self.baseline.show(view)

    def _make(self, number: int) -> Screen[None]:
        if number == BASELINE:
            self.baseline = self.after.baseline = self._make_baseline()
            self._app.call_later(self.after.show)
            return self.baseline
        if number == PLAN:
            return self._plan_screen()
        if number == DIAGNOSE:
            self.after.diagnose = self._make_diagnose()
            return self.after.diagnose
        return PhasePage(number, self._app.glyphs, self._name, lambda: self.marks)

    def _plan_screen(self) -> PlanScreen:
        from tui_trainer.screens.plan import PlanScreen

        planner = self.planner
        assert planner is not None
        if self.begun:
            planner.run_is("over" if self._app.view.is_over else "live")
        return PlanScreen(planner, self._app.glyphs, marks=lambda: self.marks)

    def _name(self) -> str:
        return self._app.view.name or (self.planner.view.name if self.planner is not None else "")

    def close(self) -> None:
        """End what is under way for the plan."""
        if self.planner is not None:
            self.planner.close()


def _what_is_missing(planner: Planner) -> str:
    view = planner.view
    checklist = view.checklist
    if checklist is None:
        return "The config is being read."
    if view.error is not None:
        return "Data or model cannot be used as they are: the panel of the data says why."
    missing = ", ".join(entry.item.name for entry in checklist.missing)
    way = "the checks are under way" if view.checking else "r checks, s signs, w waives"
    return f"The baseline begins once the gate is passed. Missing: {missing}; {way}."
