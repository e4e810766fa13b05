"""The way to the terminal: whoever writes never waits, however slow the line, and nothing that matters is dropped."""

from __future__ import annotations

import os
import re
import select
import threading
from collections import deque

CHUNK = 4096  # bytes handed over at once, so that it is known how far behind the terminal is
BEHIND_LIMIT = (
    256 * 1024
)  # bytes: a terminal that is so far behind gets no more pictures until it has caught up
SLICE_SECONDS = 1.0  # between looks whether a terminal that takes nothing is still there
IN_ASCII = str.maketrans(
    "─━│┃┄┊·•●○▲◆÷×→←↑↓…▏▎▍▌▋▊▉█▔▁▕╸╺≤≥≈±−–—‘’“”°²³", "--||-:.**o^X/x><^v~||||####-_|--<>~+---''\"\"o23"
) | dict.fromkeys(map(ord, "╭╮╰╯┌┐└┘├┤┬┴┼╴╶"), "+")  # each as wide as what it stands for
# Modes, keyboard protocol, clipboard: everything but the painting of cells.
_VITAL = re.compile(r"\x1b(?:\[[?<=>]|\]52|[78=>]|c)")


class TerminalWriter:
    """A file for the app's output, written by a thread of its own.

    A terminal that takes nothing (a stalled connection, Ctrl-S) must hold up neither keys nor signals: pictures are
    dropped while it is far behind, and `repaint_due` then says that a whole one is wanted. When the terminal is gone,
    what is written goes nowhere.
    """

    def __init__(self, descriptor: int, *, ascii: bool) -> None:  # noqa: A002 (says what it is)
        self._descriptor = descriptor
        self._encoding = "ascii" if ascii else "utf-8"
        self.encoding = "utf-8"
        self.errors = "replace"
        self.gone = False
        self._waiting: deque[bytes] = deque()
        self._behind = 0
        self._dropped = False
        self._closing = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def behind(self) -> int:
        """Bytes that the terminal has not taken yet."""
        return self._behind

    def repaint_due(self) -> bool:
        """Whether pictures were dropped and the terminal has caught up since; says so once."""
        with self._changed:
            due = self._dropped and not self._behind
            self._dropped = self._dropped and not due
            return due

    def write(self, text: str) -> int:
        """Have `text` written; returns at once."""
        shown = text.translate(IN_ASCII) if self._encoding == "ascii" else text
        data = shown.encode(self._encoding, "replace")
        with self._changed:
            if self._behind > BEHIND_LIMIT and not _VITAL.search(text):
                self._dropped = True
            elif data and not self.gone:
                self._waiting.append(data)
                self._behind += len(data)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._drain, name="terminal", daemon=True)
                    self._thread.start()
                self._changed.notify_all()
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

    def finish(self, patience: float) -> bool:
        """Whether all was taken by the terminal, or it is gone; waits `patience` seconds at most."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self.gone or not self._behind, patience)

    def _drain(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                data = self._waiting.popleft()
            while data and not self.gone:
                sent = self._send(data[:CHUNK])
                data = data[sent:]
                with self._changed:
                    self._behind -= sent
            with self._changed:
                if self.gone:
                    self._waiting.clear()
                    self._behind = 0
                self._changed.notify_all()

    def _send(self, data: bytes) -> int:
        """How many bytes of `data` the terminal took."""
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:  # somebody made it non-blocking
            select.select([], [self._descriptor], [], SLICE_SECONDS)
            return 0
        except (OSError, ValueError):
            self.gone = True
            return 0
