"""How soon it answers: `--help`, and the first training step against a bare script."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contenders import ROOT, environment

if TYPE_CHECKING:
    from collections.abc import Sequence

HELP_LIMIT_S, STEP_LIMIT_S = 0.2, 0.6


def main(threads: Sequence[int], repeats: int) -> bool:
    """Measure, print, and say whether both stay below their limits."""
    helped = [_help() for _ in range(max(repeats, 5))]
    bare_python = [_seconds([sys.executable, "-c", "pass"]) for _ in range(max(repeats, 5))]
    print(
        f"--help: {_spread(helped)}; an empty Python program: {_spread(bare_python)} (limit {HELP_LIMIT_S} s)."
    )
    good = statistics.median(helped) < HELP_LIMIT_S
    for count in threads:
        _bare(count), _ours(count)  # the disk cache is warm for both from here on
        pairs = [(_ours(count), _bare(count)) for _ in range(repeats)]
        more = [ours - bare for ours, bare in pairs]
        print(
            f"Process start to first training step, {count} torch thread(s): ours {_spread([a for a, _ in pairs])}, "
            f"a bare script {_spread([b for _, b in pairs])}; difference {_spread(more)} (limit +{STEP_LIMIT_S} s)."
        )
        good = good and statistics.median(more) <= STEP_LIMIT_S
    return good


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} s ({min(values):.2f}–{max(values):.2f})"


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def _help() -> float:
    script = Path(sys.executable).with_name("mltrainer-tui")
    return _seconds(
        [str(script), "--help"] if script.exists() else [sys.executable, "-m", "tui_trainer", "--help"]
    )


def _ours(threads: int) -> float:
    """Seconds to the event that logs step 1 of the bundled baseline."""
    with tempfile.TemporaryDirectory(prefix="mltrainer-bench-") as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "tui_trainer", "--no-ui", "--waive", "all=a benchmark", "--output-dir", str(run),
                   "--set", "training.epochs=1", "--set", "monitoring.log_every_n_steps=1"]  # fmt: skip
        started = time.time()
        subprocess.run(command, cwd=ROOT, env=environment(threads), stderr=subprocess.DEVNULL, check=True)
        for line in (run / "events.jsonl").read_text().splitlines():
            event = json.loads(line)
            if event["kind"] == "step":
                return datetime.fromisoformat(event["time"]).timestamp() - started
    raise RuntimeError("the run logged no step")


def _bare(threads: int) -> float:
    with tempfile.TemporaryDirectory(prefix="mltrainer-bench-") as folder:
        result = Path(folder) / "time"
        started = time.time()
        subprocess.run(
            [sys.executable, "benchmarks/bare.py", str(result)],
            cwd=ROOT,
            env=environment(threads),
            check=True,
        )
        return float(result.read_text()) - started
