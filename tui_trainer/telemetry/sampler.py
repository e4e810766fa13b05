"""A thread that reads the gauges once a second and says so; the trainer never waits for it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tui_trainer.engine.events import ResourceSampled
from tui_trainer.telemetry.gpu import GpuGauge
from tui_trainer.telemetry.host import HostGauge

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class ResourceSampler:
    """Emits `ResourceSampled` every `interval` seconds until closed."""

    def __init__(
        self,
        folder: Path,
        emit: Callable[[ResourceSampled], None],
        clock: Callable[[], float],
        *,
        gpu_uuid: str | None = None,
        interval: float = 1.0,
    ) -> None:
        self._emit, self._clock, self._interval = emit, clock, interval
        self._folder, self._gpu_uuid = folder, gpu_uuid
        self._loads: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    def gpu_utilization(self) -> float | None:
        """Mean load in percent of the run's GPU since the last call; None without one."""
        loads, self._loads = self._loads, []
        return sum(loads) / len(loads) if loads else None

    def close(self) -> None:
        """Stop sampling."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        host, gpu = HostGauge(self._folder), GpuGauge(self._gpu_uuid)
        while not self._stop.wait(self._interval):
            gpus = gpu.read()
            self._loads += [item["util"] for item in gpus if item["ours"] and item["util"] is not None]
            try:
                reading = host.read()
            except OSError:
                continue
            self._emit(
                ResourceSampled(
                    time=self._clock(),
                    cpu_percent=float(reading["cpu_percent"]),
                    ram_used=int(reading["ram_used"]),
                    ram_total=int(reading["ram_total"]),
                    process_rss=int(reading["process_rss"]),
                    disk_free=int(reading["disk_free"]),
                    gpus=gpus,
                )
            )
