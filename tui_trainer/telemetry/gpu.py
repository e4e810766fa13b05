"""GPUs through NVML. Where there is no driver, or it fails on the way, the reading says so; it recovers when it can."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

RETRY_SECONDS = 15.0  # between attempts to reach a driver that failed
PATIENCE_SECONDS = 5.0  # a driver call that takes longer counts as hanging
SLOWED_BY_HEAT = 0x20 | 0x40  # NVML's software and hardware thermal slowdown
SLOWED_BY_POWER = 0x80  # the external power brake; the everyday power cap is no trouble and is left out
NO_DRIVER = "no NVIDIA driver"
NO_ANSWER = "the driver does not answer"

Gpu = dict[str, Any]


@dataclass(frozen=True, slots=True)
class GpuReading:
    """All GPUs at one moment, and in `problem` why there are none, or why their values are missing."""

    gpus: tuple[Gpu, ...] = ()
    problem: str = ""


@dataclass(slots=True)
class _Device:
    index: int
    handle: Any
    name: str | None
    uuid: str
    error: str = ""


class GpuGauge:
    """Reads every GPU that NVML knows. `uuid` tells which of them the run trains on: CUDA may order them differently."""

    def __init__(
        self,
        uuid: str | None = None,
        *,
        load: Callable[[], Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._uuid = uuid
        self._load = load or _load_nvml
        self._clock = clock
        self._nvml: Any = None
        self._devices: list[_Device] = []
        self._problem = ""
        self._retry_at: float | None = clock()
        self._names: dict[int, str | None] = {}

    def read(self) -> GpuReading:
        """One mapping a GPU: index, name, ours, util and memory_util (percent), memory_used, memory_total (bytes),
        temperature (°C), power, power_limit (W), clock (MHz), slowed ("heat", "power" or None), processes
        (mappings of pid, name, memory in bytes or None, ours) and error; None is what the driver does not tell.
        """
        if self._retry_at is not None and self._clock() >= self._retry_at:
            self._connect()
        gpus = tuple(self._read_one(device) for device in self._devices)
        if any(gpu["error"] for gpu in gpus) and self._retry_at is None:
            self._retry_at = self._clock() + RETRY_SECONDS
        running = {process["pid"] for gpu in gpus for process in gpu["processes"]}
        self._names = {pid: name for pid, name in self._names.items() if pid in running}
        return GpuReading(gpus, self._problem)

    def _connect(self) -> None:
        """Begin anew: handles are worth nothing after a GPU was lost or the driver reloaded."""
        self._retry_at = self._clock() + RETRY_SECONDS
        try:
            if self._nvml is None:
                self._nvml = self._load()
            else:
                _quietly(self._nvml.nvmlShutdown)
            self._nvml.nvmlInit()
            count = int(self._nvml.nvmlDeviceGetCount())
        except Exception as error:  # whatever a driver raises is no reason to stop training
            self._problem = self._explained(error)
            for device in self._devices:
                device.error = self._problem
            return
        self._devices = [self._open(index) for index in range(count)]
        self._problem = "" if count else "the driver knows no GPU"
        if count and not any(device.error for device in self._devices):
            self._retry_at = None

    def _open(self, index: int) -> _Device:
        nvml = self._nvml
        before = next((device for device in self._devices if device.index == index), None)
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            return _Device(index, handle, _text(nvml.nvmlDeviceGetName(handle)), _uuid_of(nvml, handle))
        except Exception as error:  # one lost GPU, and the others stay
            name, uuid = (before.name, before.uuid) if before else (None, "")
            return _Device(index, None, name, uuid, self._explained(error))

    def _read_one(self, device: _Device) -> Gpu:
        nvml, handle = self._nvml, device.handle
        failed: list[str] = []

        def ask(function: str, *arguments: Any) -> Any:
            if device.error:
                return None
            try:
                return getattr(nvml, function)(handle, *arguments)
            except Exception as error:  # not supported here, or the GPU is gone
                failed.append(self._explained(error))
                return None

        load, memory = ask("nvmlDeviceGetUtilizationRates"), ask("nvmlDeviceGetMemoryInfo")
        temperature, power = ask("nvmlDeviceGetTemperature", 0), ask("nvmlDeviceGetPowerUsage")
        alive = any(value is not None for value in (load, memory, temperature, power))
        if not alive and not device.error:
            device.error = failed[0]
        power_limit, clock = ask("nvmlDeviceGetEnforcedPowerLimit"), ask("nvmlDeviceGetClockInfo", 1)
        slowed = ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        return {
            "index": device.index,
            "name": device.name,
            "ours": bool(self._uuid) and str(self._uuid) in device.uuid,
            "util": None if load is None else float(load.gpu),
            "memory_util": None if load is None else float(load.memory),
            "memory_used": None if memory is None else int(memory.used),
            "memory_total": None if memory is None else int(memory.total),
            "temperature": temperature,
            "power": None if power is None else power / 1000,
            "power_limit": None if power_limit is None else power_limit / 1000,
            "clock": clock,
            "slowed": _slowed(slowed),
            "processes": self._processes(ask),
            "error": device.error,
        }

    def _processes(self, ask: Callable[..., Any]) -> tuple[dict[str, Any], ...]:
        memory: dict[int, int | None] = {}
        for function in ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses"):
            for process in ask(function) or ():
                used = getattr(process, "usedGpuMemory", None)  # a container may not be told
                known = [value for value in (memory.get(process.pid), used) if value is not None]
                memory[int(process.pid)] = max(known, default=None)
        for pid in memory.keys() - self._names.keys():
            self._names[pid] = _process_name(pid)
        return tuple(
            {"pid": pid, "name": self._names[pid], "memory": used, "ours": pid == os.getpid()}
            for pid, used in sorted(memory.items())
        )

    def _explained(self, error: BaseException) -> str:
        """What NVML says, in a few words."""
        if self._nvml is None or type(error).__name__ in (
            "NVMLError_LibraryNotFound",
            "NVMLError_DriverNotLoaded",
        ):
            return NO_DRIVER
        try:
            return f"{error}"[:200] or type(error).__name__
        except Exception:  # NVML's errors look their text up, which may fail too
            return type(error).__name__


class GpuWatch:
    """Reads a gauge on a thread of its own, for a call into a broken driver may never come back."""

    def __init__(
        self,
        gauge: GpuGauge,
        *,
        interval: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gauge, self._interval, self._clock = gauge, interval, clock
        self._reading = GpuReading()
        self._read_at = clock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nvml", daemon=True)
        self._thread.start()

    def latest(self) -> GpuReading:
        """The newest reading; one without values when it is so old that the driver must be hanging."""
        reading, read_at = self._reading, self._read_at
        if self._clock() - read_at <= PATIENCE_SECONDS + self._interval:
            return reading
        return GpuReading(tuple(without_values(gpu, NO_ANSWER) for gpu in reading.gpus), NO_ANSWER)

    def close(self) -> None:
        """Read no more; a call that hangs is left behind."""
        self._stop.set()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                reading = self._gauge.read()
            except Exception as error:  # the watch outlives any fault of a driver
                reading = replace(self._reading, problem=f"{type(error).__name__} while reading the driver")
            self._reading, self._read_at = reading, self._clock()
            self._stop.wait(self._interval)


def without_values(gpu: Gpu, error: str) -> Gpu:
    """The GPU as one that tells nothing, because of `error`."""
    kept = {key: gpu.get(key) for key in ("index", "name", "ours", "memory_total")}
    return dict.fromkeys(gpu) | kept | {"processes": (), "error": error}


def _load_nvml() -> Any:
    import pynvml

    return pynvml


def _uuid_of(nvml: Any, handle: Any) -> str:
    try:
        return _text(nvml.nvmlDeviceGetUUID(handle)) or ""
    except Exception:  # not supported there; the GPU is then told by its index
        return ""


def _text(value: Any) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _slowed(reasons: Any) -> str | None:
    if not isinstance(reasons, int):
        return None
    if reasons & SLOWED_BY_HEAT:
        return "heat"
    return "power" if reasons & SLOWED_BY_POWER else None


def _process_name(pid: int) -> str | None:
    """None for a process that is gone, or outside this container."""
    import psutil

    try:
        return str(psutil.Process(pid).name())
    except (psutil.Error, OSError, ValueError):
        return None


def _quietly(call: Callable[[], Any]) -> None:
    try:
        call()
    except Exception:  # a driver that is being left has nothing more to say
        return
