"""How far a run is, and when it will be done: a small value folded from events, for printers and screens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tui_trainer.engine.events import (
    CommandHandled,
    EpochFinished,
    EpochStarted,
    Resumed,
    RunStarted,
    StepLogged,
)

if TYPE_CHECKING:
    from tui_trainer.engine.events import Event

SMOOTHING = 0.5  # weight of the newest epoch in the expected epoch time


@dataclass(frozen=True, slots=True)
class Progress:
    """Place in the run. Times are the events' own, so a replay shows what a live screen showed."""

    epochs: int = 0
    steps_per_epoch: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    epochs_done: int = 0
    epoch_began: float | None = None
    began_at_step: int = 0
    seconds_per_epoch: float | None = None
    paused_since: float | None = None
    now: float = 0.0

    @property
    def done(self) -> float:
        """Epochs trained, with the fraction of the running one."""
        if self.epoch <= self.epochs_done or self.steps_per_epoch <= 0:
            return float(self.epochs_done)
        return self.epochs_done + min(1.0, self.step_in_epoch / self.steps_per_epoch)

    @property
    def fraction(self) -> float:
        """Share of the whole run that is done, 0–1."""
        return min(1.0, self.done / self.epochs) if self.epochs > 0 else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds to the last epoch's end at the present pace; None while nothing is known."""
        remaining = self.epochs - self.done
        if self.epochs <= 0 or remaining <= 0:
            return None
        if self.seconds_per_epoch is not None:
            return self.seconds_per_epoch * remaining
        steps = self.step_in_epoch - self.began_at_step
        if self.epoch_began is None or steps <= 0 or self.steps_per_epoch <= 0:
            return None
        elapsed = max(0.0, self.now - self.epoch_began)
        return elapsed / steps * self.steps_per_epoch * remaining


def advance_progress(progress: Progress, event: Event) -> Progress:  # noqa: C901, PLR0911 (one return an event kind)
    """`progress` after `event`."""
    match event:
        case RunStarted():
            return Progress(epochs=event.epochs, steps_per_epoch=event.steps_per_epoch, now=event.time)
        case Resumed():
            per_epoch = max(1, progress.steps_per_epoch)
            done = event.step // per_epoch
            return replace(
                progress,
                epochs=event.epochs or progress.epochs,
                paused_since=None,
                epochs_done=done,
                epoch=max(event.epoch, done),
                step_in_epoch=event.step % per_epoch,
                began_at_step=event.step % per_epoch,
                epoch_began=event.time,
                now=event.time,
            )
        case EpochStarted():
            begun = max(0, event.step - (event.epoch - 1) * progress.steps_per_epoch)
            begun = begun if begun <= progress.steps_per_epoch else 0
            return replace(
                progress,
                epoch=event.epoch,
                epochs_done=event.epoch - 1,
                step_in_epoch=begun,
                began_at_step=begun,
                epoch_began=event.time,
                now=event.time,
            )
        case StepLogged():
            return replace(progress, epoch=event.epoch, step_in_epoch=event.step_in_epoch, now=event.time)
        case EpochFinished():
            took = event.epoch_time
            whole = progress.epoch_began is not None and progress.began_at_step == 0
            if whole and progress.epoch_began is not None:
                took = max(took, event.time - progress.epoch_began)
            known = progress.seconds_per_epoch
            smoothed = took if known is None else SMOOTHING * took + (1 - SMOOTHING) * known
            keep = known is not None and not whole
            return replace(
                progress,
                epoch=event.epoch,
                epochs_done=event.epoch,
                step_in_epoch=progress.steps_per_epoch,
                seconds_per_epoch=known if keep else smoothed,
                now=event.time,
            )
        case CommandHandled(command="pause", accepted=True):
            return replace(progress, paused_since=event.time, now=event.time)
        case CommandHandled(command="resume", accepted=True):
            began = progress.epoch_began
            if began is not None and progress.paused_since is not None:
                began += event.time - progress.paused_since
            return replace(progress, paused_since=None, epoch_began=began, now=event.time)
        case CommandHandled(command="extend", accepted=True):
            return replace(progress, epochs=event.details.get("epochs", progress.epochs), now=event.time)
        case _:
            return progress
