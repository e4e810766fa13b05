"""Text in several roles, broken into rows at spaces."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tui_trainer.session.wording import cell_width, crop

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tui_trainer.screens.canvas import Row, Run

JOINTS = "._/=,-"
_SPACES = re.compile(r"\s+")


def wrap_runs(runs: Iterable[Run], width: int, *, indent: int = 0, first: Row = ()) -> list[Row]:
    """`runs` in rows of at most `width` cells. The first row begins with `first`, the others with `indent` spaces."""
    start: Row = ((" " * indent, "text"),) if indent else ()
    rows: list[Row] = []
    line = list(first)
    begin = used = sum(cell_width(text) for text, _ in line)
    room = max(1, width)
    for word in _words(runs, max(1, room - max(indent, begin))):
        size = sum(cell_width(text) for text, _ in word)
        gap = 1 if used > begin else 0
        if used > begin and used + gap + size > room:
            rows.append(tuple(_merged(line)))
            line, begin, used, gap = list(start), indent, indent, 0
        if gap:
            line.append((" ", line[-1][1] if line[-1][1] == word[0][1] else "text"))
        line += word
        used += gap + size
    if line:
        rows.append(tuple(_merged(line)))
    return rows


def crop_row(row: Row, width: int) -> Row:
    """`row` in at most `width` cells, what is beyond them left out."""
    if row_width(row) <= width:
        return row
    kept: list[Run] = []
    for text, role in row:
        shown = crop(text, max(0, width))
        width -= cell_width(shown)
        if shown:
            kept.append((shown, role))
        if shown != text:
            break
    return tuple(kept)


def row_width(row: Row) -> int:
    """In cells."""
    return sum(cell_width(text) for text, _ in row)


def _words(runs: Iterable[Run], longest: int) -> Iterator[list[Run]]:
    """What stands between spaces, in its roles; what is longer than `longest` cells in pieces."""
    word: list[Run] = []
    for text, role in runs:
        for number, part in enumerate(_SPACES.split(text)):
            if number and word:
                yield from _pieces(word, longest)
                word = []
            if part:
                word.append((part, role))
    if word:
        yield from _pieces(word, longest)


def _pieces(word: list[Run], longest: int) -> Iterator[list[Run]]:
    if sum(cell_width(text) for text, _ in word) <= longest:
        yield word
        return
    piece: list[Run] = []
    for text, role in word:
        for char in text:
            if piece and sum(cell_width(sign) for sign, _ in piece) + cell_width(char) > longest:
                cut = _joint(piece)
                yield _merged(piece[:cut])
                piece = piece[cut:]
            piece.append((char, role))
    yield _merged(piece)


def _joint(piece: Sequence[Run]) -> int:
    """Where a long name is best broken: behind a dot or the like in its second half, else at its end."""
    for place in range(len(piece), len(piece) // 2, -1):
        if piece[place - 1][0] in JOINTS:
            return place
    return len(piece)


def _merged(runs: Sequence[Run]) -> list[Run]:
    merged: list[Run] = []
    for text, role in runs:
        if merged and merged[-1][1] == role:
            merged[-1] = (merged[-1][0] + text, role)
        else:
            merged.append((text, role))
    return merged
