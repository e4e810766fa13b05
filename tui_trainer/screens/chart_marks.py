"""Upright marks on a finished chart: where a fix was applied. Curves stay in front of them. Runs in the painter process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_trainer.screens.canvas import Row, Run

AXIS_ROWS = 2  # below the curves
EMPTY = frozenset(" \u2800")

Mark = tuple[int, tuple[str, ...]]  # column of the curves; words from the fullest to the shortest


def with_marks(
    rows: Sequence[Row], first_column: int, columns: int, marks: Sequence[Mark], *, ascii_only: bool
) -> list[Row]:
    """`rows` with a dotted line at each mark's column, and as many of its words as have room beside it."""
    cells = [[(char, role) for text, role in row for char in text] for row in rows]
    plot = cells[: max(0, len(cells) - AXIS_ROWS)]
    sign = ":" if ascii_only else "┊"
    places = {first_column + column for column, _ in marks if 0 <= column < columns}
    for line in plot:
        for place in places:
            if place < len(line) and line[place][0] in EMPTY:
                line[place] = (sign, "fix")
    for column, words in marks:
        if 0 <= column < columns:
            _label(plot, first_column + column, first_column, words)
    return [*map(_as_row, plot), *rows[len(plot) :]]


def _label(lines: Sequence[list[tuple[str, str]]], place: int, left: int, words: Sequence[str]) -> None:
    """Write the fullest wording that has room in one of the `lines`, to the right of the mark or to its left."""
    for text in words:
        for line in lines:
            for start in (place + 1, place - len(text)):
                part = line[max(0, start) : start + len(text)]
                if start >= left and len(part) == len(text) and all(char in EMPTY for char, _ in part):
                    line[start : start + len(text)] = [(char, "fix") for char in text]
                    return


def _as_row(cells: Sequence[tuple[str, str]]) -> Row:
    runs: list[Run] = []
    for char, role in cells:
        if runs and runs[-1][1] == role:
            runs[-1] = (runs[-1][0] + char, role)
        else:
            runs.append((char, role))
    return tuple(runs)
