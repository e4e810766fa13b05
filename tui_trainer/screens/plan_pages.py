"""The parts of the Plan screen that rows stand in: lists with a mark that tells where it is, pages with pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widgets import Input

from tui_trainer.screens.keys import PLAN_LIST_BINDINGS
from tui_trainer.screens.page import Page, RowList
from tui_trainer.screens.plan_panels import LEVELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_trainer.screens.canvas import Row


class MarkedList(RowList):
    """A list that tells when another row is marked."""

    BINDINGS: ClassVar[list[BindingType]] = [*PLAN_LIST_BINDINGS]

    class Moved(Message):
        """Another row is marked."""

    def put_cursor(self, number: int) -> None:
        """Mark the row of this number, or the nearest there is."""
        before = self.cursor
        super().put_cursor(number)
        if self.cursor != before:
            self.post_message(self.Moved())

    def on_focus(self) -> None:
        """The mark stands out."""
        self.refresh()

    def on_blur(self) -> None:
        """The mark stays, in bold alone: the keys go elsewhere."""
        self.refresh()

    def line(self, index: int) -> Strip:
        """The marked row stands out, without colours too."""
        if self.has_focus or index != self.cursor:
            return super().line(index)
        strong = Style(bold=True)
        return Strip(
            [Segment(text, (style or Style()) + strong) for text, style, _ in Page.line(self, index)]
        )

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Show `rows`; the mark stays inside them."""
        super().set_rows(rows)
        if self.cursor >= len(rows) > 0:
            self.put_cursor(len(rows) - 1)


class PicturePage(Page):
    """Rows with grey pictures in them: the roles `grey-<above>-<below>` are the two halves of a cell."""

    def role_style(self, role: str) -> Style:
        """How text of this role looks."""
        if role.startswith("grey-") and role not in self._roles:
            above, below = (round(int(part) * 255 / (LEVELS - 1)) for part in role.split("-")[1:])
            self._roles[role] = Style(
                color=Color.from_rgb(above, above, above), bgcolor=Color.from_rgb(below, below, below)
            )
        return super().role_style(role)


class ValueInput(Input):
    """A setting's value while it is typed, in the place where it stands in the form."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape",
            "leave",
            "Leave it",
            show=False,
            id="plan.leave_value",
            tooltip="Leave the value as it was",
        ),
    ]

    class Left(Message):
        """Nothing is to be changed."""

    def action_leave(self) -> None:
        """Change nothing."""
        self.post_message(self.Left())
