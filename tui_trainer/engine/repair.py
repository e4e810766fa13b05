"""Fixes: from which checkpoint a running trainer shall go on under another config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import RunFolderError
from tui_trainer.engine.checkpoints import BEST, LAST
from tui_trainer.engine.manifest import read_manifest
from tui_trainer.engine.rollback import Rollback, to_checkpoint

if TYPE_CHECKING:
    from tui_trainer.engine.commands import Command
    from tui_trainer.engine.trainer import Trainer


def open_repair(trainer: Trainer, command: Command) -> Rollback:
    """The checkpoint that a fix goes on from, verified, once all that is being written is on disk.

    Details of `command`: `action` (continue: the present state is saved and taken; restart_from; restart_fresh),
    `checkpoint` ("last valid", "best", "before", or a file), `since` (the step before which all was well). Where there
    is no such checkpoint the run begins anew. Raises `UserError` saying why it cannot be; nothing has changed then.
    """
    details = command.details
    trainer.checkpointer.flush()
    if details.get("action") == "restart_fresh":
        return Rollback(None, None, command, trainer.paused)
    if details.get("action") == "continue":
        trainer.save([LAST], wait=True)
        trainer.checkpointer.flush()
        if reason := trainer.checkpointer.failed.get(LAST):
            raise RunFolderError(f"the present state cannot be saved: {reason}")
        wanted = LAST
    else:
        wanted = str(details.get("checkpoint"))
    entries = read_manifest(trainer.checkpointer.folder)["files"]
    file = target_file(wanted, entries, details.get("since"))
    if file is None:
        return Rollback(None, None, command, trainer.paused)
    return to_checkpoint(trainer, command, file, entries[file])


def target_file(wanted: str, entries: dict[str, dict[str, Any]], since: Any) -> str | None:
    """The checkpoint among the manifest's `entries` that a fix means by `wanted`; None where there is none.

    `since`: the step before which all was well. Raises `RunFolderError` for a file that is not there.
    """

    def newest(names: list[str]) -> str | None:
        return max(names, key=lambda name: (entries[name]["step"], name == LAST), default=None)

    early = [name for name, entry in entries.items() if not isinstance(since, int) or entry["step"] < since]
    valid = [name for name in early if entries[name].get("valid")]
    if wanted == "last valid":
        return newest(valid)
    if wanted == "before":
        return newest(early)
    if wanted == "best":
        return BEST if BEST in entries else newest(valid)
    if wanted not in entries:
        raise RunFolderError(f"there is no checkpoint {wanted}")
    return wanted
