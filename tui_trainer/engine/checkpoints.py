"""Checkpoints: taking them without stopping the training, and loading only what verifies.

The trainer calls `Checkpointer.save`, which copies the state into shared memory and returns. A dispatcher thread
passes snapshots, oldest first, to the writer process. A newer `last` or best state takes the place of one that
still waits; a periodic one is never dropped.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tui_trainer.config.errors import RunFolderError, TrainingError
from tui_trainer.engine.events import CheckpointFailed, CheckpointSaved, Event, LogLine
from tui_trainer.engine.manifest import settle
from tui_trainer.engine.snapshot import Arena, TensorRef, split
from tui_trainer.engine.writer import WriteRequest, reason_of, write_checkpoint
from tui_trainer.engine.writer_link import WriterGone, WriterLink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

BEST, LAST = "best_model.pt", "last_model.pt"
REQUIRED_KEYS = (
    "model_state_dict", "optimizer_state_dict", "scheduler_state_dict", "epoch", "step", "val_loss", "metrics",
    "config",
)  # fmt: skip
_POOL_BYTES = 256 << 20  # snapshots that wait may take this much together, but always two
_PACE = (
    4.0  # between two writes, leave the disk and the other core alone this many times a write's own length
)
_PACE_MINIMUM_S = 0.5
_MOST_WAITING = 2  # snapshots; with more (periodic ones of short epochs) the writer takes no rest


def periodic_name(epoch: int) -> str:
    """The file of the checkpoint that is kept for `epoch`."""
    return f"checkpoint_epoch_{epoch}.pt"


@dataclass
class _Pending:
    """A snapshot that waits for the writer."""

    arena: Arena
    names: list[str]
    state: Any
    entry: dict[str, Any]
    history: list[dict[str, Any]]
    remove: list[str]

    @property
    def periodic(self) -> bool:
        return any(name not in (BEST, LAST) for name in self.names)


@dataclass
class Checkpointer:
    """Owns the checkpoints folder of a run.

    `barrier` is called before each write, with the time of the snapshot: the session flushes the run's records
    there, so that no checkpoint is ever ahead of the CSV files. `exempt` names state entries that may hold
    non-finite values (a model's constant -inf masks).
    """

    folder: Path
    emit: Callable[[Event], None]
    link: WriterLink | None = None
    barrier: Callable[[], None] = lambda: None
    exempt: frozenset[str] = frozenset()
    clock: Callable[[], float] = time.time
    pace: float = _PACE_MINIMUM_S
    failed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._pending: list[_Pending] = []
        self._writing: _Pending | None = None
        self._free: list[Arena] = []
        self._arenas = 0
        self._to_reserve: list[int] = []
        self._sent: set[tuple[int, int]] = set()
        self._history_sent: list[dict[str, Any]] = []
        self._not_before = 0.0
        self._hurry = False
        self._closing = False
        self._thread = threading.Thread(target=self._dispatch, name="checkpoints", daemon=True)
        self._thread.start()

    def reserve(self, size: int) -> None:
        """Expect snapshots of about `size` bytes: memory for them is made on the dispatcher's thread."""
        with self._changed:
            if self._arenas == 0:
                self._to_reserve = [size] if size > _POOL_BYTES else [size, size]
                self._changed.notify_all()

    def save(
        self,
        state: dict[str, Any],
        history: Sequence[dict[str, Any]],
        names: Sequence[str],
        *,
        entry: dict[str, Any],
        wait: bool,
        retired: Sequence[int] = (),
    ) -> bool:
        """Snapshot `state` for the files `names`; False when it was left out because a write is under way, or when
        there was no memory for it, which is reported as a failed checkpoint.

        `history` is appended to the state by the writer; rows must never change once they were passed. With
        `wait` the snapshot is taken in any case, after waiting for a free buffer where need be. The checkpoints of the
        epochs `retired` are removed once this one is safe.
        """
        with self._changed:
            if not wait and (self._pending or self._writing or time.monotonic() < self._not_before):
                return False
            self._supersede(names)
            arena = self._take_arena()
        tensors: list[Tensor] = []
        try:
            content = split(state, tensors)
            arena.fill(tensors)
        except BaseException as error:
            with self._changed:
                arena.close()
                self._free.append(arena)
                self._changed.notify_all()
            if not isinstance(error, (OSError, MemoryError)):
                raise
            self._report_failure(names, entry, f"no memory for a snapshot ({reason_of(error)})")
            return False
        waiting = _Pending(
            arena, list(names), content, entry, list(history), [periodic_name(number) for number in retired]
        )
        with self._changed:
            self._pending.append(waiting)
            self._changed.notify_all()
        return True

    @property
    def idle(self) -> bool:
        """True when a snapshot taken now would be written at once."""
        with self._changed:
            return not (self._pending or self._writing or time.monotonic() < self._not_before)

    def flush(self) -> None:
        """Return when every snapshot taken so far is on disk, or was reported as failed."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._pending and self._writing is None)
            self._hurry = False

    def close(self) -> None:
        """Flush, and free everything."""
        self.flush()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        for arena in self._free:
            arena.close()

    def _supersede(self, names: Sequence[str]) -> None:
        """Drop waiting snapshots that the new one replaces.

        Only from the newest back to the first periodic one: its state may name a best epoch whose file must be
        there before it.
        """
        while self._pending and not self._pending[-1].periodic and set(self._pending[-1].names) <= set(names):
            self._free.append(self._pending.pop().arena)

    def _take_arena(self) -> Arena:
        def available() -> bool:
            used = sum(item.arena.size for item in self._pending)
            return bool(self._free) or (not self._to_reserve and (self._arenas < 2 or used < _POOL_BYTES))

        if not available():
            self._hurry = True
            self._changed.notify_all()
            self._changed.wait_for(available)
            self._hurry = False
        if self._free:
            return self._free.pop()
        self._arenas += 1
        return Arena(self._arenas)

    def _must_be_finite(self, content: dict[str, Any]) -> dict[int, str]:
        """Tensors of weights and optimizer state, with their names: the writer refuses non-finite ones."""
        found: dict[int, str] = {}

        def visit(value: Any, name: str) -> None:
            if isinstance(value, TensorRef):
                if name not in self.exempt:
                    found[value.index] = name
            elif isinstance(value, dict):
                for key, item in value.items():
                    visit(item, f"{name}.{key}" if name else str(key))
            elif isinstance(value, (list, tuple)):
                for position, item in enumerate(value):
                    visit(item, f"{name}.{position}")

        for key in ("model_state_dict", "optimizer_state_dict", "loss_state_dict"):
            visit(content.get(key), key)
        return found

    def _dispatch(self) -> None:
        while (item := self._next()) is not None:
            started = time.monotonic()
            try:
                self._write(item)
            finally:  # whatever happened, nobody waits for this snapshot for ever
                with self._changed:
                    took = time.monotonic() - started
                    self._not_before = time.monotonic() + max(self.pace, _PACE * took if self.pace else 0.0)
                    self._writing = None
                    self._free.append(item.arena)
                    self._changed.notify_all()

    def _next(self) -> _Pending | None:
        """Wait for the next snapshot to write; None at the end."""
        with self._changed:
            while not self._due():
                if self._to_reserve:
                    self._make_room(self._to_reserve[0])
                elif self._closing and not self._pending:
                    return None
                else:
                    delay = self._not_before - time.monotonic() if self._pending else None
                    self._changed.wait(None if delay is None else max(delay, 0.001))
            self._writing = self._pending.pop(0)
            return self._writing

    def _make_room(self, size: int) -> None:
        """Add a buffer of `size` bytes; called with the lock held, which it gives up meanwhile."""
        arena = Arena(self._arenas + 1)
        self._changed.release()
        try:
            arena.reserve(size)
        except Exception:
            arena.close()  # the first snapshot tries again, and reports what is wrong
        finally:
            self._changed.acquire()
        self._arenas += 1
        self._to_reserve.pop(0)
        self._free.append(arena)
        self._changed.notify_all()

    def _due(self) -> bool:
        hurry = self._hurry or self._closing or len(self._pending) > _MOST_WAITING
        return bool(self._pending) and (hurry or time.monotonic() >= self._not_before)

    def _write(self, item: _Pending) -> None:
        """Have one snapshot written, and say how that went. Never raises."""
        entry, files = item.entry, tuple(item.names)
        try:
            check = self._must_be_finite(item.state)
            request = WriteRequest(
                str(self.folder), item.names, item.state, entry, item.arena.layouts, item.remove, check
            )
            self.barrier()
            answer = self._ask(request, item)
        except Exception as error:  # training goes on whatever a checkpoint runs into
            answer = {"error": reason_of(error)}
        if "error" in answer:
            self._report_failure(files, entry, answer["error"])
            return
        for name in files:
            self.failed.pop(name, None)
        self._tell(
            CheckpointSaved(
                time=self.clock(),
                files=files,
                epoch=entry["epoch"],
                step=entry["step"],
                size_bytes=answer["size"],
                seconds=answer["seconds"],
            )
        )

    def _report_failure(self, names: Sequence[str], entry: dict[str, Any], reason: str) -> None:
        for name in names:
            self.failed[name] = reason
        self._tell(
            CheckpointFailed(
                time=self.clock(),
                files=tuple(names),
                epoch=entry["epoch"],
                step=entry["step"],
                reason=reason,
            )
        )

    def _tell(self, event: Event) -> None:
        with contextlib.suppress(Exception):  # no reader's fault may end the saving of checkpoints
            self.emit(event)

    def _ask(self, request: WriteRequest, item: _Pending) -> dict[str, Any]:
        """Let the writer process do it; one that died is replaced, and where that fails too this thread writes.

        Raises what `write_checkpoint` raises.
        """
        for last_try in (False, True):
            if self.link is None:
                break
            try:
                return self._ask_writer(self.link, request, item)
            except WriterGone:
                self._replace_writer(self.link, give_up=last_try)
        return write_checkpoint(request, item.arena.tensors(), item.history)

    def _ask_writer(self, link: WriterLink, request: WriteRequest, item: _Pending) -> dict[str, Any]:
        known = self._history_sent
        common = 0
        while common < min(len(known), len(item.history)) and known[common] is item.history[common]:
            common += 1
        request.history_from, request.history = common, item.history[common:]
        request.arena, request.arena_size = item.arena.number, item.arena.size
        key = (item.arena.number, item.arena.generation)
        answer = link.ask(request, [] if key in self._sent else [item.arena.fd])
        self._sent.add(key)
        self._history_sent = item.history
        return answer

    def _replace_writer(self, link: WriterLink, *, give_up: bool) -> None:
        self._sent, self._history_sent = set(), []
        what = "a new one takes over"
        try:
            if give_up:
                link.close(timeout=0.0)
                self.link = None
            else:
                link.restart()
        except OSError as error:
            give_up, self.link = True, None
            what = f"no new one could be started ({reason_of(error)})"
        if give_up:
            what = "checkpoints are now written by the training process itself, which slows it down"
        for leftover in self.folder.glob(".*.tmp"):  # what the dead one had begun
            with contextlib.suppress(OSError):
                leftover.unlink()
        self._tell(
            LogLine(time=self.clock(), level="warning", text=f"The checkpoint writer process died; {what}.")
        )


@dataclass(frozen=True)
class Loaded:
    """A checkpoint that verified. `rejected` says which newer ones did not, and why."""

    path: Path
    state: dict[str, Any]
    rejected: tuple[str, ...] = ()


def load_checkpoint(path: Path, *, expected_sha256: str | None = None) -> dict[str, Any]:
    """The content of one checkpoint file, on the CPU, without ever executing anything in it.

    Raises `RunFolderError` when it is missing, damaged, or no checkpoint, and `TrainingError` when it is intact but
    does not load.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RunFolderError(
            f"The checkpoint {path} cannot be read ({error.strerror or error}). Name an existing .pt file or a run folder."
        ) from error
    if expected_sha256 is not None and hashlib.sha256(raw).hexdigest() != expected_sha256:
        raise RunFolderError(
            f"The checkpoint {path} is damaged: its SHA-256 is not the one in manifest.json. "
            "Resume from another checkpoint of the run (--resume auto finds the newest good one)."
        )
    try:
        state = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except Exception as error:  # any damage shows as some exception of pickle, zip or torch
        first = str(error).strip().split("\n")[0][:200]
        if expected_sha256 is not None:
            raise TrainingError(
                f"The checkpoint {path} is intact (its SHA-256 matches), but cannot be loaded here "
                f"({type(error).__name__}: {first}). Free some memory, or use the PyTorch that wrote it."
            ) from error
        raise RunFolderError(
            f"The checkpoint {path} cannot be loaded: it is truncated, damaged, or no PyTorch checkpoint "
            f"({type(error).__name__}: {first}). Resume from another one (--resume auto finds the newest good one)."
        ) from error
    missing = [key for key in REQUIRED_KEYS if not isinstance(state, dict) or key not in state]
    if missing:
        raise RunFolderError(
            f"{path} is no checkpoint of a training run: it has no {', '.join(missing)}. To start from the weights "
            "in it, set model.init_from instead of --resume."
        )
    return dict(state)


def load_newest(folder: Path) -> Loaded | None:
    """The newest checkpoint of a checkpoints folder that verifies; None where there is none at all.

    Raises `RunFolderError` when there are checkpoints and every one is damaged.
    """
    if not folder.is_dir():
        return None
    entries = settle(folder)["files"]
    ranked = sorted(
        (path for path in folder.glob("*.pt")),
        key=lambda path: (
            path.name in entries,
            entries.get(path.name, {}).get("step", -1),
            entries.get(path.name, {}).get("epoch", -1),
            entries.get(path.name, {}).get("epoch_complete", False),
            path.name == LAST,
        ),
        reverse=True,
    )
    rejected: list[str] = []
    for path in ranked:
        try:
            expected = entries.get(path.name, {}).get("sha256")
            state = load_checkpoint(path, expected_sha256=expected)
        except RunFolderError as error:
            rejected.append(f"{path.name}: {error}")
            continue
        return Loaded(path, state, tuple(rejected))
    if rejected:
        raise RunFolderError(
            f"Every checkpoint in {folder} is damaged ({'; '.join(rejected)}). Start a new run under another --output-dir."
        )
    return None
