"""The newest lines of a run's log, in bounded room: a flood of prints does not wash away what the run itself said."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Level = Literal["debug", "info", "warning", "error", "output"]
Shown = Literal["info", "warnings", "errors", "output", "all"]

LOG_LIMIT = 1000  # lines kept for the log pane; training.log and output.log have all
SLACK = 200  # lines more, so that not every line costs a tidying-up
SHOWN: tuple[Shown, ...] = ("info", "warnings", "errors", "output", "all")
_LEVELS: dict[Shown, frozenset[Level]] = {
    "info": frozenset({"info", "warning", "error", "output"}),
    "warnings": frozenset({"warning", "error"}),
    "errors": frozenset({"error"}),
    "output": frozenset({"output"}),
    "all": frozenset({"debug", "info", "warning", "error", "output"}),
}
_PYTHON_WARNING = re.compile(r"\b[A-Z]\w*Warning: ")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of the log pane: when (seconds since the epoch), how grave, the cleaned text, its place in the log."""

    time: float
    level: Level
    text: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which lines are shown: those of a level, and of those the ones that hold `text` in upper or lower case."""

    shown: Shown = "info"
    text: str = ""

    def matches(self, entry: LogEntry) -> bool:
        """Whether `entry` is shown. A warning that Python printed counts as one, among the output as well."""
        if entry.level not in _LEVELS[self.shown]:
            printed = self.shown == "warnings" and entry.level == "output"
            if not (printed and _PYTHON_WARNING.search(entry.text)):
                return False
        return not self.text or self.text.lower() in entry.text.lower()

    def next_level(self) -> LogFilter:
        """The filter with the level that comes after this one's."""
        return replace(self, shown=SHOWN[(SHOWN.index(self.shown) + 1) % len(SHOWN)])


def extended(
    log: tuple[LogEntry, ...], total: int, entries: Sequence[LogEntry]
) -> tuple[tuple[LogEntry, ...], int]:
    """`log` and how many lines there ever were, after `entries`. Old output goes first, down to half the room."""
    numbered = (replace(entry, number=total + place) for place, entry in enumerate(entries, start=1))
    log = (*log, *numbered)
    if len(log) > LOG_LIMIT + SLACK:
        log = _tidied(log)
    return log, total + len(entries)


def _tidied(log: tuple[LogEntry, ...]) -> tuple[LogEntry, ...]:
    excess = len(log) - LOG_LIMIT
    output = sum(entry.level == "output" for entry in log)
    spare = min(excess, max(0, output - LOG_LIMIT // 2))
    kept: list[LogEntry] = []
    for entry in log:
        if spare and entry.level == "output":
            spare -= 1
        else:
            kept.append(entry)
    return tuple(kept[-LOG_LIMIT:])
