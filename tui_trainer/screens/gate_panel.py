"""The gate at the end of the Baseline screen: what was checked after the run, what is missing, and the way on."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.containers import Vertical
from textual.content import Content

from tui_trainer.screens import answering
from tui_trainer.screens.gate_rows import checklist_rows, item_rows, missing_runs
from tui_trainer.screens.gate_view import GateDesk, GateView
from tui_trainer.screens.keys import GATE_BINDINGS
from tui_trainer.screens.mark_list import MarkList
from tui_trainer.screens.page import Page, RowList
from tui_trainer.screens.rows import Rows
from tui_trainer.screens.wrapping import crop_row, wrap_runs
from tui_trainer.session.wording import clean_text, crop

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult
    from textual.binding import BindingType

    from tui_trainer.phases.gate import Entry
    from tui_trainer.reports.decision import Decision
    from tui_trainer.screens.canvas import Row, Run
    from tui_trainer.screens.panels import Glyphs

WAYS = {
    "finalize": "F5 goes on. F3 looks closer.",
    "diagnose": "F3 goes on: it says what limits the run.",
    "diagnose_and_repeat": "F3 says why and what to change; then F2 trains again.",
    "by_hand": "F3 looks closer.",
}
DECISION_ROLES = {"finalize": "good", "diagnose": "warn", "diagnose_and_repeat": "bad", "by_hand": "warn"}


class GatePanel(Vertical):
    """The latest view it was given: the way on, the items, the marked one in full."""

    BINDINGS: ClassVar[list[BindingType]] = [*GATE_BINDINGS]

    def __init__(self, glyphs: Glyphs, desk: GateDesk | None = None) -> None:
        super().__init__(id="gate")
        self._glyphs, self._desk = glyphs, desk or GateDesk()
        self._view = GateView()
        self._entitled = ""

    def compose(self) -> ComposeResult:
        """The way on above the items; the marked one below."""
        yield Rows(id="way")
        yield MarkList(id="gate-items")
        yield Rows(id="gate-item")

    @property
    def begun(self) -> bool:
        """Whether there is anything to show."""
        return self._view.begun

    def take(self, view: GateView) -> None:
        """Show a newer view."""
        first = self._view.checklist is None and view.checklist is not None
        self._view = view
        if first and view.checklist is not None:
            missing = [number for number, entry in enumerate(view.checklist.entries) if not entry.granted]
            self.query_one(MarkList).cursor = missing[0] if missing else 0
        self.show_again()

    def show_again(self) -> None:
        """Lay out what is known for the present size."""
        items = self.query_one(MarkList)
        if not self.size.width:
            return
        way, view = self.query_one("#way", Rows), self._view
        way.set_rows(way_rows(view, way.size.width, way.size.height, self._glyphs))
        items.display = view.checklist is not None
        self.set_class(view.checklist is None, "-nothing")
        self.can_focus = view.checklist is None  # what cannot be judged can be judged again
        if view.checklist is not None:
            items.set_rows(checklist_rows(view.checklist, items.text_width, self._glyphs))
        self._show_item()
        title = panel_title(view)
        if title != self._entitled:  # setting a border's text repaints the whole widget
            self._entitled = title
            self.border_title = Content(title)
            self.border_subtitle = Content("t: the log")

    def _show_item(self) -> None:
        item = self.query_one("#gate-item", Rows)
        item.set_rows(item_rows(self._marked(), item.size.width, item.size.height))

    def on_resize(self) -> None:
        """Lay out anew."""
        self.call_after_refresh(self.show_again)

    @on(Page.Resized)
    def _laid_out(self) -> None:
        self.show_again()

    @on(MarkList.Moved)
    def _moved(self) -> None:
        self._show_item()

    def take_focus(self) -> None:
        """Have the keys mean the items, or the panel as long as there are none."""
        if self.display:
            (self.query_one(MarkList) if self._view.checklist is not None else self).focus()

    # ── answers ─────────────────────────────────────────────────────────────────────────────────────────────

    def _marked(self) -> Entry | None:
        entries = self._view.checklist.entries if self._view.checklist is not None else ()
        cursor = self.query_one(MarkList).cursor
        return entries[cursor] if cursor < len(entries) else None

    def _wanted(self, fits: Callable[[Entry], bool]) -> Entry | None:
        """The marked item where it fits, else the first that does."""
        entries = self._view.checklist.entries if self._view.checklist is not None else ()
        marked = self._marked()
        if marked is not None and fits(marked):
            return marked
        return next(filter(fits, entries), marked)

    @on(RowList.Picked)
    def _picked(self) -> None:
        answering.show_entry(self.app, self._marked(), self._desk)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing can be answered before there is a checklist, nor checked again while that is done."""
        if action in ("sign", "waive"):
            return self._view.checklist is not None
        if action == "again":
            return not self._view.busy
        return super().check_action(action, parameters)

    def action_sign(self) -> None:
        """Sign the marked item, or the one that waits for it."""
        answering.sign(self.app, self._wanted(lambda entry: entry.item.signed), self._desk)

    def action_waive(self) -> None:
        """Waive the marked item, or the first that failed."""
        answering.waive(
            self.app, self._wanted(lambda entry: not entry.granted and not entry.item.signed), self._desk
        )

    def action_again(self) -> None:
        """Check again what failed."""
        checklist = self._view.checklist
        if checklist is not None and not any(entry.finding.state == "failed" for entry in checklist.entries):
            self.app.notify("Nothing has failed: there is nothing to check again.", markup=False)
        else:
            self._desk.again()


def panel_title(view: GateView) -> str:
    """What the panel is, and how many of its items are granted."""
    checklist = view.checklist
    if checklist is None:
        return "Gate: after the baseline"
    granted = sum(entry.granted for entry in checklist.entries)
    return f"Gate: {checklist.title[:1].lower()}{checklist.title[1:]}, {granted} of {len(checklist.entries)}"


def way_rows(view: GateView, width: int, height: int, glyphs: Glyphs) -> list[Row]:
    """Where the gate stands, and the route with its reasons."""
    if view.error is not None:
        runs: list[Run] = [
            (f"{glyphs.missing} The run could not be judged. ", "bad"),
            (clean_text(view.error), "text"),
            (" r checks again.", "dim"),
        ]
        return wrap_runs(runs, width)[: max(1, height)]
    if view.checklist is None or view.decision is None:
        words = "Checking what the run left: its checkpoints are loaded and measured again …"
        return [((crop(f"{glyphs.here} {words}", width), "train"),)]
    if view.busy:
        first: list[Run] = [(f"{glyphs.here} Checking again …", "train")]
    elif view.checklist.passed:
        waived = f", {len(view.checklist.waived)} waived" if view.checklist.waived else ""
        first = [(f"{glyphs.passed} The gate is passed{waived}.", "good")]
    else:
        first = missing_runs(view.checklist, glyphs)
    if view.trouble is not None:
        first.append((f"  {clean_text(view.trouble, limit=300)}", "bad"))
    return [crop_row(tuple(first), width), *_route(view.decision, width, height - 1, glyphs)]


def _route(decision: Decision, width: int, height: int, glyphs: Glyphs) -> list[Row]:
    """The verdict, the key that goes on, and why; the end of the reasons is left out where there is no room."""
    role = DECISION_ROLES[decision.route]
    arrow = "->" if glyphs.ascii else "→"
    runs: list[Run] = [
        (f"{arrow} {decision.verdict}: ", role),
        (f"{decision.next_phase}. {WAYS[decision.route]} ", "strong"),
    ]
    runs.append((" ".join(clean_text(reason, limit=400) for reason in decision.reasons), "dim"))
    rows = wrap_runs(runs, width, indent=2)
    if len(rows) > height > 0:
        rest = " ".join(text for row in rows[height - 1 :] for text, _ in row).strip()
        rows = [*rows[: height - 1], (("  ", "text"), (crop(rest, max(0, width - 2)), "dim"))]
    return rows[: max(0, height)]
