"""Who takes part in the speed comparison, and running one of them in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
OURS, LIMIT, AVERAGE = "ours", "limit", "average"


@dataclass(frozen=True)
class Contender:
    """`function` is an import path; `package`, where given, must be installed."""

    function: str
    package: str | None = None
    distribution: str | None = None

    @property
    def present(self) -> bool:
        return self.package is None or importlib.util.find_spec(self.package) is not None


CONTENDERS = {
    LIMIT: Contender("benchmarks.limit:fit"),
    OURS: Contender("benchmarks.ours:fit"),
    AVERAGE: Contender("benchmarks.average:fit"),
    "lightning": Contender("benchmarks.frameworks:lightning", "lightning", "lightning"),
    "huggingface": Contender("benchmarks.frameworks:huggingface", "transformers", "transformers"),
    "ignite": Contender("benchmarks.frameworks:ignite", "ignite", "pytorch-ignite"),
    "accelerate": Contender("benchmarks.frameworks:accelerate", "accelerate", "accelerate"),
    "skorch": Contender("benchmarks.frameworks:skorch", "skorch", "skorch"),
}


def environment(threads: int) -> dict[str, str]:
    """The same for all: so many torch threads, and OpenMP threads that sleep while they wait.

    The latter is what our command line sets (`tui_trainer/cli.py`); PyTorch's own default is to spin.
    """
    return os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "passive",
        "GOMP_SPINCOUNT": "0",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


class ContenderFailed(Exception):
    """The process ended without a result; the message holds the end of its stderr."""


def run_contender(name: str, workload: str, threads: int) -> dict[str, Any]:
    """One fit in a fresh process. The result is `worker`'s, and `process_seconds`, from start to exit."""
    with tempfile.TemporaryDirectory(prefix="mltrainer-bench-") as folder:
        result, errors = Path(folder) / "result.json", Path(folder) / "stderr"
        command = [
            sys.executable,
            "-m",
            "benchmarks.worker",
            CONTENDERS[name].function,
            workload,
            str(result),
        ]
        started = time.perf_counter()
        with errors.open("wb") as stream:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=environment(threads),
                stdout=subprocess.DEVNULL,
                stderr=stream,
                check=False,
            )
        seconds = time.perf_counter() - started
        if done.returncode != 0 or not result.exists():
            raise ContenderFailed(
                f"{name} on {workload}: exit {done.returncode}\n{errors.read_text()[-2000:]}"
            )
        content: dict[str, Any] = json.loads(result.read_text())
    return content | {"contender": name, "threads": threads, "process_seconds": seconds}


def versions() -> Mapping[str, str]:
    """Versions of torch and of the frameworks that are installed."""
    from importlib.metadata import version

    names = [
        "torch",
        *(item.distribution for item in CONTENDERS.values() if item.distribution and item.present),
    ]
    return {name: version(name) for name in names}
