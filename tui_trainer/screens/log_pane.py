"""The log at the bottom of the screen: follows, pauses, filters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.content import Content
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui_trainer.screens.late_styles import LateStyles
from tui_trainer.screens.log_history import LogFilter
from tui_trainer.session.wording import clean_text, crop, wrap

if TYPE_CHECKING:
    from rich.style import Style
    from textual.events import Blur, Key, Paste, Resize

    from tui_trainer.screens.log_history import LogEntry, Shown
    from tui_trainer.screens.view import RunView

AT_ONCE = 200  # entries taken in one update; a flood is cut and said so
KEPT = 2000  # wrapped lines
HELD = 4 * KEPT  # wrapped lines while the reader has paused: what stands there must not move
INDENT = 9  # "12:04:11 "
FILTER_LENGTH = 200  # characters
SAID: dict[Shown, str] = {
    "info": "",
    "warnings": "warnings and errors",
    "errors": "errors only",
    "output": "output only",
    "all": "all, with details",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the pane. `number` is its entry's place in the log, 0 for a remark of the pane's own."""

    moment: str
    text: str
    level: str
    number: int = 0


class LogPane(LateStyles, ScrollView, can_focus=True):
    """Follows the view's log while it is scrolled to the end. Plain text, never markup; long lines wrap.

    Lines are wrapped and styled here rather than by Rich: a flood of prints must cost the training little.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"log--{level}" for level in ("time", "debug", "info", "warning", "error", "output", "match")
    }

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._lines: list[Line] = []
        self._last = 0  # number of the newest entry that was looked at
        self._wrapped_at = 0
        self._following = True
        self._unseen = 0
        self._held_back = False
        self._filter = LogFilter()
        self._typing = False
        self._marks: tuple[str, str] = ("", "")
        self._view: RunView | None = None
        self._styles: dict[str, Style] = {}

    # ── what keys do ────────────────────────────────────────────────────────────────────────────────────────

    def toggle_follow(self) -> None:
        """Stand still, or follow the end again."""
        if self._following:
            self._to_end()
            self._following = False
            self._mark()
        else:
            self.action_scroll_end()

    def next_level(self) -> None:
        """Show the next of: all but details, warnings, errors, output, everything."""
        self._refilter(self._filter.next_level())

    @property
    def is_typing(self) -> bool:
        """Whether keys are the text of the filter."""
        return self._typing

    def begin_filter(self) -> None:
        """Take what is typed from here on as the text to filter by."""
        self.focus()
        self._typing = True
        self._mark()

    def on_key(self, event: Key) -> None:
        """While the filter is typed, keys are its text."""
        if not self._typing:
            if event.key == "escape" and self._filter.text:
                event.stop()
                self._refilter(replace(self._filter, text=""))
            return
        text = self._filter.text
        if event.key in ("enter", "escape"):
            self._typing = False
            text = text if event.key == "enter" else ""
        elif event.key == "backspace":
            text = text[:-1]
        elif event.key == "ctrl+u":
            text = ""
        elif event.is_printable and event.character:
            text += clean_text(event.character)
        else:
            return
        event.stop()
        event.prevent_default()
        self._refilter(replace(self._filter, text=text[:FILTER_LENGTH]))

    def on_paste(self, event: Paste) -> None:
        """Pasted text is filter text as well."""
        if self._typing:
            event.stop()
            text = self._filter.text + clean_text(event.text).strip()
            self._refilter(replace(self._filter, text=text[:FILTER_LENGTH]))

    def on_blur(self, _event: Blur) -> None:
        """Whoever goes elsewhere has finished typing."""
        self._typing = False
        self._mark()

    def action_scroll_end(self) -> None:
        """Follow the end again, also while lines keep coming."""
        self._follow()
        self._to_end()
        self.refresh()

    # ── what is shown ───────────────────────────────────────────────────────────────────────────────────────

    def show(self, view: RunView) -> None:
        """Add what the view's log has gained since the last call."""
        self._view = view
        width = self.scrollable_content_region.width
        ever = view.log_total - self._last
        if width <= 0 or ever <= 0:
            return
        fresh = [entry for entry in view.log[-ever:] if entry.number > self._last]
        wanted = [entry for entry in fresh if self._filter.matches(entry)]
        left_out = (ever - len(fresh) if self._last else 0) + max(0, len(wanted) - AT_ONCE)
        self._last = view.log_total
        if not self._following:
            self._unseen += len(wanted)
        if self._following or len(self._lines) < HELD:
            if left_out:
                self._lines.append(Line("", f"… {left_out} lines left out here, see the run folder", "debug"))
            for entry in wanted[-AT_ONCE:]:
                self._lines += _wrapped(entry, width)
        else:
            self._held_back = True
        self._lines_changed(width)

    def _refilter(self, wanted: LogFilter) -> None:
        """Show other lines; of those the newest."""
        if wanted != self._filter:
            self._filter = wanted
            self._following, self._unseen = True, 0
            self._rebuild()
        self._mark()

    def _follow(self) -> None:
        self._following, self._unseen = True, 0
        if self._held_back:
            self._rebuild()
        self._mark()

    def _rebuild(self) -> None:
        """Wrap anew, from the newest entry back until there are enough lines."""
        self._held_back = False
        width = self.scrollable_content_region.width
        view = self._view
        if view is None or width <= 0:
            return
        pieces: list[list[Line]] = []
        count = 0
        for entry in reversed(view.log):
            if count >= KEPT:
                break
            if self._filter.matches(entry):
                pieces.append(_wrapped(entry, width))
                count += len(pieces[-1])
        self._lines = [line for piece in reversed(pieces) for line in piece]
        self._last = view.log_total
        self._lines_changed(width)

    def _lines_changed(self, width: int) -> None:
        if self._following:
            del self._lines[:-KEPT]
            self.call_after_refresh(self._to_end)
        self.virtual_size = Size(width, len(self._lines))
        self._mark()
        self.refresh()

    def _mark(self) -> None:
        """Say in the border what is filtered and whether the pane stands still."""
        parts = ["Log"]
        if said := SAID[self._filter.shown]:
            parts.append(said)
        text = crop(self._filter.text, 40)
        if self._typing:
            parts.append(f"filter: {text}_   (Enter keeps it, Esc clears it)")
        elif text:
            parts.append(f'filter: "{text}"')
        paused = "" if self._following else "paused"
        if paused and self._unseen:
            paused += f", {self._unseen} new (End follows)"
        marks = ("  ".join(parts), paused)
        if marks != self._marks:  # setting a border's text repaints the whole widget
            self._marks = marks
            self.border_title, self.border_subtitle = Content(marks[0]), Content(marks[1])

    def _to_end(self) -> None:
        self.scroll_to(y=self.max_scroll_y, animate=False, force=True, immediate=True)
        self.vertical_scrollbar.position = self.scroll_y  # it may have been hidden when it was told

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Follow the end until the reader scrolls up, and again once they are back at it."""
        super().watch_scroll_y(old_value, new_value)
        following = new_value >= self.max_scroll_y or (self._following and new_value >= old_value)
        if following and not self._following:
            self._follow()
        elif self._following and not following:
            self._following = False
            self._mark()

    def on_resize(self, event: Resize) -> None:
        """Wrap the lines anew when the width changes; what was at the top stays there, or the end at the end."""
        if self._following:
            self.call_after_refresh(self._to_end)
        if event.size.width == self._wrapped_at:
            return
        self._wrapped_at = event.size.width
        top = self._lines[self.scroll_offset.y].number if self.scroll_offset.y < len(self._lines) else 0
        self._rebuild()
        if not self._following:
            place = next((y for y, line in enumerate(self._lines) if line.number >= top), 0)
            self.call_after_refresh(lambda: self.scroll_to(y=place, animate=False, force=True))

    # ── painting ────────────────────────────────────────────────────────────────────────────────────────────

    def render_line(self, y: int) -> Strip:
        """One line of what is scrolled to."""
        width = self.scrollable_content_region.width
        height = self.scrollable_content_region.height
        top = max(0, len(self._lines) - height) if self._following else self.scroll_offset.y
        index = top + y
        base = self._style("info")
        if index >= len(self._lines):
            nothing = "no line matches" if not self._lines and self._last and y == 0 else ""
            return Strip([Segment(nothing, self._style("debug"))]).adjust_cell_length(width, base)
        line = self._lines[index]
        segments = [Segment(line.moment.ljust(INDENT), self._style("time")), *self._highlighted(line)]
        return Strip(segments).adjust_cell_length(width, base)

    def _highlighted(self, line: Line) -> list[Segment]:
        """The line's text with what the filter found made to stand out."""
        style, wanted, lower = self._style(line.level), self._filter.text.lower(), line.text.lower()
        if not wanted or len(lower) != len(line.text):
            return [Segment(line.text, style)]
        parts: list[Segment] = []
        place = 0
        while (found := lower.find(wanted, place)) >= 0:
            parts.append(Segment(line.text[place:found], style))
            parts.append(Segment(line.text[found : found + len(wanted)], self._style("match")))
            place = found + len(wanted)
        return [*parts, Segment(line.text[place:], style)]

    def notify_style_update(self) -> None:
        """Forget resolved styles when the theme changes."""
        super().notify_style_update()
        self._styles = {}

    def _style(self, level: str) -> Style:
        if level not in self._styles:
            self._styles[level] = self.get_component_rich_style(f"log--{level}")
        return self._styles[level]


def _wrapped(entry: LogEntry, width: int) -> list[Line]:
    moment = datetime.fromtimestamp(entry.time).astimezone().strftime("%H:%M:%S")
    parts = wrap(entry.text, max(10, width - INDENT))
    return [
        Line(moment if not index else "", part, entry.level, entry.number) for index, part in enumerate(parts)
    ]
