"""`--set a.b=value`: one setting changed from outside the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import ConfigError
from tui_trainer.config.wording import printable, shown
from tui_trainer.config.yaml_text import KeyPath, read_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

_KEYS_WITH_DOTS = (("study", "space"), ("gates", "sign"), ("gates", "waive"))


@dataclass(frozen=True)
class Override:
    """A parsed override. `shown` is how messages call it."""

    path: tuple[str, ...]
    value: Any
    shown: str


def parse_override(text: str) -> Override:
    """`a.b=value` with a YAML value; raises ConfigError on a missing `=`, an empty key or bad YAML."""
    key, equals, value = text.partition("=")
    key = key.strip()
    name = f"--set {printable(text, 80)}"
    if not equals:
        raise ConfigError(
            f"{name}: there is no `=`; write the key, `=` and the value, as in training.epochs=5."
        )
    parts = tuple(key.split("."))
    if not all(part.strip() == part and part for part in parts):
        raise ConfigError(f"{name}: {shown(key)} is no key; write it with dots, as in training.epochs=5.")
    for prefix in _KEYS_WITH_DOTS:
        if parts[:2] == prefix and len(parts) > 2:
            parts = (*prefix, ".".join(parts[2:]))
    return Override(parts, read_yaml(value, name).value, name)


def without_stale_args(value: dict[Any, Any], changes: Sequence[Override]) -> dict[Any, Any]:
    """`value` without the `args` of targets that an override replaces: they were meant for the old target."""
    for change in changes:
        if change.path[-1] != "target":
            continue
        holder: Any = value
        for part in change.path[:-1]:
            holder = holder.get(part) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and holder.get("target") != change.value and "args" in holder:
            value = _replaced(value, (*change.path[:-1], "args"), {}, change.shown)
    return value


def apply_override(value: dict[Any, Any], change: Override) -> dict[Any, Any]:
    """`value` (left as it is) with one setting replaced; groups on the way that are missing or null are
    made."""
    return _replaced(value, change.path, change.value, change.shown)


def _replaced(holder: dict[Any, Any], path: KeyPath, value: Any, name: str, depth: int = 0) -> dict[Any, Any]:
    head = path[depth]
    if depth == len(path) - 1:
        return {**holder, head: value}
    inner = holder.get(head)
    if inner is None:
        inner = {}
    if not isinstance(inner, dict):
        way = ".".join(str(part) for part in path[: depth + 1])
        advice = f"give all of it, as in {way}=[…]" if isinstance(inner, list) else f"set {way} itself"
        raise ConfigError(f"{name}: {way} holds {shown(inner)}, which has no keys inside; {advice}.")
    return {**holder, head: _replaced(inner, path, value, name, depth + 1)}
