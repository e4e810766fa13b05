"""What has happened in a run so far, as rules see it: bounded, and the same live, resumed and replayed."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

from tui_trainer.engine.events import (
    ACTIVATIONS,
    PREDICTIONS,
    EpochFinished,
    Event,
    NonFiniteSkipped,
    ResourceSampled,
    SeriesRow,
    StepLogged,
    from_json_number,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_STEPS = 2_000  # logged steps
_PROBES = 4  # of each kind
_SAMPLES = 600  # of the machine: ten minutes at 1 Hz


class History:
    """Filled by `take` in the order of events.

    `epochs`: every finished epoch. `steps`: the latest logged steps. `start_loss`: the first finite loss that was
    logged, `start_norm` the first gradient norm. `rows`: what the newest epoch's side files hold, by series.
    `probes`: of the series that are measured in some epochs only, the latest epochs with their rows, oldest first.
    `skip`: the newest batch that was left out; `skips`: how many in the whole run, the first at step `first_skip`.
    `resources`: the latest samples of the machine; `memory`: the last of each epoch. `shortage`: the newest time
    that memory ran out. `changed_epoch`: epochs that were done when a fix or a new learning rate last changed the
    course of training.
    """

    def __init__(self) -> None:
        self.epochs: list[EpochFinished] = []
        self.steps: deque[StepLogged] = deque(maxlen=_STEPS)
        self.start_loss: float | None = None
        self.start_norm: float | None = None
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.probes: dict[str, list[tuple[int, list[dict[str, Any]]]]] = {}
        self.skip: NonFiniteSkipped | None = None
        self.skips = 0
        self.first_skip: int | None = None
        self.shortage: Event | None = None
        self.resources: deque[ResourceSampled] = deque(maxlen=_SAMPLES)
        self.memory: list[tuple[int, ResourceSampled]] = []
        self.changed_epoch = 0
        self._rows_of = 0

    def take(self, event: Event) -> None:
        """Note an event."""
        if isinstance(event, StepLogged):
            self._take_step(event)
        elif isinstance(event, SeriesRow):
            self._take_row(event)
        elif isinstance(event, EpochFinished):
            if event.epoch != self._rows_of:
                self._rows_of, self.rows = event.epoch, {}
            self.epochs.append(event)
            if self.resources:
                self.memory.append((event.epoch, self.resources[-1]))
        elif isinstance(event, NonFiniteSkipped):
            self.skip = event
            self.skips += 1
            self.first_skip = self.first_skip or event.step
        elif isinstance(event, ResourceSampled):
            self.resources.append(event)
        elif event.kind == "memory_shortage":
            self.shortage = event

    def resume(
        self, rows: Sequence[dict[str, Any]], *, skips: int, first_skip: int | None, step: int
    ) -> None:
        """Stand after the epochs `rows` (the trainer's history), at optimizer step `step`: later things have not been."""
        done = len(rows)
        self.epochs = [_epoch_of(row) for row in rows]
        self.steps = deque((item for item in self.steps if item.step <= step), maxlen=_STEPS)
        if step == 0:
            self.start_loss = self.start_norm = None
        elif self.start_loss is None and self.epochs:
            losses = (item.metrics.get("train_loss", math.nan) for item in self.epochs)
            self.start_loss = next((value for value in losses if math.isfinite(value)), None)
        self.memory = [item for item in self.memory if item[0] <= done]
        self.probes = {
            series: [item for item in kept if item[0] <= done] for series, kept in self.probes.items()
        }
        self.skips, self.first_skip = skips, first_skip
        self.rows, self._rows_of, self.skip, self.shortage = {}, 0, None, None

    def course_changed(self) -> None:
        """A fix was applied, or a learning rate set: what came before says little about what comes."""
        self.changed_epoch = len(self.epochs)

    def metric(self, name: str, *, since_change: bool = False) -> list[float]:
        """A column of the metric log, one value an epoch; NaN where an epoch has none."""
        epochs = self.epochs[self.changed_epoch :] if since_change else self.epochs
        return [item.metrics.get(name, math.nan) for item in epochs]

    @property
    def epoch(self) -> int:
        """The newest finished epoch; 0 before there is one."""
        return self.epochs[-1].epoch if self.epochs else 0

    @property
    def step(self) -> int:
        """The newest optimizer step that was told of."""
        logged = self.steps[-1].step if self.steps else 0
        return max(logged, self.epochs[-1].step if self.epochs else 0)

    def _take_row(self, event: SeriesRow) -> None:
        if event.epoch != self._rows_of:
            self._rows_of, self.rows = event.epoch, {}
        rows = self.rows.setdefault(event.series, [])
        rows.append(event.row)
        if len(rows) == 1 and event.series in (ACTIVATIONS, PREDICTIONS):
            kept = self.probes.setdefault(event.series, [])
            kept.append((event.epoch, rows))
            del kept[:-_PROBES]

    def _take_step(self, event: StepLogged) -> None:
        self.steps.append(event)
        if self.start_loss is None and math.isfinite(event.loss):
            self.start_loss = event.loss
        if self.start_norm is None and event.grad_norm is not None and math.isfinite(event.grad_norm):
            self.start_norm = event.grad_norm


def _epoch_of(row: dict[str, Any]) -> EpochFinished:
    """The event of an epoch as the trainer's history keeps it; what that does not keep is as of an ordinary epoch."""
    values = {name: from_json_number(value) for name, value in row.items()}
    metrics = {
        name: float(value)
        for name, value in values.items()
        if name.startswith(("train_", "val_")) and isinstance(value, (int, float))
    }
    return EpochFinished(
        time=0.0,
        epoch=int(values["epoch"]),
        step=int(values.get("step") or 0),
        metrics=metrics,
        learning_rate=float(values.get("learning_rate") or 0.0),
        lr_reduced=False,
        grad_norm=values.get("grad_norm"),
        epoch_time=float(values.get("epoch_time") or 0.0),
        samples_per_second=float(values.get("samples_per_second") or 0.0),
        data_wait=float(values.get("data_wait") or 0.0),
        gpu_util=values.get("gpu_util"),
        is_best=False,
        best_epoch=0,
        best_value=math.nan,
        epochs_without_improvement=0,
        checkpoints=(),
    )
