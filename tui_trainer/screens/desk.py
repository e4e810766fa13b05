"""Whom the diagnostics panel turns to with what a person has chosen, and what it then waits for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tui_trainer.screens.case_rows import value_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class Send(Protocol):
    """Asks the run for a command; False where nothing can be asked."""

    def __call__(self, command: str, **details: Any) -> bool: ...


@dataclass(frozen=True, slots=True)
class Desk:
    """Whom the panel turns to. `send` None: this run takes no commands, and nothing comes up by itself.

    `always` is told the kind that shall be ignored from now on. `clock`: seconds, never backwards.
    `folder`: where the run's checkpoints are, once it has begun.
    """

    send: Send | None = None
    always: Callable[[str], None] = lambda _: None
    clock: Callable[[], float] = time.monotonic
    folder: Callable[[], Path | None] = lambda: None


@dataclass(frozen=True, slots=True)
class Asked:
    """A command whose answer is due. `seen`: answers that had come before it."""

    command: str
    diagnostic: str
    seen: int
    fix: str | None = None
    always: bool = False


def stop_question(fix: Mapping[str, Any]) -> tuple[str, str]:
    """What to ask before a fix ends the run."""
    title = str(fix.get("title") or "This fix")
    text = (
        "It ends the run after its current step. A checkpoint is written, and the run can be resumed later."
    )
    return "Stop the training?", f"{value_words(title)}. {text}"
