"""What all rules and the probes they ask for cost a healthy run: with them and without, in turns."""

from __future__ import annotations

import random
import statistics
import time
from typing import TYPE_CHECKING

from benchmarks.diagnostics.case import Settings, merged
from benchmarks.diagnostics.training import Recorded, scratch
from tui_trainer.diagnostics.registry import CODES
from tui_trainer.engine import events

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_SHARE, MOST_MICROSECONDS = 0.01, 15.0

_MODELS: dict[str, Settings] = {
    "tiny MLP (64-128-10, batch 32)": {
        "model": {"target": "mlp", "args": {"hidden": [128]}}, "training": {"epochs": 40},
        "data": {"target": "digits", "batch_size": 32},
    },
    "MLP of three layers of 512, batch 64": {
        "model": {"target": "mlp", "args": {"hidden": [512, 512, 512]}}, "training": {"epochs": 10},
        "data": {"target": "digits", "batch_size": 64},
    },
    "CNN 32-64, batch 64": {
        "model": {"target": "cnn"}, "training": {"epochs": 6},
        "data": {"target": "digits", "args": {"image": True}, "batch_size": 64},
    },
    "MLP of three layers of 512, batch 64, 40,000 rows (epochs of seconds)": {
        "model": {"target": "mlp", "args": {"hidden": [512, 512, 512]}}, "training": {"epochs": 5},
        "data": {"target": "benchmarks.workloads:synthetic_rows", "args": {"rows": 40_000}, "batch_size": 64},
    },
}  # fmt: skip


def main(repeats: int) -> int:
    """Print a table; 1 where an aim is missed."""
    print(
        "Epochs on digits take 0.1 s: what is done once an epoch weighs more there than in any run that takes minutes.\n"
    )
    print(
        "| model | pairs | time with rules ÷ without, median (95 % interval) | µs per step (95 % interval) |"
    )
    print("|---|---|---|---|")
    good = True
    for number, (name, config) in enumerate(_MODELS.items()):
        ratios, costs = pairs(config, repeats)
        ratio, cost = interval(ratios), interval(costs)
        print(
            f"| {name} | {len(ratios)} | {ratio[0]:.4f} ({ratio[1]:.4f}–{ratio[2]:.4f}) |"
            f" {cost[0]:.1f} ({cost[1]:.1f}–{cost[2]:.1f}) |",
            flush=True,
        )
        good &= cost[0] <= MOST_MICROSECONDS if number == 0 else ratio[0] <= 1 + MOST_SHARE
    return 0 if good else 1


def pairs(config: Settings, repeats: int) -> tuple[list[float], list[float]]:
    """Of each pair of runs: the ratio of their times, and the difference in microseconds per step."""
    base: Settings = {
        "name": "cost",
        "device": "cpu",
        "early_stopping": {"enabled": False},
        "scheduler": {"target": "none"},
    }
    watched = merged(base, config)
    off = {"diagnostics": {"disabled": list(CODES)}, "monitoring": {"probe_every_n_epochs": 0}}
    bare = merged(watched, off)
    _cpu_time(watched)  # pays for imports
    ratios, costs = [], []
    for number in range(repeats):
        if number % 2:
            (without, steps), (given, _) = _cpu_time(bare), _cpu_time(watched)
        else:
            (given, steps), (without, _) = _cpu_time(watched), _cpu_time(bare)
        ratios.append(given / without)
        costs.append((given - without) / steps * 1e6)
    return ratios, costs


def _cpu_time(config: Settings) -> tuple[float, int]:
    """Processor seconds of the training thread from the end of the first epoch to the end, and steps."""
    marks: list[tuple[float, int]] = []
    with scratch() as folder:
        session = Recorded(config, folder / "run")
        emit = session.stream.emit

        def noting(event: events.Event) -> None:
            if isinstance(event, events.EpochFinished):
                marks.append((time.thread_time(), event.step))
            emit(event)

        session.stream.emit = noting  # type: ignore[method-assign]  # its own time is asked for there
        session.start()
        session.wait()
    if session.exit_code:
        raise RuntimeError(f"the run ended with {session.exit_code}: {session.summary}")
    return marks[-1][0] - marks[0][0], marks[-1][1] - marks[0][1]


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, with a 95 % interval by bootstrap."""
    draw = random.Random(0)  # noqa: S311 (no secret)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(2000))
    return statistics.median(values), medians[50], medians[1949]
