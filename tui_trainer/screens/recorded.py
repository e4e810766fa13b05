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
NOISY = frozenset({BATCH_LOSS, ("samples_per_second", ""), ("grad_norm", "")})  # recorded within epochs
GB = 1e9


@dataclass(frozen=True, slots=True)
class Recorded:
    """The curves of one run. `clock` tells seconds since its beginning for a step; `left_out` counts
    values of curves that came after the `LIMIT`."""

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


def record_all(recorded: Recorded, events: Iterable[Event]) -> Recorded:
    """`recorded` after `events`, in order. They are gathered and taken in at once: curves are copied once a burst,
    not once an event."""
    burst = _Burst(recorded)
    for event in events:
        burst.take(event)
    return burst.done()


class _Burst:
    """Values that wait to be added to the curves, by curve."""

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded
        self._steps: list[StepLogged] = []
        self._clock: tuple[list[float], list[float]] = ([], [])  # steps and moments
        self._columns: dict[Key, tuple[list[float], list[float]]] = {}
        self._gauges: dict[Key, tuple[list[float], list[float]]] = {}

    def take(self, event: Event) -> None:  # noqa: C901 (a branch an event kind)
        match event:
            case StepLogged():
                self._steps.append(event)
            case RunStarted():
                self._recorded = _started(self.done(), event)
            case Resumed():
                self._recorded = _resumed(self.done(), event)
            case NonFiniteSkipped():
                self._settle()
                loss = event.loss if not math.isfinite(event.loss) else math.nan
                self._add(self._columns, BATCH_LOSS, event.step, loss)
            case Validated():
                self._tick(event.step, event.time)
                self._metrics(event.step, event.metrics)
            case EpochFinished():
                self._tick(event.step, event.time)
                self._metrics(event.step, event.metrics)
                self._metrics(event.step, _of_epoch(event))
            case SeriesRow():
                for key, value in _of_row(event).items():
                    self._add(self._columns, key, event.step, value)
            case ResourceSampled() if self._recorded.began is not None:
                moment = max(0.0, event.time - self._recorded.began)
                for name, value in _of_machine(event).items():
                    self._add(self._gauges, (name, ""), moment, value)
            case _:
                pass

    def done(self) -> Recorded:
        """The curves with all that was taken; nothing waits any more."""
        self._settle()
        recorded = _timed(self._recorded, *self._clock)
        recorded = _added(recorded, self._columns)
        self._recorded = _added(recorded, self._gauges, timed=True)
        self._clock, self._columns, self._gauges = ([], []), {}, {}
        return self._recorded

    def _settle(self) -> None:
        """Sort the steps gathered so far into columns."""
        steps, self._steps = self._steps, []
        if not steps:
            return
        xs = [float(event.step) for event in steps]
        self._clock[0].extend(xs)
        self._clock[1].extend([event.time for event in steps])
        measured = [(float(event.step), event.grad_norm) for event in steps if event.grad_norm is not None]
        for key, places, values in (
            (BATCH_LOSS, xs, [event.loss for event in steps]),
            (("learning_rate", ""), xs, [event.learning_rate for event in steps]),
            (("samples_per_second", ""), xs, [event.samples_per_second for event in steps]),
            (("grad_norm", ""), [x for x, _ in measured], [norm for _, norm in measured]),
        ):
            column = self._columns.setdefault(key, ([], []))
            column[0].extend(places)
            column[1].extend(values)

    def _tick(self, step: int, moment: float) -> None:
        self._settle()
        self._clock[0].append(float(step))
        self._clock[1].append(moment)

    def _metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._add(self._columns, key_of(name), step, value)

    @staticmethod
    def _add(columns: dict[Key, tuple[list[float], list[float]]], key: Key, x: float, value: float) -> None:
        xs, ys = columns.setdefault(key, ([], []))
        xs.append(float(x))
        ys.append(float(value))


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


def _of_epoch(event: EpochFinished) -> dict[str, float]:
    """What an epoch tells beside its metrics."""
    values = {"epoch_time": event.epoch_time, "data_wait": event.data_wait, "gpu_util": event.gpu_util}
    return {name: value for name, value in values.items() if value is not None}


def key_of(column: str) -> Key:
    """Where a column of `epoch_metrics.csv` belongs: "val_accuracy" → ("accuracy", "val")."""
    for side in ("train", "val"):
        if column.startswith(f"{side}_") and len(column) > len(side) + 1:
            return column[len(side) + 1 :], side
    return column, ""


def _of_row(event: SeriesRow) -> dict[Key, float]:
    """A side file's numbers by column; its words say which of several rows this is."""
    words = [str(value) for name, value in event.row.items() if isinstance(value, str) and name != "phase"]
    phase = event.row.get("phase")
    side = str(phase) if phase in ("train", "val") else ""
    return {
        ("/".join([event.series, *words, name]), side): float(value)
        for name, value in event.row.items()
        if name != "epoch" and isinstance(value, (int, float))
    }


def _of_machine(event: ResourceSampled) -> dict[str, float]:
    """The gauges' readings; what a gauge does not tell is left out."""
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
    return {name: value for name, value in values.items() if isinstance(value, (int, float))}


def _gigabytes(size: float | None) -> float | None:
    return None if size is None else size / GB


def _timed(recorded: Recorded, steps: Sequence[float], moments: Sequence[float]) -> Recorded:
    """The clock's readings at `steps`; it never runs backwards, whatever the machine's does."""
    if not steps:
        return recorded
    began = moments[0] if recorded.began is None else recorded.began
    clock = recorded.clock if recorded.clock.xs else recorded.clock.add([0.0], [0.0])
    seconds = list(accumulate((moment - began for moment in moments), max, initial=clock.ys[-1]))[1:]
    clock = clock.add(list(steps), seconds)
    return replace(recorded, began=began, clock=clock, last_step=max(recorded.last_step, int(steps[-1])))


def _added(
    recorded: Recorded, columns: Mapping[Key, tuple[list[float], list[float]]], *, timed: bool = False
) -> Recorded:
    if not columns:
        return recorded
    traces = dict(recorded.traces)
    left_out = recorded.left_out
    for key, (xs, ys) in columns.items():
        if not xs:
            continue
        trace = traces.get(key)
        if trace is None:
            if len(traces) >= LIMIT:
                left_out += len(xs)
                continue
            trace = Trace(noisy=timed or key in NOISY, timed=timed)
        traces[key] = trace.add(xs, ys)
    return replace(recorded, traces=MappingProxyType(traces), left_out=left_out)
