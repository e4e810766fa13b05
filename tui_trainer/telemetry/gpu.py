"""GPUs through NVML. Where there is no driver, or it fails on the way, there simply are no readings."""

from __future__ import annotations

from typing import Any


class GpuGauge:
    """Reads every GPU that NVML knows. `uuid` tells which of them the run trains on (CUDA may order them differently)."""

    def __init__(self, uuid: str | None = None) -> None:
        self._uuid = uuid
        self._nvml: Any = None
        self._handles: list[Any] = []
        try:
            import pynvml

            pynvml.nvmlInit()
            self._nvml = pynvml
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(k) for k in range(pynvml.nvmlDeviceGetCount())]
        except Exception:
            self._handles = []

    def read(self) -> tuple[dict[str, Any], ...]:
        """One mapping a GPU: index, name, util (percent), memory_used, memory_total (bytes), temperature (°C), power (W)."""
        return tuple(self._read_one(index, handle) for index, handle in enumerate(self._handles))

    def _read_one(self, index: int, handle: Any) -> dict[str, Any]:
        nvml = self._nvml

        def ask(function: str, *arguments: Any) -> Any:
            try:
                return getattr(nvml, function)(handle, *arguments)
            except nvml.NVMLError:
                return None

        name, load, memory = (
            ask("nvmlDeviceGetName"),
            ask("nvmlDeviceGetUtilizationRates"),
            ask("nvmlDeviceGetMemoryInfo"),
        )
        power = ask("nvmlDeviceGetPowerUsage")
        uuid = ask("nvmlDeviceGetUUID")
        return {
            "index": index,
            "name": name.decode() if isinstance(name, bytes) else name,
            "ours": self._uuid is not None and self._uuid in str(uuid),
            "util": None if load is None else float(load.gpu),
            "memory_used": None if memory is None else int(memory.used),
            "memory_total": None if memory is None else int(memory.total),
            "temperature": ask("nvmlDeviceGetTemperature", 0),
            "power": None if power is None else power / 1000,
        }
