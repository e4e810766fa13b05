"""The widget of one chart: rows that the painter process drew, a border that says what they mean, a cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from tui_trainer.screens.canvas import Drawing
from tui_trainer.screens.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.events import MouseDown, MouseEvent, MouseMove, MouseScrollDown, MouseScrollUp

    from tui_trainer.screens.canvas import Run

AXIS_ROWS = 2  # below the curves: the axis and its numbers


class Chart(Rows, can_focus=True):
    """One chart. The legend stands in the border's title, notes and the cursor's reading below."""

    class Resized(Message):
        """The chart has a new size and wants a new picture."""

    class Pointed(Message):
        """Somebody pressed the mouse on a column of the curves, or dragged it there."""

        def __init__(self, chart: Chart, column: int) -> None:
            super().__init__()
            self.chart, self.column = chart, column

    class Scrolled(Message):
        """The mouse's wheel was turned over a focused chart: `inwards` looks closer."""

        def __init__(self, *, inwards: bool) -> None:
            super().__init__()
            self.inwards = inwards

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._titled: tuple[str, tuple[Run, ...], bool] = ("", (), False)
        self._note = ""
        self._drawing = Drawing([])
        self._cursor: int | None = None
        self._dragging = False

    @property
    def columns(self) -> int:
        """How many columns the curves have in the picture that is shown."""
        return self._drawing.columns

    def set_border(self, title: str, legend: Sequence[Run], note: str) -> None:
        """Title and legend entries (text, role) above, a note ("log · 2 non-finite") below."""
        self._set_title(title, tuple(legend))
        if note != self._note:
            self._note = note
            self.border_subtitle = Content(note)

    def _set_title(self, title: str, legend: tuple[Run, ...]) -> None:
        wanted = (title, legend, self.has_focus)
        if wanted == self._titled:
            return  # setting a border's text repaints the whole widget
        self._titled = wanted
        name = Content.styled(f" {title} ", "reverse") if self.has_focus else Content(title)
        colors = [(text, self.get_component_styles(f"rows--{role}").color.hex) for text, role in legend]
        self.border_title = Content.assemble(name, *colors)

    def on_focus(self) -> None:
        """Mark the title: a colour of the border alone does not show on every terminal."""
        self._set_title(*self._titled[:2])

    def on_blur(self) -> None:
        """Take the mark away."""
        self._set_title(*self._titled[:2])

    def set_drawing(self, drawing: Drawing) -> None:
        """Show a new picture."""
        if drawing[1:] != self._drawing[1:]:
            self.refresh()
        self._drawing = drawing
        self.set_rows(drawing.rows)

    def set_cursor(self, column: int | None) -> None:
        """Stand a line on this column of the curves, or nowhere."""
        if column == self._cursor:
            return
        changed = [place for place in (self._cursor, column) if place is not None]
        self._cursor = column
        first = self._drawing.first_column
        self.refresh(*(Region(first + place, 0, 1, self.size.height) for place in changed))

    def render_line(self, y: int) -> Strip:
        """One row as Textual wants it, with the cursor's cell in it."""
        strip = super().render_line(y)
        if self._cursor is None or y >= self.size.height - AXIS_ROWS:
            return strip
        place = self._drawing.first_column + self._cursor
        text = strip.text[place : place + 1]
        sign = text if text.strip() and text != "\u2800" else "|" if self.has_class("-ascii") else "│"
        here = Strip([Segment(sign, self._style("cursor"))])
        return Strip.join([strip.crop(0, place), here, strip.crop(place + 1)])

    def notify_style_update(self) -> None:
        """Colour the legend anew when the theme changes."""
        super().notify_style_update()
        title, legend, _ = self._titled
        self._titled = ("", (), False)
        if title:
            self._set_title(title, legend)

    def on_resize(self) -> None:
        """Ask for a picture that fits."""
        self.post_message(self.Resized())

    def on_mouse_down(self, event: MouseDown) -> None:
        """Put the cursor here, and take it along while the button is held."""
        if event.button == 1:
            self._dragging = True
            self.capture_mouse()
            self._point(event)

    def on_mouse_move(self, event: MouseMove) -> None:
        """Take the cursor along."""
        if self._dragging:
            self._point(event)

    def on_mouse_up(self) -> None:
        """Leave the cursor where it is."""
        self._dragging = False
        self.release_mouse()

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """Look closer."""
        self._scrolled(event, inwards=True)

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """Look from farther away."""
        self._scrolled(event, inwards=False)

    def _scrolled(self, event: MouseEvent, *, inwards: bool) -> None:
        if self.has_focus:
            event.stop()
            self.post_message(self.Scrolled(inwards=inwards))

    def _point(self, event: MouseEvent) -> None:
        column = event.get_content_offset_capture(self).x - self._drawing.first_column
        if self.columns and 0 <= column < self.columns:
            self.post_message(self.Pointed(self, column))
