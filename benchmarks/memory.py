"""Does a long run grow? Resident memory at the end of each of 300 epochs of digits."""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.contenders import ROOT, environment

EPOCHS, EARLY, LIMIT = 300, 20, 0.02


def resident(_: Any) -> dict[str, int]:
    """A statistic for `monitoring.statistics`: bytes of memory that this process occupies."""
    import psutil

    return {"bytes": psutil.Process().memory_info().rss}


def main() -> bool:
    """Run, print, and say whether the last epoch is within 2 % of the twentieth."""
    with tempfile.TemporaryDirectory(prefix="mltrainer-bench-") as folder:
        run = Path(folder) / "run"
        settings = (f"training.epochs={EPOCHS}", "early_stopping.enabled=false",
                    "monitoring.statistics=['benchmarks.memory:resident']", "gates.waive.all='a benchmark'")  # fmt: skip
        overrides = [argument for setting in settings for argument in ("--set", setting)]
        command = [
            sys.executable,
            "-m",
            "tui_trainer",
            "--no-ui",
            "--waive",
            "all=a benchmark",
            "--output-dir",
            str(run),
            *overrides,
        ]
        subprocess.run(command, cwd=ROOT, env=environment(1), stderr=subprocess.DEVNULL, check=True)
        with (run / "resident.csv").open(newline="") as stream:
            sizes = {int(row["epoch"]): int(row["bytes"]) for row in csv.DictReader(stream)}
    growth = sizes[EPOCHS] / sizes[EARLY] - 1
    for epoch in (1, 5, EARLY, 50, 100, 200, EPOCHS):
        print(f"  epoch {epoch:>3}: {sizes[epoch] / 2**20:.1f} MiB")
    print(f"Resident memory after epoch {EPOCHS} against epoch {EARLY}: {growth:+.2%} (limit {LIMIT:.0%}).")
    return growth <= LIMIT
