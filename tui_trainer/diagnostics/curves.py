"""Reading a curve of one value an epoch (or a logged step): its noise, its trend, where it stopped improving.

Plain Python on short lists: the rules ask once an epoch. Non-finite values are left out everywhere.
"""

from __future__ import annotations

import itertools
import math
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def finite(values: Iterable[float | None]) -> list[float]:
    """The values that are numbers."""
    return [value for value in values if value is not None and math.isfinite(value)]


def middle(values: Sequence[float]) -> float:
    """The median; NaN of nothing."""
    return median(values) if values else math.nan


def noise(values: Sequence[float]) -> float:
    """Standard deviation of the scatter about a smooth curve, from its second differences (which a slope and, nearly,
    an exponential fall leave at 0); robust to single outliers. 0 for fewer than four values."""
    if len(values) < 4:
        return 0.0
    bends = [abs(a - 2 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    return median(bends) / (0.6745 * math.sqrt(6))


def slope(values: Sequence[float]) -> float:
    """Change per place of the least-squares line; 0 for fewer than two values."""
    count = len(values)
    if count < 2:
        return 0.0
    centre, mean = (count - 1) / 2, sum(values) / count
    spread = sum((place - centre) ** 2 for place in range(count))
    return sum((place - centre) * (value - mean) for place, value in enumerate(values)) / spread


def turns(values: Sequence[float]) -> float:
    """Share of places at which the curve changes direction, 0 to 1; white noise has 2/3, a trend 0."""
    changes = [b - a for a, b in itertools.pairwise(values)]
    if len(changes) < 2:
        return 0.0
    return sum(a * b < 0 for a, b in itertools.pairwise(changes)) / (len(changes) - 1)


def without_improvement(values: Sequence[float], *, mode: str, min_delta: float = 0.0) -> int:
    """How many values at the end are no better than the best before them by more than `min_delta`.

    A non-finite value is no improvement.
    """
    best, count = math.nan, 0
    for value in values:
        better = best - value if mode == "min" else value - best
        if math.isfinite(value) and not better <= min_delta:
            best, count = value, 0
        else:
            count += 1
    return count
