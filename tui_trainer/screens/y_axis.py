"""The y axis of a chart: linear or logarithmic, and from where to where, so that the curve can be read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_trainer.screens.chart_options import Scale

LOG_RATIO = 30.0  # a positive curve that spans more than this is drawn on a log axis
HUGE = 1e150  # beyond this, differences overflow
FEW = 0.04  # share of the points that may be left out as outliers
LEAST_POINTS = 12  # with fewer of them nothing is an outlier
FENCE = 2.0  # heights of the bulk above and below it that are still shown
FLATTENED = 0.25  # share of the height that would be left to the rest: less than this is not bearable
PAD = 0.04  # of the height, free above and below


@dataclass(frozen=True, slots=True)
class YAxis:
    """From `low` to `high`, in log10 of the values where `log`. `cut`: some values lie outside."""

    low: float
    high: float
    log: bool = False
    cut: bool = False

    def place(self, value: float) -> float:
        """Where `value` stands on the axis; minus infinity for what a log axis cannot show."""
        if not self.log:
            return value
        return math.log10(value) if value > 0 else -math.inf

    def off(self, ys: Sequence[float]) -> int:
        """How many of these values lie outside."""
        if not self.cut or not ys:
            return 0
        low, high = (10.0**self.low, 10.0**self.high) if self.log else (self.low, self.high)
        return sum(1 for y in ys if not low <= y <= high)


def y_axis(values: Sequence[float], scale: Scale, *, share: bool = False, leave_out: bool = True) -> YAxis:
    """The axis for finite `values`. "auto" takes a log axis where the curve spans decades, and leaves out the few
    outliers that would flatten the rest, unless `leave_out` is false; "log" and "linear" show all they can."""
    if not values:
        return YAxis(0.0, 1.0)
    ordered = sorted(min(HUGE, max(-HUGE, value)) for value in values)
    if scale == "log" and ordered[-1] > 0:
        logs = [math.log10(value) for value in ordered if value > 0]
        return _padded(logs[0], logs[-1], log=True, cut=len(logs) < len(ordered))
    if scale != "auto" or share:
        axis = _padded(ordered[0], ordered[-1])
        fractions = share and ordered[0] >= 0 and ordered[-1] <= 1
        return YAxis(max(axis.low, -0.005), min(axis.high, 1.005)) if fractions else axis
    return _automatic(ordered, leave_out=leave_out)


def few_of(count: int) -> int:
    """How many of `count` values may be left out as outliers."""
    return max(1, int(count * FEW)) if count >= LEAST_POINTS else 0


def _automatic(ordered: list[float], *, leave_out: bool) -> YAxis:
    positive = ordered[0] > 0
    kept = [math.log10(value) for value in ordered] if positive else ordered
    kept = _without_outliers(kept) if leave_out else kept
    cut = len(kept) < len(ordered)
    if not positive:
        return _padded(kept[0], kept[-1], cut=cut)
    if kept[-1] - kept[0] > math.log10(LOG_RATIO):
        return _padded(kept[0], kept[-1], log=True, cut=cut)
    return _padded(10.0 ** kept[0], 10.0 ** kept[-1], cut=cut)


def _without_outliers(ordered: list[float]) -> list[float]:
    """The values without the few far ones, if those would leave the rest too little of the height.

    `ordered` ascends. The fence is wide: what stands out of noise by its own height or two is a part of the curve.
    """
    few = few_of(len(ordered))
    if not few:
        return ordered
    low, high = ordered[few], ordered[-1 - few]
    reach = FENCE * (high - low)
    kept = [value for value in ordered if low - reach <= value <= high + reach]
    whole, rest = ordered[-1] - ordered[0], kept[-1] - kept[0]
    return kept if rest > 1e-9 * abs(kept[-1]) and rest < FLATTENED * whole else ordered


def _padded(low: float, high: float, *, log: bool = False, cut: bool = False) -> YAxis:
    if high - low < 1e-12 * max(1e-300, abs(high), abs(low)):
        pad = 0.5 if log else abs(high) * 0.1 or 0.5
    else:
        pad = (high - low) * PAD
    return YAxis(low - pad, high + pad, log, cut)
