"""How values, suggestions and foreign text are spelled in messages to people."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def printable(text: str, limit: int = 300) -> str:
    """`text` on one line, without control characters, cut to `limit` characters."""
    head = text[: 4 * limit]
    line = " ".join("".join(c if c.isprintable() or c.isspace() else "?" for c in head).split())
    return line if len(line) <= limit and len(head) == len(text) else line[: limit - 1] + "…"


def shown(value: Any, limit: int = 60) -> str:
    """`value` as a person would write it in YAML or Python, on one line, cut to `limit` characters."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) > 10**limit:
        return "a very large integer"
    try:
        return printable(repr(value), limit)
    except Exception as error:  # the user's __repr__
        return f"a {type(value).__name__} that cannot be shown ({type(error).__name__})"


def listed(names: Iterable[str], joint: str = "and") -> str:
    """`a, b and c`."""
    items = list(names)
    return (
        items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {joint} {items[-1]}" if items else "none"
    )


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was most likely meant to be, upper and lower case aside."""
    by_lower = {item.lower(): item for item in known}
    matches = difflib.get_close_matches(name[:200].lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean X?`, or nothing."""
    match = closest(name, known)
    return f"; did you mean {match}?" if match else ""
