"""Numbers of many rows over time as shades: as text for terminals and reports, and as a picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tui_trainer.session.wording import clean_text, crop

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SHADES = " ░▒▓█"
ASCII_SHADES = " .:*#"
NOTHING, BROKEN = "·", "!"
_LABEL = 28  # cells
_LEAST, _MOST = 1e-12, 1e30


def text_heat_map(
    rows: Sequence[str],
    columns: Sequence[int],
    values: Sequence[Sequence[float | None]],
    *,
    width: int = 96,
    ascii_only: bool = False,
) -> str:
    """One line a row, a shade a column, from the smallest positive value (light) to the largest, by their logarithms.

    0 is blank, `·` (ASCII: `-`) no value, `!` not finite. Columns that do not fit are left out evenly.
    """
    shades = ASCII_SHADES if ascii_only else SHADES
    nothing = "-" if ascii_only else NOTHING
    label = min(_LABEL, max((len(clean_text(name)) for name in rows), default=0))
    room = max(4, width - label - 1)
    places = _spread(len(columns), room)
    span = _span(values)
    lines = []
    for name, numbers in zip(rows, values, strict=True):
        cells = "".join(_shade(numbers[place], span, shades, nothing) for place in places)
        lines.append(f"{_fitted(name, label)} {cells}".rstrip())
    first = f"epoch {columns[0]}" if columns else ""
    last = str(columns[-1]) if len(columns) > 1 else ""
    gap = max(1, len(places) - len(first) - len(last))
    lines.append(f"{'':{label}} {first}{' ' * gap}{last}".rstrip())
    if span is not None:
        lines.append(f"{shades[1]} {span[0]:.2g} … {shades[-1]} {span[1]:.2g} (logarithmic)")
    return "\n".join(lines)


def write_heat_map(
    path: Path,
    rows: Sequence[str],
    columns: Sequence[int],
    values: Sequence[Sequence[float | None]],
    *,
    title: str = "",
) -> None:
    """The same as a PNG. Raises OSError when the file cannot be written."""
    import matplotlib as mpl
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    span = _span(values) or (1e-3, 1.0)
    low, high = span if span[1] > span[0] else (span[0] / 2, span[1] * 2)
    grid = np.array(
        [
            [math.nan if value is None or not math.isfinite(value) else value for value in row]
            for row in values
        ],
        dtype=float,
    ).reshape(len(rows), len(columns))
    grid[grid <= 0] = math.nan
    with mpl.rc_context({"font.size": 9, "text.parse_math": False}):
        figure = Figure(figsize=(8, min(14.0, 1.6 + 0.22 * len(rows))), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        drawn = axes.imshow(
            np.ma.masked_invalid(grid),
            aspect="auto",
            interpolation="nearest",
            norm=LogNorm(low, high),
            cmap="viridis",
        )
        axes.set_facecolor("#dddddd")
        axes.set_yticks(range(len(rows)), [clean_text(name, limit=40) for name in rows])
        shown = _spread(len(columns), 10)
        axes.set_xticks(shown, [str(columns[place]) for place in shown])
        axes.set_xlabel("epoch")
        axes.set_title(clean_text(title, limit=120))
        bar = figure.colorbar(drawn, ax=axes, label="gradient norm")
        marks = [low, math.sqrt(low) * math.sqrt(high), high]
        bar.set_ticks(marks, labels=[f"{mark:.2g}" for mark in marks], minor=False)
        bar.minorticks_off()
        figure.savefig(path, format="png", metadata={"Software": "mltrainer-tui"})


def _shade(value: float | None, span: tuple[float, float] | None, shades: str, nothing: str) -> str:
    if value is None:
        return nothing
    if not math.isfinite(value):
        return BROKEN
    if value <= 0 or span is None:
        return shades[0]
    low, high = math.log(span[0]), math.log(span[1])
    share = 1.0 if high <= low else (math.log(max(value, _LEAST)) - low) / (high - low)
    steps = len(shades) - 1
    return shades[1 + min(steps - 1, max(0, int(share * steps)))]


def _span(values: Sequence[Sequence[float | None]]) -> tuple[float, float] | None:
    """The smallest and largest positive value; far smaller and larger ones count as the
    bounds of what can be drawn."""
    known = [
        min(_MOST, max(value, _LEAST))
        for row in values
        for value in row
        if value is not None and math.isfinite(value) and value > 0
    ]
    return (min(known), max(known)) if known else None


def _spread(count: int, most: int) -> list[int]:
    if count <= most:
        return list(range(count))
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]


def _fitted(name: str, width: int) -> str:
    """The name in exactly `width` cells, its beginning cut where it is too long: the end tells layers apart."""
    text = clean_text(name, limit=200)
    if len(text) > width:
        text = "…" + text[len(text) - width + 1 :]
    return crop(text, width).ljust(width)
