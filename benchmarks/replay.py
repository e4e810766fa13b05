"""How soon a long run is on the screen: 1,000,000 steps (100,000 step lines) from its folder, and moving about in it."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contenders import ROOT, environment
from benchmarks.long_run import SPIKE_LOSS, write_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.pilot import Pilot

    from tui_trainer.screens.app import Outcome
    from tui_trainer.screens.replay import ReplayScreen

STEPS = 1_000_000
SHORT, RUNS = 1000, 100
OPEN_LIMIT_S, KEY_LIMIT_S, LIST_LIMIT_S = 1.0, 0.05, 0.5
SIZE = (120, 34)
LOG_KEYS = ["pageup"] * 10 + ["pagedown"] * 10
CHART_KEYS = ["left"] * 10 + ["plus"] * 6 + ["left_square_bracket"] * 10 + ["0"]


def main(repeats: int) -> bool:
    """Measure, print, and say whether opening and moving stay below their limits."""
    with tempfile.TemporaryDirectory(prefix="mltrainer-bench-") as folder:
        run, short = Path(folder) / "run", Path(folder) / "short"
        write_run(run, STEPS)
        write_run(short, SHORT)
        size = (run / "events.jsonl").stat().st_size
        rounds = [_measure(run) for _ in range(repeats + 1)][1:]  # the first one warms the disk's cache
        folded, first, whole, key = (statistics.median(column) for column in zip(*rounds, strict=True))
        listed, again = _list(Path(folder) / "runs")
        short_key = statistics.median(_measure(short)[-1] for _ in range(repeats))
    print(
        f"A run of {STEPS:,} steps (events.jsonl {size / 1e6:.0f} MB), medians of {repeats} fresh processes:"
    )
    print(f"  imports and fold without an app: {folded:.2f} s")
    print(f"  asked for until first values are on the screen: {first:.2f} s, until all of it, charts drawn: {whole:.2f} s "
          f"(limit {OPEN_LIMIT_S} s)")  # fmt: skip
    print(f"  CPU time of a key that scrolls, zooms or pans, 95th percentile: {key * 1000:.0f} ms (limit "
          f"{KEY_LIMIT_S * 1000:.0f} ms); in a run of {SHORT:,} steps: {short_key * 1000:.0f} ms")  # fmt: skip
    print(f"{RUNS} runs are listed in {listed:.2f} s (limit {LIST_LIMIT_S} s), and again in {again:.3f} s.")
    return whole <= OPEN_LIMIT_S and key <= KEY_LIMIT_S and listed <= LIST_LIMIT_S


def _list(root: Path) -> tuple[float, float]:
    """Seconds to list runs for the first time, and once nothing has changed."""
    from tui_trainer.session.run_index import RunIndex

    for number in range(RUNS):
        write_run(root / f"run-{number}", SHORT)
    index = RunIndex([root])
    taken = []
    for _ in range(2):
        began = time.perf_counter()
        assert len(index.refresh()) == RUNS
        taken.append(time.perf_counter() - began)
    return taken[0], taken[1]


def _measure(run: Path) -> tuple[float, ...]:
    command = [sys.executable, "-m", "benchmarks.replay", str(run)]
    done = subprocess.run(command, cwd=ROOT, env=environment(1), capture_output=True, text=True, check=True)
    return tuple(map(float, done.stdout.split()))


def _fold(run: Path) -> float:
    began = time.perf_counter()
    from tui_trainer.screens.view import RunView, advance_all
    from tui_trainer.session.replay import RunReplay

    subscription, view = RunReplay(run).subscribe("benchmark"), RunView()
    while events := subscription.poll(0):
        view = advance_all(view, events)
    took = time.perf_counter() - began
    losses = view.recorded.traces["loss", "batch"].raw
    assert view.is_over
    assert max(losses.ys) == SPIKE_LOSS
    assert losses.broken_count == 2  # the batch skipped, and its logged loss
    assert "torch" not in sys.modules
    return took


async def _open(run: Path) -> tuple[float, float, float]:
    from tui_trainer.screens.app import MLTrainerApp
    from tui_trainer.screens.chart import Chart
    from tui_trainer.screens.painting import Painter
    from tui_trainer.screens.panels import UNICODE
    from tui_trainer.screens.replay import ReplayScreen

    painter = Painter()
    app = MLTrainerApp(None, painter=painter)
    try:
        async with app.run_test(size=SIZE) as pilot:
            await pilot.pause(0.5)
            began = time.perf_counter()
            screen = ReplayScreen(painter, UNICODE, run, "long")
            app.push_screen(screen)
            first = await _seconds_until(began, lambda: screen.shown.step is not None)
            whole = await _seconds_until(
                began,
                lambda: (
                    screen.shown.is_over and all(chart.rows for chart in screen.query(Chart) if chart.display)
                ),
            )
            return first, whole, await _scrolling(pilot, screen)
    finally:
        painter.close()


async def _seconds_until(began: float, happened: Callable[[], bool]) -> float:
    while not happened():
        assert time.perf_counter() - began < 60
        await asyncio.sleep(0.005)
    return time.perf_counter() - began


async def _scrolling(pilot: Pilot[Outcome], screen: ReplayScreen) -> float:
    """The 95th percentile of the CPU seconds that a key costs: log scrolled, chart's cursor moved, zoomed, panned."""
    taken = []
    for focused, keys in (("#log", LOG_KEYS), ("#chart-0", CHART_KEYS)):
        screen.query_one(focused).focus()
        for key in keys:
            began = time.process_time()
            await pilot.press(key)
            taken.append(time.process_time() - began)
    return statistics.quantiles(taken, n=20)[-1]


if __name__ == "__main__":
    place = Path(sys.argv[1])
    print(_fold(place), *asyncio.run(_open(place)))
