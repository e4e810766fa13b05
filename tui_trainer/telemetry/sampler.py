"""A thread that reads the gauges once a second and says so; the trainer never waits for it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from tui_trainer.engine.events import ResourceSampled
from tui_trainer.telemetry.gpu import GpuGauge, GpuWatch
from tui_trainer.telemetry.host import HostGauge

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tui_trainer.telemetry.gpu import GpuReading

PROCESSES_EVERY = 30  # samples: the list of a GPU's processes is told again although it is the same


class ResourceSampler:
    """Emits `ResourceSampled` every `interval` seconds until closed.

    `gpu_uuid`: the GPU that the run trains on; without one, `unused` says why it trains on none.
    """

    def __init__(
        self,
        folder: Path,
        emit: Callable[[ResourceSampled], None],
        clock: Callable[[], float],
        *,
        gpu_uuid: str | None = None,
        unused: str = "",
        interval: float = 1.0,
        gauge: GpuGauge | None = None,
    ) -> None:
        self._emit, self._clock, self._interval = emit, clock, interval
        self._folder, self._unused = folder, unused
        self._loads: list[float] = []
        self._told: dict[int, tuple[dict[str, Any], ...]] = {}
        self._samples = 0
        self._stop = threading.Event()
        self._gpus = GpuWatch(gauge or GpuGauge(gpu_uuid), interval=interval)
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    def gpu_utilization(self) -> float | None:
        """Mean load in percent of the run's GPU since the last call; None without one."""
        loads, self._loads = self._loads, []
        return sum(loads) / len(loads) if loads else None

    def close(self) -> None:
        """Stop sampling; a gauge that hangs (a dead driver, a dead network disk) is left behind."""
        self._stop.set()
        self._gpus.close()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        host = HostGauge(self._folder)
        while not self._stop.wait(self._interval):
            reading = self._gpus.latest()
            self._loads += [gpu["util"] for gpu in reading.gpus if gpu["ours"] and gpu["util"] is not None]
            sample = ResourceSampled(
                time=self._clock(),
                gpus=self._trimmed(reading),
                gpu_note=reading.problem or (self._unused if reading.gpus else ""),
                **host.read(),
            )
            self._emit(sample)

    def _trimmed(self, reading: GpuReading) -> tuple[dict[str, Any], ...]:
        """What is worth a line a second: no empty words, and the processes when they changed, or now and then."""
        again = self._samples % PROCESSES_EVERY == 0
        self._samples += 1
        trimmed = []
        for gpu in reading.gpus:
            processes = gpu["processes"]
            left_out = {key for key in ("error", "slowed") if not gpu.get(key)}
            if not again and self._told.get(gpu["index"]) == processes:
                left_out.add("processes")
            self._told[gpu["index"]] = processes
            trimmed.append({key: value for key, value in gpu.items() if key not in left_out})
        return tuple(trimmed)
