"""Obeying commands: what each does to a trainer that stands between two batches. Every one is answered."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from tui_trainer.engine.checkpoints import LAST
from tui_trainer.engine.events import CommandHandled

if TYPE_CHECKING:
    from tui_trainer.engine.commands import Command
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
        _answer(trainer, command, "training is over", accepted=command.name == "stop")


def _handle(trainer: Trainer, command: Command) -> bool:
    if command.name == "stop":
        trainer.stop = command
        later = command.details.get("when") == "epoch"
        _answer(trainer, command, "stops after this epoch" if later else "stops here")
        return later
    if command.name == "pause":
        return _pause(trainer, command)
    if command.name == "resume":
        _answer(trainer, command, "is not paused", accepted=False)
    elif command.name == "checkpoint":
        trainer.save([LAST], wait=True)
        _answer(trainer, command, f"{LAST} is being written")
    elif command.name == "set_learning_rate":
        _set_learning_rate(trainer, command)
    elif command.name == "extend":
        _extend(trainer, command)
    return True


def _pause(trainer: Trainer, command: Command) -> bool:
    trainer.save([LAST], wait=True)
    _answer(trainer, command, "paused")
    since = time.perf_counter()
    try:
        while True:
            following = trainer.commands.wait()
            if following.name == "resume":
                _answer(trainer, following, "goes on")
                return True
            if following.name == "pause":
                _answer(trainer, following, "is paused already", accepted=False)
            elif not _handle(trainer, following):
                return False
    finally:
        trainer.progress.forget(time.perf_counter() - since)


def _set_learning_rate(trainer: Trainer, command: Command) -> None:
    wanted = command.details.get("learning_rate")
    if not isinstance(wanted, (int, float)) or not math.isfinite(wanted) or wanted <= 0:
        _answer(trainer, command, f"a learning rate is a positive number, not {wanted!r}", accepted=False)
        return
    before = trainer.learning_rate
    if before == 0:
        _answer(trainer, command, "the schedule holds the learning rate at 0 just now", accepted=False)
        return
    trainer.parts.schedule.scale(wanted / before)
    trainer.saved_at = None
    _answer(trainer, command, f"learning rate {before:g} → {wanted:g}")


def _extend(trainer: Trainer, command: Command) -> None:
    wanted = command.details.get("epochs")
    if not isinstance(wanted, int) or wanted <= trainer.epoch:
        message = f"epochs must be a whole number above {trainer.epoch}"
        _answer(trainer, command, message, accepted=False)
    elif trainer.parts.schedule.fixed_length:
        message = "the schedule has a fixed length, which more epochs would break"
        _answer(trainer, command, message, accepted=False)
    else:
        before, trainer.epochs = trainer.epochs, wanted
        trainer.saved_at = None
        _answer(trainer, command, f"epochs {before} → {wanted}")


def _answer(trainer: Trainer, command: Command, message: str, *, accepted: bool = True) -> None:
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
