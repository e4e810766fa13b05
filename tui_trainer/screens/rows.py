"""Widgets that show rows of coloured text, and repaint only the rows that changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui_trainer.screens.late_styles import LateStyles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style

    from tui_trainer.screens.canvas import Row


class Rows(LateStyles, Widget):
    """Text in rows of (text, role) runs, never markup. Roles are styled by the `rows--<role>` classes."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"rows--{role}"
        for role in ("text", "dim", "strong", "brand", "bar", "axis", "raw", "train", "val", "best",
                     "good", "warn", "bad", "over1", "over2", "over3", "cursor", "replay",
                     "run1", "run2", "run3", "run4", "run5", "run6", "fix", "key", "code", "heading", "em", "chosen",
                     "heat1", "heat2", "heat3", "heat4")
    }  # fmt: skip

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id, classes=classes)
        self._rows: list[Row] = []
        self._title = ""
        self._roles: dict[str, Style] = {}

    @property
    def rows(self) -> Sequence[Row]:
        """What is shown."""
        return self._rows

    def set_title(self, title: str) -> None:
        """Name the panel in its border."""
        if title != self._title:  # setting a border's text repaints the whole widget
            self._title = title
            self.border_title = Content(title)

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Show `rows`; only those that differ from what is shown are repainted."""
        old, new = self._rows, list(rows)
        self._rows = new
        width = self.size.width
        changed = [
            Region(0, y, width, 1)
            for y in range(max(len(old), len(new)))
            if (old[y] if y < len(old) else ()) != (new[y] if y < len(new) else ())
        ]
        if changed:
            self.refresh(*changed)

    def render_line(self, y: int) -> Strip:
        """One row as Textual wants it."""
        width = self.size.width
        row = self._rows[y] if y < len(self._rows) else ()
        segments = [Segment(text, self._style(role)) for text, role in row]
        return Strip(segments).adjust_cell_length(width, self._style("text"))

    def notify_style_update(self) -> None:
        """Forget resolved styles when the theme changes."""
        super().notify_style_update()
        self._roles = {}

    def _style(self, role: str) -> Style:
        if role not in self._roles:
            name = f"rows--{role}"
            known = name if name in self.COMPONENT_CLASSES else "rows--text"
            self._roles[role] = self.get_component_rich_style(known)
        return self._roles[role]


class Panel(Rows):
    """Rows that ask for others when their place has another size: after a change of phase, too."""

    class Resized(Message):
        """The rows have to be laid out for another size."""

    def on_resize(self) -> None:
        """Ask."""
        self.post_message(self.Resized())
