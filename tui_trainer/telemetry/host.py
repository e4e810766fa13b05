"""CPU, memory and disk of this machine, through psutil."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class HostGauge:
    """Reads the machine; every call looks anew."""

    def __init__(self, folder: Path) -> None:
        import psutil

        self._psutil: Any = psutil
        self._folder = folder
        self._process = psutil.Process()
        psutil.cpu_percent(None)

    def read(self) -> dict[str, float | int]:
        """cpu_percent since the last call; ram_used, ram_total, process_rss, disk_free in bytes."""
        memory = self._psutil.virtual_memory()
        return {
            "cpu_percent": self._psutil.cpu_percent(None),
            "ram_used": memory.total - memory.available,
            "ram_total": memory.total,
            "process_rss": self._process.memory_info().rss,
            "disk_free": shutil.disk_usage(self._folder).free,
        }
