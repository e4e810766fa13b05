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


def class_name(kind: type, limit: int = 80) -> str:
    """The name of a class, which may be anything its author chose, on one line and cut to `limit` characters."""
    return printable(kind.__name__, limit) or "?"


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
        return f"a {class_name(type(value))} that cannot be shown ({class_name(type(error))})"


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
