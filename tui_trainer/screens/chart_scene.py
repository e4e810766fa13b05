"""What one chart is about: the run, the runs it is compared with, the options; which lines, and over which range."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tui_trainer.screens.chart_options import MOST_CHARTS
from tui_trainer.screens.quantities import SIDE_WORDS
from tui_trainer.screens.ruler import Ruler, ruler_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_trainer.screens.chart_options import ChartOptions
    from tui_trainer.screens.overlays import Overlay
    from tui_trainer.screens.recorded import Recorded
    from tui_trainer.screens.series import Series

USUAL = ("learning_rate", "samples_per_second")  # what every run records, besides loss and gradient norm


@dataclass(frozen=True, slots=True)
class Line:
    """One curve to be drawn. `series` is what is drawn, `raw` what was recorded; `label` numbers an overlay."""

    words: str
    role: str
    style: str
    series: Series
    raw: Series
    timed: bool = False
    label: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that decides what is drawn in the chart named `chart`, but its size."""

    recorded: Recorded
    options: ChartOptions
    chart: str
    overlays: Sequence[Overlay] = ()

    @property
    def ruler(self) -> Ruler:
        """The x axis of the run itself."""
        return ruler_of(self.recorded, self.options.axis, self.recorded.seconds)

    @property
    def window(self) -> tuple[float, float]:
        """First and last step of the run shown."""
        return self.options.window.bounds(float(self.recorded.last_step))

    def placed_lines(self) -> list[tuple[Line, Ruler]]:
        """All lines with their run's ruler, those in the background first."""
        ruler = self.ruler
        placed = [
            (line, replace(ruler, steps_per_epoch=other.recorded.steps_per_epoch, clock=other.recorded.clock))
            for number, other in enumerate(self.overlays, start=1)
            if (line := overlay_line(other, self.chart, number)) is not None
        ]
        own = lines_of(self.recorded, self.chart, self.options.smoothing)
        return [*placed, *((line, ruler) for line in own)]

    def x_range(self) -> tuple[float, float]:
        """From where to where the x axis goes: the window, or all of this run and of those it is compared with."""
        ruler, (low, high) = self.ruler, self.window
        left, right = ruler.of_step(low), ruler.of_step(high)
        if self.options.window.span is None:
            placed = self.placed_lines()
            ends = [_x(line, its_ruler, line.series.xs[-1]) for line, its_ruler in placed if line.series.xs]
            left, right = min(0.0, left), max([right, *ends])
        return left, right if right - left > 1e-9 else left + 1.0


def chosen_charts(options: ChartOptions, recorded: Recorded, metrics: Sequence[str]) -> tuple[str, ...]:
    """The charts to show: those chosen that this run has or will have, else loss, first metric, gradient norm."""
    known = {"loss", "grad_norm", *USUAL, *metrics, *recorded.charts}
    chosen = tuple(name for name in options.charts if name in known)[:MOST_CHARTS]
    return chosen or tuple(dict.fromkeys(["loss", *metrics[:1], "grad_norm"]))


def lines_of(recorded: Recorded, chart: str, smoothing: float) -> list[Line]:
    """The curves of `chart`, those in the background first.

    Values that come once an epoch stay as they are. Those that come more often are smoothed, the raw ones dim
    behind; the mean loss of an epoch is left out where the batches' own is shown.
    """
    lines: list[Line] = []
    traces = recorded.of(chart)
    for side, trace in traces.items():
        if side == "train" and "batch" in traces:
            continue
        words, role = SIDE_WORDS[side], "val" if side == "val" else "train"
        if trace.noisy and smoothing:
            lines.append(Line(words or "raw", "raw", "faint", trace.raw, trace.raw, timed=trace.timed))
            words = "train" if side == "batch" else words or "smoothed"
            series = trace.smoothed(smoothing)
            lines.append(Line(words, role, "line", series, trace.raw, timed=trace.timed))
        else:
            style = "dots" if side == "val" else "line"
            lines.append(Line(words, role, style, trace.raw, trace.raw, timed=trace.timed))
    return lines


def overlay_line(overlay: Overlay, chart: str, number: int) -> Line | None:
    """The curve of an earlier run: its validation, or the one it has."""
    traces = overlay.recorded.of(chart)
    for side in ("val", "train", "", "batch"):
        if side in traces:
            trace = traces[side]
            series = trace.smoothed(0.9) if trace.noisy else trace.raw
            role = f"over{number}"
            return Line(overlay.name, role, "line", series, trace.raw, timed=trace.timed, label=str(number))
    return None


def bounds(line: Line, ruler: Ruler, x_range: tuple[float, float]) -> tuple[float, float]:
    """The range of the x axis in what the line counts by: steps or seconds."""
    if line.timed and ruler.axis == "time":
        return x_range[0] * ruler.unit, x_range[1] * ruler.unit
    low, high = ruler.step_of(x_range[0]), ruler.step_of(x_range[1])
    if not line.timed:
        return low, high
    return ruler.clock.at(low) or 0.0, ruler.clock.at(high) or 0.0


def _x(line: Line, ruler: Ruler, place: float) -> float:
    return ruler.of_seconds(place) if line.timed else ruler.of_step(place)
