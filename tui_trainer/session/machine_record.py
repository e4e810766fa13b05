"""What is recorded of the machine: means of some seconds, without what has not changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tui_trainer.engine.events import GPU_LASTING, ResourceSampled, RunFinished

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tui_trainer.engine.events import Event

SAMPLES = 5  # to one line: eight GPUs sampled every second would fill 190 MB a day
HOST_MEANS = ("cpu_percent", "process_cpu")
GPU_MEANS = ("util", "memory_util", "temperature", "power", "clock")


class MachineRecord:
    """Thins the samples among the events that are to be recorded.

    The first one is recorded as it is; after it every five become one, of the time and the memory of the last and the
    mean of what varies. When a GPU comes, goes, fails or is slowed down, that sample is recorded at once, too.
    """

    def __init__(self) -> None:
        self._waiting: list[ResourceSampled] = []
        self._state: object = None
        self._told: dict[int, dict[str, Any]] = {}

    def take(self, event: Event) -> Iterator[Event]:
        """What to record now that `event` has come; the run's end brings what still waited."""
        if isinstance(event, ResourceSampled):
            self._waiting.append(event)
            state, self._state = self._state, _state(event)
            if state != self._state and len(self._waiting) > 1:
                self._waiting, waited = [event], self._waiting[:-1]
                yield self._changed(_mean(waited))
            if state == self._state and len(self._waiting) < SAMPLES:
                return
        elif not isinstance(event, RunFinished):
            yield event
            return
        if self._waiting:
            waited, self._waiting = self._waiting, []
            yield self._changed(_mean(waited))
        if isinstance(event, RunFinished):
            yield event

    def _changed(self, sample: ResourceSampled) -> ResourceSampled:
        """`sample` without what the lines before have told of its GPUs."""
        gpus = []
        for gpu in sample.gpus:
            told = self._told.setdefault(gpu.get("index", 0), {})
            gpus.append({key: value for key, value in gpu.items() if key not in told or told[key] != value})
            told.update({key: gpu[key] for key in GPU_LASTING if key in gpu})
        return replace(sample, gpus=tuple(gpus))


def _state(sample: ResourceSampled) -> object:
    """What is told at once when it changes."""
    gpus = [(gpu.get("index"), gpu.get("error"), gpu.get("slowed")) for gpu in sample.gpus]
    return sample.gpu_note, gpus


def _mean(samples: Sequence[ResourceSampled]) -> ResourceSampled:
    """One sample for several that know the same GPUs."""
    last = samples[-1]
    values: dict[str, Any] = {
        name: _mean_of([getattr(sample, name) for sample in samples]) for name in HOST_MEANS
    }
    gpus = [_mean_gpu([sample.gpus[place] for sample in samples]) for place in range(len(last.gpus))]
    return replace(last, gpus=tuple(gpus), **values)


def _mean_gpu(readings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The last reading with the means, and with what an earlier one told that the later ones have left out."""
    whole: dict[str, Any] = {}
    for reading in readings:
        whole |= reading
    return whole | {
        name: _mean_of([reading.get(name) for reading in readings]) for name in GPU_MEANS if name in whole
    }


def _mean_of(values: Sequence[float | None]) -> float | None:
    """None where the newest is: what cannot be read now has no value."""
    known = [value for value in values if value is not None]
    if len(values) == 1 or values[-1] is None:
        return values[-1]
    return round(sum(known) / len(known), 1)
