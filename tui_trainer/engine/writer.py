"""The writer process: turns snapshots in shared memory into checkpoint files.

`torch.save` and hashing hold the interpreter lock for hundreds of milliseconds; in a process of their own they
cost the training thread nothing. The process lives on one end of a private socket pair and ends with it.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import shutil
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from tui_trainer.engine.events import iso_time, json_safe
from tui_trainer.engine.manifest import (
    read_manifest,
    sha256_of,
    stage_copy,
    sync_folder,
    temporary_beside,
    write_manifest,
)
from tui_trainer.engine.snapshot import Layout, join, views
from tui_trainer.engine.writer_link import receive_message, send_message

_SPARE_BYTES = 1 << 20  # left free on the disk for logs and the manifest


@dataclass
class WriteRequest:
    """One snapshot and the files that shall hold it.

    `names`: the first is written, the others become hard links of it. `entry`: epoch, step, metrics, valid.
    `remove`: files that retention drops once these are safe. `check`: indices of the tensors that must be finite,
    with their names. `history_from`, `history`: rows to put behind the first `history_from` known ones.
    """

    folder: str
    names: list[str]
    state: Any
    entry: dict[str, Any]
    layouts: list[Layout] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    check: dict[int, str] = field(default_factory=dict)
    history_from: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    arena: int = 0
    arena_size: int = 0


class CheckpointRefused(Exception):
    """The state must not be written; the message says why."""


def write_checkpoint(
    request: WriteRequest, tensors: list[Tensor], history: list[dict[str, Any]]
) -> dict[str, Any]:
    """Write the files of `request`, crash-safe; returns size, hash and seconds.

    Raises `CheckpointRefused` for a non-finite state and `OSError` where the disk refuses; what stood under the
    names before then still stands.
    """
    started = time.perf_counter()
    for index, name in request.check.items():
        if not torch.isfinite(tensors[index]).all():
            raise CheckpointRefused(f"{name} holds a non-finite value")
    folder = Path(request.folder)
    needed = sum(tensor.nbytes for tensor in tensors) + _SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(28, f"{needed / 1e6:.1f} MB needed, {free / 1e6:.1f} MB free on the disk")
    state = join(request.state, tensors)
    state["history"] = history
    temporary = temporary_beside(folder / request.names[0])
    try:
        with temporary.open("xb") as stream:
            _save(state, stream)
        entry = request.entry | {"sha256": sha256_of(temporary), "size": temporary.stat().st_size}
        entry["metrics"] = json_safe(entry["metrics"])
        entry["saved_at"] = iso_time(time.time())
        _publish(folder, temporary, request.names, entry, request.remove)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return {"sha256": entry["sha256"], "size": entry["size"], "seconds": time.perf_counter() - started}


def reason_of(error: BaseException) -> str:
    """An exception as half a sentence for people."""
    if isinstance(error, CheckpointRefused):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    return f"{type(error).__name__}: {error}"


class _Patient:
    """A stream that takes what the disk refuses and keeps the error.

    PyTorch's zip writer answers a stream that raises with an error of its own ("unexpected pos"), which hides why.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        if self.error is None:
            try:
                self._stream.write(data)
            except OSError as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        """Nothing to do before the end."""


def _save(state: dict[str, Any], stream: BinaryIO) -> None:
    """`torch.save`, safe on disk when this returns. Raises `OSError`."""
    patient = _Patient(stream)
    torch.save(state, patient)  # type: ignore[arg-type]  # write and flush are all it needs
    if patient.error is not None:
        raise patient.error
    stream.flush()
    os.fsync(stream.fileno())


def _publish(
    folder: Path, temporary: Path, names: list[str], entry: dict[str, Any], remove: list[str]
) -> None:
    """Give the finished file its names, in the order of `names`: a crash may hit between any two of them."""
    staged = [temporary]
    try:
        for name in names[1:]:
            staged.append(stage_copy(temporary, folder / name))  # noqa: PERF401 (what raised midway must be unlinked)
        manifest = read_manifest(folder)
        manifest["pending"] |= dict.fromkeys(names, entry | {"retires": remove})
        write_manifest(folder, manifest)
        for path, name in zip(staged, names, strict=True):
            path.replace(folder / name)
    finally:
        for path in staged:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
    for name in names:
        del manifest["pending"][name]
        manifest["files"][name] = entry
    for name in remove:
        with contextlib.suppress(OSError):
            (folder / name).unlink(missing_ok=True)
        manifest["files"].pop(name, None)
    sync_folder(folder)
    write_manifest(folder, manifest)


def serve(connection: socket.socket) -> None:
    """Answer requests until the other end is gone."""
    arenas: dict[int, mmap.mmap] = {}
    history: list[dict[str, Any]] = []
    while True:
        message = receive_message(connection)
        if message is None:
            return
        body, fds = message
        # The private pair that our own parent made; nobody else can write to it.
        request: WriteRequest = pickle.loads(body)  # noqa: S301
        del history[request.history_from :]
        history.extend(request.history)
        try:
            for fd in fds:
                arenas[request.arena] = mmap.mmap(fd, request.arena_size)
            reply = write_checkpoint(request, views(arenas[request.arena], request.layouts), history)
        except Exception as error:  # whatever it was, the next snapshot deserves its own try
            reply = {"error": reason_of(error)}
        finally:
            for fd in fds:
                os.close(fd)
        try:
            send_message(connection, pickle.dumps(reply))
        except OSError:
            return


def main() -> None:
    """Entry of the process: the socket's descriptor is the first argument."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent decides; its end closes the socket
    os.nice(5)
    torch.set_num_threads(1)
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        serve(connection)


if __name__ == "__main__":
    main()
