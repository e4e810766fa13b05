"""What user code, libraries and C code print while the app runs: kept in a file, shown in the log pane."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from typing import TYPE_CHECKING

from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OUTPUT_LOG = "output.log"
TAIL_BYTES = 64 * 1024  # read at once; a flood's middle is left out of the pane
TAIL_LINES = 200
LINE_LIMIT = 20_000  # characters of one line; the file has it whole
FILE_LIMIT = (
    32 * 1024 * 1024
)  # bytes; what was before goes to output.1.log, so that prints cannot fill the disk


class CapturedStream(io.TextIOWrapper):
    """Standard output or error of the user's code. A full disk loses prints; it must not end the training.

    `terminal`: what `fileno` answers instead, for Textual asks `sys.__stdout__` for the terminal's size.
    """

    def __init__(self, descriptor: int, terminal: Callable[[], int] | None = None) -> None:
        raw = open(descriptor, "wb", buffering=0, closefd=False)  # noqa: SIM115 (owned by the wrapper)
        super().__init__(io.BufferedWriter(raw), encoding="utf-8", errors="replace", line_buffering=True)
        self._terminal = terminal

    def write(self, text: str) -> int:
        """Write, or give up on `text`."""
        try:
            return super().write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        """Flush, or leave it."""
        with contextlib.suppress(OSError):
            super().flush()

    def fileno(self) -> int:
        """The descriptor, or the terminal's."""
        return self._terminal() if self._terminal is not None else super().fileno()


class OutputTail:
    """Follows the file that captured output goes to. A line without its end waits for the rest."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._place = 0
        self._rest = b""
        self._first: Path | None = None
        self._forwarded = 0

    def continue_in(self, path: Path) -> None:
        """From here on output goes to `path`, the run's own file, after what was captured so far."""
        try:
            before = path.stat().st_size if path.exists() else 0
            with path.open("ab", buffering=0) as new:
                new.write(self._unforwarded())
                for number in (1, 2):
                    os.dup2(new.fileno(), number)
        except OSError:
            return
        self._first, self.path = self.path, path
        self._place += before

    def remainder(self) -> bytes:
        """What stands in the first file only, for the end. Processes that began before still write there."""
        with contextlib.suppress(OSError):
            return self._unforwarded()
        return b""

    def _unforwarded(self) -> bytes:
        with (self._first or self.path).open("rb") as file:
            file.seek(self._forwarded)
            data = file.read()
        self._forwarded += len(data)
        return data

    def _forward(self) -> None:
        if self._first is not None and self._first.stat().st_size > self._forwarded:
            with self.path.open("ab", buffering=0) as file:
                file.write(self._unforwarded())

    def read(self) -> list[str]:
        """The new lines, cleaned; of a flood the last ones and a word on how much was left out."""
        try:
            self._forward()
            size = self.path.stat().st_size
            if size == self._place:
                return []
            lines: list[str] = []
            if size < self._place:
                self._place, self._rest = 0, b""
            if size - self._place > TAIL_BYTES:
                skipped = size - self._place - TAIL_BYTES
                lines.append(f"… {skipped} bytes of output left out here")
                self._place, self._rest = size - TAIL_BYTES, b""
            with self.path.open("rb") as file:
                file.seek(self._place)
                data = file.read(size - self._place)
            self._place += len(data)
            if size > FILE_LIMIT:
                self._begin_anew()
        except OSError:
            return []
        *whole, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-TAIL_BYTES:]
        lines += [
            clean_text(_last_writing(line.decode("utf-8", "replace")), limit=LINE_LIMIT)
            for line in whole[-TAIL_LINES:]
        ]
        return lines

    def _begin_anew(self) -> None:
        """Empty the file; the run's own is kept beside it once. Writers append, so they go on at the start."""
        if self._first is not None:
            with contextlib.suppress(OSError):
                shutil.copyfile(self.path, self.path.with_suffix(".1.log"))
        os.truncate(self.path, 0)
        self._place = 0


def send_output_to(path: Path) -> None:
    """Append what is written to stdout and stderr from now on to `path`: their terminal is gone."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)


def _last_writing(line: str) -> str:
    """What a terminal would show of a line that was rewritten with carriage returns (progress bars)."""
    return line.rstrip("\r").rpartition("\r")[2]
