"""The playbooks of `tui_trainer/diagnostics/`, as rows of text for a panel of any width.

Textual's own Markdown widget makes a widget of every table cell: half a second of the interpreter for one playbook,
and again at each new size, which the training would pay for.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

from tui_trainer.screens.wrapping import row_width, wrap_runs
from tui_trainer.session.wording import cell_width

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from markdown_it.token import Token

    from tui_trainer.screens.canvas import Row, Run

_CODE = re.compile(r"[a-z0-9_]{1,60}")
_ROLES = {"strong_open": "strong", "em_open": "em"}
NARROWEST_COLUMN = 6
BETWEEN = " │ "


def playbook_text(code: str) -> str | None:
    """The playbook for diagnostics of this kind; None where the package has none (a user's own rule)."""
    if not _CODE.fullmatch(code):
        return None
    file = resources.files("tui_trainer.diagnostics").joinpath(f"{code}.md")
    return file.read_text(encoding="utf-8") if file.is_file() else None


@lru_cache(maxsize=16)
def playbook_rows(code: str, width: int) -> tuple[Row, ...]:
    """The playbook of `code` in rows of `width` cells; a word on that where there is none."""
    text = playbook_text(code)
    if text is None:
        return ((("There is no playbook for this one.", "dim"),),)
    return tuple(markdown_rows(text, width))


def markdown_rows(text: str, width: int) -> list[Row]:
    """Markdown as rows: headings, paragraphs, lists, tables, code. Links are shown as their text."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    rows = list(_blocks(_Reader(tokens), max(10, width), 0))
    while rows and not rows[-1]:
        rows.pop()
    return rows


class _Reader:
    """The tokens, one after the other."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._next = 0

    def take(self) -> Token | None:
        if self._next >= len(self._tokens):
            return None
        self._next += 1
        return self._tokens[self._next - 1]

    def until(self, closing: str) -> Iterator[Token]:
        while (token := self.take()) is not None and token.type != closing:
            yield token


def _blocks(  # noqa: C901, PLR0912 (a branch a kind of block)
    reader: _Reader, width: int, indent: int, end: str = ""
) -> Iterator[Row]:
    """The rows of everything up to the token `end`; a blank row after each block."""
    start: Row = ((" " * indent, "text"),) if indent else ()
    while (token := reader.take()) is not None and token.type != end:
        match token.type:
            case "heading_open":
                role = "strong" if token.tag == "h1" else "heading"
                runs = [(text, role) for text, _ in _inline(reader)]
                yield from wrap_runs(runs, width, indent=indent, first=start)
                if token.tag == "h1":
                    yield ()
            case "paragraph_open":
                yield from wrap_runs(_inline(reader), width, indent=indent, first=start)
                if not token.hidden:  # of a tight list
                    yield ()
            case "bullet_list_open" | "ordered_list_open":
                yield from _list(reader, token, width, indent)
                if not indent:
                    yield ()
            case "fence" | "code_block":
                yield from _code(token.content, width, indent)
                yield ()
            case "table_open":
                yield from _table(reader, width - indent, start)
                yield ()
            case "blockquote_open":
                yield from _blocks(reader, width, indent + 2, "blockquote_close")
            case "hr":
                yield (*start, ("─" * max(1, width - indent), "dim"))
            case "html_block":
                yield from wrap_runs([(token.content, "text")], width, indent=indent, first=start)
            case _:
                pass


def _inline(reader: _Reader) -> list[Run]:
    """The text up to the end of a heading, a paragraph or a cell."""
    runs: list[Run] = []
    token = reader.take()
    role = ["text"]
    for part in (token.children or []) if token is not None else []:
        if part.type in _ROLES:
            role.append(_ROLES[part.type])
        elif part.type in ("strong_close", "em_close"):
            role.pop()
        elif part.type in ("softbreak", "hardbreak"):
            runs.append((" ", role[-1]))
        elif part.type == "code_inline":
            runs.append((part.content, "code"))
        elif part.content:
            runs.append((part.content, role[-1]))
    reader.take()  # what closes it
    return runs


def _list(reader: _Reader, opening: Token, width: int, indent: int) -> Iterator[Row]:
    ordered = opening.type == "ordered_list_open"
    number = int(opening.attrGet("start") or 1) if ordered else 0
    for token in reader.until("ordered_list_close" if ordered else "bullet_list_close"):
        if token.type != "list_item_open":
            continue
        sign = f"{number}. " if ordered else "• "
        number += 1
        inner = indent + len(sign)
        first = True
        for row in _blocks(reader, width, inner, "list_item_close"):
            if first and row:
                first = False
                text, role = row[0]  # the sign stands where the indent was
                yield ((" " * indent, "text"), (sign, "heading"), (text[inner:], role), *row[1:])
            else:
                yield row


def _code(content: str, width: int, indent: int) -> Iterator[Row]:
    """Lines as they are; one that is too long goes on below, further in, beside the branches of its tree."""
    room, start = max(8, width - indent - 2), " " * (indent + 2)
    for line in content.rstrip("\n").split("\n"):
        rest = line
        branches = rest[: len(rest) - len(rest.lstrip("│├└─ "))][: room // 2]
        below = branches.replace("├", "│").replace("└", " ").replace("─", " ") + "  "
        while cell_width(rest) > room:
            cut = rest.rfind(" ", len(below) + 1, room + 1)
            cut = cut if cut > 0 else room
            yield ((start, "text"), (rest[:cut], "code"))
            rest = below + rest[cut:].lstrip()
        yield ((start, "text"), (rest, "code"))


def _table(reader: _Reader, width: int, start: Row) -> Iterator[Row]:
    lines: list[list[list[Run]]] = []
    for token in reader.until("table_close"):
        if token.type == "tr_open":
            lines.append([])
        elif token.type in ("th_open", "td_open"):
            lines[-1].append(_inline(reader))
    if not lines or not lines[0]:
        return
    widths = column_widths(lines, width)
    for number, cells in enumerate(lines):
        wrapped = [
            wrap_runs([(text, "strong") for text, _ in cell] if not number else cell, size)
            for cell, size in zip(cells, widths, strict=False)
        ]
        for y in range(max(len(rows) for rows in wrapped)):
            yield (*start, *_joined([rows[y] if y < len(rows) else () for rows in wrapped], widths))
        if not number:
            yield (*start, ("─┼─".join("─" * size for size in widths), "dim"))


def _joined(cells: Sequence[Row], widths: Sequence[int]) -> Iterator[Run]:
    for number, (cell, size) in enumerate(zip(cells, widths, strict=True)):
        if number:
            yield (BETWEEN, "dim")
        yield from cell
        if number < len(widths) - 1:
            yield (" " * (size - row_width(cell)), "text")


def column_widths(lines: Sequence[Sequence[Sequence[Run]]], width: int) -> list[int]:
    """How wide each column of a table is within `width`: as its text wants, or its share of the room."""
    count = len(lines[0])
    room = max(count, width - len(BETWEEN) * (count - 1))
    texts = [
        ["".join(text for text, _ in row[column]) for row in lines if column < len(row)]
        for column in range(count)
    ]
    wanted = [max(1, *map(cell_width, column)) for column in texts]
    if sum(wanted) <= room:
        return wanted
    words = [
        max([NARROWEST_COLUMN, *(cell_width(word) for text in column for word in text.split())])
        for column in texts
    ]
    least = [min(size, longest) for size, longest in zip(wanted, words, strict=True)]
    if sum(least) > room:
        least = [min(size, max(NARROWEST_COLUMN, room // count)) for size in least]
    if sum(least) > room:
        return [max(1, room // count)] * count
    more = [size - small for size, small in zip(wanted, least, strict=True)]
    extra = room - sum(least)
    shares = [extra * part // max(1, sum(more)) for part in more]
    return [small + share for small, share in zip(least, shares, strict=True)]
