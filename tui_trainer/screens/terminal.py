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

from tui_trainer.screens.captured import CapturedStream
from tui_trainer.screens.terminal_writer import TerminalWriter

if TYPE_CHECKING:
    from types import TracebackType

# Mouse, paste and focus reports off, wrap and cursor on, colours back: harmless when it is so already.
RESET = (
    "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l\x1b[?2004l\x1b[?2048l\x1b[?1004l"
    "\x1b[?7h\x1b[?25h\x1b[0m"
)
LEAVE = "\x1b[<u\x1b[?1049l"  # keyboard protocol back, main screen: only where Textual did not come to it
BEHIND_BYTES = 16 * 1024  # more than a full picture of a usual screen
FINISH_SECONDS = 5.0  # for a stalled terminal to take the last words


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
        self.stdout, self.stderr = CapturedStream(1), CapturedStream(2)
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

    @property
    def is_behind(self) -> bool:
        """Whether the terminal has not taken what was written so far: it is slow, or stands still."""
        return self.writer is not None and self.writer.behind > BEHIND_BYTES

    def use_streams(self) -> None:
        """Point Python's streams at the file again, once Textual's driver has the terminal for itself."""
        assert self.writer is not None
        sys.stdout, sys.stderr = self.stdout, self.stderr
        sys.__stdout__ = CapturedStream(1, self.writer.fileno)  # type: ignore[misc]
        sys.__stderr__ = CapturedStream(2)  # type: ignore[misc]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.writer is not None
        assert self._streams is not None
        for stream in (self.stdout, self.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        self.writer.write(RESET if kind is None else RESET + LEAVE)
        finished = self.writer.finish(FINISH_SECONDS)
        if self._attributes is not None and not self.writer.gone:
            when = termios.TCSADRAIN if finished else termios.TCSANOW
            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(self.writer.fileno(), when, self._attributes)
        sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__ = self._streams  # type: ignore[misc]  # as it was
        for number, saved in zip((1, 2), self._saved, strict=True):
            os.dup2(saved, number)
            os.close(saved)
        self.writer.isatty()  # remembers whether it is gone
        os.close(self.writer.fileno())
        self._closed = True
