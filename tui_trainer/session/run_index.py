"""The runs under some folders, as a list shows them: what each came to, and whether it still goes on."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import stat
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import RunFolderError
from tui_trainer.engine.events import CommandHandled, EpochFinished, decode, from_json_number
from tui_trainer.session.run_folder import CONFIG_YAML, GOING_ON, RUN_JSON, is_live, read_run_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

UNREADABLE = "unreadable"
TAIL_BYTES = 256 << 10
LARGEST_JSON = 4 << 20
_SIGNATURE = (RUN_JSON, "summary.json", "events.jsonl", "epoch_metrics.csv")


@dataclass(frozen=True, slots=True)
class RunEntry:
    """One run of the list.

    `status` is that of `run.json`, but "died" where a run says that it goes on and no process has it, and "unreadable"
    where the folder holds a damaged record (`message` says what is wrong). `best` is the best finite value of the
    metric `monitor`. Times in seconds; `started` (Unix time) and `duration` are those of the latest attempt, `duration`
    is None while it goes on. `is_link`: the folder is a link to somewhere else.
    """

    folder: Path
    status: str
    name: str
    id: str = ""
    mode: str = ""
    monitor: str = "val_loss"
    monitor_mode: str = "min"
    best: float | None = None
    best_epoch: int | None = None
    epochs: int = 0
    epochs_planned: int | None = None
    started: float | None = None
    duration: float | None = None
    diagnostics: tuple[str, ...] = ()
    attempts: int = 0
    device: str = ""
    parameters: int | None = None
    message: str = ""
    lineage: str = ""
    is_link: bool = False

    @property
    def is_live(self) -> bool:
        """Whether it goes on."""
        return self.status in GOING_ON


class RunIndex:
    """Lists the run folders directly under `roots`. Keeps what it has read: a folder that did not change costs a few stats.

    For use by one thread at a time.
    """

    def __init__(self, roots: Iterable[Path]) -> None:
        self.roots = distinct(roots)
        self._known: dict[Path, tuple[object, RunEntry]] = {}
        self._sizes: dict[Path, tuple[RunEntry, int]] = {}

    def refresh(self) -> tuple[RunEntry, ...]:
        """All runs there are now, in no order. No folder, however broken, makes this raise."""
        known: dict[Path, tuple[object, RunEntry]] = {}
        for folder in self._folders():
            signature = _signature(folder)
            before = self._known.get(folder)
            if before is not None and before[0] == signature and not before[1].is_live:
                known[folder] = before
            else:
                entry = read_entry(folder)
                if entry is not None:
                    known[folder] = (signature, entry)
        self._known = known
        return tuple(entry for _, entry in known.values())

    def size(self, entry: RunEntry) -> int:
        """Bytes on disk of a run of the last list; walks the folder where the run has changed."""
        known = self._sizes.get(entry.folder)
        if known is None or known[0] is not entry or entry.is_live:
            self._sizes[entry.folder] = known = (entry, size_on_disk(entry.folder))
        return known[1]

    def _folders(self) -> Iterator[Path]:
        for root in self.roots:
            try:
                found = list(os.scandir(root))
            except OSError:
                continue
            for item in found:
                if not item.name.startswith("."):
                    yield root / item.name


def distinct(roots: Iterable[Path]) -> tuple[Path, ...]:
    """The folders, absolute, each once however it is written."""
    found: dict[Path, None] = {}
    for root in roots:
        try:
            found.setdefault(root.resolve())
        except (OSError, RuntimeError):  # a loop of links
            continue
    return tuple(found)


def read_entry(folder: Path) -> RunEntry | None:
    """What the list shows of one folder; None when it holds no run."""
    try:
        try:
            mode = (folder / RUN_JSON).stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(mode):
            return None
        record = read_run_json(folder)
        return None if record is None else _entry(folder, record)
    except (OSError, RunFolderError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
    except Exception as error:  # a foreign file may hold anything
        reason = f"{RUN_JSON} is not a run's record ({type(error).__name__}: {error})"
    return RunEntry(folder, UNREADABLE, folder.name, message=str(reason), is_link=folder.is_symlink())


def _entry(folder: Path, record: dict[str, Any]) -> RunEntry:
    attempts = [item for item in record["attempts"] if isinstance(item, dict)]
    latest = attempts[-1] if attempts else {}
    status = str(record.get("status"))
    live = status in GOING_ON and is_live(folder)
    if status in GOING_ON and not live:
        again = read_run_json(folder)  # it may have ended between the two looks
        status = str((again or record).get("status"))
        status = "died" if status in GOING_ON else status
    summary = {} if live or status == "died" else _json_object(folder / "summary.json")
    monitor, direction, planned = _settings(folder)
    monitor = str(summary.get("monitor", monitor))
    told = _told(summary, monitor) if summary else _found(folder, monitor, direction)
    started = _time(latest.get("started")) or _time(record.get("created"))
    if live and told.paused:
        status = "paused"
    duration = _number(summary.get("duration_seconds"))
    if duration is None and not live and started is not None and told.until is not None:
        duration = max(0.0, told.until - started)
    return RunEntry(
        folder=folder,
        status=status,
        name=str(record.get("name") or folder.name),
        id=str(record["id"]),
        mode=str(record.get("mode", "")),
        monitor=monitor,
        monitor_mode=direction,
        best=told.best,
        best_epoch=told.best_epoch,
        epochs=told.epochs,
        epochs_planned=_extended(record, planned),
        started=started,
        duration=duration,
        diagnostics=_codes(summary.get("diagnostics"), folder),
        attempts=len(attempts),
        device=str(summary.get("device") or ""),
        parameters=_whole(summary.get("parameters")),
        message=str(summary.get("message", "")),
        lineage=str(record.get("lineage") or ""),
        is_link=folder.is_symlink(),
    )


@dataclass(frozen=True, slots=True)
class _Told:
    """What the records say of the course of a run. `until`: Unix time of the last word."""

    epochs: int = 0
    best: float | None = None
    best_epoch: int | None = None
    until: float | None = None
    paused: bool = False


def _told(summary: dict[str, Any], monitor: str) -> _Told:
    return _Told(
        epochs=_whole(summary.get("epochs")) or 0,
        best=_number(summary.get(f"best_{monitor}")),
        best_epoch=_whole(summary.get("best_epoch")),
    )


def _found(folder: Path, monitor: str, direction: str) -> _Told:
    """For a run without a summary: the end of its events, else its epochs' rows."""
    told, until, paused = None, None, False
    for line in reversed(_last_lines(folder / "events.jsonl")):
        event = decode(line)
        if event is None:
            continue
        if until is None:
            until = event.time
            paused = isinstance(event, CommandHandled) and event.command == "pause" and event.accepted
        if isinstance(event, EpochFinished):
            best = event.best_value if math.isfinite(event.best_value) else None
            told = _Told(event.epoch, best, event.best_epoch or None, until, paused)
            break
    if told is not None:
        return told
    rows = metric_rows(folder)
    best, best_epoch = None, None
    for row in rows:
        value = row.get(monitor)
        if value is not None and math.isfinite(value):
            better = best is None or (value < best if direction == "min" else value > best)
            best, best_epoch = (value, int(row["epoch"])) if better else (best, best_epoch)
    return _Told(int(rows[-1]["epoch"]) if rows else 0, best, best_epoch, until, paused)


def metric_rows(folder: Path) -> list[dict[str, float]]:
    """`epoch_metrics.csv` as numbers; cells that are none, torn and foreign rows are left out."""
    try:
        text = (folder / "epoch_metrics.csv").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    rows = []
    try:
        for row in csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])):
            numbers = {name: number for name, cell in row.items() if (number := _cell(cell)) is not None}
            if math.isfinite(numbers.get("epoch", math.nan)):
                rows.append(numbers)
    except csv.Error:
        pass
    return rows


def _cell(cell: object) -> float | None:
    try:
        return float(cell) if isinstance(cell, str) and cell else None
    except ValueError:
        return None


def _last_lines(path: Path) -> list[bytes]:
    """The whole lines in the last `TAIL_BYTES` of a file."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - TAIL_BYTES))
            lines = stream.read(TAIL_BYTES).split(b"\n")
    except OSError:
        return []
    return lines[1 if size > TAIL_BYTES else 0 : -1]


def _settings(folder: Path) -> tuple[str, str, int | None]:
    """Monitored metric, its direction and the planned epochs, from the config that the run wrote out.

    Found by their indentation in that machine-written file: reading YAML takes 50 ms a file.
    """
    try:
        with (folder / CONFIG_YAML).open(encoding="utf-8", errors="replace") as stream:
            text = stream.read(LARGEST_JSON)
    except OSError:
        text = ""
    planned = _setting(text, "training", "epochs")
    return (
        _setting(text, "checkpoint", "monitor") or "val_loss",
        _setting(text, "checkpoint", "monitor_mode") or "min",
        int(planned) if planned and planned.isdecimal() else None,
    )


def _setting(text: str, group: str, name: str) -> str | None:
    found = re.search(rf"^{group}:\n(?: .*\n)*?  {name}: (\S+)$", text, re.MULTILINE)
    return found.group(1) if found else None


def _extended(record: dict[str, Any], planned: int | None) -> int | None:
    """The planned epochs after those that were asked for while it ran."""
    notes = record.get("interventions")
    for note in notes if isinstance(notes, list) else ():
        if isinstance(note, dict) and note.get("command") == "extend":
            planned = _whole(note.get("epochs")) or planned
    return planned


def _codes(codes: object, folder: Path) -> tuple[str, ...]:
    """Codes of diagnostics: those of the summary, else those in `diagnostics.jsonl`."""
    if isinstance(codes, list):
        return tuple(str(code) for code in codes)
    found: dict[str, None] = {}
    for line in _last_lines(folder / "diagnostics.jsonl"):
        try:
            item = json.loads(line)
        except ValueError:
            continue
        if isinstance(item, dict) and item.get("severity") != "info":
            found.setdefault(str(item.get("code")))
    return tuple(sorted(found))


def _json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _number(value: object) -> float | None:
    number = from_json_number(value)
    good = isinstance(number, (int, float)) and not isinstance(number, bool) and math.isfinite(number)
    return float(number) if good else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _time(value: object) -> float | None:
    try:
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def _signature(folder: Path) -> tuple[tuple[int, int, int] | None, ...]:
    """What changes when any file that the list reads changes."""
    signs: list[tuple[int, int, int] | None] = []
    for name in _SIGNATURE:
        try:
            found = os.stat(folder / name)  # noqa: PTH116 (a hundred runs: Path.stat costs more)
        except OSError:
            signs.append(None)
        else:
            signs.append((found.st_ino, found.st_mtime_ns, found.st_size))
    return tuple(signs)


def size_on_disk(folder: Path) -> int:
    """Bytes that the files of a run take; a file with two names counts once, links are not followed."""
    seen: set[tuple[int, int]] = set()
    total = 0
    waiting: list[str | Path] = [folder]
    while waiting:
        try:
            items: Sequence[os.DirEntry[str]] = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for item in items:
            try:
                found = item.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISDIR(found.st_mode):
                waiting.append(item.path)
            elif (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                total += found.st_size
    return total
