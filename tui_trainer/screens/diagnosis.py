"""The diagnostics panel: what is wrong, the evidence, the playbook, fixes that a key applies. Training goes on above it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from textual.containers import Horizontal, Vertical
from textual.content import Content

from tui_trainer.screens import case_rows
from tui_trainer.screens.cases import RANKS, Case, all_cases, open_cases
from tui_trainer.screens.desk import Asked, stop_question
from tui_trainer.screens.dialogs import Ask
from tui_trainer.screens.evidence_chart import EvidenceChart
from tui_trainer.screens.log_pane import LogPane
from tui_trainer.screens.page import Page, RowList
from tui_trainer.screens.playbooks import playbook_rows
from tui_trainer.screens.targets import fix_targets
from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual.app import ComposeResult

    from tui_trainer.screens.canvas import Row
    from tui_trainer.screens.desk import Desk
    from tui_trainer.screens.painting import ChartPainter
    from tui_trainer.screens.panels import Glyphs
    from tui_trainer.screens.view import RunView

HOLD_SECONDS = 0.7  # after the panel has come up: what is typed then was meant for something else
CHANGING = frozenset({"fix", "undo", "ignore", "always"})
BESIDE_WIDTH = 96  # cells from which on the playbook stands beside the facts
CHART_HEIGHT = 8  # rows, border included
LEAST_BESIDE_CHART = 7  # rows of playbook under the chart

Mode = Literal["closed", "one", "all"]


class DiagnosisPanel(Vertical):
    """One case at a time, or the list of all. Opens by itself for what is new and more than worth knowing."""

    def __init__(self, painter: ChartPainter, glyphs: Glyphs, view: RunView, desk: Desk) -> None:
        super().__init__(id="diagnosis")
        self._painter, self._glyphs, self._view, self._desk = painter, glyphs, view, desk
        self._mode: Mode = "closed"
        self._current = ""
        self._was_open = False  # whether what is shown waited for an answer when it was opened
        self._offered: tuple[str, ...] = ()  # the fixes that the number keys mean
        self._told: dict[str, int] = {}  # rank of each case that the panel has come up for
        self._announced: set[str] = set()
        self._since = float("-inf")
        self._by_itself = False  # whether it came up without a key
        self._asked: Asked | None = None
        self._keys: tuple[bool, ...] = ()
        self._written = ("", "")  # in the border
        self._listed: tuple[str, ...] = ()
        self._targets: tuple[tuple[object, ...], Mapping[str, str]] = ((), {})

    def compose(self) -> ComposeResult:
        """Facts, beside them a chart and the playbook; the list takes the place of all three."""
        with Horizontal(id="case"):
            yield Page(id="facts")
            with Vertical(id="beside"):
                yield EvidenceChart(self._painter, self._glyphs)
                yield Page(id="playbook")
        yield RowList(id="cases")

    # What is shown

    @property
    def mode(self) -> Mode:
        """Whether it is open, and on what."""
        return self._mode

    @property
    def case(self) -> Case | None:
        """What is shown."""
        return next((case for case in all_cases(self._view) if case.told.id == self._current), None)

    @property
    def read_only(self) -> str:
        """Why no fix can be applied; empty where they can be."""
        if self._desk.send is None:
            return "read only: not this app's run"
        return "the run is over" if self._view.is_over else ""

    def take(self, view: RunView) -> None:
        """Show a newer view; come up when it has something new, go when what was asked for is done."""
        self._view = view
        self._hear_answer()
        known = {item.id for item in view.diagnosed.told}
        self._told = {
            name: rank for name, rank in self._told.items() if name in known
        }  # what comes back is new
        news = self._news()
        if news and not self._somebody_types():
            for case in news:
                self._told[case.told.id] = RANKS.get(case.told.severity, 1)
            if self._mode == "closed":
                self._by_itself = True
                self._open("one", news[0].told.id)
                return
        if self._mode == "one":
            self._keep_up()
        if self._mode != "closed":
            self._render_rows()

    def announce(self, view: RunView) -> None:
        """Say once that there is something new, where the panel cannot be seen; it comes up afterwards."""
        self._view = view
        for case in self._news():
            if case.told.id not in self._announced:
                self._announced.add(case.told.id)
                self.app.notify(
                    clean_text(case.told.message, limit=200),
                    title=f"{case.told.severity.capitalize()}: {clean_text(case.told.code, limit=40)}",
                    severity="error" if case.told.severity == "critical" else "warning",
                    markup=False,
                )

    def _news(self) -> list[Case]:
        """What is open, and was not yet, or not yet so grave, when the panel last came up."""
        if self._desk.send is None:
            return []
        return [
            case
            for case in open_cases(self._view)
            if RANKS.get(case.told.severity, 1) < self._told.get(case.told.id, 9)
        ]

    def hold(self) -> None:
        """Take no keys for a moment: something else was in front, and may still be typed for."""
        self._since = self._desk.clock()

    def _somebody_types(self) -> bool:
        return any(pane.is_typing for pane in self.screen.query(LogPane))

    def _keep_up(self) -> None:
        """Go on to the next case when this one is done; mind that the number keys may mean other fixes now."""
        case = self.case
        if case is None or (self._was_open and not case.is_open):
            waiting = open_cases(self._view)
            if waiting:
                self._by_itself = True
                self._open("one", waiting[0].told.id)
            else:
                self.close()
            return
        offered = tuple(str(fix.get("id")) for fix in case.told.fixes)
        self._was_open = self._was_open or case.is_open
        if offered != self._offered:
            self._offered = offered
            self.hold()

    def _open(self, mode: Mode, name: str = "", *, hold: bool = True) -> None:
        was_closed, focused = self._mode == "closed", self.screen.focused
        self._mode = mode
        if was_closed:
            self._asked = None
        if hold:
            self.hold()
        if mode == "one":
            self._current = name
            case = self.case
            self._was_open = case is not None and case.is_open
            self._offered = tuple(str(fix.get("id")) for fix in case.told.fixes) if case is not None else ()
            for page in self.query(Page):
                page.to_top()
        self._listed = ()  # the list begins at what is shown
        self.query_one("#cases", RowList).cursor = 0
        self.set_class(mode == "all", "-all")
        self.screen.set_class(True, "-diagnosis")
        self.screen.refresh_bindings()
        elsewhere = not was_closed and focused is not None and self not in focused.ancestors
        keeps = focused is not None and not isinstance(focused, LogPane) if was_closed else elsewhere
        self.call_after_refresh(self._opened, keep_focus=keeps, hold=hold)

    def _opened(self, *, keep_focus: bool, hold: bool) -> None:
        if self._mode == "closed":
            return
        if hold:
            self.hold()  # only now it is to be seen
        self._render_rows()
        self.draw()
        if keep_focus:
            return
        facts, playbook = self.query_one("#facts", Page), self.query_one("#playbook", Page)
        fits = len(facts.rows) <= facts.size.height and playbook.size.height > 0
        self.screen.set_focus(
            self.query_one("#cases") if self._mode == "all" else playbook if fits else facts
        )

    def close(self) -> None:
        """Give the place back to the log."""
        if self._mode == "closed":
            return
        inside = self.screen.focused is None or self in self.screen.focused.ancestors
        self._mode = "closed"
        self.screen.set_class(False, "-diagnosis")
        self.screen.refresh_bindings()
        if inside:
            log = self.screen.query_one(LogPane)
            self.call_after_refresh(lambda: self.screen.set_focus(log if log.display else None))

    def on_resize(self) -> None:
        """Lay the text out for the new size."""
        if self._mode != "closed":
            self.call_after_refresh(self.draw)

    def on_page_resized(self) -> None:
        """Lay the text out for the new width, and see whether there is room for the chart now."""
        self._render_rows()
        if self._mode == "one":
            self.draw()

    def _render_rows(self) -> None:
        if self._mode == "closed" or not self.size.width:
            return
        self._mind_keys()
        if self._mode == "all":
            self._render_list()
            return
        case = self.case
        if case is None:
            return
        self._entitle(case)
        facts, playbook = self.query_one("#facts", Page), self.query_one("#playbook", Page)
        self.set_class(self.size.width >= BESIDE_WIDTH, "-beside")
        asked = (
            self._asked.fix if self._asked is not None and self._asked.diagnostic == case.told.id else None
        )
        width = facts.text_width
        if width < 1:
            return  # it has no place yet, and says so when it has
        rows: list[Row] = case_rows.case_rows(
            case, self._view, width, read_only=self.read_only, asked=asked, targets=self._where_to(case)
        )
        chart = case_rows.chart_of(case.told, self._view)
        if not self.has_class("-beside"):
            if chart is not None and (
                spark := case_rows.spark_row(self._view.recorded, chart, width, self._glyphs)
            ):
                rows += [(), spark]
            rows += [(), (("─" * width, "dim"),), *playbook_rows(case.told.code, width)]
        facts.set_rows(rows)
        if playbook.text_width:
            playbook.set_rows(playbook_rows(case.told.code, playbook.text_width))

    def _mind_keys(self) -> None:
        """Have the row of keys show those that work now."""
        keys = tuple(self.takes(what) for what in ("fix", "undo", "ignore", "next"))
        if keys != self._keys:
            self._keys = keys
            self.screen.refresh_bindings()

    def _where_to(self, case: Case) -> Mapping[str, str]:
        """The checkpoints that the fixes mean, read anew when the case or the checkpoints have changed."""
        known = (case.told, self._view.saved, self._view.attempt)
        if known != self._targets[0]:
            self._targets = (known, fix_targets(self._desk.folder(), case.told))
        return self._targets[1]

    def _entitle(self, case: Case) -> None:
        waiting = [item.told.id for item in open_cases(self._view)]
        severity = case.told.severity
        for name in RANKS:
            self.set_class(severity == name, f"-{name}")
        title = Content(f" {case_rows.case_title(case, self._glyphs)} ")
        said = []
        if (count := min(case_rows.MOST_KEYS, len(case.told.fixes))) and case.is_open and not self.read_only:
            said.append("1 applies the fix" if count == 1 else f"1-{count} apply a fix")
        if case.told.id in waiting and len(waiting) > 1:
            said.append(f"{waiting.index(case.told.id) + 1} of {len(waiting)} open, n shows the next")
        elif waiting and case.told.id not in waiting:
            said.append(f"{len(waiting)} open, n shows them")
        self._write_border(title, Content("   ".join(said)))

    def _render_list(self) -> None:
        cases, rows = all_cases(self._view), self.query_one("#cases", RowList)
        for name in RANKS:
            self.set_class(False, f"-{name}")
        number = len(open_cases(self._view))
        self._write_border(
            Content(f" Diagnostics of this run: {len(cases)}, open: {number} "),
            Content("Enter shows one" if cases else ""),
        )
        marked = self._listed[rows.cursor] if rows.cursor < len(self._listed) else self._current
        self._listed = tuple(case.told.id for case in cases)
        found = case_rows.list_rows(cases, rows.text_width, self._glyphs)
        rows.set_rows(found or [(("Nothing has been found so far.", "dim"),)])
        if marked in self._listed and self._listed.index(marked) != rows.cursor:
            rows.put_cursor(self._listed.index(marked))

    def _write_border(self, title: Content, subtitle: Content) -> None:
        if (
            title.plain,
            subtitle.plain,
        ) != self._written:  # setting a border's text repaints the whole widget
            self._written = (title.plain, subtitle.plain)
            self.border_title, self.border_subtitle = title, subtitle

    def draw(self) -> None:
        """Ask for the chart anew, where there is room for one and something to show."""
        case, beside = self.case, self.query_one("#beside")
        name = case_rows.chart_of(case.told, self._view) if case is not None else None
        chart = self.query_one(EvidenceChart)
        chart.display = name is not None and beside.size.height >= CHART_HEIGHT + LEAST_BESIDE_CHART
        if self._mode == "one" and name is not None and chart.display:
            chart.show(name, self._view)

    def on_chart_resized(self) -> None:
        """Draw for the new size."""
        self.call_after_refresh(self.draw)

    # Keys

    def toggle(self) -> None:
        """Open it: on the worst that is open, else on the list; when it is open, the other of the two."""
        waiting, self._by_itself = open_cases(self._view), False
        if self._mode == "one" or (self._mode == "closed" and not waiting):
            self._open("all")
        else:
            shown = self.case
            self._open(
                "one", shown.told.id if shown is not None and self._mode == "all" else waiting[0].told.id
            )

    def on_row_list_picked(self, message: RowList.Picked) -> None:
        """Show the case that was picked from the list."""
        cases = all_cases(self._view)
        if message.number < len(cases):
            self._open("one", cases[message.number].told.id)

    def takes(self, what: str) -> bool:
        """Whether a key that means `what` is the panel's now."""
        if self._mode == "closed":
            return False
        if what in ("fix", "ignore", "always"):
            case = self.case
            return self._mode == "one" and not self.read_only and case is not None and case.is_open
        if what == "undo":
            return not self.read_only and bool(self._view.diagnosed.fixes)
        if what in ("next", "previous"):
            return self._mode == "one" and any(
                case.told.id != self._current for case in open_cases(self._view)
            )
        return True

    def act(self, what: str, number: int = 0) -> None:
        """Do what a key asks for, unless the panel has only just come up."""
        held = self._desk.clock() - self._since < HOLD_SECONDS
        if held and (self._by_itself or what in CHANGING):
            return
        match what:
            case "fix":
                self._apply(number)
            case "undo" if self._asked is None:
                self._ask("undo_fix")
            case "ignore" | "always" if self._asked is None:
                self._ask("ignore", always=what == "always")
            case "next" | "previous":
                self._turn(1 if what == "next" else -1)
            case "close":
                self.close()
            case _:
                self.app.bell()

    def _turn(self, by: int) -> None:
        names = [case.told.id for case in open_cases(self._view)]
        if names:
            place = names.index(self._current) + by if self._current in names else 0
            self._open("one", names[place % len(names)], hold=False)  # whoever turns the pages looks at them

    def _apply(self, number: int) -> None:
        case = self.case
        if case is None or not case.is_open or number > len(case.told.fixes) or self._asked is not None:
            self.app.bell()
            return
        fix = case.told.fixes[number - 1]
        if not fix.get("id"):
            self.app.bell()
            return
        if fix.get("action") != "stop":
            self._ask("apply_fix", fix=str(fix.get("id")))
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._ask("apply_fix", fix=str(fix.get("id")))

        self.app.push_screen(Ask(*stop_question(fix), "stop the training", "go on"), answered)

    def _ask(self, command: str, *, fix: str | None = None, always: bool = False) -> None:
        case, send = self.case, self._desk.send
        if send is None or (case is None and command != "undo_fix"):
            return
        name = case.told.id if case is not None else ""
        details: dict[str, dict[str, Any]] = {
            "apply_fix": {"diagnostic": name, "fix": fix},
            "ignore": {"diagnostic": name, "always": always},
        }
        asked = Asked(command, name, self._view.answers_total, fix, always)
        if send(command, **details.get(command, {})):
            self._asked = asked
            self._render_rows()

    def _hear_answer(self) -> None:
        """See whether what was asked for was granted."""
        asked, view = self._asked, self._view
        if asked is None:
            return
        case = self._of(asked.diagnostic)
        if asked.command == "apply_fix" and (case is None or not case.is_open):
            self._asked = None  # done
            return
        fresh = view.answers_total - asked.seen
        if fresh <= 0:
            return
        answer = next((item for item in view.answers[-fresh:] if item.command == asked.command), None)
        if answer is None:
            return
        if answer.accepted and asked.always and case is not None:
            self._desk.always(case.told.code)
        if not answer.accepted or asked.command != "apply_fix":
            self._asked = None  # a fix that was granted is on its way until its event comes

    def _of(self, name: str) -> Case | None:
        return next((case for case in all_cases(self._view) if case.told.id == name), None)
