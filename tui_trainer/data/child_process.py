"""Processes of ours: they never see the terminal's signals, and are gone soon after the process that started them."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection


@contextlib.contextmanager
def signals_held_back() -> Iterator[None]:
    """Processes started inside never get INT, HUP or TERM: the mask they start with is theirs for life.

    Ctrl-C reaches every process of the terminal at once, long before a new interpreter could choose to ignore it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGHUP, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Lifeline:
    """A pipe that nothing is written to: a process that holds `end` knows by its closing that its starter is gone.

    Loader workers need it because their parent is the fork server, which lives as long as they do.
    """

    def __init__(self) -> None:
        self.end, self._ours = multiprocessing.Pipe(duplex=False)

    def cut_at_exit(self) -> None:
        """Cut before what was registered with `atexit` so far, such as waiting for the processes."""
        atexit.register(self.cut)

    def cut(self) -> None:
        """End the processes that hold the other end. May be called again."""
        atexit.unregister(self.cut)
        self._ours.close()
        self.end.close()


def end_with(lifeline: Connection) -> None:
    """End this process, whatever it is doing, once the lifeline is cut."""

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            lifeline.recv_bytes()
        os._exit(1)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
