"""CPU, memory and disk of this machine, through psutil."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from tui_trainer.telemetry.cgroup import memory_limit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class HostGauge:
    """Reads the machine; every call looks anew."""

    def __init__(self, folder: Path) -> None:
        import psutil

        self._psutil: Any = psutil
        self._folder = folder
        self._process = psutil.Process()
        self._cores = psutil.cpu_count() or 1
        psutil.cpu_percent(None)
        self._process.cpu_percent(None)

    def read(self) -> dict[str, Any]:
        """cpu_percent and this process's share of it, process_cpu, since the last call; ram_used, ram_total,
        process_rss, disk_free in bytes; ram_limited: the memory is a container's. None is what cannot be read.
        """
        memory = _asked(self._psutil.virtual_memory)
        total = None if memory is None else int(memory.total)
        used = None if memory is None else int(memory.total - memory.available)
        limit = _asked(memory_limit)
        limited = limit is not None and (total is None or limit[1] < total)
        if limit is not None and limited:
            used, total = limit
        own = _asked(lambda: self._process.cpu_percent(None))
        return {
            "cpu_percent": _asked(lambda: float(self._psutil.cpu_percent(None))),
            "process_cpu": None if own is None else own / self._cores,
            "ram_used": used,
            "ram_total": total,
            "ram_limited": limited,
            "process_rss": _asked(lambda: int(self._process.memory_info().rss)),
            "disk_free": _asked(lambda: int(shutil.disk_usage(self._folder).free)),
        }


def _asked(question: Callable[[], Any]) -> Any:
    """The answer, or None: psutil and the file system have many ways to fail, and no gauge is worth a run."""
    try:
        return question()
    except Exception:  # psutil raises many kinds; what cannot be read is not shown
        return None
