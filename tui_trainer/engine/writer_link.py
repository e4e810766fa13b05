"""The trainer's end of the writer process. Imports no torch, so the process can be started before torch is."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import struct
import subprocess
import sys
import threading
from typing import Any

from tui_trainer.data.child_process import signals_held_back

_LENGTH = struct.Struct("!Q")


def send_message(connection: socket.socket, body: bytes, fds: list[int] | None = None) -> None:
    """One length-prefixed message, with file descriptors beside it. Raises `OSError` when the peer is gone."""
    socket.send_fds(connection, [_LENGTH.pack(len(body))], fds or [])
    connection.sendall(body)


def receive_message(connection: socket.socket) -> tuple[bytes, list[int]] | None:
    """The next message and the descriptors that came with it; None when the peer is gone."""
    try:
        head, fds, _, _ = socket.recv_fds(connection, _LENGTH.size, 4)
        while head and len(head) < _LENGTH.size:
            more = connection.recv(_LENGTH.size - len(head))
            if not more:
                return None
            head += more
        if not head:
            return None
        (length,) = _LENGTH.unpack(head)
        parts, missing = [], length
        while missing:
            part = connection.recv(min(missing, 1 << 20))
            if not part:
                return None
            parts.append(part)
            missing -= len(part)
    except OSError:
        return None
    return b"".join(parts), list(fds)


class WriterGone(Exception):
    """The writer process has died."""


class WriterLink:
    """Starts the writer process and passes requests to it, one at a time.

    `keep_fds` are inherited by the writer: the run folder's lock, so that nobody resumes a run whose last
    checkpoint is still being written.
    """

    def __init__(self, keep_fds: tuple[int, ...] = ()) -> None:
        self._lock = threading.Lock()
        self._keep_fds = keep_fds
        self._start()

    def _start(self) -> None:
        self._ours, theirs = socket.socketpair()
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONUNBUFFERED": "1",
        }
        try:
            with signals_held_back():
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _BOOT, str(theirs.fileno()), *sys.path],
                    pass_fds=(theirs.fileno(), *self._keep_fds),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=environment,
                )
        except BaseException:
            self._ours.close()
            raise
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        """Process id of the writer."""
        return self._process.pid

    def ask(self, request: Any, fds: list[int]) -> dict[str, Any]:
        """Send a request and wait for its answer. Raises `WriterGone`."""
        body = pickle.dumps(request)
        with self._lock:
            try:
                send_message(self._ours, body, fds)
            except OSError as error:
                raise WriterGone(str(error)) from error
            message = receive_message(self._ours)
        if message is None:
            raise WriterGone("the checkpoint writer process ended")
        answer: dict[str, Any] = pickle.loads(message[0])  # noqa: S301 (our own child on a private socket pair)
        return answer

    def restart(self) -> None:
        """Put a new process in the place of one that is gone; it knows no arena and no history. Raises `OSError`."""
        self.close(timeout=0.0)
        self._start()

    def close(self, timeout: float = 10.0) -> None:
        """End the process; what it is writing is finished first. May be called again."""
        with contextlib.suppress(OSError):
            self._ours.shutdown(socket.SHUT_WR)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._ours.close()


# The parent's import path travels along, so that the child finds this package wherever the parent did.
_BOOT = (
    "import sys; fd = sys.argv[1]; sys.path[:] = sys.argv[2:]; sys.argv[1:] = [fd]; "
    "from tui_trainer.engine.writer import main; main()"
)
