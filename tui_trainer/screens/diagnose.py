"""Phase 3: the screen that says what limits a run, by what evidence, and what to change."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.containers import Container, Vertical
from textual.content import Content
from textual.screen import Screen

from tui_trainer.reports.diagnosis import REPORT
from tui_trainer.screens import diagnose_rows
from tui_trainer.screens.diagnose_errors import error_rows, worst_rows
from tui_trainer.screens.diagnose_parts import LossChart, SectionBar
from tui_trainer.screens.diagnose_rows import SECTIONS
from tui_trainer.screens.diagnose_sections import curve_rows, data_rows, fit_rows, machine_profile_rows
from tui_trainer.screens.gate_rows import checklist_rows, entry_rows
from tui_trainer.screens.heat_rows import gradient_rows
from tui_trainer.screens.key_bar import KeyBar
from tui_trainer.screens.keys import DIAGNOSE_BINDINGS, MARK_BINDINGS, MORE_CARRY_KEYS
from tui_trainer.screens.mark_list import MarkList
from tui_trainer.screens.page import Page, RowList
from tui_trainer.screens.phase_header import RUN_ALONE, phase_row
from tui_trainer.screens.resizing import outdated
from tui_trainer.screens.rows import Rows
from tui_trainer.screens.wrapping import wrap_runs
from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.events import Resize

    from tui_trainer.phases.gate import Entry
    from tui_trainer.screens.canvas import Row
    from tui_trainer.screens.diagnose_view import DiagnoseDesk, DiagnoseView
    from tui_trainer.screens.painting import ChartPainter
    from tui_trainer.screens.panels import Glyphs
    from tui_trainer.screens.phase_header import Marks

NAMES = tuple(section.name for section in SECTIONS)


class DiagnoseScreen(Screen[None]):
    """The latest view it was given: the verdict, one section of the findings, the recommendations."""

    shows_own_run = False
    lists_runs = True
    help_bindings = (*MARK_BINDINGS, *DIAGNOSE_BINDINGS)
    BINDINGS: ClassVar[list[BindingType]] = [*DIAGNOSE_BINDINGS, *MORE_CARRY_KEYS]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (160, "-wide")]  # noqa: RUF012 (read from the class)
    VERTICAL_BREAKPOINTS = [(0, "-tiny"), (16, "-short"), (30, "-tall"), (42, "-high")]  # noqa: RUF012 (likewise)
    AUTO_FOCUS = ""

    def __init__(
        self,
        painter: ChartPainter,
        glyphs: Glyphs,
        view: DiagnoseView,
        desk: DiagnoseDesk,
        *,
        marks: Callable[[], Marks] = lambda: RUN_ALONE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(classes="-issue")
        self._glyphs, self._view, self._desk = glyphs, view, desk
        self._marks, self._clock = marks, clock
        self._chart = LossChart(painter, glyphs)
        self._section = NAMES[0]
        self._since = clock()

    def compose(self) -> ComposeResult:
        """Header, verdict, sections' names; a section and, beside or below it, what to do next; keys."""
        yield Rows(id="header")
        yield Rows(id="verdict")
        yield SectionBar()
        with Container(id="body"):
            with Vertical(id="section"):
                yield self._chart
                yield MarkList(id="items")
                yield Page(id="text")
            with Vertical(id="advice"):
                yield Rows(id="columns")
                yield MarkList(id="recommendations")
                yield Page(id="proposal")
        yield KeyBar()

    def on_mount(self) -> None:
        """Texts are scrolled by the screen's own keys."""
        self.query_one("#text").can_focus = False
        self.query_one("#proposal").can_focus = False
        self.set_interval(1.0, self._tick)
        self.call_after_refresh(self._show_again)

    def on_screen_resume(self) -> None:
        """Show what came while another page was in front."""
        self.call_after_refresh(self._show_again)

    def on_resize(self, event: Resize) -> None:
        """Lay the text out anew once the panels have their new sizes."""
        if not outdated(self, event):
            self.call_after_refresh(self._show_again)

    @on(Page.Resized)
    def _laid_out(self) -> None:
        self._show_again()

    def on_chart_resized(self) -> None:
        """Draw for the new size."""
        self._chart.show(self._view)

    def _tick(self) -> None:
        if self._view.busy and self.app.screen is self:
            self._show_verdict()

    # ── showing ─────────────────────────────────────────────────────────────────────────────────────────────

    def show(self, view: DiagnoseView) -> None:
        """Show a newer view."""
        if view.busy and not self._view.busy:
            self._since = self._clock()
        another = view.diagnosis is not self._view.diagnosis
        self._view = view
        if not self.is_mounted or self.app.screen is not self:
            return  # what is in front of it hides it: it is shown when it comes back
        if another:
            self.query_one("#text", Page).to_top()
        self._show_again()

    def _show_again(self) -> None:
        if not self.is_mounted:
            return
        view = self._view
        decision = view.diagnosis.decision if view.diagnosis is not None and not view.busy else ""
        for name in ("deploy", "optimize", "debug"):
            self.set_class(name == decision, f"-{name}")
        self.set_class(view.busy or view.diagnosis is None, "-busy")
        self._show_verdict()
        self._show_section()
        self._show_advice()
        self._keep_focus()

    def _show_verdict(self) -> None:
        view = self._view
        header, verdict = self.query_one("#header", Rows), self.query_one("#verdict", Rows)
        width = header.size.width
        status = clean_text(view.diagnosis.status, limit=40) if view.diagnosis is not None else ""
        right = [("analysing ", "train")] if view.busy else [(f"{status} ", "dim")]
        name = clean_text(view.name, limit=200)
        header.set_rows([phase_row(name, right, width, self._glyphs, marks=self._marks(), here=3)])
        seconds = max(0.0, self._clock() - self._since)
        verdict.set_rows(
            diagnose_rows.verdict_rows(view, verdict.content_size.width, self._glyphs, seconds=seconds)
        )

    def _show_section(self) -> None:
        self.query_one(SectionBar).show(self._view, self._section)
        text, items = self.query_one("#text", Page), self.query_one("#items", MarkList)
        if self._section == "Gate" and self._view.checklist is not None:
            items.set_rows(checklist_rows(self._view.checklist, items.text_width, self._glyphs))
        text.set_rows(self._section_rows(text.text_width))
        if self._section == "Curves":
            self._chart.show(self._view)
        more = len(text.rows) - text.size.height
        self.query_one("#section").border_subtitle = Content("PgDn scrolls" if more > 0 else "")

    def _section_rows(self, width: int) -> list[Row]:
        view, glyphs = self._view, self._glyphs
        found = view.diagnosis
        if found is None or width < 1:
            return diagnose_rows.error_rows(view, max(1, width))
        room = self.query_one("#verdict").content_size.width
        sections: dict[str, Callable[[], list[Row]]] = {
            "Issue": lambda: diagnose_rows.issue_rows(view, width, glyphs, verdict_width=room),
            "Curves": lambda: curve_rows(found.curves, width, glyphs),
            "Fit": lambda: fit_rows(found.fit, width, glyphs),
            "Gradients": lambda: gradient_rows(found.gradients, width, glyphs),
            "Machine": lambda: machine_profile_rows(found.profile, width, glyphs),
            "Errors": lambda: error_rows(found.examination, width, glyphs),
            "Worst": lambda: worst_rows(found.examination, width, glyphs),
            "Data": lambda: data_rows(found.data, width, glyphs),
            "Gate": lambda: self._gate_rows(width),
        }
        return sections[self._section]()

    def _gate_rows(self, width: int) -> list[Row]:
        entry = self._marked()
        if entry is None:
            return [(("There is no checklist.", "dim"),)]
        trouble = clean_text(self._view.trouble or "", limit=400)
        return [*wrap_runs([(trouble, "bad")], width), *entry_rows(entry, width)]

    def _show_advice(self) -> None:
        view, glyphs = self._view, self._glyphs
        items, details = self.query_one("#recommendations", MarkList), self.query_one("#proposal", Page)
        advice, columns = self.query_one("#advice"), self.query_one("#columns", Rows)
        found = view.recommendations
        width = items.scrollable_content_region.width
        if not width or view.diagnosis is None:
            return
        advice.border_title = Content("What to do next")
        advice.border_subtitle = Content(diagnose_rows.advice_keys(view))
        items.display = columns.display = bool(found)
        items.styles.height = len(found)
        columns.set_rows([diagnose_rows.column_row(width)])
        items.set_rows(
            [
                diagnose_rows.recommendation_row(
                    item, number, carried=view.holds(item), width=width, glyphs=glyphs
                )
                for number, item in enumerate(found, 1)
            ]
        )
        if not found:
            details.set_rows(diagnose_rows.no_advice_rows(view, details.text_width))
            return
        place = min(items.cursor, len(found) - 1)
        item = found[place]
        room = details.text_width
        rows = diagnose_rows.recommendation_rows(item, place + 1, carried=view.holds(item), width=room)
        details.set_rows([*rows, (), *diagnose_rows.preview_rows(view.diagnosis.preview, room, glyphs)])

    # ── sections ────────────────────────────────────────────────────────────────────────────────────────────

    def action_section(self, by: int) -> None:
        """The next section, or the one before."""
        self.action_show(NAMES[(NAMES.index(self._section) + by) % len(NAMES)])

    @on(SectionBar.Chosen)
    def _section_chosen(self, message: SectionBar.Chosen) -> None:
        self.action_show(message.name)

    def action_show(self, name: str) -> None:
        """Show the section of this name."""
        self._section = name
        for section in NAMES:
            self.set_class(section == name, f"-{section.lower()}")
        self.query_one("#text", Page).to_top()
        self.refresh_bindings()
        self.call_after_refresh(self._show_again)

    def action_scroll_section(self, by: int) -> None:
        """Scroll the section by what is seen of it; the details of a recommendation where there is nothing to scroll."""
        text = self.query_one("#text", Page)
        page = text if text.max_scroll_y else self.query_one("#proposal", Page)
        page.scroll_relative(y=by * max(1, page.size.height - 1), animate=False)

    def _keep_focus(self) -> None:
        """The list that the arrows move in: the gate's items on the gate, else the recommendations."""
        wanted = self.query_one("#items" if self._section == "Gate" else "#recommendations", MarkList)
        shown = wanted.display and bool(wanted.rows) and self._reaches(wanted)
        target = wanted if shown else None
        if self.focused is not target:
            self.set_focus(target, scroll_visible=False)

    def _reaches(self, widget: MarkList) -> bool:
        return all(node.display for node in (widget, *widget.ancestors) if hasattr(node, "display"))

    @on(MarkList.Moved)
    def _mark_moved(self, message: MarkList.Moved) -> None:
        if message.sender.id == "recommendations":
            self.query_one("#proposal", Page).to_top()
            self._show_advice()
        else:
            self.query_one("#text", Page).to_top()
            self._show_section()

    @on(RowList.Picked)
    def _picked(self, message: RowList.Picked) -> None:
        if self._section == "Gate":
            self._show_entry()
        else:
            self.action_carry(message.number + 1)

    # ── recommendations ─────────────────────────────────────────────────────────────────────────────────────

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of what is not to be seen do nothing."""
        if action == "carry":
            number = int(str(parameters[0]))
            return number <= len(self._view.recommendations) and self._advice_is_seen
        if action in ("sign", "waive"):
            return self._section == "Gate" and self._view.checklist is not None
        return super().check_action(action, parameters)

    @property
    def _advice_is_seen(self) -> bool:
        return self.is_mounted and self.query_one("#advice").display

    def action_carry(self, number: int) -> None:
        """Carry a recommendation into the next run's config."""
        if not 0 < number <= len(self._view.recommendations):
            return
        item = self._view.recommendations[number - 1]
        self.query_one("#recommendations", MarkList).put_cursor(number - 1)
        title = clean_text(item.title, limit=120)
        if self._view.holds(item):
            self.app.notify(f"{title}: the next run has it already.", markup=False)
            return
        problem = self._desk.carry(item.changes)
        if problem is None:
            self.app.notify(f"Carried: {title}. F1 shows the config, F2 there begins the run.", markup=False)
        else:
            self.app.notify(
                clean_text(problem, limit=400), title="Not carried", severity="error", markup=False
            )

    def action_again(self) -> None:
        """Analyse the run once more."""
        if self._view.busy:
            self.app.notify("The analysis is under way.", markup=False)
        else:
            self._desk.again()

    def action_copy_report(self) -> None:
        """Put the report's path on the clipboard."""
        if self._view.folder is None or self._view.diagnosis is None:
            self.app.notify("There is no report yet.", markup=False)
            return
        path = self._view.folder / REPORT
        self.app.copy_to_clipboard(str(path))
        self.app.notify(f"Copied: {clean_text(path)}", markup=False)

    # ── the gate ────────────────────────────────────────────────────────────────────────────────────────────

    def _marked(self) -> Entry | None:
        entries = self._view.checklist.entries if self._view.checklist is not None else ()
        cursor = self.query_one("#items", MarkList).cursor
        return entries[cursor] if cursor < len(entries) else None

    def _show_entry(self) -> None:
        from tui_trainer.screens.answering import show_entry

        show_entry(self.app, self._marked(), self._desk)

    def action_sign(self) -> None:
        """Sign the marked item of the gate."""
        from tui_trainer.screens.answering import sign

        sign(self.app, self._marked(), self._desk)

    def action_waive(self) -> None:
        """Waive the marked item of the gate."""
        from tui_trainer.screens.answering import waive

        waive(self.app, self._marked(), self._desk)
