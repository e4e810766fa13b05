"""A list of rows with a mark, for screens whose other keys are their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.geometry import Region
from textual.message import Message

from tui_trainer.screens.keys import MARK_BINDINGS
from tui_trainer.screens.page import RowList

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.binding import BindingType
    from textual.events import Click

    from tui_trainer.screens.canvas import Row


class MarkList(RowList, inherit_bindings=False):
    """A list whose mark the arrows and the mouse move; Enter picks. The other keys stay the screen's."""

    BINDINGS: ClassVar[list[BindingType]] = [*MARK_BINDINGS]

    class Moved(Message):
        """Another row is marked."""

        def __init__(self, sender: MarkList) -> None:
            super().__init__()
            self.sender = sender

    def put_cursor(self, number: int) -> None:
        """Mark the row of this number, or the nearest there is; only the two rows that change are painted."""
        before = self.cursor
        self.cursor = max(0, min(number, len(self.rows) - 1))
        if self.cursor == before:
            return
        self.scroll_to_region(Region(0, self.cursor, 1, 1), animate=False, immediate=True)
        self.refresh()
        self.post_message(self.Moved(self))

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Show `rows`; the mark stays inside them."""
        super().set_rows(rows)
        if self.cursor >= len(rows) > 0:
            self.put_cursor(len(rows) - 1)

    def on_click(self, event: Click) -> None:
        """Mark what is under the mouse; what is marked already is picked."""
        event.prevent_default()
        number = self.scroll_offset.y + event.get_content_offset_capture(self).y
        if not 0 <= number < len(self.rows):
            return
        if number == self.cursor:
            self.action_pick()
        else:
            self.put_cursor(number)
