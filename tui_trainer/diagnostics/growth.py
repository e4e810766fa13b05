"""Memory that grows from epoch to epoch: a line that goes on rising, told from a cache that fills up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_trainer.diagnostics.history import History
    from tui_trainer.engine.events import ResourceSampled

WARM_UP, EPOCHS = 2, 8  # epochs that do not count, and those that are needed besides
SHARE, LEAST_BYTES = 0.05, 24e6  # of what there was after the warm-up, and in all
_POINTS = 6  # in these epochs: short ones have no sample each
_NEWEST = 60  # points that are looked at
_FIT = 0.9  # R² of the line
_RISING = 0.75  # share of the epochs in which it grew
_GOES_ON = 0.8  # growth in the later half against that in the earlier

Curve = list[tuple[int, float]]
"""Bytes at the end of epochs."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Growth that goes on: from `first_epoch` to `last_epoch` by `per_epoch` bytes each, `before` to `now`."""

    first_epoch: int
    last_epoch: int
    per_epoch: float
    before: float
    now: float


def steady_growth(
    curve: Curve,
    *,
    warm_up: float = WARM_UP,
    epochs: float = EPOCHS,
    share: float = SHARE,
    least: float = LEAST_BYTES,
) -> Growth | None:
    """Growth that is steady and does not level off; None where there is none, or too little is known."""
    points = [point for point in curve if point[0] > warm_up][-_NEWEST:]
    if len(points) < _POINTS or points[-1][0] - points[0][0] < epochs - 1:
        return None
    x = np.array([epoch for epoch, _ in points], dtype=float)
    y = np.array([value for _, value in points])
    slope, base = _line(x, y)
    spread = float(((y - y.mean()) ** 2).sum())
    total = slope * (x[-1] - x[0])
    start = base + slope * x[0]
    if spread == 0 or total < max(least, share * start):
        return None
    fit = 1 - float(((y - base - slope * x) ** 2).sum()) / spread
    rising = float((np.diff(y) > 0.01 * total / len(y)).mean())
    half = len(points) // 2
    early, late = _line(x[: half + 1], y[: half + 1])[0], _line(x[half:], y[half:])[0]
    if fit < _FIT or rising < _RISING or late < _GOES_ON * early:
        return None
    return Growth(points[0][0], points[-1][0], slope, start, float(y[-1]))


def process_memory(history: History) -> Curve:
    """What the training process holds of the machine's memory."""
    return _curve(history, lambda sample: sample.process_rss)


def other_memory(history: History) -> Curve:
    """What is used of the machine's memory beside the training process: loader workers, among others."""
    return _curve(
        history,
        lambda sample: (
            None
            if sample.ram_used is None or sample.process_rss is None
            else sample.ram_used - sample.process_rss
        ),
    )


def device_memory(history: History) -> Curve:
    """What is used of the memory of the run's own GPU."""
    return _curve(
        history, lambda sample: next((gpu.get("memory_used") for gpu in sample.gpus if gpu.get("ours")), None)
    )


def _curve(history: History, value_of: Any) -> Curve:
    """One point a sample: of epochs that are shorter than the time between two, the last."""
    samples: Sequence[tuple[int, ResourceSampled]] = history.memory
    newest: dict[float, tuple[int, float]] = {}
    for epoch, sample in samples[-4 * _NEWEST :]:
        value = value_of(sample)
        if value is not None:
            newest.setdefault(sample.time, (epoch, float(value)))
    return list(newest.values())


def _line(x: Any, y: Any) -> tuple[float, float]:
    """Slope and intercept of the least-squares line."""
    centre = x - x.mean()
    square = float((centre**2).sum())
    slope = float((centre * y).sum()) / square if square else 0.0
    return slope, float(y.mean() - slope * x.mean())
