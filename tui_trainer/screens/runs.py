"""The runs screen: every run here, to sort, open, mark, compare and delete."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from rich.style import Style
from rich.text import Text
from textual import on, work
from textual.message import Message
from textual.screen import Screen
from textual.widgets import DataTable

from tui_trainer.config.errors import RunFolderError
from tui_trainer.screens.chart_options import MOST_OVERLAYS
from tui_trainer.screens.comparison import MOST_RUNS, CompareScreen
from tui_trainer.screens.dialogs import Confirm
from tui_trainer.screens.key_bar import KeyBar
from tui_trainer.screens.keys import RUN_TABLE_BINDINGS, RUNS_BINDINGS
from tui_trainer.screens.late_styles import LateStyles
from tui_trainer.screens.replay import ReplayScreen
from tui_trainer.screens.resizing import outdated
from tui_trainer.screens.rows import Rows
from tui_trainer.screens.run_table import (
    COLUMNS,
    SORTABLE,
    best_label,
    cell,
    columns_for,
    detail_rows,
    in_order,
    shown_path,
)
from tui_trainer.session.run_removal import refusal, remove_run
from tui_trainer.session.wording import clean_text, crop, format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.events import Resize

    from tui_trainer.screens import panels
    from tui_trainer.screens.canvas import Row, Run
    from tui_trainer.screens.painting import ChartPainter
    from tui_trainer.screens.run_table import Column
    from tui_trainer.session.run_index import RunEntry, RunIndex

REFRESH_S = 3.0
EMPTY = (
    "No runs here yet.",
    "",
    "Every training has a folder of its own, checkpoints/<name>-<time> unless",
    "--output-dir says otherwise, and is listed here from its beginning on.",
    "Start one with",
    "",
    "    mltrainer-tui --config my-config.yaml",
    "",
    "Looked in:",
)


class RunTable(LateStyles, DataTable[Text]):
    """The list. Enter opens what the cursor is on; Space marks it."""

    BINDINGS: ClassVar[list[BindingType]] = [*RUN_TABLE_BINDINGS]


class RunsScreen(Screen[None]):
    """Lists what `index` finds, refreshed every few seconds by a thread of its own.

    `present`: the folder of this app's own run, asked for at each use.
    """

    shows_own_run = False
    help_bindings = (*RUN_TABLE_BINDINGS, *RUNS_BINDINGS)
    BINDINGS: ClassVar[list[BindingType]] = [*RUNS_BINDINGS]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (160, "-wide")]  # noqa: RUF012 (read from the class)
    VERTICAL_BREAKPOINTS = [(0, "-tiny"), (16, "-short"), (30, "-tall"), (42, "-high")]  # noqa: RUF012

    class Listed(Message):
        """The list was read anew."""

        def __init__(self, entries: tuple[RunEntry, ...], sizes: dict[Path, int]) -> None:
            super().__init__()
            self.entries, self.sizes = entries, sizes

    class Overlaid(Message):
        """The curves of these runs are wanted behind the charts."""

        def __init__(self, folders: tuple[Path, ...]) -> None:
            super().__init__()
            self.folders = folders

    class Removed(Message):
        """A run was deleted, or why it was not."""

        def __init__(self, name: str, error: str | None) -> None:
            super().__init__()
            self.name, self.error = name, error

    def __init__(
        self,
        index: RunIndex,
        painter: ChartPainter,
        glyphs: panels.Glyphs,
        *,
        present: Callable[[], Path | None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self._index, self._painter, self._glyphs = index, painter, glyphs
        self._present, self._clock = present, clock
        self._entries: dict[Path, RunEntry] = {}
        self._sizes: dict[Path, int] = {}
        self._marked: dict[Path, None] = {}
        self._sort, self._falling = "started", True
        self._shown: tuple[object, ...] = ()
        self._cells: dict[tuple[str, str], Run] = {}
        self._listed = self._reading = False

    def compose(self) -> ComposeResult:
        """Header, list, what is known of the run under the cursor, keys."""
        yield Rows(id="header")
        yield RunTable(id="runs", cursor_type="row", zebra_stripes=True)
        yield Rows(id="none")
        yield Rows(id="details")
        yield KeyBar()

    def on_mount(self) -> None:
        """Read the list at once, and again while it is looked at."""
        self.query_one("#details", Rows).set_title("Run")
        self.query_one(RunTable).focus()
        self.set_interval(REFRESH_S, self._look)

    def on_screen_resume(self) -> None:
        """Read the list behind the first paint; after that, what happened meanwhile is shown at once."""
        self.call_after_refresh(self._look)

    def on_resize(self, event: Resize) -> None:
        """Choose the columns anew once the sizes are known."""
        if not outdated(self, event):
            self.call_after_refresh(self._show)

    # Reading, on a thread of its own

    def _look(self) -> None:
        if not self._reading and self.is_current:
            self._reading = True
            self._read()

    @work(thread=True)
    def _read(self) -> None:
        entries = self._index.refresh()
        self.post_message(self.Listed(entries, {}))
        self.post_message(self.Listed(entries, {item.folder: self._index.size(item) for item in entries}))

    @on(Listed)
    def _take(self, message: Listed) -> None:
        """The sizes come behind the list."""
        self._entries = {entry.folder: entry for entry in message.entries}
        self._marked = {folder: None for folder in self._marked if folder in self._entries}
        self._listed = True
        if message.sizes or not message.entries:
            self._sizes, self._reading = message.sizes, False
        self._show()

    # Showing

    def _show(self) -> None:
        table = self.query_one(RunTable)
        if not self._listed or not self.size.width:
            return
        self.set_class(not self._entries, "-none")
        now = self._clock()
        ordered = in_order(
            list(self._entries.values()), self._sort, falling=self._falling, now=now, sizes=self._sizes
        )
        columns = columns_for(self.size.width)
        labels = tuple(self._label(column, ordered) for column in columns)
        wanted = (tuple(str(item.folder) for item in ordered), tuple(columns), labels)
        cells = {
            (str(entry.folder), column.key): self._cell(entry, column, now)
            for entry in ordered
            for column in columns
        }
        if wanted == self._shown:
            for place, run in cells.items():
                if run != self._cells.get(place):
                    table.update_cell(*place, self._text(run, self._column(place[1], columns)))
        else:
            self._fill(table, ordered, columns, labels, cells)
        self._shown, self._cells = wanted, cells
        self._show_around()

    def _fill(
        self,
        table: RunTable,
        ordered: Sequence[RunEntry],
        columns: Sequence[Column],
        labels: Sequence[str],
        cells: dict[tuple[str, str], Run],
    ) -> None:
        """All rows anew, the cursor on the run it was on."""
        current, row = self._current(), table.cursor_row
        table.clear(columns=True)
        for column, label in zip(columns, labels, strict=True):
            text = Text(label, justify="right" if column.right else "left", no_wrap=True)
            table.add_column(text, width=column.width, key=column.key)
        for entry in ordered:
            key = str(entry.folder)
            table.add_row(*(self._text(cells[key, column.key], column) for column in columns), key=key)
        folders = [entry.folder for entry in ordered]
        if current is not None and current.folder in folders:
            row = folders.index(current.folder)
        table.move_cursor(row=min(row, max(0, len(folders) - 1)), animate=False)

    def _label(self, column: Column, entries: Sequence[RunEntry]) -> str:
        label = best_label(entries) if column.key == "best" else column.label
        if column.key != self._sort:
            return crop(label, column.width)
        signs = "v^" if self._glyphs.ascii else "▼▲"
        return f"{crop(label, column.width - 2)} {signs[0] if self._falling else signs[1]}"

    def _cell(self, entry: RunEntry, column: Column, now: float) -> Run:
        if column.key == "mark":
            sign = "*" if self._glyphs.ascii else "●"
            return (sign if entry.folder in self._marked else "", "brand")
        text, role = cell(entry, column.key, now=now, size=self._sizes.get(entry.folder))
        if column.key == "name" and self._is_present(entry):
            mark = " (this run)"
            return crop(text, column.width - len(mark)) + mark, "strong"
        return crop(text, column.width), role

    def _text(self, run: Run, column: Column) -> Text:
        text, role = run
        known = role if f"rows--{role}" in Rows.COMPONENT_CLASSES else "text"
        look = self.query_one("#header", Rows).get_component_rich_style(f"rows--{known}", partial=True)
        style = Style(color=look.color, bold=look.bold) if role != "text" else Style()
        return Text(text, style, justify="right" if column.right else "left", no_wrap=True)

    @staticmethod
    def _column(key: str, columns: Sequence[Column]) -> Column:
        return next(column for column in columns if column.key == key)

    def _show_around(self) -> None:
        """Header, the empty list's advice, and the details of the run under the cursor."""
        header = self.query_one("#header", Rows)
        header.set_rows([self._header_row(header.size.width)])
        if not self._entries:
            places: list[Row] = [((f"    {shown_path(root)}", "text"),) for root in self._index.roots]
            advice: list[Row] = [
                ((line, "strong" if not number else "dim"),) for number, line in enumerate(EMPTY)
            ]
            self.query_one("#none", Rows).set_rows([*advice, *places])
        details, entry = self.query_one("#details", Rows), self._current()
        if entry is None:
            details.set_rows([])
            return
        details.set_title(clean_text(entry.folder.name, limit=100))
        rows = detail_rows(entry, details.size.width, now=self._clock(), size=self._sizes.get(entry.folder))
        details.set_rows(rows)

    def _header_row(self, width: int) -> Row:
        live = sum(entry.is_live for entry in self._entries.values())
        count = len(self._entries)
        parts = [f"{count} run" + ("" if count == 1 else "s"), f"{live} live" if live else ""]
        parts.append(f"{len(self._marked)} marked" if self._marked else "")
        text = crop(", ".join(filter(None, parts)), max(0, width - 20))
        hint = "s: sort by the next column, r: the other way round " if count > 1 else ""
        gap = width - 18 - len(text) - len(hint)
        row: Row = ((" mltrainer  ", "brand"), ("Runs  ", "strong"), (text, "dim"))
        return (*row, (" " * gap + hint, "dim")) if hint and gap > 1 else row

    def _current(self) -> RunEntry | None:
        table = self.query_one(RunTable)
        if not self._shown or not table.row_count:
            return None
        key = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value
        return next((item for item in self._entries.values() if str(item.folder) == key), None)

    def _is_present(self, entry: RunEntry) -> bool:
        present = self._present()
        return present is not None and present.resolve() == entry.folder.resolve()

    # Keys

    @on(DataTable.RowHighlighted)
    def _moved(self) -> None:
        """Tell what is known of the run that the cursor is on now."""
        self._show_around()

    @on(DataTable.RowSelected)
    def _chosen(self) -> None:
        """Open the run: this app's own is behind this screen already."""
        entry = self._current()
        if entry is None:
            return
        if self._is_present(entry):
            self.dismiss()
            return
        self.app.push_screen(ReplayScreen(self._painter, self._glyphs, entry.folder, entry.name))

    @on(DataTable.HeaderSelected)
    def _header_clicked(self, message: DataTable.HeaderSelected) -> None:
        key = message.column_key.value
        if key == self._sort:
            self.action_turn()
        elif key in SORTABLE:
            self._sort_by(key)

    def action_sort(self, direction: int) -> None:
        """Sort by the next column on the right (1) or left (-1) of those that are shown."""
        shown = [column.key for column in columns_for(self.size.width) if column.key in SORTABLE]
        place = shown.index(self._sort) if self._sort in shown else 0
        self._sort_by(shown[(place + direction) % len(shown)])

    def action_turn(self) -> None:
        """Sort the other way round."""
        self._falling = not self._falling
        self._show()

    def _sort_by(self, key: str) -> None:
        self._sort = key
        self._falling = next(column.falling for column in COLUMNS if column.key == key)
        self._show()

    def action_mark(self) -> None:
        """Mark the run, or take the mark away, and go to the next."""
        entry = self._current()
        if entry is None:
            return
        if entry.folder in self._marked:
            del self._marked[entry.folder]
        else:
            self._marked[entry.folder] = None
        self._show()
        self.query_one(RunTable).action_cursor_down()

    def action_compare(self) -> None:
        """Compare the marked runs; where one is marked, that one and the one under the cursor."""
        chosen, current = dict(self._marked), self._current()
        if len(chosen) == 1 and current is not None:
            chosen.setdefault(current.folder)
        if not 2 <= len(chosen) <= MOST_RUNS:
            many = f"At most {MOST_RUNS} runs are compared at once." if chosen else ""
            self.app.notify(many or "Mark two runs or more with Space, then press c.", markup=False)
            return
        runs = [self._entries[folder] for folder in chosen]
        self.app.push_screen(CompareScreen(runs, self._painter, self._glyphs, clock=self._clock))

    def action_overlay(self) -> None:
        """Draw the marked runs, else the one under the cursor, behind this app's own run; that one alone: none."""
        current = self._current()
        chosen = [self._entries[folder] for folder in self._marked] or ([current] if current else [])
        folders = [entry.folder for entry in chosen if not self._is_present(entry)]
        if len(folders) > MOST_OVERLAYS:
            self.app.notify(f"At most {MOST_OVERLAYS} runs are drawn behind the charts.", markup=False)
            return
        self.post_message(self.Overlaid(tuple(folders)))

    def action_delete(self) -> None:
        """Ask, then delete the run under the cursor for good."""
        entry = self._current()
        if entry is None:
            return
        reason = refusal(entry.folder, roots=self._index.roots, present=self._present())
        name = clean_text(entry.folder.name, limit=100)
        if reason is not None:
            self.app.notify(f"{name} is not deleted: {reason}.", severity="warning", markup=False)
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._remove(entry)

        size = self._sizes.get(entry.folder)
        text = (
            f"{shown_path(entry.folder)}\n\nIts checkpoints, curves, logs and reports"
            f"{f' ({format_bytes(size)})' if size is not None else ''} are gone for good. {self._heirs(entry)}"
        )
        self.app.push_screen(Confirm(f"Delete {name}?", text, "delete", "keep"), answered)

    def _heirs(self, entry: RunEntry) -> str:
        """A word on runs that began from a checkpoint of this one."""
        place = f"{entry.folder}/"
        heirs = sum(item.lineage.startswith(place) for item in self._entries.values())
        return (
            f"{heirs} run{'s' if heirs > 1 else ''} began from its checkpoints; they stay." if heirs else ""
        )

    @work(thread=True)
    def _remove(self, entry: RunEntry) -> None:
        error = None
        try:
            remove_run(entry.folder, entry.id, roots=self._index.roots, present=self._present())
        except (RunFolderError, OSError) as failure:
            error = str(failure)
        self.post_message(self.Removed(entry.folder.name, error))

    @on(Removed)
    def _removed(self, message: Removed) -> None:
        text = message.error or f"{message.name} is deleted."
        severity: Any = "error" if message.error else "information"
        self.app.notify(clean_text(text), severity=severity, markup=False)
        self._look()

    def action_close(self) -> None:
        """Back to the run."""
        self.dismiss()
