"""Running the real program in tests, and comparing what two runs left behind."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

NOT_METRICS = {"epoch_time", "samples_per_second", "gpu_util", "data_wait"}
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


WAIVED = ("--waive", "all=gates have tests of their own")


def command(*arguments: str | Path, gate: bool = False) -> list[str]:
    """The headless program; `gate`: as it is, else with all gates waived, which saves the seconds of their checks."""
    waived = () if gate else WAIVED
    return [sys.executable, "-m", "tui_trainer", "--no-ui", *waived, *map(str, arguments)]


def train(
    *arguments: str | Path,
    cwd: Path,
    expect: int | None = 0,
    timeout: float = 240,
    gate: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run headless to its end; `expect` is the exit code (None: any)."""
    done = subprocess.run(
        command(*arguments, gate=gate),
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if expect is not None:
        assert done.returncode == expect, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback (most recent call last)" not in done.stderr
    return done


def load_last(run: Path, name: str = "last_model.pt") -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run / "checkpoints" / name, weights_only=True)
    return state


def metric_log(run: Path) -> list[dict[str, str]]:
    """`epoch_metrics.csv` without the columns that measure time."""
    with (run / "epoch_metrics.csv").open(newline="") as stream:
        return [{k: v for k, v in row.items() if k not in NOT_METRICS} for row in csv.DictReader(stream)]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


TIMED = {"wait", "elapsed", "history", "config", *NOT_METRICS}


def differences(a: Any, b: Any, where: str = "") -> list[str]:
    """Where two checkpoints differ, bit for bit; wall-clock figures and the config are left out."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        same = a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
        return [] if same else [where]
    if isinstance(a, dict) and isinstance(b, dict):
        found = [f"{where}.{key} (only in one)" for key in a.keys() ^ b.keys() if key not in TIMED]
        for key in a.keys() & b.keys():
            if key not in TIMED:
                found += differences(a[key], b[key], f"{where}.{key}")
        return found
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        if len(a) != len(b):
            return [f"{where} (length {len(a)} and {len(b)})"]
        return [
            item
            for k, (x, y) in enumerate(zip(a, b, strict=True))
            for item in differences(x, y, f"{where}[{k}]")
        ]
    return [] if type(a) is type(b) and (a == b or (a != a and b != b)) else [f"{where}: {a!r} and {b!r}"]


def assert_same_run(a: Path, b: Path) -> None:
    """Weights, optimizer, scheduler, RNG states, counters and metric log of two runs are equal, bit for bit."""
    assert differences(load_last(a), load_last(b)) == []
    assert metric_log(a) == metric_log(b)
    best_a, best_b = load_last(a, "best_model.pt"), load_last(b, "best_model.pt")
    assert differences(best_a, best_b) == []
