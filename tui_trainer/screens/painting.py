"""The app's side of the painter process: at most one request under way, the newest picture wins."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from tui_trainer.screens import painter

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui_trainer.screens.canvas import Drawing, Picture

RESTARTS = 3


class ChartPainter(Protocol):
    """Whoever draws charts for the app: the process below, or a test's stand-in."""

    on_painted: Callable[[str, Drawing], None] | None

    @property
    def alive(self) -> bool:
        """False when charts will not come any more."""
        ...

    def request(self, key: str, picture: Picture) -> None:
        """Ask for a picture; `on_painted(key, drawing)` follows, on any thread."""
        ...

    def close(self) -> None:
        """No more pictures are wanted."""
        ...


class Painter:
    """Draws pictures in another process and hands the drawings to `on_painted`, on the painter's own thread.

    Start it before Textual takes over stdio. When the process dies it is started again, three times at most;
    `alive` then turns false and the app goes on without charts.
    """

    def __init__(self) -> None:
        self.on_painted: Callable[[str, Drawing], None] | None = None
        self.alive = True
        self._wanted: dict[str, Picture] = {}
        self._sent: dict[str, Picture] = {}
        self._change = threading.Condition()
        self._closed = False
        self._process = self._spawn()
        self._thread = threading.Thread(target=self._work, name="painter", daemon=True)
        self._thread.start()

    def request(self, key: str, picture: Picture) -> None:
        """Ask for a picture; an older one with the same key that was not drawn yet is forgotten."""
        with self._change:
            if self._sent.get(key) == picture:
                self._wanted.pop(key, None)
                return
            self._wanted[key] = picture
            self._change.notify()

    def close(self) -> None:
        """End the process and the thread."""
        with self._change:
            self._closed = True
            self._change.notify()
        _end(self._process)
        self._thread.join(timeout=2)

    def _spawn(self) -> subprocess.Popen[bytes]:
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        return subprocess.Popen(
            # -P: a module in the working directory must not stand in for one of ours
            [sys.executable, "-P", "-m", "tui_trainer.screens.painter"],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # not in the terminal's process group: Ctrl+C and hang-ups pass it by
        )

    def _work(self) -> None:
        restarts = 0
        while True:
            with self._change:
                while not self._wanted and not self._closed:
                    self._change.wait()
                if self._closed:
                    return
                key = next(iter(self._wanted))
                picture = self._wanted.pop(key)
                self._sent[key] = picture
            answer = self._ask(key, picture)
            if answer is not None:
                with contextlib.suppress(RuntimeError):  # the screen that asked has closed meanwhile
                    if self.on_painted is not None:
                        self.on_painted(*answer)
                continue
            if self._is_closed():
                return
            restarts += 1
            if restarts > RESTARTS:
                self.alive = False
                return
            _end(self._process)
            self._process = self._spawn()
            with self._change:
                self._wanted.setdefault(key, picture)

    def _is_closed(self) -> bool:
        with self._change:
            return self._closed

    def _ask(self, key: str, picture: Picture) -> painter.Answer | None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            painter.send(self._process.stdin, (key, picture))
            answer = painter.receive(self._process.stdout)
        except (OSError, ValueError):
            return None
        return cast("painter.Answer | None", answer)


class Channel:
    """A painter's keys and answers for one screen, beside those of the screens below it.

    Hears only answers to its own requests; what others asked for goes on to whoever listened before.
    """

    def __init__(self, painter: ChartPainter, name: str) -> None:
        self.on_painted: Callable[[str, Drawing], None] | None = None
        self._painter = painter
        self._prefix = f"{name}:"
        self._before = painter.on_painted
        painter.on_painted = self._hear

    @property
    def alive(self) -> bool:
        """False when charts will not come any more."""
        return self._painter.alive

    def request(self, key: str, picture: Picture) -> None:
        """Ask for a picture."""
        self._painter.request(self._prefix + key, picture)

    def close(self) -> None:
        """Listen no longer. Channels close in the order opposite to that in which they were made."""
        self.on_painted = None
        if self._painter.on_painted == self._hear:
            self._painter.on_painted = self._before

    def _hear(self, key: str, drawing: Drawing) -> None:
        if not key.startswith(self._prefix):
            if self._before is not None:
                self._before(key, drawing)
        elif self.on_painted is not None:
            self.on_painted(key.removeprefix(self._prefix), drawing)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError, ValueError):
        if process.stdin is not None:
            process.stdin.close()
    try:
        process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        with contextlib.suppress(OSError, ValueError):
            process.stdout.close()
