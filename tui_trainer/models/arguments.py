"""Checks of what a config gives a built-in model, so that mistakes are named before torch trips over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tui_trainer.config.errors import ModelError
from tui_trainer.config.wording import shown


def positive(model: str, name: str, value: Any) -> int:
    """`value` if it is a whole number of at least 1. Raises `ModelError`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ModelError(
            f"Model {model}: args.{name} is {shown(value)}; expected a whole number of at least 1."
        )
    return value


def positives(model: str, name: str, value: Any, *, at_least: int = 0) -> list[int]:
    """`value` as a list of whole numbers of at least 1 (a single number counts as a list of one)."""
    items = [value] if isinstance(value, int) else value
    if not isinstance(items, Sequence) or isinstance(items, str) or len(items) < at_least:
        size = f" of {at_least} or more" if at_least else ""
        raise ModelError(
            f"Model {model}: args.{name} is {shown(value)}; expected a list{size} of whole numbers."
        )
    return [positive(model, f"{name}[{position}]", item) for position, item in enumerate(items)]


def share(model: str, name: str, value: Any) -> float:
    """`value` if it is a probability below 1. Raises `ModelError`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ModelError(
            f"Model {model}: args.{name} is {shown(value)}; expected a number from 0 to below 1."
        )
    return float(value)
