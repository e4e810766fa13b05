"""A driver that can be told what to answer, when to fail and when to hang."""

from __future__ import annotations

import threading
from types import SimpleNamespace


class NVMLError(Exception):
    """As NVML raises."""


class NVMLError_LibraryNotFound(NVMLError):
    """No driver on this machine."""


class FakeNvml:
    """Stands in for the module `pynvml`. `broken`: indices of GPUs that answer nothing, with what NVML says."""

    def __init__(self, gpus: int = 2) -> None:
        self.gpus = gpus
        self.broken: dict[int, str] = {}
        self.unsupported: set[str] = set()
        self.down = ""  # the whole driver
        self.processes: dict[int, list[SimpleNamespace]] = {}
        self.inits = 0
        self.hang = threading.Event()
        self.hang.set()

    def __getattr__(self, name):
        if not name.startswith("nvmlDeviceGet"):
            raise AttributeError(name)

        def ask(handle, *arguments):
            self.hang.wait(30)
            if self.down or handle in self.broken:
                raise NVMLError(self.down or self.broken[handle])
            if name in self.unsupported:
                raise NVMLError("Not Supported")
            return self._answers(handle)[name]

        return ask

    def nvmlInit(self):
        self.hang.wait(30)
        self.inits += 1
        if self.down:
            raise NVMLError(self.down)

    def nvmlShutdown(self):
        if self.down:
            raise NVMLError(self.down)

    def nvmlDeviceGetCount(self):
        return self.gpus

    def nvmlDeviceGetHandleByIndex(self, index):
        if index in self.broken:
            raise NVMLError(self.broken[index])
        return index

    def _answers(self, k):
        return {
            "nvmlDeviceGetName": b"NVIDIA H200",
            "nvmlDeviceGetUUID": f"GPU-0000000{k}-aaaa",
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=10 * k + 5, memory=k),
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=(k + 1) * 2**30, total=24 * 2**30),
            "nvmlDeviceGetTemperature": 40 + k,
            "nvmlDeviceGetPowerUsage": 212_000,
            "nvmlDeviceGetEnforcedPowerLimit": 700_000,
            "nvmlDeviceGetClockInfo": 1980,
            "nvmlDeviceGetCurrentClocksThrottleReasons": 0x40 if k == 1 else 0x4,
            "nvmlDeviceGetComputeRunningProcesses": self.processes.get(k, []),
            "nvmlDeviceGetGraphicsRunningProcesses": [],
        }


def process(pid, memory=2**30):
    return SimpleNamespace(pid=pid, usedGpuMemory=memory)
