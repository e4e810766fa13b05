"""Samples per second of ours, of hand-written loops and of other frameworks, in rotation."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import CONTENDERS, LIMIT, OURS, ContenderFailed, run_contender, versions
from benchmarks.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Runs = list[dict[str, Any]]


@dataclass(frozen=True)
class Ratio:
    """Ours divided by another: median and extremes over the rounds in which both ran."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"


def measure(
    workloads: Sequence[str],
    names: Sequence[str],
    threads: Sequence[int],
    repeats: int,
    *,
    record: Path | None,
) -> Runs:
    """Every contender once a round, each round starting with another one; `record` gets a JSON line a run."""
    names = _present(names)
    runs: Runs = []
    for number in range(repeats):
        shift = number % len(names)
        for count in threads:
            for workload in workloads:
                mark = time.time()
                for name in [*names[shift:], *names[:shift]]:
                    try:
                        run = run_contender(name, workload, count) | {"round": mark}
                    except ContenderFailed as error:
                        print(error, file=sys.stderr)
                        continue
                    runs.append(run)
                    _tell(run)
                    if record is not None:
                        with record.open("a") as stream:
                            stream.write(json.dumps(run) + "\n")
    return runs


def _present(names: Sequence[str]) -> list[str]:
    present = [name for name in names if CONTENDERS[name].present]
    for name in names:
        if name not in present:
            package = CONTENDERS[name].distribution
            print(
                f"{name} is left out: {package} is not installed (pip install -c constraints.txt '.[bench]')."
            )
    return present


def _tell(run: dict[str, Any]) -> None:
    print(
        f"  {run['workload']:<8} {run['threads']} thr  {run['contender']:<11}"
        f" {run['rate']:>10,.0f} samples/s  accuracy {run['val_accuracy']:.3f}  load {run['load_average']:.1f}",
        flush=True,
    )


def ratio(runs: Runs, other: str, key: str) -> Ratio | None:
    """Of the figure `key`, paired round by round; None where the two never ran in one round."""
    found: dict[float, dict[str, float]] = defaultdict(dict)
    for run in runs:
        found[run["round"]][run["contender"]] = run[key]
    pairs = [pair[OURS] / pair[other] for pair in found.values() if OURS in pair and other in pair]
    return Ratio(statistics.median(pairs), min(pairs), max(pairs)) if pairs else None


def table(runs: Runs) -> str:
    """The results as Markdown."""
    lines = [
        "| workload | threads | contender | rounds | samples/s | ours ÷ it, wall | ours ÷ it, CPU | accuracy | process, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for workload in WORKLOADS:
        for threads in sorted({run["threads"] for run in runs}):
            some = [run for run in runs if run["workload"] == workload and run["threads"] == threads]
            lines += [_line(some, workload, threads, name) for name in CONTENDERS if any(_of(some, name))]
    installed = ", ".join(f"{name} {version}" for name, version in versions().items())
    loads = statistics.median(run["load_average"] for run in runs)
    return "\n".join([*lines, "", f"Load average (median) {loads:.1f}; {installed}."])


def _of(runs: Runs, name: str) -> Runs:
    return [run for run in runs if run["contender"] == name]


def _line(runs: Runs, workload: str, threads: int, name: str) -> str:
    own = _of(runs, name)

    def median(key: str) -> float:
        return statistics.median(run[key] for run in own)

    wall, cpu = (
        ("1", "1") if name == OURS else (ratio(runs, name, key) or "–" for key in ("rate", "cpu_rate"))
    )
    mark = "**" if name in (OURS, LIMIT) else ""
    return (
        f"| {workload} | {threads} | {mark}{name}{mark} | {len(own)} | {median('rate'):,.0f} | {wall} | {cpu} |"
        f" {median('val_accuracy'):.3f} | {median('process_seconds'):.1f} |"
    )
