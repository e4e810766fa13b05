"""The terminal belongs to the app: whatever else writes to stdout or stderr goes to a file.

Native libraries, user code and warnings write to file descriptors 1 and 2 and would tear the screen. While
the app runs these lead to a file that the log pane follows, and Textual gets the terminal under a number of
its own.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import termios
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO

from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

# Mouse, paste and focus reports off, wrap and cursor on, colours back: harmless when it is so already.
RESET = (
    "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l\x1b[?2004l\x1b[?2048l\x1b[?1004l"
    "\x1b[?7h\x1b[?25h\x1b[0m"
)
LEAVE = "\x1b[<u\x1b[?1049l"  # keyboard protocol back, main screen: only where Textual did not come to it
IN_ASCII = str.maketrans("─━│┃┄·•●○▲÷×→←↑↓…▏▎▍▌▋▊▉█▔▁▕╸╺", "--||-.**o^/x><^v~||||####-_|--") | dict.fromkeys(
    map(ord, "╭╮╰╯┌┐└┘├┤┬┴┼╴╶"), "+"
)  # each as wide as what it stands for
TAIL_BYTES = 64 * 1024  # read at once; a flood's middle is left out of the pane
TAIL_LINES = 200
FILE_LIMIT = 32 * 1024 * 1024


def wants_ascii(environ: Mapping[str, str]) -> bool:
    """Whether to send the terminal nothing but ASCII: a C or non-UTF-8 locale, or the Linux console."""
    if environ.get("TERM") == "linux":
        return True
    asked = environ.get("LC_ALL") or environ.get("LANG") or ""
    if not environ.get("LC_ALL") and environ.get("LC_CTYPE") and environ.get("LC_CTYPE") != "C.UTF-8":
        asked = environ["LC_CTYPE"]  # "C.UTF-8" may be Python's own coercion of LANG=C
    if asked in ("C", "POSIX"):
        return True
    _, dot, encoding = asked.partition(".")
    return bool(dot) and "utf" not in encoding.lower()


class TerminalWriter:
    """The app's own way to the terminal. When the terminal is gone, what is written goes nowhere."""

    def __init__(self, descriptor: int, *, ascii: bool) -> None:  # noqa: A002 (says what it is)
        self._descriptor = descriptor
        self._encoding = "ascii" if ascii else "utf-8"
        self.encoding = "utf-8"
        self.errors = "replace"
        self.gone = False

    def write(self, text: str) -> int:
        """Write all of `text`."""
        if self._encoding == "ascii":
            text = text.translate(IN_ASCII)
        data = text.encode(self._encoding, "replace")
        while data and not self.gone:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                continue
            except OSError:
                self.gone = True
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def fileno(self) -> int:
        """The terminal's file descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether the terminal is still there."""
        self.gone = self.gone or not os.isatty(self._descriptor)
        return not self.gone


class Terminal:
    """Takes the terminal over on entry and gives it back, as it was, on exit."""

    def __init__(self, *, ascii: bool = False) -> None:  # noqa: A002 (says what it is)
        self._ascii = ascii
        descriptor, name = tempfile.mkstemp(prefix="mltrainer-output-", suffix=".log")
        self._capture = descriptor
        self.output = Path(name)
        self.writer: TerminalWriter | None = None
        self._closed = False
        self._saved: list[int] = []
        self._attributes: list[Any] | None = None
        self._streams: tuple[Any, Any, Any, Any] | None = None
        self.stdout: TextIO = sys.stdout
        self.stderr: TextIO = sys.stderr

    def __enter__(self) -> Self:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        self._saved = [os.dup(1), os.dup(2)]
        tty = next((number for number in (2, 1, 0) if os.isatty(number)), None)
        own = os.dup(tty) if tty is not None else os.open(os.ctermid(), os.O_RDWR)
        os.set_inheritable(own, False)
        self.writer = TerminalWriter(own, ascii=self._ascii)
        with contextlib.suppress(termios.error):
            self._attributes = termios.tcgetattr(own)
        append = os.open(self.output, os.O_WRONLY | os.O_APPEND)
        os.dup2(append, 1)
        os.dup2(append, 2)
        os.close(append)
        os.close(self._capture)
        self._streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
        self.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
        self.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
        sys.stdout, sys.stderr = self.stdout, self.stderr
        # Textual's driver writes to the one and asks the other for the terminal's size.
        sys.__stderr__ = sys.__stdout__ = self.writer  # type: ignore[misc, assignment]
        return self

    @property
    def gone(self) -> bool:
        """Whether the terminal was closed, or hung up."""
        if self.writer is None:
            return False
        return self.writer.gone if self._closed else not self.writer.isatty()

    def use_streams(self) -> None:
        """Point Python's streams at the file again, once Textual has put its own in their place."""
        sys.stdout, sys.stderr = self.stdout, self.stderr

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.writer is not None
        assert self._streams is not None
        for stream in (self.stdout, self.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        self.writer.write(RESET if kind is None else RESET + LEAVE)
        if self._attributes is not None and not self.writer.gone:
            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(self.writer.fileno(), termios.TCSADRAIN, self._attributes)
        sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__ = self._streams  # type: ignore[misc]  # as it was
        for number, saved in zip((1, 2), self._saved, strict=True):
            os.dup2(saved, number)
            os.close(saved)
        self.writer.isatty()  # remembers whether it is gone
        os.close(self.writer.fileno())
        self._closed = True


def send_output_to(path: Path) -> None:
    """Append what is written to stdout and stderr from now on to `path`: their terminal is gone."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)


class OutputTail:
    """Follows the file that captured output goes to. A line without its end waits for the rest."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = 0
        self._rest = b""

    def read(self) -> list[str]:
        """The new lines, cleaned; of a flood the last ones and a word on how much was left out."""
        try:
            size = self._path.stat().st_size
            if size == self._place:
                return []
            lines: list[str] = []
            if size < self._place:
                self._place, self._rest = 0, b""
            if size - self._place > TAIL_BYTES:
                skipped = size - self._place - TAIL_BYTES
                lines.append(f"… {skipped} bytes of output left out here")
                self._place, self._rest = size - TAIL_BYTES, b""
            with self._path.open("rb") as file:
                file.seek(self._place)
                data = file.read(size - self._place)
            self._place += len(data)
            if size > FILE_LIMIT:
                os.truncate(self._path, 0)  # writers append, so they go on at the start
                self._place = 0
        except OSError:
            return []
        *whole, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-TAIL_BYTES:]
        lines += [clean_text(_last_writing(line.decode("utf-8", "replace"))) for line in whole[-TAIL_LINES:]]
        return lines


def _last_writing(line: str) -> str:
    """What a terminal would show of a line that was rewritten with carriage returns (progress bars)."""
    return line.rstrip("\r").rpartition("\r")[2]
