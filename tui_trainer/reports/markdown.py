"""Pieces of Markdown whose text comes from outside: nothing in it becomes markup."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MARKS = re.compile(r"[\\`*|]|(?<!\w)_|_(?!\w)|\](?=[(\[:])")
_OPENINGS = re.compile(r"^(?=(?:#{1,6}|>|[-+]|={1,}|-{3,}|~{3,})(?:\s|$))|(?<=^\d)(?=[.)]\s)")


def plain(value: object, limit: int = 500) -> str:
    """Outside text for a paragraph or a cell: one line, its marks escaped, no HTML, no beginning of a heading or list."""
    text = _MARKS.sub(r"\\\g<0>", clean_text(value, limit=limit).strip())
    return _OPENINGS.sub(r"\\", text).replace("<", "&lt;")


def code(value: object, limit: int = 200) -> str:
    """Outside text in backticks; it has none of its own, and no border of a cell."""
    text = clean_text(value, limit=limit).replace("`", "'").replace("|", "\\|").strip()
    return f"`{text}`" if text else "–"


def fenced(text: str, language: str = "text") -> list[str]:
    """A block that no line of `text` can end."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}{language}", *text.rstrip("\n").split("\n"), fence]


def table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str = "") -> list[str]:
    """A table; `align` has a letter a column, `r` for numbers. Cells are Markdown already."""
    marks = ["---:" if letter == "r" else "---" for letter in align.ljust(len(head))[: len(head)]]
    return [
        f"| {' | '.join(head)} |",
        f"|{'|'.join(marks)}|",
        *(f"| {' | '.join(cells)} |" for cells in rows),
    ]
