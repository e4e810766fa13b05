"""Charts as rows of coloured text, drawn by plotext. Runs in the painter process.

Whatever is asked for, a picture comes back: plotext gets places between 0 and 1 only, so that neither huge nor
tiny values can upset it; what is not finite (it crashes plotext) is marked on the top row instead.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

from tui_trainer.screens.chart_marks import with_marks
from tui_trainer.screens.y_axis import YAxis, y_axis

Run = tuple[str, str]  # (text, role); roles are names that the app's styles know: "axis", "train", "val" …
Row = tuple[Run, ...]

MIN_WIDTH, MIN_HEIGHT = 12, 4
ROLES = ("axis", "raw", "train", "val", "best", "bad", "over1", "over2", "over3",
         "run1", "run2", "run3", "run4", "run5", "run6")  # fmt: skip
FAR = 4.0  # heights of the chart: lines to points farther off than this are drawn as if they led here
_COLOR = re.compile(r"\x1b\[38;5;(\d+)m|\x1b\[0m")
_ASCII = str.maketrans({"│": "|", "─": "-", "┤": "+", "┬": "+", "└": "+", "┼": "+", "●": "o"})


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart. `style`: "faint" (a cloud behind), "line", or "dots" (a dot on every point).

    `broken`: where values were not finite. `label` is written on the line: at its
    end, or at these shares of its points (`label_at`). `cut`: the first, the last
    point only tells where the curve enters or leaves the chart; nothing was recorded there.
    `arrows`: points that lie off the chart are marked at its edge.
    """

    role: str
    style: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    broken: tuple[float, ...] = ()
    label: str = ""
    label_at: tuple[float, ...] = (1.0,)
    cut: tuple[bool, bool] = (False, False)
    arrows: bool = True


@dataclass(frozen=True, slots=True)
class Picture:
    """What to draw, in cells. `share`: values are fractions, labelled in percent. `best`: an x to mark.

    `x_range` and `y` None: what shows all. At most two points a column should be asked for. `marks`: upright lines at
    an x, with words for it from the fullest to the shortest.
    """

    width: int
    height: int
    curves: tuple[Curve, ...]
    x_label: str = "epoch"
    best: float | None = None
    share: bool = False
    ascii: bool = False
    x_range: tuple[float, float] | None = None
    y: YAxis | None = None
    marks: tuple[tuple[float, tuple[str, ...]], ...] = ()


class Drawing(NamedTuple):
    """The rows of a picture (exactly `height` of exactly `width` cells), and which columns the curves have."""

    rows: list[Row]
    first_column: int = 0
    columns: int = 0


def draw(picture: Picture) -> Drawing:
    """The picture as rows of text."""
    if picture.width < MIN_WIDTH or picture.height < MIN_HEIGHT:
        return Drawing(_message(picture, ""))
    if not any(curve.ys for curve in picture.curves):
        broken = any(curve.broken for curve in picture.curves)
        return Drawing(
            _message(picture, "no finite value here" if broken else "waiting for the first values")
        )
    return _plot(picture)


def _plot(picture: Picture) -> Drawing:
    import plotext as plt

    signs = _Signs.ascii() if picture.ascii else _Signs()
    y = picture.y or y_axis(
        [value for curve in picture.curves for value in curve.ys], "auto", share=picture.share
    )
    left, right = picture.x_range or _extent(picture.curves)
    plt.clear_figure()
    plt.limit_size(False, False)
    plt.plotsize(picture.width, picture.height)
    for paint in (plt.canvas_color, plt.axes_color, plt.ticks_color):
        paint("default")
    plt.frame(False)
    plt.xaxes(True, False)
    plt.yaxes(True, False)
    plt.xlim(0.0, 1.0)
    plt.ylim(0.0, 1.0)
    x_ticks = _with_room(whole_ticks(left, right, max(2, picture.width // 12)), (left, right), picture)
    plt.xticks([(x - left) / (right - left) for x in x_ticks], [_tick(x) for x in x_ticks])
    ticks, labels = _y_ticks(y.low, y.high, max(3, picture.height // 3), log=y.log, share=picture.share)
    plt.yticks([(tick - y.low) / (y.high - y.low) for tick in ticks], labels)
    for curve in picture.curves:
        _draw_curve(curve, (left, right), y, picture.width, signs)
    if picture.best is not None and left <= picture.best <= right:
        place = (picture.best - left) / (right - left)
        plt.scatter([place], [0.0], color=ROLES.index("best"), marker=signs.best)
    marks = {x for curve in picture.curves for x in curve.broken if left <= x <= right}
    if marks:
        places = [(x - left) / (right - left) for x in sorted(marks)]
        plt.scatter(places, [1.0] * len(places), color=ROLES.index("bad"), marker=signs.broken)
    rows = [parse(line) for line in plt.build().rstrip("\n").split("\n")]
    margin = max((len(label) for label in labels), default=0) + 1
    rows = _labelled(_fit(rows, picture), picture.x_label)
    columns = max(0, picture.width - margin)
    if picture.marks:
        columns_of_marks = [
            (round((x - left) / (right - left) * (columns - 1)), words)
            for x, words in picture.marks
            if left <= x <= right
        ]
        rows = with_marks(rows, margin, columns, columns_of_marks, ascii_only=picture.ascii)
    return Drawing(rows, margin, columns)


@dataclass(frozen=True, slots=True)
class _Signs:
    thin: str = "braille"
    line: str = "braille"
    between: str = "braille"  # what connects dots
    dot: str = "●"
    best: str = "▲"
    broken: str = "×"
    above: str = "↑"
    below: str = "↓"

    @classmethod
    def ascii(cls) -> _Signs:
        return cls(".", "*", "-", "o", "^", "x", "^", "v")


def _draw_curve(curve: Curve, x_range: tuple[float, float], y: YAxis, width: int, signs: _Signs) -> None:
    """One curve; arrows at the edge where it leaves the chart."""
    import plotext as plt

    left, right = x_range
    color = ROLES.index(curve.role)
    xs = [(x - left) / (right - left) for x in curve.xs]
    ys = [min(FAR, max(1 - FAR, (y.place(value) - y.low) / (y.high - y.low))) for value in curve.ys]
    if not xs:
        return
    own = {"faint": signs.thin, "dots": signs.between}.get(curve.style, signs.line)
    plt.plot(xs, ys, color=color, marker=curve.label if signs.line == "*" and curve.label else own)
    recorded = slice(int(curve.cut[0]), len(xs) - int(curve.cut[1]))
    points = zip(xs[recorded], ys[recorded], strict=True)
    dots = [(x, value) for x, value in points if 0 <= value <= 1 and 0 <= x <= 1]
    if dots and (curve.style == "dots" or len(xs) == 1):
        # Where they would touch each other, some of them: without colours they tell the curve from the others.
        stride = 1 if len(dots) <= width // 2 else math.ceil(len(dots) / (width // 4))
        seen = dots[::stride]
        plt.scatter([x for x, _ in seen], [value for _, value in seen], color=color, marker=signs.dot)
    for sign, edge, places in (
        (signs.above, 1.0, {round(x * width) for x, value in zip(xs, ys, strict=True) if value > 1}),
        (signs.below, 0.0, {round(x * width) for x, value in zip(xs, ys, strict=True) if value < 0}),
    ):
        if places and y.cut and curve.arrows:
            plt.scatter([x / width for x in sorted(places)], [edge] * len(places), color=color, marker=sign)
    if curve.label and dots:
        named = [dots[round(share * (len(dots) - 1))] for share in curve.label_at]
        plt.scatter([x for x, _ in named], [value for _, value in named], color=color, marker=curve.label)


def _extent(curves: tuple[Curve, ...]) -> tuple[float, float]:
    xs = [x for curve in curves for x in (*curve.xs, *curve.broken)]
    left, right = min(0.0, *xs), max(xs)
    return left, right if right - left > 1e-9 else left + 1.0


def whole_ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers between `low` and `high`, 1, 2 or 5 times a power of ten apart: at most `count`, if that
    leaves two, else the fewest that are two; the ends where there is no such number."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    power = math.floor(math.log10(span)) + 1
    ticks: list[float] = []
    for exponent in range(power, power - 5, -1):
        for factor in (5, 2, 1):
            step = factor * 10.0**exponent
            first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
            finer = [index * step for index in range(first, min(last, first + 4 * count) + 1)]
            if len(ticks) >= 2 and len(finer) > count:
                return ticks
            ticks = finer
    return ticks if len(ticks) >= 2 else [low, high]


def _with_room(ticks: list[float], x_range: tuple[float, float], picture: Picture) -> list[float]:
    """The ticks without one that stands where the axis's name shall, if two are left."""
    end = 1 - (len(picture.x_label) + 3) / picture.width
    left, right = x_range
    kept = [tick for tick in ticks if (tick - left) / (right - left) <= end]
    return kept if len(kept) >= 2 else ticks


def _tick(value: float) -> str:
    return f"{value:.6g}"


def _y_ticks(low: float, high: float, count: int, *, log: bool, share: bool) -> tuple[list[float], list[str]]:
    if not log:
        ticks = whole_ticks(low, high, count)
        return ticks, [f"{tick * 100:.4g}%" if share else _short(tick) for tick in ticks]
    inside: list[tuple[float, float]] = []
    for digits in ((1, 2, 5), (1, 3), (1,)):
        inside = [
            (math.log10(digit) + power, digit * 10.0**power)
            for power in range(math.floor(low), math.ceil(high) + 1)
            for digit in digits
            if low <= math.log10(digit) + power <= high
        ]
        if len(inside) <= max(2, count):
            break
    stride = max(1, math.ceil(len(inside) / max(2, count)))
    chosen = inside[::stride] or [(low, 10.0**low), (high, 10.0**high)]
    return [place for place, _ in chosen], [_short(value) for _, value in chosen]


def _short(value: float) -> str:
    """A label of at most about seven characters."""
    size = abs(value)
    if size != 0 and (size >= 1e5 or size < 1e-3):
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.4g}"


def parse(line: str) -> Row:
    """One line of plotext's output as runs of (text, role)."""
    runs: list[Run] = []
    role = "axis"
    place = 0
    for found in _COLOR.finditer(line):
        if found.start() > place:
            runs.append((line[place : found.start()], role))
        code = found.group(1)
        role = "axis" if code is None else ROLES[int(code) % len(ROLES)]
        place = found.end()
    if place < len(line):
        runs.append((line[place:], role))
    return tuple(_merged(runs))


def _merged(runs: list[Run]) -> list[Run]:
    merged: list[Run] = []
    for text, role in runs:
        if merged and (merged[-1][1] == role or text.isspace()):
            merged[-1] = (merged[-1][0] + text, merged[-1][1])
        else:
            merged.append((text, role))
    return merged


def _fit(rows: list[Row], picture: Picture) -> list[Row]:
    """Exactly the picture's size, the x label set into the last row's end where there is room."""
    fitted: list[Row] = []
    for row in rows[: picture.height]:
        cells: list[Run] = []
        left = picture.width
        for text, role in row:
            shown = text[:left]
            left -= len(shown)
            if shown:
                cells.append((shown.translate(_ASCII) if picture.ascii else shown, role))
        if left:
            cells.append((" " * left, "axis"))
        fitted.append(tuple(cells))
    while len(fitted) < picture.height:
        fitted.append(((" " * picture.width, "axis"),))
    return fitted


def _labelled(rows: list[Row], label: str) -> list[Row]:
    """The rows with the x axis's name in what is blank at the end of the tick row."""
    tail = rows[-1][-1][0] if rows and rows[-1] else ""
    if len(tail) - len(tail.rstrip()) < len(label) + 1:
        return rows
    return [*rows[:-1], (*rows[-1][:-1], (tail[: len(tail) - len(label)] + label, "axis"))]


def _message(picture: Picture, text: str) -> list[Row]:
    rows: list[Row] = []
    for index in range(max(0, picture.height)):
        shown = text[: picture.width] if index == picture.height // 2 else ""
        rows.append(((shown.center(max(0, picture.width)), "axis"),))
    return rows
