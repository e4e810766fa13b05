"""A curve that stays small however long the run is, and never loses a spike."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CAPACITY = 4096  # points kept
COLUMNS = (
    CAPACITY // 4
)  # equal parts of the x range that keep their lowest and highest point when room runs out
MARKS = 256  # places of non-finite values kept; all are counted

Points = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Series:
    """Finite points in order of x, and where values were not finite.

    When full, the x range is divided into equal columns, and each keeps its minimum and maximum: extremes survive
    any number of decimations, and the beginning of a long run stays as fine as its end. `version` grows with every
    change, for cheap comparison.
    """

    xs: tuple[float, ...] = ()
    ys: tuple[float, ...] = ()
    broken: tuple[float, ...] = ()
    broken_count: int = 0
    version: int = 0

    def extend(self, points: Iterable[tuple[float, float]]) -> Series:
        """This series with `points` (x, y) behind it."""
        pairs = list(points)
        return self.add([x for x, _ in pairs], [y for _, y in pairs])

    def add(self, xs: Sequence[float], ys: Sequence[float]) -> Series:
        """This series with the points of two columns behind it."""
        if not xs:
            return self
        broken: tuple[float, ...] = ()
        if not all(map(math.isfinite, ys)):
            broken = tuple(x for x, y in zip(xs, ys, strict=True) if not math.isfinite(y))
            good = [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]
            xs, ys = [x for x, _ in good], [y for _, y in good]
        all_xs, all_ys = (*self.xs, *xs), (*self.ys, *ys)
        if len(all_xs) > CAPACITY:
            keep = _envelope(all_xs, all_ys, (all_xs[0], all_xs[-1]), COLUMNS)
            keep = sorted({0, *keep, len(all_xs) - 1})  # where the curve begins, and its newest point
            all_xs, all_ys = tuple(map(all_xs.__getitem__, keep)), tuple(map(all_ys.__getitem__, keep))
        marks = self.broken
        if broken and len(marks) < MARKS:
            marks = (marks + broken)[:MARKS]
        return Series(all_xs, all_ys, marks, self.broken_count + len(broken), self.version + 1)

    def cut(self, x: float) -> Series:
        """What stood at or before `x`."""
        kept = bisect_right(self.xs, x)
        marks = tuple(value for value in self.broken if value <= x)
        if kept == len(self.xs) and len(marks) == len(self.broken):
            return self
        return replace(
            self,
            xs=self.xs[:kept],
            ys=self.ys[:kept],
            broken=marks,
            broken_count=self.broken_count - len(self.broken) + len(marks),
            version=self.version + 1,
        )

    def at(self, x: float) -> float | None:
        """y at `x`, on the straight line between its neighbours; the first or last y outside. None when empty."""
        if not self.xs:
            return None
        index = bisect_left(self.xs, x)
        if index == 0:
            return self.ys[0]
        if index == len(self.xs):
            return self.ys[-1]
        return _between(self.xs[index - 1 : index + 1], self.ys[index - 1 : index + 1], x)

    def nearest(self, x: float) -> tuple[float, float] | None:
        """The point that lies nearest to `x`; None when there is none."""
        index = bisect_left(self.xs, x)
        found = [i for i in (index - 1, index) if 0 <= i < len(self.xs)]
        if not found:
            return None
        best = min(found, key=lambda i: abs(self.xs[i] - x))
        return self.xs[best], self.ys[best]


def thin(series: Series, low: float, high: float, columns: int) -> Points:
    """What a chart `columns` wide needs to show from `low` to `high`: of every column the lowest and the highest
    point, and at either edge the place where the curve enters or leaves."""
    xs, ys = series.xs, series.ys
    first, last = bisect_left(xs, low), bisect_right(xs, high)
    keep: Sequence[int] = range(first, last)
    if last - first > 2 * columns:
        keep = _envelope(xs, ys, (low, high), columns)
    kept_xs, kept_ys = list(map(xs.__getitem__, keep)), list(map(ys.__getitem__, keep))
    if 0 < first < len(xs) and (not kept_xs or kept_xs[0] > low):
        kept_xs.insert(0, low)
        kept_ys.insert(0, _between(xs[first - 1 : first + 1], ys[first - 1 : first + 1], low))
    if 0 < last < len(xs) and (not kept_xs or kept_xs[-1] < high):
        kept_xs.append(high)
        kept_ys.append(_between(xs[last - 1 : last + 1], ys[last - 1 : last + 1], high))
    return tuple(kept_xs), tuple(kept_ys)


def _envelope(
    xs: Sequence[float], ys: Sequence[float], x_range: tuple[float, float], columns: int
) -> list[int]:
    """Where the lowest and the highest point of every column stand, in order; at most two a column."""
    low, high = x_range
    start, last = bisect_left(xs, low), bisect_right(xs, high)
    width = (high - low) / columns
    keep: list[int] = []
    for column in range(1, columns + 1):
        end = bisect_left(xs, low + column * width, start, last) if column < columns else last
        if end > start:
            part = ys[start:end]
            lowest, highest = start + part.index(min(part)), start + part.index(max(part))
            keep += sorted({lowest, highest})
        start = end
    return keep


def _between(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    share = (x - xs[0]) / (xs[1] - xs[0]) if xs[1] > xs[0] else 1.0
    return ys[0] * (1 - share) + ys[1] * share
