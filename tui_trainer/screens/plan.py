"""Phase 1: the screen on which a run is planned, and its reproducibility checked."""

from __future__ import annotations

import contextlib
from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import Screen

from tui_trainer.screens.dialogs import Ask
from tui_trainer.screens.key_bar import KeyBar
from tui_trainer.screens.keys import PLAN_BINDINGS, PLAN_LIST_BINDINGS
from tui_trainer.screens.page import Page, RowList
from tui_trainer.screens.phase_header import RUN_ALONE, phase_row
from tui_trainer.screens.plan_editor import ConfigEditor
from tui_trainer.screens.plan_gate import gate_rows, item_rows, verdict_row
from tui_trainer.screens.plan_pages import MarkedList, PicturePage
from tui_trainer.screens.plan_panels import data_rows, environment_rows, error_rows, model_rows
from tui_trainer.screens.resizing import outdated
from tui_trainer.screens.rows import Rows
from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.events import DescendantFocus, Resize
    from textual.timer import Timer

    from tui_trainer.phases.gate import Entry
    from tui_trainer.screens.canvas import Row
    from tui_trainer.screens.panels import Glyphs
    from tui_trainer.screens.phase_header import Marks
    from tui_trainer.screens.plan_view import PlanView
    from tui_trainer.screens.planner import Planner

TICK_SECONDS = 0.25  # between two pictures of what the checks do
SETTLED_SECONDS = 1.5  # after the last edit: then the gate is checked again
PANES = ("form", "views", "gate")
VIEWS = ("data", "model", "environment")


class PlanScreen(Screen[None]):
    """The config as a form, what it stands for beside it, and the gate: the latest view of `planner`."""

    shows_own_run = False
    lists_runs = True
    help_bindings = (*PLAN_LIST_BINDINGS, *PLAN_BINDINGS)
    BINDINGS: ClassVar[list[BindingType]] = [*PLAN_BINDINGS]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (160, "-wide")]  # noqa: RUF012 (read from the class)
    VERTICAL_BREAKPOINTS = [(0, "-tiny"), (16, "-short"), (30, "-tall"), (42, "-high")]  # noqa: RUF012 (likewise)
    AUTO_FOCUS = "#fields"

    class Changed(Message):
        """There is a newer view in the planner."""

    def __init__(
        self, planner: Planner, glyphs: Glyphs, *, marks: Callable[[], Marks] = lambda: RUN_ALONE
    ) -> None:
        super().__init__(classes="-show-form -data")
        self.planner = planner
        self._glyphs, self._marks = glyphs, marks
        self._editor = ConfigEditor(planner, glyphs)
        self._view: PlanView = planner.view
        self._kind = 0
        self._told_error: str | None = None
        self._settling: Timer | None = None
        self._unmarked = True  # what is missing
        self._shown_at, self._due = -TICK_SECONDS, False

    def compose(self) -> ComposeResult:
        """Header, where things stand, the form beside previews and gate, keys."""
        yield Rows(id="header")
        yield Rows(id="verdict")
        with Horizontal(id="main"):
            yield self._editor
            with Vertical(id="side"):
                with Horizontal(id="views"):
                    yield PicturePage(id="data")
                    with Vertical(id="rest"):
                        yield Page(id="model")
                        yield Page(id="environment")
                with Vertical(id="gate"):
                    yield MarkedList(id="items")
                    yield Rows(id="item")
        yield KeyBar()

    def on_mount(self) -> None:
        """Begin to look, behind the first paint."""
        for number, name in enumerate(VIEWS):
            page = self.query_one(f"#{name}")
            page.border_title = name.capitalize()
            page.border_subtitle = f"v: {VIEWS[(number + 1) % len(VIEWS)]}"
        self.query_one("#gate").border_title = "Gate: Reproducibility"
        self.planner.on_change = lambda: _tell(self)
        self.call_after_refresh(self._show_again)
        self.call_after_refresh(self.planner.start)

    def on_screen_resume(self) -> None:
        """Show what came while another page was in front."""
        self.call_after_refresh(self._show_again)

    def on_resize(self, event: Resize) -> None:
        """Lay the text out anew once the panels have their new sizes."""
        if not outdated(self, event):
            self.call_after_refresh(self._show_again)

    @on(Changed)
    def _changed(self) -> None:
        """Show it at once where nothing was shown just before; else a moment later, with all that came until then."""
        wait = self._shown_at + TICK_SECONDS - monotonic()
        if wait <= 0:
            self._show_again()
        elif not self._due:
            self._due = True
            self.set_timer(wait, self._show_again)

    def _show_again(self) -> None:
        self._shown_at, self._due = monotonic(), False
        self.show(self.planner.view)

    @on(Page.Resized)
    def _laid_out(self) -> None:
        self._show_again()

    def show(self, view: PlanView) -> None:
        """Show a newer view."""
        self._view = view
        if not self.is_mounted:
            return
        header, verdict = self.query_one("#header", Rows), self.query_one("#verdict", Rows)
        header.set_rows([self.header(header.size.width)])
        verdict.set_rows([verdict_row(view, verdict.size.width, self._glyphs)])
        self._editor.show(view)
        self._lay("#data", lambda width: [*error_rows(view, width), *data_rows(view, width, self._glyphs)])
        self._lay("#model", lambda width: model_rows(view, width, self._glyphs))
        self._lay("#environment", lambda width: environment_rows(view, width))
        self._lay("#items", lambda width: gate_rows(view, width, self._glyphs))
        self._mark_what_is_missing(view)
        self._show_item()
        if view.error is not None and view.error != self._told_error:
            self._to_view(0)
        self._told_error = view.error

    def _mark_what_is_missing(self, view: PlanView) -> None:
        """Once the checks have ended: what keeps the gate shut is told below the list, where nobody reads in it."""
        if view.checking or view.checklist is None:
            self._unmarked = True
            return
        if not self._unmarked:
            return
        self._unmarked = False
        items = self.query_one("#items", MarkedList)
        granted = [entry.granted for entry in view.checklist.entries]
        if False in granted and not items.has_focus:
            items.put_cursor(granted.index(False))

    def _lay(self, selector: str, rows: Callable[[int], list[Row]]) -> None:
        """Give a page its rows, where it is to be seen."""
        page = self.query_one(selector, Page)
        if page.text_width > 0:
            page.set_rows(rows(page.text_width))

    def _show_item(self) -> None:
        item = self.query_one("#item", Rows)
        item.set_rows(item_rows(self._marked(), item.size.width, item.size.height))

    def header(self, width: int) -> Row:
        """The first row: what is planned, and the phases."""
        view = self._view
        word = {"none": "planning", "live": "read only", "over": "read only"}[view.run]
        right = [("not saved  " if view.unsaved else "", "warn"), (f"{word} ", "dim")]
        return phase_row(view.name, right, width, self._glyphs, marks=self._marks(), here=1)

    # ── panels ──────────────────────────────────────────────────────────────────────────────────────────────

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """In a narrow terminal the panel with the focus is the one that is shown."""
        inside = {node.id for node in event.widget.ancestors_with_self}
        for pane in PANES:
            self.set_class(pane in inside, f"-show-{pane}")

    def action_pane(self, by: int) -> None:
        """To another panel."""
        here = next((number for number, pane in enumerate(PANES) if self.has_class(f"-show-{pane}")), 0)
        pane = PANES[(here + by) % len(PANES)]
        for name in PANES:
            self.set_class(name == pane, f"-show-{name}")
        self.call_after_refresh(self._focus_pane, pane)

    def _focus_pane(self, pane: str) -> None:
        if pane == "form":
            self._editor.take_focus()
        else:
            self.query_one("#items" if pane == "gate" else f"#{VIEWS[self._kind]}").focus()

    def action_view(self) -> None:
        """Show the next of data, model and environment."""
        self._to_view((self._kind + 1) % len(VIEWS))
        if not self.has_class("-normal") or self.has_class("-show-views"):
            self.action_pane((PANES.index("views") - PANES.index(self._pane)) % len(PANES))

    @property
    def _pane(self) -> str:
        return next((pane for pane in PANES if self.has_class(f"-show-{pane}")), PANES[0])

    def _to_view(self, kind: int) -> None:
        self._kind = kind
        for number, name in enumerate(VIEWS):
            self.set_class(number == kind, f"-{name}")

    # ── the gate ────────────────────────────────────────────────────────────────────────────────────────────

    def _marked(self) -> Entry | None:
        entries = self._view.checklist.entries if self._view.checklist is not None else ()
        cursor = self.query_one("#items", MarkedList).cursor
        return entries[cursor] if cursor < len(entries) else None

    @on(MarkedList.Moved)
    def _item_marked(self) -> None:
        self._show_item()

    @on(RowList.Picked)
    def _item_picked(self) -> None:
        from tui_trainer.screens.plan_dialogs import EntryDialog

        entry = self._marked()
        if entry is None:
            return

        def answered(what: str | None) -> None:
            if what == "sign":
                self.action_sign()
            elif what == "waive":
                self.action_waive()

        self.app.push_screen(EntryDialog(entry, read_only=self._view.read_only), answered)

    def action_sign(self) -> None:
        """Ask for a note, then sign the marked item, or the first that waits for a signature."""
        from tui_trainer.screens.plan_dialogs import sign_dialog

        entry = self._wanted(
            lambda item: item.item.signed, lambda item: item.item.signed and not item.granted
        )
        if entry is None:
            self.app.notify("Nothing waits for a signature.", markup=False)
            return

        def answered(note: str | None) -> None:
            if note:
                self.planner.sign(entry.item.name, note)

        self.app.push_screen(sign_dialog(entry), answered)

    def action_waive(self) -> None:
        """Ask for a reason, then waive the marked item, or the first that failed."""
        from tui_trainer.screens.plan_dialogs import waive_dialog

        def can(item: Entry) -> bool:
            return not item.granted and not item.item.signed

        entry = self._wanted(can, lambda item: can(item) and item.finding.state == "failed")
        if entry is None:
            self.app.notify("Nothing has failed: there is nothing to waive.", markup=False)
            return

        def answered(reason: str | None) -> None:
            if reason:
                self.planner.waive(entry.item.name, reason)

        self.app.push_screen(waive_dialog(entry), answered)

    def _wanted(self, marked: Callable[[Entry], bool], other: Callable[[Entry], bool]) -> Entry | None:
        """The marked item where it fits, else the first other that does; none while a run goes by the plan."""
        if self._view.read_only:
            return None
        here = self._marked()
        if here is not None and marked(here):
            return here
        entries = self._view.checklist.entries if self._view.checklist is not None else ()
        return next((entry for entry in entries if other(entry)), None)

    def action_check(self) -> None:
        """Check again what failed."""
        if self._view.checking:
            self.app.notify("The checks are under way.", markup=False)
        elif self._view.read_only:
            self.app.notify("A run goes by this plan: nothing is checked beside it.", markup=False)
        elif self._view.passed and self._view.error is None:
            self.app.notify("The gate is passed: nothing is left to check.", markup=False)
        else:
            self.planner.check()

    # ── the config ──────────────────────────────────────────────────────────────────────────────────────────

    @on(ConfigEditor.Edited)
    def _edited(self) -> None:
        """Show it at once; check the gate again once nobody edits any more."""
        self._show_again()
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(SETTLED_SECONDS, self.planner.check)

    def action_choice(self) -> None:
        """The next value of a setting that is one of a few words."""
        self._editor.choose_next()

    def action_put_back(self) -> None:
        """The template's value of a setting."""
        self._editor.put_back()

    def action_yaml(self) -> None:
        """The config as YAML, or as the form again."""
        self._editor.toggle_yaml()

    def action_template(self) -> None:
        """Ask for a template, then begin with its settings."""
        from tui_trainer.screens.plan_dialogs import TemplateDialog

        if self._refused():
            return

        def chosen(name: str | None) -> None:
            if name is not None:
                self.planner.use_template(name)
                self._edited()

        self.app.push_screen(TemplateDialog(), chosen)

    def action_save(self) -> None:
        """Save the config; asks for a file name where it has none of its own."""
        from tui_trainer.screens.plan_dialogs import file_dialog

        loaded = self.planner.view.loaded
        if loaded is None or not self._editor.leave_yaml():
            return
        path = self.planner.default_file
        if path is not None:
            self._save_over(path)
            return

        def answered(name: str | None) -> None:
            if name:
                self._save(loaded.folder / name)

        self.app.push_screen(file_dialog(loaded.folder), answered)

    def _save_over(self, path: Path) -> None:
        """Into the file that the config came from; asks where that was changed by somebody else."""
        if not self.planner.overwrites(path):
            self._save(path)
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._save(path)

        text = f"{clean_text(path, limit=300)} was changed by another program since it was read. Saving undoes that."
        self.app.push_screen(Ask("Save over it?", text, "save", "leave the file as it is"), answered)

    def _save(self, path: Path) -> None:
        problem = self.planner.save(path)
        text = f"Saved: {clean_text(path, limit=300)}" if problem is None else clean_text(problem)
        self.app.notify(text, severity="information" if problem is None else "error", markup=False)

    def _refused(self) -> bool:
        """Whether the plan can only be looked at; says so."""
        if self._view.read_only:
            self.app.notify("A run goes by this plan: it can only be looked at.", markup=False)
        return self._view.read_only or self._view.loaded is None


def _tell(screen: PlanScreen) -> None:
    """Called on any thread."""
    with contextlib.suppress(RuntimeError):  # the app has closed meanwhile
        screen.post_message(PlanScreen.Changed())
