"""Obeying commands: what each does to a trainer that stands between two batches. Every one is answered."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from tui_trainer.config.errors import UserError
from tui_trainer.engine.checkpoints import LAST
from tui_trainer.engine.events import CommandHandled
from tui_trainer.engine.repair import open_repair
from tui_trainer.engine.rollback import open_rollback

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui_trainer.engine.commands import Command
    from tui_trainer.engine.rollback import Rollback
    from tui_trainer.engine.trainer import Trainer


def obey(trainer: Trainer) -> bool:
    """Handle all waiting commands; False when training must break off here."""
    while (command := trainer.commands.take()) is not None:
        if not _handle(trainer, command):
            return False
    return True


def refuse_all(trainer: Trainer) -> None:
    """Answer what came too late."""
    while (command := trainer.commands.take()) is not None:
        answer(trainer, command, "training is over", accepted=command.name == "stop")


def _handle(trainer: Trainer, command: Command) -> bool:
    if command.name == "stop":
        trainer.stop = command
        later = command.details.get("when") == "epoch"
        answer(trainer, command, "stops after this epoch" if later else "stops here")
        return later
    if command.name == "pause":
        return _pause(trainer, command)
    if command.name == "roll_back":
        return not _broken_off(trainer, command, open_rollback)
    if command.name in ("apply_fix", "undo_fix"):
        return not _broken_off(trainer, command, open_repair)
    if command.name == "resume":
        answer(trainer, command, "is not paused", accepted=False)
    elif command.name == "checkpoint":
        trainer.save([LAST], wait=True)
        answer(trainer, command, f"{LAST} is being written")
    elif command.name == "set_learning_rate":
        _set_learning_rate(trainer, command)
    elif command.name == "extend":
        _extend(trainer, command)
    return True


def _pause(trainer: Trainer, command: Command) -> bool:
    trainer.save([LAST], wait=True)
    answer(trainer, command, "paused")
    since, trainer.paused = time.perf_counter(), True
    try:
        while True:
            following = trainer.commands.wait()
            if following.name == "resume":
                answer(trainer, following, "goes on")
                return True
            if following.name == "pause":
                answer(trainer, following, "is paused already", accepted=False)
            elif not _handle(trainer, following):
                return False
    finally:
        trainer.paused = False
        trainer.progress.forget(time.perf_counter() - since)


def _set_learning_rate(trainer: Trainer, command: Command) -> None:
    wanted = command.details.get("learning_rate")
    if not isinstance(wanted, (int, float)) or not math.isfinite(wanted) or wanted <= 0:
        answer(trainer, command, f"a learning rate is a positive number, not {wanted!r}", accepted=False)
        return
    before = trainer.learning_rate
    if before == 0:
        answer(trainer, command, "the schedule holds the learning rate at 0 just now", accepted=False)
        return
    reason = trainer.parts.schedule.why_not_scaled
    if reason is not None:
        answer(trainer, command, reason, accepted=False)
        return
    trainer.parts.schedule.scale(wanted / before)
    _intervened(trainer, command)
    answer(trainer, command, f"learning rate {before:.4g} → {wanted:.4g}")


def _extend(trainer: Trainer, command: Command) -> None:
    wanted = command.details.get("epochs")
    if not isinstance(wanted, int) or wanted <= trainer.epoch:
        message = f"epochs must be a whole number above {trainer.epoch}"
        answer(trainer, command, message, accepted=False)
    elif trainer.parts.schedule.fixed_length:
        message = "the schedule has a fixed length, which more epochs would break"
        answer(trainer, command, message, accepted=False)
    else:
        before, trainer.epochs = trainer.epochs, wanted
        _intervened(trainer, command)
        answer(trainer, command, f"epochs {before} → {wanted}")


def _intervened(trainer: Trainer, command: Command) -> None:
    """Note what changes the course of training, by place, in a checkpoint that is on disk before it is answered."""
    note = {**command.details, "epoch": trainer.epoch, "step": trainer.step, "command": command.name}
    trainer.interventions.append(note)
    trainer.saved_at = None
    trainer.save([LAST], wait=True)
    trainer.checkpointer.flush()


def _broken_off(trainer: Trainer, command: Command, find: Callable[[Trainer, Command], Rollback]) -> bool:
    """Whether training breaks off to be put back. It is answered once that is done."""
    try:
        trainer.rollback = find(trainer, command)
    except UserError as error:
        answer(trainer, command, str(error), accepted=False)
    return trainer.rollback is not None


def answer(trainer: Trainer, command: Command, message: str, *, accepted: bool = True) -> None:
    """Say what became of a command, and where."""
    trainer.emit(
        CommandHandled(
            time=trainer.clock(),
            command=command.name,
            accepted=accepted,
            epoch=trainer.epoch,
            step=trainer.step,
            message=message,
            details=command.details,
        )
    )
