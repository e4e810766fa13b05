"""Gradient health as rows: a layer a row, an epoch a column, shades and colours from small to large."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tui_trainer.screens.wrapping import crop_row, row_width, wrap_runs
from tui_trainer.session.wording import cell_width, clean_text, format_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_trainer.reports.diagnosis_content import Gradients, LayerGradient
    from tui_trainer.screens.canvas import Row, Run
    from tui_trainer.screens.panels import Glyphs

SHADES, ASCII_SHADES = "░▒▓█", ".:*#"
ZERO, BROKEN = "0", "!"
VERDICT_ROLES = {
    "healthy": "good",
    "vanishing": "warn",
    "exploding": "bad",
    "uneven": "warn",
    "unknown": "dim",
}
LAYER_ROLES = {"ok": "dim", "small": "warn", "zero": "bad", "large": "warn", "non_finite": "bad"}
_NAME, _NUMBERS = 28, 10  # cells
_WIDEST = 4  # cells a column
_TINY, _HUGE = 1e-30, 1e30

Cell = float | None


def gradient_rows(gradients: Gradients, width: int, glyphs: Glyphs) -> list[Row]:
    """The verdict, the heat map with its legend, the norms of what is not ordinary."""
    verdict: Run = (gradients.verdict.upper(), VERDICT_ROLES.get(gradients.verdict, "text"))
    rows = wrap_runs([(clean_text(gradients.reason), "text")], width, first=(verdict, ("  ", "text")))
    picture = gradients.heat_map
    if picture is None or not picture.layers or not picture.epochs:
        return rows
    rows += [(), *heat_rows(gradients, width, glyphs), ()]
    arrow = "->" if glyphs.ascii else "→"
    total = f"{format_number(gradients.total_first)} {arrow} {format_number(gradients.total_last)}"
    facts: list[Run] = [("All gradients together: ", "dim"), (total, "text")]
    facts += [(", at most ", "dim"), (format_number(gradients.total_largest), "text")]
    if gradients.ratio is not None:
        facts += [(". First over last layers: ", "dim"), (format_number(gradients.ratio, 3), "text")]
    rows += wrap_runs(facts, width)
    return [*rows, *_odd_layers(gradients.layers, width, shown=set(picture.layers))]


def heat_rows(gradients: Gradients, width: int, glyphs: Glyphs) -> list[Row]:
    """A row a layer, the epochs below, then what the shades mean.

    Where not all epochs have room, a column shows the largest of several, so that no spike is lost.
    """
    picture = gradients.heat_map
    assert picture is not None
    known = {item.name: item for item in gradients.layers}
    odd = any(item.verdict != "ok" for item in gradients.layers)
    tail = 1 + _NUMBERS + (11 if odd else 0) if width >= 60 else (11 if odd else 0)
    label = min(_NAME, max(cell_width(clean_text(name)) for name in picture.layers), max(8, width // 3))
    room = max(4, width - label - 1 - tail)
    groups = _groups(len(picture.epochs), room)
    wide = max(1, min(_WIDEST, room // len(groups)))
    values = [[_largest([row[k] for k in group]) for group in groups] for row in picture.values]
    edges = _edges(values)
    rows: list[Row] = []
    for name, cells in zip(picture.layers, values, strict=True):
        runs: list[Run] = [(f"{_fitted(name, label)} ", "text")]
        runs += _merged([_cell(value, edges, wide, glyphs) for value in cells])
        if layer := known.get(name):
            runs += _tail(layer, numbers=width >= 60, odd=odd)
        rows.append(tuple(runs))
    rows.append(_axis_row(picture.epochs, groups, wide, label))
    return [*rows, *_legend(edges, values, groups, width, glyphs)]


def _groups(count: int, room: int) -> list[list[int]]:
    """The places of the epochs that share a column: one each where there is room."""
    columns = min(count, room)
    return [list(range(k * count // columns, (k + 1) * count // columns)) for k in range(columns)]


def _largest(values: Sequence[Cell]) -> Cell:
    known = [value for value in values if value is not None]
    broken = next((value for value in known if not math.isfinite(value)), None)
    return broken if broken is not None else max(known, default=None)


def _edges(values: Sequence[Sequence[Cell]]) -> tuple[float, ...]:
    """The largest value of each shade: even steps of the logarithm. One edge where all are about the same, none where
    no value is above zero."""
    known = [
        min(_HUGE, max(_TINY, value))
        for row in values
        for value in row
        if value is not None and math.isfinite(value) and value > 0
    ]
    if not known:
        return ()
    low, high = min(known), max(known)
    if high / low < 1.5:
        return (high,)
    count = len(SHADES)
    return tuple(low * (high / low) ** (step / count) for step in range(1, count + 1))


def _level(value: float, edges: Sequence[float]) -> int:
    if len(edges) == 1:
        return 1  # of four: neither small nor large
    return next((level for level, edge in enumerate(edges) if value <= edge), len(edges) - 1)


def _cell(value: Cell, edges: Sequence[float], wide: int, glyphs: Glyphs) -> Run:
    if value is None:
        return (glyphs.other * wide, "dim")
    if not math.isfinite(value):
        return (BROKEN * wide, "bad")
    if value <= 0 or not edges:
        return (ZERO * wide, "bad")
    level = _level(value, edges)
    return ((ASCII_SHADES if glyphs.ascii else SHADES)[level] * wide, f"heat{level + 1}")


def _tail(layer: LayerGradient, *, numbers: bool, odd: bool) -> list[Run]:
    runs: list[Run] = [(f" {format_number(layer.last, 3):>{_NUMBERS}}", "dim")] if numbers else []
    if odd:
        word = layer.verdict.replace("_", " ")
        runs.append((f" {'' if word == 'ok' else word:<10}", LAYER_ROLES[layer.verdict]))
    return runs


def _axis_row(epochs: Sequence[int], groups: Sequence[Sequence[int]], wide: int, label: int) -> Row:
    """First and last epoch under their columns, and one between where it has room."""
    size = wide * len(groups)
    text = [" "] * max(size, 1)
    marks = sorted({0, len(groups) - 1} | {k for k in range(len(groups)) if k and k * wide % 16 < wide})
    free = 0
    for place in marks:
        shown = str(epochs[groups[place][0]] if place < len(groups) - 1 else epochs[groups[place][-1]])
        at = min(place * wide, max(0, size - len(shown)))
        if at >= free and (place in (0, len(groups) - 1) or at + len(shown) + 4 < size):
            text[at : at + len(shown)] = list(shown)
            free = at + len(shown) + 1
    name = "epoch" if label >= 5 else ""
    return ((f"{name:>{label}} ", "dim"), ("".join(text), "dim"))


def _legend(
    edges: Sequence[float],
    values: Sequence[Sequence[Cell]],
    groups: Sequence[Sequence[int]],
    width: int,
    glyphs: Glyphs,
) -> list[Row]:
    """Numbers for the shades; zero, broken and missing only where there are some."""
    flat = [value for row in values for value in row]
    shades = ASCII_SHADES if glyphs.ascii else SHADES
    parts: list[list[Run]] = []
    if len(edges) == 1:
        parts.append([(shades[1] * 2, "heat2"), (f" about {edges[0]:.2g}", "text")])
    for level, edge in enumerate(edges if len(edges) > 1 else ()):
        parts.append([(shades[level] * 2, f"heat{level + 1}"), (f" to {edge:.2g}", "text")])
    if any(value is not None and math.isfinite(value) and value <= 0 for value in flat):
        parts.append([(ZERO, "bad"), (" none at all", "text")])
    if any(value is not None and not math.isfinite(value) for value in flat):
        parts.append([(BROKEN, "bad"), (" not finite", "text")])
    if any(value is None for value in flat):
        parts.append([(glyphs.other, "dim"), (" not recorded", "text")])
    if (most := max(map(len, groups))) > 1:
        parts.append([(f"a column: the largest of up to {most} epochs", "dim")])
    return _flow([("gradient norm", "dim")], parts, width)


def _flow(first: list[Run], parts: Sequence[list[Run]], width: int) -> list[Row]:
    """Parts one after the other, none of them broken, in as many rows as they take."""
    rows: list[list[Run]] = [first]
    for part in parts:
        if row_width(tuple(rows[-1])) + 2 + row_width(tuple(part)) > width:
            rows.append(part)
        else:
            rows[-1] = [*rows[-1], ("  ", "text"), *part]
    return [crop_row(tuple(row), width) for row in rows]


def _odd_layers(layers: Sequence[LayerGradient], width: int, *, shown: set[str]) -> list[Row]:
    """What is not ordinary among the layers that the picture has no room for."""
    odd = [item for item in layers if item.verdict != "ok" and item.name not in shown]
    rows: list[Row] = []
    for item in odd[:12]:
        first: Row = ((f"{item.verdict.replace('_', ' '):<11}", LAYER_ROLES[item.verdict]),)
        runs: list[Run] = [
            (clean_text(item.name, limit=120), "text"),
            (f" {format_number(item.last)}", "dim"),
        ]
        rows += wrap_runs(runs, width, indent=row_width(first), first=first)
    if len(odd) > 12:
        rows.append(((f"and {len(odd) - 12} more, see gradient_stats.csv", "dim"),))
    left = len(layers) - len(shown)
    return [(), ((f"{left} more layers, see gradient_stats.csv", "dim"),), *rows] if left > 0 else rows


def _fitted(name: str, width: int) -> str:
    """Exactly `width` cells; of a long name its end, which tells layers apart."""
    text = clean_text(name, limit=200)
    while cell_width(text) > width:
        text = "…" + text.lstrip("…")[1 + max(0, cell_width(text) - width - 1) :]
    return text + " " * (width - cell_width(text))


def _merged(cells: Sequence[Run]) -> list[Run]:
    merged: list[Run] = []
    for text, role in cells:
        if merged and merged[-1][1] == role:
            merged[-1] = (merged[-1][0] + text, role)
        else:
            merged.append((text, role))
    return merged
