"""Whether a baseline keeps to its hour: said once, as soon as it can be known, with what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_trainer.engine.events import EpochFinished, Event, RunStarted, StepLogged
from tui_trainer.session.wording import format_duration

if TYPE_CHECKING:
    from tui_trainer.config.schema import Config

MOST_S = 3600.0  # the aim for a baseline is 30 to 60 minutes (spec: phase 2)
SETTLED_S = 60.0  # of steps: before that, their time says little
DATA_BOUND = 0.3  # share of an epoch spent waiting for batches


class Pace:
    """Reads a run's events in order; `observe` returns the warning when it is time for it, at most once an attempt."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._epochs = self._steps = 0
        self._first: tuple[float, int] | None = None
        self._told = False

    def observe(self, event: Event) -> str | None:
        """A paragraph where the whole run is going to take more than an hour; else None."""
        if isinstance(event, RunStarted):
            self._epochs, self._steps = event.epochs, event.steps_per_epoch
            self._first, self._told = None, event.mode != "baseline"
        elif self._told:
            return None
        elif isinstance(event, StepLogged):
            return self._by_steps(event)
        elif isinstance(event, EpochFinished):
            return self._judged(event.epoch_time, event.data_wait, event.epoch)
        return None

    def _by_steps(self, event: StepLogged) -> str | None:
        """From the steps of an epoch that is long by itself; validation comes on top."""
        if self._first is None:
            self._first = event.time, event.step
            return None
        seconds, steps = event.time - self._first[0], event.step - self._first[1]
        if seconds < SETTLED_S or steps < 1:
            return None
        return self._judged(seconds / steps * self._steps, 0.0, event.epoch)

    def _judged(self, epoch_s: float, data_wait: float, epoch: int) -> str | None:
        whole = epoch_s * self._epochs
        if whole <= MOST_S:
            return None
        self._told = True
        ideas = []
        if (fits := int(MOST_S // epoch_s)) >= 1:
            ideas.append(f"training.epochs: {fits} would fit")
        config = self._config
        if data_wait > DATA_BOUND:
            ideas.append(
                f"{data_wait:.0%} of the time goes by waiting for data: data.num_workers {config.data.num_workers} → more"
            )
        ideas.append(f"data.batch_size: {config.data.batch_size} → {2 * config.data.batch_size}")
        if config.training.precision == "fp32" and config.device != "cpu":
            ideas.append("training.precision: bf16 on a GPU that has it")
        ideas.append("a part of the data is enough to learn whether everything works")
        return (
            f"At this pace (epoch {epoch}: {format_duration(epoch_s)}) the {self._epochs} epochs take "
            f"{format_duration(whole)}; a baseline should take 30 to 60 minutes. What can be changed: {'; '.join(ideas)}."
        )
