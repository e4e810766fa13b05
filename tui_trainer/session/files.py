"""Append-only files that survive a full disk, and CSV files cut back to the point a run resumes from."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from typing import TYPE_CHECKING, Any

from tui_trainer.engine.events import json_safe
from tui_trainer.engine.manifest import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_KEPT_BYTES = 16 << 20  # unwritten text a file keeps while the disk refuses it

METRIC_COLUMNS_LAST = (
    "learning_rate", "grad_norm", "epoch_time", "samples_per_second", "gpu_util", "data_wait",
)  # fmt: skip


class AppendFile:
    """Text appended to a file. What the disk refuses is kept in memory and tried again; `error` says why.

    `heading` begins a file that is empty. A file that was moved or removed under us is begun anew.
    """

    def __init__(self, path: Path, heading: str = "") -> None:
        self.path, self.heading = path, heading
        self._error: str | None = None
        self._lost = 0
        self._waiting = bytearray()
        self._fd: int | None = None
        self._place = (0, 0)

    @property
    def error(self) -> str | None:
        """What is missing in the file, and why; None when it holds everything."""
        if self._lost:
            return f"{self._lost} bytes were lost while the disk refused them"
        return self._error

    @property
    def waiting(self) -> int:
        """Bytes that the disk has not taken yet."""
        return len(self._waiting)

    def write(self, text: str) -> None:
        """Append `text`, or keep it for later."""
        self._waiting += text.encode("utf-8", "replace")
        if len(self._waiting) > _KEPT_BYTES:
            cut = self._waiting.find(b"\n", len(self._waiting) - _KEPT_BYTES // 2) + 1 or len(self._waiting)
            self._lost += cut
            del self._waiting[:cut]
        self.flush()

    def flush(self, *, durable: bool = False) -> None:
        """Hand everything to the operating system, as far as it takes it; with `durable`, to the disk itself."""
        if durable and self._fd is None and not self._waiting:
            return  # nothing was ever written: no file either
        try:
            self._open()
            assert self._fd is not None
            while self._waiting:
                del self._waiting[: os.write(self._fd, self._waiting)]
            if durable:
                os.fsync(self._fd)
        except OSError as error:
            self._error = str(error.strerror)
        else:
            self._error = None

    def close(self) -> None:
        """Flush and close."""
        if self._waiting:
            self.flush()
        self._forget()

    def _open(self) -> None:
        if self._fd is not None:
            with contextlib.suppress(OSError):
                found = self.path.stat()
                if (found.st_dev, found.st_ino) == self._place:
                    return
            self._forget()
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        found = os.fstat(self._fd)
        self._place = found.st_dev, found.st_ino
        if found.st_size == 0:
            self._waiting[:0] = self.heading.encode()

    def _forget(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def csv_line(values: Sequence[Any]) -> str:
    """One CSV row: floats with all their digits, None as an empty cell, NaN and infinities as words."""
    buffer = io.StringIO()
    cells = [
        "" if value is None else repr(value) if isinstance(value, float) else value
        for value in map(json_safe, values)
    ]
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def epoch_row(row: dict[str, Any]) -> dict[str, Any]:
    """A history row in the column order of `epoch_metrics.csv` (DESIGN §3)."""
    metrics = [name for name in row if name not in ("epoch", "step", *METRIC_COLUMNS_LAST)]
    names = [
        "epoch",
        "train_loss",
        "val_loss",
        *sorted(
            (name for name in metrics if name not in ("train_loss", "val_loss")),
            key=lambda name: name[:4] == "val_",
        ),
        *METRIC_COLUMNS_LAST,
    ]
    return {name: row.get(name) for name in names}


class CsvFile:
    """A CSV file that grows by rows; its columns are those of the first row."""

    def __init__(self, path: Path) -> None:
        self.file = AppendFile(path)
        self._columns = _header(path)
        self._begin()

    def add(self, row: dict[str, Any]) -> None:
        """Append a row; a column that the file does not have is left out."""
        if self._columns is None:
            self._columns = list(row)
            self._begin()
        self.file.write(csv_line([row.get(name) for name in self._columns]))

    def _begin(self) -> None:
        if self._columns is not None:
            self.file.heading = csv_line(self._columns)


def _header(path: Path) -> list[str] | None:
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as stream:
            return next(csv.reader(stream), None)
    except (OSError, csv.Error):
        return None


def cut_csv(path: Path, keep: Callable[[int], bool], removed_to: Path) -> None:
    """Keep the rows whose `epoch` passes `keep`, atomically; the others, and a torn last line, go to `removed_to`.

    A file whose first column is no epoch is none of ours and stays as it is. Raises `OSError`.
    """
    heading, *rows = _records(path.read_bytes().decode("utf-8", "replace")) or [""]
    if not heading.endswith("\n"):  # torn in its first line, or empty: it begins anew
        path.unlink()
        return
    if heading.split(",", 1)[0].strip() != "epoch":
        return
    kept, removed = [heading], [heading]
    for row in rows:
        first = row.split(",", 1)[0]
        whole = row.endswith("\n") and first.isdigit()
        (kept if whole and keep(int(first)) else removed).append(row)
    if len(removed) > 1:
        removed_to.mkdir(parents=True, exist_ok=True)
        write_atomically(removed_to / path.name, "".join(removed))
        write_atomically(path, "".join(kept))


def _records(text: str) -> list[str]:
    """CSV text as its records, each with its line end; a quoted cell may hold line ends of its own."""
    records = [""]
    for line in io.StringIO(text, newline="\n"):
        if records[-1].endswith("\n") and records[-1].count('"') % 2 == 0:
            records.append("")
        records[-1] += line
    if records[-1].count('"') % 2:  # torn inside quotes, though its last character may be a line end
        records[-1] = records[-1].rstrip("\n")
    return records if records[0] else []
