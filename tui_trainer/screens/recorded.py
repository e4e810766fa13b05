"""Every number that a run has recorded, as curves: folded from its events, bounded however long it is.

A curve is found under (chart, side): ("loss", "train"), ("accuracy", "val"), ("grad_norm", ""). x is the
optimizer step, but for what the machine's gauges say: that comes by the clock, in seconds since the run began.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING

from tui_trainer.engine.events import (
    EpochFinished,
    NonFiniteSkipped,
    ResourceSampled,
    Resumed,
    RunStarted,
    SeriesRow,
    StepLogged,
    Validated,
)
from tui_trainer.screens.series import Series
from tui_trainer.screens.traces import Trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tui_trainer.engine.events import Event

Key = tuple[str, str]  # chart, side: "train", "val", "batch" or ""

LIMIT = 2000  # curves; a model with more layers than this keeps the others in its CSV files only
BATCH_LOSS: Key = ("loss", "batch")
GB = 1e9


@dataclass(frozen=True, slots=True)
class Recorded:
    """The curves of one run. `clock` tells seconds since its beginning for a step; `left_out` counts curves
    that came after the `LIMIT`."""

    traces: Mapping[Key, Trace] = field(default_factory=lambda: MappingProxyType({}))
    clock: Series = field(default_factory=Series)
    began: float | None = None
    steps_per_epoch: int = 1
    last_step: int = 0
    left_out: int = 0

    @property
    def charts(self) -> tuple[str, ...]:
        """The names of all charts that could be drawn, in the order in which they came up."""
        return tuple(dict.fromkeys(chart for chart, _ in self.traces))

    @property
    def seconds(self) -> float:
        """The clock at its last reading."""
        return self.clock.ys[-1] if self.clock.ys else 0.0

    def of(self, chart: str) -> dict[str, Trace]:
        """The curves of one chart by side."""
        found = ((side, self.traces.get((chart, side))) for side in ("batch", "train", "val", ""))
        return {side: trace for side, trace in found if trace is not None}

    def broken(self, chart: str) -> int:
        """How many values of this chart were not finite."""
        return sum(trace.raw.broken_count for trace in self.of(chart).values())


def record_steps(recorded: Recorded, steps: Sequence[StepLogged]) -> Recorded:
    """`recorded` after `steps`, taken in at once: cheap for a burst of a thousand."""
    xs = [float(event.step) for event in steps]
    columns: dict[Key, tuple[list[float], list[float]]] = {
        BATCH_LOSS: (xs, [event.loss for event in steps]),
        ("learning_rate", ""): (xs, [event.learning_rate for event in steps]),
        ("samples_per_second", ""): (xs, [event.samples_per_second for event in steps]),
    }
    measured = [event for event in steps if event.grad_norm is not None]
    if measured:
        columns["grad_norm", ""] = (
            [float(event.step) for event in measured],
            [math.nan if event.grad_norm is None else event.grad_norm for event in measured],
        )
    recorded = _timed(recorded, xs, [event.time for event in steps])
    steady = columns.pop(("learning_rate", ""))
    recorded = _added(recorded, {("learning_rate", ""): steady})
    return _added(recorded, columns, noisy=True)


def record(recorded: Recorded, event: Event) -> Recorded:  # noqa: PLR0911 (one return an event kind)
    """`recorded` after any event but a `StepLogged`."""
    match event:
        case RunStarted():
            return _started(recorded, event)
        case Resumed():
            return _resumed(recorded, event)
        case NonFiniteSkipped():
            loss = event.loss if not math.isfinite(event.loss) else math.nan
            return _added(recorded, {BATCH_LOSS: ([float(event.step)], [loss])}, noisy=True)
        case Validated():
            return _added(
                _timed(recorded, [float(event.step)], [event.time]), _metrics(event.step, event.metrics)
            )
        case EpochFinished():
            return _epoch(_timed(recorded, [float(event.step)], [event.time]), event)
        case SeriesRow():
            return _added(recorded, _row(event))
        case ResourceSampled():
            return _resources(recorded, event)
        case _:
            return recorded


def _started(recorded: Recorded, event: RunStarted) -> Recorded:
    fresh = Recorded() if event.attempt <= 1 else recorded
    began = event.time if fresh.began is None else event.time - fresh.seconds
    return replace(fresh, began=began, steps_per_epoch=max(1, event.steps_per_epoch))


def _resumed(recorded: Recorded, event: Resumed) -> Recorded:
    """Curves of the attempt before end where the new one begins; the clock goes on from there."""
    seconds = recorded.clock.at(event.step) or 0.0
    return replace(
        recorded,
        traces=MappingProxyType(
            {key: trace.cut(seconds if trace.timed else event.step) for key, trace in recorded.traces.items()}
        ),
        clock=recorded.clock.cut(event.step).add([float(event.step)], [seconds]),
        began=event.time - seconds,
        last_step=event.step,
    )


def _epoch(recorded: Recorded, event: EpochFinished) -> Recorded:
    columns = _metrics(event.step, event.metrics)
    for name, value in (
        ("epoch_time", event.epoch_time),
        ("data_wait", event.data_wait),
        ("gpu_util", event.gpu_util),
    ):
        if value is not None:
            columns[name, ""] = ([float(event.step)], [value])
    return _added(recorded, columns)


def _metrics(step: int, metrics: Mapping[str, float]) -> dict[Key, tuple[list[float], list[float]]]:
    columns: dict[Key, tuple[list[float], list[float]]] = {}
    for name, value in metrics.items():
        columns[key_of(name)] = ([float(step)], [value])
    return columns


def key_of(column: str) -> Key:
    """Where a column of `epoch_metrics.csv` belongs: "val_accuracy" → ("accuracy", "val")."""
    for side in ("train", "val"):
        if column.startswith(f"{side}_") and len(column) > len(side) + 1:
            return column[len(side) + 1 :], side
    return column, ""


def _row(event: SeriesRow) -> dict[Key, tuple[list[float], list[float]]]:
    """A side file's numbers by column; its words say which of several rows this is."""
    words = [str(value) for name, value in event.row.items() if isinstance(value, str) and name != "phase"]
    phase = event.row.get("phase")
    side = str(phase) if phase in ("train", "val") else ""
    return {
        ("/".join([event.series, *words, name]), side): ([float(event.step)], [float(value)])
        for name, value in event.row.items()
        if name != "epoch" and not isinstance(value, str)
    }


def _resources(recorded: Recorded, event: ResourceSampled) -> Recorded:
    if recorded.began is None:
        return recorded
    moment = max(0.0, event.time - recorded.began)
    values: dict[str, float | None] = {
        "cpu": event.cpu_percent,
        "ram": _gigabytes(event.ram_used),
        "process_memory": _gigabytes(event.process_rss),
        "disk_free": _gigabytes(event.disk_free),
    }
    for gpu in event.gpus:
        name = f"gpu{gpu.get('index', 0)}"
        values[f"{name}.util"] = gpu.get("util")
        values[f"{name}.memory"] = _gigabytes(gpu.get("memory_used"))
        values[f"{name}.temperature"] = gpu.get("temperature")
        values[f"{name}.power"] = gpu.get("power")
    columns = {
        (name, ""): ([moment], [float(value)])
        for name, value in values.items()
        if isinstance(value, (int, float))
    }
    return _added(recorded, columns, noisy=True, timed=True)


def _gigabytes(size: float | None) -> float | None:
    return None if size is None else size / GB


def _timed(recorded: Recorded, steps: Sequence[float], moments: Sequence[float]) -> Recorded:
    """The clock's readings at `steps`; it never runs backwards, whatever the machine's does."""
    began = moments[0] if recorded.began is None else recorded.began
    clock = recorded.clock if recorded.clock.xs else recorded.clock.add([0.0], [0.0])
    if steps[-1] <= clock.xs[-1]:
        return replace(recorded, began=began, clock=clock)
    seconds = accumulate((moment - began for moment in moments), max, initial=clock.ys[-1])
    clock = clock.add(steps, list(seconds)[1:])
    return replace(recorded, began=began, clock=clock, last_step=max(recorded.last_step, int(steps[-1])))


def _added(
    recorded: Recorded,
    columns: Mapping[Key, tuple[list[float], list[float]]],
    *,
    noisy: bool = False,
    timed: bool = False,
) -> Recorded:
    traces = dict(recorded.traces)
    left_out = recorded.left_out
    for key, (xs, ys) in columns.items():
        trace = traces.get(key)
        if trace is None:
            if len(traces) >= LIMIT:
                left_out += 1
                continue
            trace = Trace(noisy=noisy, timed=timed)
        traces[key] = trace.add(xs, ys)
    return replace(recorded, traces=MappingProxyType(traces), left_out=left_out)


def record_all(recorded: Recorded, events: Iterable[Event]) -> Recorded:
    """`recorded` after `events`, in order; neighbouring steps are taken in together."""
    steps: list[StepLogged] = []
    for event in events:
        if isinstance(event, StepLogged):
            steps.append(event)
            continue
        if steps:
            recorded, steps = record_steps(recorded, steps), []
        recorded = record(recorded, event)
    return record_steps(recorded, steps) if steps else recorded
