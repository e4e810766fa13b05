"""What the screens remember of the machine: the readings of the last minutes, folded from a run's events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tui_trainer.engine.events import ResourceSampled

KEPT = 600  # samples: ten minutes at one a second


@dataclass(frozen=True, slots=True)
class MachineHistory:
    """The latest readings, oldest first."""

    samples: tuple[ResourceSampled, ...] = ()

    @property
    def latest(self) -> ResourceSampled | None:
        """The newest reading; None before the first."""
        return self.samples[-1] if self.samples else None

    def with_sample(self, sample: ResourceSampled) -> MachineHistory:
        """The history one reading later. A GPU that does not list its processes has those of the reading before."""
        before = (
            {gpu.get("index"): gpu.get("processes", ()) for gpu in self.latest.gpus} if self.latest else {}
        )
        gpus = tuple({"processes": before.get(gpu.get("index"), ())} | gpu for gpu in sample.gpus)
        return MachineHistory((*self.samples[-KEPT + 1 :], replace(sample, gpus=gpus)))

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
