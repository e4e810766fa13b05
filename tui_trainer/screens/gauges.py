"""Bars and sparklines of text, in block signs or in ASCII."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_trainer.screens.canvas import Run

SPARKS, ASCII_SPARKS = "▁▂▃▄▅▆▇█", "_.-:=+*#"
PARTS = " ▏▎▍▌▋▊▉"  # eighths of a cell


@dataclass(frozen=True, slots=True)
class Gauge:
    """One reading: its name, how full it is (percent, None: not known), numbers for people, and its course, 0 to `top`."""

    label: str
    percent: float | None
    facts: str
    values: Sequence[float | None]
    top: float = 100.0
    role: str = "text"
    label_role: str = "dim"


def bar(share: float | None, width: int, *, ascii: bool, role: str = "bar") -> list[Run]:  # noqa: A002 (says what it is)
    """`share` (0–1) of `width` cells filled; all empty where it is None."""
    width = max(0, width)
    filled = 0.0 if share is None or not math.isfinite(share) else min(1.0, max(0.0, share)) * width
    if ascii:
        full = round(filled)
        return [("#" * full, role), ("." * (width - full), "dim")]
    eighths = round(filled * 8)
    full, part = divmod(eighths, 8)
    drawn = "█" * full + (PARTS[part] if part else "")
    return [(drawn, role), ("·" * (width - len(drawn)), "dim")]


def spark(values: Sequence[float | None], width: int, *, top: float, ascii: bool) -> str:  # noqa: A002
    """The course of `values` from 0 to `top` in `width` cells, the newest at the right; gaps where one is None.

    Longer courses are averaged; shorter ones leave room at the left.
    """
    if width <= 0:
        return ""
    each = max(1, math.ceil(len(values) / width))
    groups = [values[max(0, end - each) : end] for end in range(len(values), 0, -each)]
    signs = ASCII_SPARKS if ascii else SPARKS
    cells = [_sign(group, top, signs) for group in groups[:width]]
    return "".join(reversed(cells)).rjust(width)


def _sign(group: Sequence[float | None], top: float, signs: str) -> str:
    known = [value for value in group if value is not None and math.isfinite(value)]
    if not known or top <= 0:
        return " "
    share = min(1.0, max(0.0, sum(known) / len(known) / top))
    return signs[min(len(signs) - 1, int(share * len(signs)))]
