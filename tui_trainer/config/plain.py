"""The values a config may hold: what YAML and JSON both can write and read back exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tui_trainer.config.wording import class_name

LARGEST_INTEGER = 2**64
DEEPEST_NESTING = 50


def plain_value(value: Any, depth: int = 0) -> Any:
    """`value` with mappings as dicts and sequences as lists.

    Raises ValueError on NaN and infinities, integers beyond 64 bits, text that is no valid Unicode, other
    types, and nesting deeper than 50 levels.
    """
    if depth > DEEPEST_NESTING:
        raise ValueError(f"must not be nested deeper than {DEEPEST_NESTING} levels")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > LARGEST_INTEGER:
            raise ValueError("holds an integer of more than 64 bits")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"holds {value}, but only finite numbers can be used")
        return float(value)
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, Mapping):
        return {_plain_key(key): plain_value(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_value(item, depth + 1) for item in value]
    raise ValueError(f"holds a value of type {class_name(type(value))}, which a config file cannot write")


def plain_mapping(value: dict[str, Any]) -> dict[str, Any]:
    """`plain_value` of a mapping with text keys."""
    return {plain_text(key): plain_value(item) for key, item in value.items()}


def plain_text(value: str) -> str:
    """`value` itself; raises ValueError on NUL and lone surrogates, which no file name, log or file can
    hold."""
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("holds text that is no valid Unicode, or a NUL character")
    return str(value)


def _plain_key(key: Any) -> str | int:
    if isinstance(key, bool) or not isinstance(key, (str, int)):
        message = f"has the key {key!r}, but keys must be text or whole numbers"
        raise ValueError(message)  # noqa: TRY004  # pydantic and our callers turn ValueErrors into sentences
    return plain_text(key) if isinstance(key, str) else int(plain_value(key))
