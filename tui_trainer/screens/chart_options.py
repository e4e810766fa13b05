"""What the charts show: one immutable value, changed by pure functions.

Places on the x axis are kept in optimizer steps whatever the axis says, so that changing it moves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from tui_trainer.screens.traces import WEIGHTS

if TYPE_CHECKING:
    from pathlib import Path

Axis = Literal["epoch", "step", "time"]
Scale = Literal["auto", "log", "linear"]

AXES: tuple[Axis, ...] = get_args(Axis)
SCALES: tuple[Scale, ...] = get_args(Scale)
SMOOTHINGS = (0.0, *WEIGHTS)
MOST_CHARTS, MOST_OVERLAYS = 4, 3
ZOOM = 0.5  # a step in: half of what was shown
NARROWEST = 4.0  # steps that a window spans at least
PAN = 0.25  # share of the window that it moves


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the run that is shown, in steps. `span` None: all of it. `right` None: up to the newest."""

    span: float | None = None
    right: float | None = None

    @property
    def follows(self) -> bool:
        """Whether the newest values are always in it."""
        return self.right is None

    def bounds(self, last: float) -> tuple[float, float]:
        """First and last step shown, when `last` is the newest."""
        last = max(1.0, last)
        if self.span is None:
            return 0.0, last
        right = last if self.right is None else min(max(self.right, self.span), last)
        return max(0.0, right - self.span), right


@dataclass(frozen=True, slots=True)
class ChartOptions:
    """Which charts there are, and how all of them are drawn.

    `charts` empty: those that every run has (loss, first metric, gradient norm). `scales`: charts whose y axis
    somebody has set. `cursor`: the step whose values are read. `overlays`: folders of runs to compare with.
    """

    charts: tuple[str, ...] = ()
    axis: Axis = "epoch"
    smoothing: float = 0.6
    scales: tuple[tuple[str, Scale], ...] = ()
    window: Window = Window()
    cursor: float | None = None
    overlays: tuple[Path, ...] = ()

    def scale(self, chart: str) -> Scale:
        """The y axis of `chart`."""
        return dict(self.scales).get(chart, "auto")


def next_axis(options: ChartOptions) -> ChartOptions:
    """x by epoch, by step, by time, and round again."""
    return replace(options, axis=AXES[(AXES.index(options.axis) + 1) % len(AXES)])


def next_scale(options: ChartOptions, chart: str) -> ChartOptions:
    """`chart`'s y axis: auto, log, linear, and round again."""
    scale = SCALES[(SCALES.index(options.scale(chart)) + 1) % len(SCALES)]
    others = tuple(pair for pair in options.scales if pair[0] != chart)
    return replace(options, scales=others if scale == "auto" else (*others, (chart, scale)))


def next_smoothing(options: ChartOptions) -> ChartOptions:
    """None, a little, more, much, and round again."""
    index = SMOOTHINGS.index(options.smoothing) if options.smoothing in SMOOTHINGS else 0
    return replace(options, smoothing=SMOOTHINGS[(index + 1) % len(SMOOTHINGS)])


def toggle_chart(options: ChartOptions, shown: tuple[str, ...], chart: str) -> ChartOptions | str:
    """Show `chart`, or no longer, beside what is `shown` now; the loss comes first. A string says why not."""
    if chart in shown:
        if len(shown) == 1:
            return "One chart stays: choose another one first."
        return replace(options, charts=tuple(name for name in shown if name != chart))
    if len(shown) >= MOST_CHARTS:
        return f"{MOST_CHARTS} charts at most: take one out first."
    return replace(options, charts=tuple(sorted((*shown, chart), key=lambda name: name != "loss")))


def zoom(options: ChartOptions, factor: float, last: float) -> ChartOptions:
    """Show `factor` times as much of a run whose newest step is `last`, around the cursor where there is one."""
    low, high = options.window.bounds(last)
    span = max(NARROWEST, (high - low) * factor)
    if span >= max(1.0, last):
        return replace(options, window=Window())
    if options.cursor is not None and low <= options.cursor <= high:
        right = options.cursor + span * (high - options.cursor) / (high - low)
    elif options.window.follows:
        return replace(options, window=Window(span))
    else:
        right = (low + high + span) / 2
    return replace(options, window=_placed(span, right, last))


def pan(options: ChartOptions, share: float, last: float) -> ChartOptions:
    """Move the window by `share` of its width; past the newest step it follows again."""
    if options.window.span is None:
        return options
    low, high = options.window.bounds(last)
    return replace(options, window=_placed(high - low, high + share * (high - low), last))


def follow(options: ChartOptions) -> ChartOptions:
    """The whole run, up to the newest step, without a cursor."""
    return replace(options, window=Window(), cursor=None)


def put_cursor(options: ChartOptions, step: float | None, last: float) -> ChartOptions:
    """Read the values at `step`; the window moves along when that lies outside."""
    low, high = options.window.bounds(last)
    moved = replace(options, cursor=step)
    if step is None or low <= step <= high or options.window.span is None:
        return moved
    span = high - low
    return replace(moved, window=_placed(span, step if step > high else step + span, last))


def with_overlays(options: ChartOptions, folders: tuple[Path, ...]) -> ChartOptions:
    """Compare with these runs, the first three of them."""
    return replace(options, overlays=tuple(dict.fromkeys(folders))[:MOST_OVERLAYS])


def _placed(span: float, right: float, last: float) -> Window:
    return Window(span, None if right >= last else max(span, right))
