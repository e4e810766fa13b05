"""Rows of text longer than their place: scrolled, and only painted where they show; a list of them with a cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui_trainer.screens.late_styles import LateStyles
from tui_trainer.screens.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style
    from textual.events import Click

    from tui_trainer.screens.canvas import Row


class Page(LateStyles, ScrollView, can_focus=True):
    """Rows of (text, role) runs, never markup."""

    COMPONENT_CLASSES: ClassVar[set[str]] = Rows.COMPONENT_CLASSES

    class Resized(Message):
        """The rows have to be laid out for another width."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._rows: list[Row] = []
        self._roles: dict[str, Style] = {}

    @property
    def rows(self) -> Sequence[Row]:
        """What can be scrolled to."""
        return self._rows

    @property
    def text_width(self) -> int:
        """Cells a row may have, with room left for the scroll bar."""
        bar = 0 if self.show_vertical_scrollbar else self.styles.scrollbar_size_vertical
        return max(0, self.scrollable_content_region.width - bar - 1)  # and a gap

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Show `rows`, scrolled to where the old ones were; only those that differ are repainted."""
        old, new = self._rows, list(rows)
        if new == old:
            return
        self._rows = new
        if len(new) != len(old):
            self.virtual_size = Size(self.scrollable_content_region.width, len(new))
            self.refresh()
            return
        for y, (before, after) in enumerate(zip(old, new, strict=True)):
            if before != after:
                self.refresh_line(y)

    def on_resize(self) -> None:
        """Ask for rows that fit."""
        self.post_message(self.Resized())

    def to_top(self) -> None:
        """Show the first rows."""
        self.scroll_to(y=0, animate=False, force=True, immediate=True)

    def render_line(self, y: int) -> Strip:
        """One line of what is scrolled to."""
        return self.line(self.scroll_offset.y + y)

    def line(self, index: int) -> Strip:
        """One of the rows."""
        width = self.scrollable_content_region.width
        row = self._rows[index] if 0 <= index < len(self._rows) else ()
        segments = [Segment(text, self.role_style(role)) for text, role in row]
        return Strip(segments).adjust_cell_length(width, self.role_style("text"))

    def notify_style_update(self) -> None:
        """Forget resolved styles when the theme changes."""
        super().notify_style_update()
        self._roles = {}

    def role_style(self, role: str) -> Style:
        """How text of this role looks."""
        if role not in self._roles:
            name = f"rows--{role}"
            known = name if name in self.COMPONENT_CLASSES else "rows--text"
            self._roles[role] = self.get_component_rich_style(known)
        return self._roles[role]


class RowList(Page):
    """Rows of which one is marked: arrows and the mouse move the mark, Enter picks it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False),
        Binding("down", "move(1)", "Down", show=False),
        Binding("pageup", "move(-10)", "Ten up", show=False),
        Binding("pagedown", "move(10)", "Ten down", show=False),
        Binding("home", "move(-1000000)", "First", show=False),
        Binding("end", "move(1000000)", "Last", show=False),
        Binding("enter", "pick", "Show"),
    ]

    class Picked(Message):
        """The row with this number was picked."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    cursor = 0

    def action_move(self, by: int) -> None:
        """Mark another row."""
        self.put_cursor(self.cursor + by)

    def put_cursor(self, number: int) -> None:
        """Mark the row of this number, or the nearest there is."""
        self.cursor = max(0, min(number, len(self.rows) - 1))
        self.scroll_to_region(Region(0, self.cursor, 1, 1), animate=False, immediate=True)
        self.refresh()

    def action_pick(self) -> None:
        """Tell which one is marked."""
        if self.rows:
            self.post_message(self.Picked(self.cursor))

    def on_click(self, event: Click) -> None:
        """Pick what is under the mouse."""
        number = self.scroll_offset.y + event.get_content_offset_capture(self).y
        if 0 <= number < len(self.rows):
            self.put_cursor(number)
            self.action_pick()

    def line(self, index: int) -> Strip:
        """The marked row stands out without colours too."""
        strip = super().line(index)
        if index != self.cursor or not self.rows:
            return strip
        chosen = self.role_style("chosen")
        return Strip([Segment(text, style + chosen if style else chosen) for text, style, _ in strip])
