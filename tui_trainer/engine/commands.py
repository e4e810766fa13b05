"""What may be asked of a running trainer, and the queue it is asked through."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from threading import Event as Flag
from typing import Any

NAMES = (
    "pause", "resume", "stop", "checkpoint", "set_learning_rate", "extend", "roll_back", "apply_fix", "undo_fix",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Command:
    """`name` is one of `NAMES`. Details: stop takes `when` (now | epoch) and `status`; set_learning_rate takes
    `learning_rate`; extend takes `epochs` (the new total); roll_back takes `file` (a name in checkpoints/), where it
    must still hold that step `step`, and, to change it as well, `learning_rate` or `learning_rate_factor`; apply_fix
    takes a fix as `engine.repair.open_repair` says, and undo_fix nothing, or what the session makes of it."""

    name: str
    details: dict[str, Any] = field(default_factory=dict)


class CommandQueue:
    """Filled by any thread, drained by the trainer at step boundaries. Asking whether it is empty costs nothing."""

    def __init__(self) -> None:
        self._commands: deque[Command] = deque()
        self._arrived = Flag()

    def __bool__(self) -> bool:
        return bool(self._commands)

    def put(self, command: Command) -> None:
        """Raises `ValueError` for a name that no trainer knows."""
        if command.name not in NAMES:
            raise ValueError(f"no such command: {command.name}")
        self._commands.append(command)
        self._arrived.set()

    def put_first(self, command: Command) -> None:
        """Ahead of all that waits: what belongs to a command that is half done."""
        self._commands.appendleft(command)
        self._arrived.set()

    def take(self) -> Command | None:
        """The oldest command, None when there is none."""
        return self._commands.popleft() if self._commands else None

    def waiting(self) -> tuple[Command, ...]:
        """What there is, the oldest first; it stays in the queue."""
        return tuple(self._commands)

    def wait(self) -> Command:
        """Block until there is a command (a paused trainer waits here)."""
        while not self._commands:
            self._arrived.wait()
            self._arrived.clear()
        return self._commands.popleft()
