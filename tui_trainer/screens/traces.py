"""One recorded quantity: its raw curve, and the smoothed ones that a chart may want instead."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tui_trainer.screens.series import Series

if TYPE_CHECKING:
    from collections.abc import Sequence

WEIGHTS = (0.6, 0.9, 0.97)  # shares of the past in the exponential moving averages


@dataclass(frozen=True, slots=True)
class Average:
    """An exponential moving average on its way: its sum, and the weight that its beginning still has.

    The published value is `total / (1 - bias)`, so the first values do not pull it towards zero.
    """

    total: float = 0.0
    bias: float = 1.0


@dataclass(frozen=True, slots=True)
class Trace:
    """A quantity over the run. Averages are taken as values arrive: thinned curves could not be smoothed any more.

    Those that come once an epoch are not `noisy` and have no averages. `timed`: x is seconds, not steps.
    """

    raw: Series = field(default_factory=Series)
    noisy: bool = False
    timed: bool = False
    latest: float | None = None
    averages: tuple[Average, ...] = (Average(),) * len(WEIGHTS)
    smooth: tuple[Series, ...] = (Series(),) * len(WEIGHTS)

    def add(self, xs: Sequence[float], ys: Sequence[float]) -> Trace:
        """This trace with more values behind it."""
        if not xs:
            return self
        raw = self.raw.add(xs, ys)
        if not self.noisy:
            return replace(self, raw=raw, latest=ys[-1])
        if not all(map(math.isfinite, ys)):
            pairs = [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]
            xs, finite = [x for x, _ in pairs], [y for _, y in pairs]
        else:
            finite = list(ys)
        averages, smooth = [], []
        for weight, average, series in zip(WEIGHTS, self.averages, self.smooth, strict=True):
            moved, values = _average(weight, average, finite)
            averages.append(moved)
            smooth.append(series.add(xs, values))
        return replace(self, raw=raw, latest=ys[-1], averages=tuple(averages), smooth=tuple(smooth))

    def cut(self, x: float) -> Trace:
        """What stood at or before `x`; averages begin anew there."""
        return replace(
            self,
            raw=self.raw.cut(x),
            averages=(Average(),) * len(WEIGHTS),
            smooth=tuple(series.cut(x) for series in self.smooth),
        )

    def smoothed(self, weight: float) -> Series:
        """The curve averaged with `weight`; the raw one where there is no such average."""
        if not self.noisy or weight not in WEIGHTS:
            return self.raw
        return self.smooth[WEIGHTS.index(weight)]


def _average(weight: float, average: Average, ys: Sequence[float]) -> tuple[Average, list[float]]:
    total, bias, rest = average.total, average.bias, 1 - weight
    values: list[float] = []
    for y in ys:
        total = weight * total + rest * y
        bias *= weight
        values.append(total / (1 - bias))
    return Average(total, bias), values
