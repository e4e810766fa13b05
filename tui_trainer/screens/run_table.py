"""The list of runs as a table: which columns fit, what stands in a cell, how a column sorts. Pure functions."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tui_trainer.screens.panels import STATUS_WORDS
from tui_trainer.session.run_index import UNREADABLE
from tui_trainer.session.wording import (
    clean_text,
    crop,
    format_bytes,
    format_duration,
    format_metric,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tui_trainer.screens.canvas import Row, Run
    from tui_trainer.session.run_index import RunEntry

LEAST_NAME = 17
SPACING = 2  # the table's padding: a cell on each side
SCROLLBAR = 1
STATUS_SHORT = {
    "early_stopped": "early stop",
    UNREADABLE: "unreadable",
    "running": "live",
    "paused": "paused",
}
UNFINISHED_ROLES = {UNREADABLE: "bad"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table. `since`: the narrowest screen that shows it. `falling`: sorts downwards at first."""

    key: str
    label: str
    width: int
    since: int = 0
    right: bool = False
    falling: bool = False


COLUMNS = (
    Column("mark", "", 1),
    Column("name", "name", LEAST_NAME),
    Column("status", "status", 11),
    Column("monitor", "monitored", 14, since=130),
    Column("best", "best", 9, right=True),
    Column("epochs", "epochs", 9, right=True, falling=True),
    Column("started", "started", 11, right=True, falling=True),
    Column("duration", "took", 7, right=True, falling=True),
    Column("attempts", "tries", 5, since=150, right=True, falling=True),
    Column("size", "size", 8, since=100, right=True, falling=True),
    Column("device", "device", 8, since=160),
    Column("diagnostics", "problems", 18, since=116),
)
SORTABLE = tuple(column.key for column in COLUMNS if column.key != "mark")


def columns_for(width: int) -> list[Column]:
    """The columns that a screen of this width shows; the name takes what is left."""
    chosen = [column for column in COLUMNS if width >= column.since]
    fixed = sum(column.width + SPACING for column in chosen if column.key != "name")
    name = max(LEAST_NAME, width - fixed - SPACING - SCROLLBAR)
    return [replace(column, width=name) if column.key == "name" else column for column in chosen]


def cell(entry: RunEntry, column: str, *, now: float, size: int | None) -> Run:
    """Text and role of one cell; a dim dash where the run has nothing to show there."""
    if column == "status":
        return status_words(entry)
    role = {"monitor": "dim", "device": "dim", "diagnostics": "bad"}.get(column, "text")
    text = _text(entry, column, now=now, size=size)
    return (text, role) if text else ("-", "dim")


def _text(entry: RunEntry, column: str, *, now: float, size: int | None) -> str:
    seconds = took(entry, now)
    planned = "" if entry.epochs_planned is None else f"/{entry.epochs_planned}"
    texts = {
        "name": clean_text(entry.name, limit=200),
        "monitor": clean_text(entry.monitor, limit=60),
        "best": "" if entry.best is None else format_metric(entry.monitor, entry.best),
        "epochs": "" if entry.status == UNREADABLE else f"{entry.epochs}{planned}",
        "started": "" if entry.started is None else short_time(entry.started, now),
        "duration": "" if seconds is None else format_duration(seconds),
        "attempts": str(entry.attempts or ""),
        "size": "" if size is None else format_bytes(size),
        "device": clean_text(entry.device, limit=20),
        "diagnostics": ", ".join(clean_text(code, limit=60) for code in entry.diagnostics),
    }
    return texts[column]


def status_words(entry: RunEntry) -> Run:
    """The status in a word or two, and its role."""
    _, role = STATUS_WORDS.get(entry.status, ("", UNFINISHED_ROLES.get(entry.status, "text")))
    return STATUS_SHORT.get(entry.status, clean_text(entry.status, limit=20)), role


def took(entry: RunEntry, now: float) -> float | None:
    """Seconds that the latest attempt took, or takes so far."""
    if entry.is_live and entry.started is not None:
        return max(0.0, now - entry.started)
    return entry.duration


def short_time(moment: float, now: float) -> str:
    """Local time in eleven characters: month, day and time, or the date of another year."""
    then, today = time.localtime(moment), time.localtime(now)
    return time.strftime("%m-%d %H:%M" if then.tm_year == today.tm_year else "%Y-%m-%d", then)


def in_order(
    entries: Sequence[RunEntry], column: str, *, falling: bool, now: float, sizes: Mapping[Path, int]
) -> list[RunEntry]:
    """The runs sorted by a column; those that have no value there come last, whichever the direction.

    "Best" sorts within each monitored metric, best first when not `falling`.
    """
    by_age = sorted(entries, key=lambda entry: (-(entry.started or 0.0), entry.name, str(entry.folder)))
    known: list[tuple[tuple[object, ...], RunEntry]] = []
    unknown: list[RunEntry] = []
    for entry in by_age:
        value = _value(entry, column, now=now, size=sizes.get(entry.folder))
        if value is None:
            unknown.append(entry)
        else:
            known.append((value, entry))
    known.sort(key=lambda pair: pair[0], reverse=falling)
    return [entry for _, entry in known] + unknown


def _value(entry: RunEntry, column: str, *, now: float, size: int | None) -> tuple[object, ...] | None:
    plain: dict[str, object] = {
        "name": entry.name.casefold(),
        "status": (not entry.is_live, entry.status),
        "monitor": entry.monitor,
        "epochs": entry.epochs,
        "started": entry.started,
        "duration": took(entry, now),
        "attempts": entry.attempts,
        "size": size,
        "device": entry.device or None,
        "diagnostics": ", ".join(entry.diagnostics) or None,
    }
    if column == "best":
        if entry.best is None:
            return None
        return entry.monitor, -entry.best if entry.monitor_mode == "max" else entry.best
    value = plain.get(column)
    return None if value is None else (value,)


def detail_rows(entry: RunEntry, width: int, *, now: float, size: int | None) -> list[Row]:
    """What is known of the run under the cursor, most telling first."""
    word, role = status_words(entry)
    rows: list[Row] = []
    if entry.status == "died":
        message = f"its process is gone. Go on with it: mltrainer-tui --resume {shown_path(entry.folder)}"
    else:
        message = clean_text(entry.message)
    head = f"{word}: {message}" if message else word
    rows.append(((crop(head, width), role),))
    if entry.best is not None:
        at = f" at epoch {entry.best_epoch}" if entry.best_epoch else ""
        better = "highest" if entry.monitor_mode == "max" else "lowest"
        value = format_metric(entry.monitor, entry.best)
        rows.append(
            (
                ("best      ", "dim"),
                (crop(f"{clean_text(entry.monitor)} {value}{at} ({better})", width - 10), "good"),
            )
        )
    facts = [f"{entry.attempts} attempt{'s' if entry.attempts > 1 else ''}"] if entry.attempts else []
    facts += [clean_text(entry.device)] if entry.device else []
    facts += [f"{entry.parameters:,} parameters".replace(",", " ")] if entry.parameters is not None else []
    facts += [f"took {format_duration(took(entry, now))}"] if took(entry, now) is not None else []
    facts += [f"{format_bytes(size)} on disk"] if size is not None else []
    if facts:
        rows.append((("facts     ", "dim"), (crop(", ".join(facts), width - 10), "text")))
    if entry.diagnostics:
        codes = ", ".join(clean_text(code) for code in entry.diagnostics)
        rows.append((("problems  ", "dim"), (crop(codes, width - 10), "bad")))
    if entry.lineage:
        rows.append((("began from", "dim"), (crop(" " + clean_text(entry.lineage), width - 10), "text")))
    place = shown_path(entry.folder)
    rows.append((("folder    ", "dim"), (_tail(place, width - 10), "text")))
    return rows


def shown_path(path: Path) -> str:
    """A path as people would type it here: from the working directory where it lies in it."""
    here = Path.cwd()
    return clean_text(path.relative_to(here) if path.is_relative_to(here) else path)


def _tail(text: str, width: int) -> str:
    """The end of a path, which says more than its beginning."""
    return text if len(text) <= width else "…" + text[len(text) - max(0, width - 1) :]


def best_label(entries: Sequence[RunEntry]) -> str:
    """The head of the column "best": with the metric's name where all runs monitor the same one."""
    names = {entry.monitor for entry in entries}
    name = clean_text(next(iter(names)), limit=60) if len(names) == 1 else ""
    return name if name and len(name) <= 12 else "best"
