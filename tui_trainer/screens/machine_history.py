"""What the screens remember of the machine: the readings of the last minutes, folded from a run's events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tui_trainer.engine.events import GPU_LASTING

if TYPE_CHECKING:
    from tui_trainer.engine.events import ResourceSampled

KEPT_SECONDS = 600.0
KEPT = 600  # samples at most


@dataclass(frozen=True, slots=True)
class MachineHistory:
    """The latest readings, oldest first."""

    samples: tuple[ResourceSampled, ...] = ()

    @property
    def latest(self) -> ResourceSampled | None:
        """The newest reading; None before the first."""
        return self.samples[-1] if self.samples else None

    def with_sample(self, sample: ResourceSampled) -> MachineHistory:
        """The history one reading later. What a GPU has for long and does not tell is as in the reading before."""
        known = {gpu.get("index"): gpu for gpu in self.latest.gpus} if self.latest else {}
        gpus = []
        for gpu in sample.gpus:
            before = known.get(gpu.get("index"), {})
            gpus.append({"processes": ()} | {key: before[key] for key in GPU_LASTING if key in before} | gpu)
        kept = self.samples[-KEPT + 1 :]
        first = next(
            (place for place, item in enumerate(kept) if item.time > sample.time - KEPT_SECONDS), len(kept)
        )
        return MachineHistory((*kept[first:], replace(sample, gpus=tuple(gpus))))

    def host(self, name: str) -> list[float | None]:
        """The course of one of the host's readings."""
        return [_number(getattr(sample, name)) for sample in self.samples]

    def gpu(self, index: int, name: str) -> list[float | None]:
        """The course of one reading of the GPU with this index."""
        found = (_of(sample.gpus, index) for sample in self.samples)
        return [_number(gpu.get(name)) for gpu in found]


def _of(gpus: tuple[dict[str, Any], ...], index: int) -> dict[str, Any]:
    if index < len(gpus) and gpus[index].get("index") == index:
        return gpus[index]
    return next((gpu for gpu in gpus if gpu.get("index") == index), {})


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
