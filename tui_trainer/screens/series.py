"""A curve that stays small however long the run is, and never loses a spike."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CAPACITY = 2048  # points kept; about two a column of the widest terminal, four times over
GROUP = 4  # neighbours of which only the lowest and the highest are kept when room runs out
MARKS = 256  # places of non-finite values kept; all are counted


@dataclass(frozen=True, slots=True)
class Series:
    """Finite points in order of x, and where values were not finite.

    When full, every four neighbours become their minimum and maximum, so extremes survive any number of
    decimations. `version` grows with every change, for cheap comparison.
    """

    xs: tuple[float, ...] = ()
    ys: tuple[float, ...] = ()
    broken: tuple[float, ...] = ()
    broken_count: int = 0
    version: int = 0

    def extend(self, points: Iterable[tuple[float, float]]) -> Series:
        """This series with `points` (x, y) behind it."""
        xs: list[float] = []
        ys: list[float] = []
        broken: list[float] = []
        for x, y in points:
            if math.isfinite(y):
                xs.append(x)
                ys.append(y)
            else:
                broken.append(x)
        if not xs and not broken:
            return self
        all_xs, all_ys = self.xs + tuple(xs), self.ys + tuple(ys)
        while len(all_xs) > CAPACITY:
            all_xs, all_ys = decimate(all_xs, all_ys)
        marks = self.broken
        if len(marks) < MARKS:
            marks = (marks + tuple(broken))[:MARKS]
        return Series(all_xs, all_ys, marks, self.broken_count + len(broken), self.version + 1)

    def cut(self, x: float) -> Series:
        """What stood at or before `x`."""
        kept = sum(1 for value in self.xs if value <= x)
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


def decimate(xs: tuple[float, ...], ys: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """About half the points: of every four neighbours the lowest and the highest, in their order."""
    keep: list[int] = []
    for start in range(0, len(xs), GROUP):
        group = range(start, min(start + GROUP, len(xs)))
        low = min(group, key=ys.__getitem__)
        high = max(group, key=ys.__getitem__)
        keep.extend(sorted({low, high}))
    return tuple(xs[index] for index in keep), tuple(ys[index] for index in keep)
