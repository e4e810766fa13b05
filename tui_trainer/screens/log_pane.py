"""The log at the bottom of the screen."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui_trainer.session.wording import cell_width

if TYPE_CHECKING:
    from rich.style import Style
    from textual.events import Resize

    from tui_trainer.screens.view import LogEntry, RunView

AT_ONCE = 200  # entries taken in one update; a flood is cut and said so
KEPT = 2000  # wrapped lines
INDENT = 9  # "12:04:11 "


class LogPane(ScrollView, can_focus=True):
    """Follows the view's log while it is scrolled to the end. Plain text, never markup; long lines wrap.

    Lines are wrapped and styled here rather than by Rich: a flood of prints must cost the training little.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"log--{level}" for level in ("time", "debug", "info", "warning", "error", "output")
    }

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._lines: list[tuple[str, str, str]] = []  # time, text, level
        self._shown = 0
        self._wrapped_at = 0
        self._following = True
        self._view: RunView | None = None
        self._styles: dict[str, Style] = {}

    def show(self, view: RunView) -> None:
        """Add what the view's log has gained since the last call."""
        self._view = view
        width = self.scrollable_content_region.width
        fresh = view.log_total - self._shown
        if width <= 0 or fresh <= 0:
            return
        self._shown = view.log_total
        entries = view.log[-min(fresh, len(view.log)) :]
        if fresh > AT_ONCE:
            self._lines.append(("", f"… {fresh - AT_ONCE} lines left out here, see the run folder", "debug"))
            entries = entries[-AT_ONCE:]
        for entry in entries:
            if entry.level != "debug":
                self._lines.extend(_wrapped(entry, width))
        del self._lines[:-KEPT]
        self.virtual_size = Size(width, len(self._lines))
        if self._following:
            self.call_after_refresh(self._to_end)
        self.refresh()

    def action_scroll_end(self) -> None:
        """Follow the end again, also while lines keep coming."""
        self._following = True
        self._to_end()
        self.refresh()

    def _to_end(self) -> None:
        self.scroll_to(y=self.max_scroll_y, animate=False, force=True, immediate=True)
        self.vertical_scrollbar.position = self.scroll_y  # it may have been hidden when it was told

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Follow the end until the reader scrolls up, and again once they are back at it."""
        super().watch_scroll_y(old_value, new_value)
        self._following = new_value >= self.max_scroll_y or (self._following and new_value >= old_value)

    def on_resize(self, event: Resize) -> None:
        """Wrap the lines anew when the width changes; stay at the end in any case."""
        if self._following:
            self.call_after_refresh(self._to_end)
        if event.size.width == self._wrapped_at:
            return
        self._wrapped_at = event.size.width
        self._lines.clear()
        self._shown = 0
        if self._view is not None:
            self._shown = max(0, self._view.log_total - min(AT_ONCE, len(self._view.log)))
            self.show(self._view)

    def render_line(self, y: int) -> Strip:
        """One line of what is scrolled to."""
        width = self.scrollable_content_region.width
        height = self.scrollable_content_region.height
        top = max(0, len(self._lines) - height) if self._following else self.scroll_offset.y
        index = top + y
        base = self._style("info")
        if index >= len(self._lines):
            return Strip.blank(width, base)
        moment, text, level = self._lines[index]
        strip = Strip([Segment(moment.ljust(INDENT), self._style("time")), Segment(text, self._style(level))])
        return strip.adjust_cell_length(width, base)

    def notify_style_update(self) -> None:
        """Forget resolved styles when the theme changes."""
        super().notify_style_update()
        self._styles = {}

    def _style(self, level: str) -> Style:
        if level not in self._styles:
            self._styles[level] = self.get_component_rich_style(f"log--{level}")
        return self._styles[level]


def _wrapped(entry: LogEntry, width: int) -> list[tuple[str, str, str]]:
    moment = datetime.fromtimestamp(entry.time).astimezone().strftime("%H:%M:%S")
    parts = wrap(entry.text, max(10, width - INDENT))
    return [(moment if not index else "", part, entry.level) for index, part in enumerate(parts)]


def wrap(text: str, width: int) -> list[str]:
    """`text` in pieces of at most `width` cells, broken at spaces where there are any."""
    parts: list[str] = []
    while cell_width(text) > width:
        used, end = 0, 0
        for end, char in enumerate(text):  # noqa: B007 (where it stopped is what is wanted)
            used += cell_width(char)
            if used > width:
                break
        space = text.rfind(" ", 1, end + 1)
        cut = space if space > end // 2 else max(1, end)
        parts.append(text[:cut].rstrip())
        text = text[cut:].lstrip() if space > end // 2 else text[cut:]
    parts.append(text)
    return parts
