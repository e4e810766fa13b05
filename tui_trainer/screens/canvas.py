"""Charts as rows of coloured text, drawn by plotext. Runs in the painter process.

Whatever is asked for, a picture comes back: values that are not finite never reach plotext (they crash it)
and are marked on the top row instead; huge values and logarithms are taken care of here.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

Run = tuple[str, str]  # (text, role); roles are names that the app's styles know: "axis", "train", "val" …
Row = tuple[Run, ...]

HUGE = 1e150  # beyond this, differences overflow
LOG_RATIO = 30.0  # a positive curve that spans more than this is drawn on a log axis
MIN_WIDTH, MIN_HEIGHT = 12, 4
ROLES = ("axis", "raw", "train", "val", "best", "bad")
_COLOR = re.compile(r"\x1b\[38;5;(\d+)m|\x1b\[0m")
_ASCII = str.maketrans(
    {"│": "|", "─": "-", "┤": "+", "┬": "+", "└": "+", "┼": "+", "●": "o", "×": "x", "┊": ":"}
)


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart. `style`: "faint" (a cloud behind), "line", or "dots" (a dot on every point)."""

    role: str
    style: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    broken: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """What to draw, in cells. `share`: values are fractions, labelled in percent. `best`: an x to mark."""

    width: int
    height: int
    curves: tuple[Curve, ...]
    x_label: str = "epoch"
    best: float | None = None
    share: bool = False
    ascii: bool = False


def draw(picture: Picture) -> tuple[list[Row], str]:
    """The rows of the picture (exactly `height` of exactly `width` cells), and "log" or "linear"."""
    curves = [_thin(curve, 2 * picture.width) for curve in picture.curves]
    values = [y for curve in curves for y in curve.ys]
    if picture.width < MIN_WIDTH or picture.height < MIN_HEIGHT:
        return _message(picture, ""), "linear"
    if not values:
        broken = any(curve.broken for curve in picture.curves)
        text = "no finite value yet" if broken else "waiting for the first values"
        return _message(picture, text), "linear"
    log = not picture.share and min(values) > 0 and max(values) / min(values) > LOG_RATIO
    return _plot(picture, curves, log=log), "log" if log else "linear"


def _thin(curve: Curve, points: int) -> Curve:
    """The curve with at most about `points` points: lowest and highest of every column, in order."""
    xs, ys = curve.xs, tuple(min(HUGE, max(-HUGE, y)) for y in curve.ys)
    if len(xs) <= points:
        return Curve(curve.role, curve.style, xs, ys, curve.broken)
    left, span = xs[0], (xs[-1] - xs[0]) or 1.0
    columns = max(1, points // 2)
    keep: list[int] = []
    start = 0
    while start < len(xs):
        column = min(columns - 1, int((xs[start] - left) / span * columns))
        end = start + 1
        while end < len(xs) and min(columns - 1, int((xs[end] - left) / span * columns)) == column:
            end += 1
        group = range(start, end)
        keep.extend(sorted({min(group, key=ys.__getitem__), max(group, key=ys.__getitem__)}))
        start = end
    return Curve(
        curve.role, curve.style, tuple(xs[i] for i in keep), tuple(ys[i] for i in keep), curve.broken
    )


def _plot(picture: Picture, curves: list[Curve], *, log: bool) -> list[Row]:
    import plotext as plt

    ys = [math.log10(y) if log else y for curve in curves for y in curve.ys]
    low, high = min(ys), max(ys)
    if high - low < 1e-12 * max(1.0, abs(high)):
        pad = abs(high) * 0.1 or 0.5
        low, high = low - pad, high + pad
    else:
        pad = (high - low) * 0.04
        low, high = low - pad, high + pad
    if picture.share:
        low, high = max(low, -0.005), min(high, 1.005)
    xs = [x for curve in curves for x in (*curve.xs, *curve.broken)]
    left, right = min(0.0, *xs), max(xs)
    right = right if right - left > 1e-9 else left + 1.0
    plt.clear_figure()
    plt.limit_size(False, False)
    plt.plotsize(picture.width, picture.height)
    for paint in (plt.canvas_color, plt.axes_color, plt.ticks_color):
        paint("default")
    plt.frame(False)
    plt.xaxes(True, False)
    plt.yaxes(True, False)
    plt.xlim(left, right)
    plt.ylim(low, high)
    x_ticks = whole_ticks(left, right, max(2, picture.width // 12))
    plt.xticks(x_ticks, [_tick(x) for x in x_ticks])
    y_ticks, y_labels = _y_ticks(low, high, max(3, picture.height // 3), log=log, share=picture.share)
    plt.yticks(y_ticks, y_labels)
    thin = "." if picture.ascii else "braille"
    bold = "*" if picture.ascii else "braille"
    for curve in curves:
        if not curve.xs:
            continue
        values = [math.log10(y) if log else y for y in curve.ys]
        color = ROLES.index(curve.role)
        plt.plot(list(curve.xs), values, color=color, marker=thin if curve.style == "faint" else bold)
        if len(curve.xs) == 1 or (curve.style == "dots" and len(curve.xs) <= picture.width // 2):
            plt.scatter(list(curve.xs), values, color=color, marker="o" if picture.ascii else "●")
    if picture.best is not None and left <= picture.best <= right:
        plt.scatter([picture.best], [low], color=ROLES.index("best"), marker="^" if picture.ascii else "▲")
    marks = sorted({x for curve in picture.curves for x in curve.broken})
    if marks:
        plt.scatter(
            marks, [high] * len(marks), color=ROLES.index("bad"), marker="x" if picture.ascii else "×"
        )
    rows = [parse(line) for line in plt.build().rstrip("\n").split("\n")]
    return _labelled(_fit(rows, picture), picture.x_label)


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


def from_message(message: dict[str, Any]) -> Picture:
    """The picture that a painter request describes."""
    curves = tuple(Curve(**curve) for curve in message["curves"])
    return Picture(**{**message, "curves": curves})
