"""What stands in one chart: pure functions from what was recorded, and the options, to picture, legend and note."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tui_trainer.screens.canvas import Curve, Picture
from tui_trainer.screens.chart_scene import bounds
from tui_trainer.screens.quantities import quantity
from tui_trainer.screens.series import thin
from tui_trainer.screens.y_axis import few_of, y_axis
from tui_trainer.session.wording import cell_width, crop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_trainer.screens.canvas import Run
    from tui_trainer.screens.cases import FixMark
    from tui_trainer.screens.chart_options import ChartOptions
    from tui_trainer.screens.chart_scene import Line, Scene
    from tui_trainer.screens.ruler import Ruler
    from tui_trainer.screens.y_axis import YAxis

SHORT_WORDS = {"validation": "val", "each batch": "batch"}
SIGNS = {"line": "─", "dots": "●", "faint": "┄"}
ASCII_SIGNS = {"line": "*", "dots": "o", "faint": "."}


@dataclass(frozen=True, slots=True)
class ChartContent:
    """A chart: the picture for the painter, and the words for its border."""

    picture: Picture
    title: str
    legend: tuple[Run, ...]
    note: str


def chart_content(
    scene: Scene,
    size: tuple[int, int],
    *,
    best_epoch: int = 0,
    ascii_only: bool = False,
    place: str = "",
    fixes: Sequence[FixMark] = (),
) -> ChartContent:
    """The chart in a widget of `size` cells. `best_epoch` 0: none is marked on it. `place` ("1/3") stands behind
    the title. `fixes` are marked where they were applied."""
    width, height = size
    recorded, options, chart = scene.recorded, scene.options, scene.chart
    placed, ruler, x_range = scene.placed_lines(), scene.ruler, scene.x_range()
    curves = [_curve(line, its_ruler, x_range, width) for line, its_ruler in placed]
    if lost := _marks_of_means(scene):
        curves.append(Curve("train", "line", (), (), lost))
    values = [y for curve in curves for y in curve.ys]
    share = is_percent(chart, values)
    y, off = _y_axis(scene, list(zip(curves, placed, strict=False)), x_range, share=share)
    picture = Picture(
        width,
        height,
        tuple(curve for curve in curves if curve.xs or curve.broken),
        x_label=ruler.label,
        best=ruler.of_step(best_epoch * recorded.steps_per_epoch) if best_epoch else None,
        share=share,
        ascii=ascii_only,
        x_range=x_range,
        y=y if values else None,
        marks=tuple((ruler.of_step(mark.step), mark.words) for mark in fixes),
    )
    signs = ASCII_SIGNS if ascii_only else SIGNS
    own_last = sorted(
        (line for line, _ in placed), key=lambda line: (bool(line.label), line.style == "faint")
    )
    entries = [(line.label or signs[line.style], line.words, line.role) for line in own_last]
    title, legend = fit_legend(f"{quantity(chart).title} {place}".rstrip(), entries, width - 4)
    bad = [f"{off} off scale"] if off else []
    bad += [f"{count} non-finite"] if (count := recorded.broken(chart)) else []
    about = [_zoomed(options, recorded.last_step)] if options.window.span is not None else []
    about += ["log"] if y.log else []
    about += [f"EMA {options.smoothing:g}"] if any(line.style == "faint" for line, _ in placed) else []
    return ChartContent(picture, title, legend, fit_note(bad, [*about, f"by {options.axis}"], width - 4))


def is_percent(chart: str, values: Sequence[float]) -> bool:
    """Whether the values of this chart are fractions that people read in percent."""
    return bool(values) and quantity(chart).share and min(values) >= 0 and max(values) <= 1


def _curve(line: Line, ruler: Ruler, x_range: tuple[float, float], width: int) -> Curve:
    low, high = bounds(line, ruler, x_range)
    xs, ys = thin(line.series, low, high, max(1, width))
    passing = len(xs) > 1 and xs[0] == low, len(xs) > 1 and xs[-1] == high
    cut = passing[0] and not _recorded(line, low), passing[1] and not _recorded(line, high)
    broken = line.raw.broken[bisect_left(line.raw.broken, low) : bisect_right(line.raw.broken, high)]
    if line.timed or ruler.axis != "step":
        convert = ruler.of_seconds if line.timed else ruler.of_step
        xs, broken = tuple(map(convert, xs)), tuple(map(convert, broken))
    return Curve(line.role, line.style, xs, ys, broken, line.label, cut=cut, arrows=line.series is line.raw)


def _recorded(line: Line, place: float) -> bool:
    xs = line.series.xs
    index = bisect_left(xs, place)
    return index < len(xs) and xs[index] == place


def _marks_of_means(scene: Scene) -> tuple[float, ...]:
    """Where the mean of an epoch was not finite, for charts that show the batches instead."""
    traces = scene.recorded.of(scene.chart)
    if "batch" not in traces or "train" not in traces:
        return ()
    return tuple(map(scene.ruler.of_step, traces["train"].raw.broken))


def _y_axis(
    scene: Scene,
    drawn: Sequence[tuple[Curve, tuple[Line, Ruler]]],
    x_range: tuple[float, float],
    *,
    share: bool,
) -> tuple[YAxis, int]:
    """The y axis, and how many recorded values lie off it.

    Averages drag an outlier along for many points, and a thinned curve has few points for many values: what may be
    left out is decided by the values as recorded, curve by curve.
    """
    scale = scene.options.scale(scene.chart)
    raw = [(curve, line, ruler) for curve, (line, ruler) in drawn if line.series is line.raw]
    y = y_axis([value for curve, _, _ in raw for value in curve.ys], scale, share=share)
    counts = [_off(line, ruler, x_range, y) for _, line, ruler in raw]
    if not y.cut or (scale == "auto" and any(off > few_of(count) for off, count in counts)):
        values = [value for curve, _ in drawn for value in curve.ys]
        return y_axis(values, scale, share=share, leave_out=False), 0
    return y, sum(off for off, _ in counts)


def _off(line: Line, ruler: Ruler, x_range: tuple[float, float], y: YAxis) -> tuple[int, int]:
    """How many of the values recorded within the range lie off the axis, and how many there are."""
    low, high = bounds(line, ruler, x_range)
    shown = line.raw.ys[bisect_left(line.raw.xs, low) : bisect_right(line.raw.xs, high)]
    return y.off(shown), len(shown)


def _zoomed(options: ChartOptions, last: float) -> str:
    low, high = options.window.bounds(last)
    text = f"zoom {(high - low) / max(1.0, last) * 100:.2g}%"
    return text if options.window.follows else f"{text}, held"


def fit_legend(
    title: str, entries: Sequence[tuple[str, str, str]], width: int
) -> tuple[str, tuple[Run, ...]]:
    """Title and (sign, words, role) entries in `width` columns: words are shortened before they go, the signs
    of the main curves stay longest, the title is cropped last."""
    short = [(sign, SHORT_WORDS.get(words, crop(words, 14)), role) for sign, words, role in entries]
    front = [entry for entry in short if entry[2] != "raw"]
    single = entries if len(entries) > 1 else []
    for tried in (single, short if single else [], front if single else []):
        runs = tuple((f"  {sign} {words}".rstrip(), role) for sign, words, role in tried)
        if cell_width(title) + sum(cell_width(text) for text, _ in runs) <= width:
            return title, runs
    signs = tuple((f" {sign}", role) for sign, _, role in front) if single else ()
    return crop(title, width - sum(cell_width(text) for text, _ in signs)), signs


def fit_note(bad: Sequence[str], about: Sequence[str], width: int) -> str:
    """What is wrong, and how the curve is drawn, in `width` columns; the end of `about` is left out first."""
    for kept in range(len(about), -1, -1):
        text = " · ".join([*bad, *about[:kept]])
        if cell_width(text) <= width:
            return text
    return crop(", ".join(bad), max(0, width))
