"""Rolling back: which checkpoint a running trainer shall be put back to, verified before anything is given up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import RunFolderError
from tui_trainer.engine.checkpoints import load_checkpoint
from tui_trainer.engine.manifest import read_manifest
from tui_trainer.engine.state import NEEDED_TO_GO_ON

if TYPE_CHECKING:
    from pathlib import Path

    from tui_trainer.engine.commands import Command
    from tui_trainer.engine.trainer import Trainer


@dataclass(frozen=True)
class Rollback:
    """A checkpoint that verified (None: the start), the command that asked for it, and whether the run was paused
    then."""

    path: Path | None
    state: dict[str, Any] | None
    command: Command
    paused: bool

    def learning_rate(self, restored: float) -> float | None:
        """The learning rate to go on with where the checkpoint's is `restored`; None to leave that."""
        details = self.command.details
        if "learning_rate" in details:
            return float(details["learning_rate"])
        factor = details.get("learning_rate_factor")
        return None if factor is None else restored * float(factor)


def open_rollback(trainer: Trainer, command: Command) -> Rollback:
    """Read and verify the checkpoint that `command` names, once all that is being written is on disk.

    Raises `UserError` saying why it cannot be; nothing has changed then.
    """
    details = command.details
    for name in ("learning_rate", "learning_rate_factor"):
        value = details.get(name, 1.0)
        if not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
            raise RunFolderError(f"{name} must be a positive number, not {value!r}")
    trainer.checkpointer.flush()
    file, entries = details.get("file"), read_manifest(trainer.checkpointer.folder)["files"]
    entry = entries.get(file) if isinstance(file, str) else None
    if entry is None:
        raise RunFolderError(
            f"there is no checkpoint {file}; there are {', '.join(sorted(entries)) or 'none'}"
        )
    if details.get("step", entry["step"]) != entry["step"]:
        raise RunFolderError(
            f"{file} was written anew meanwhile and holds step {entry['step']:,}, not {details['step']:,}; pause first"
        )
    return to_checkpoint(trainer, command, str(file), entry)


def to_checkpoint(trainer: Trainer, command: Command, file: str, entry: dict[str, Any]) -> Rollback:
    """The way back to `file`, whose manifest entry is `entry`, verified. Raises `RunFolderError`."""
    path = trainer.checkpointer.folder / file
    state = load_checkpoint(path, expected_sha256=entry.get("sha256"))
    missing = [key for key in NEEDED_TO_GO_ON if key not in state]
    if missing:
        raise RunFolderError(f"{file} has weights but no {', '.join(missing)}")
    return Rollback(path, state, command, trainer.paused)
