"""Where a thread stands just now, short enough for a person to read."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from tui_trainer.config.user_code import is_library, is_ours
from tui_trainer.session.wording import clean_text

_OWN, _OTHER = 6, 3  # lines of the user's code, and of what it called or was called from


def stack_of(thread: int) -> list[str]:
    """Lines of the stack of a thread (by its ident), innermost first: the user's own code, then where it really stands.

    Empty for a thread that is not there.
    """
    frame = sys._current_frames().get(thread)  # noqa: SLF001 (the documented way; the name is historical)
    if frame is None:
        return []
    frames = list(reversed(traceback.extract_stack(frame)))
    own = [item for item in frames if not is_ours(item.filename) and not _is_foreign(item.filename)]
    inner = [item for item in frames[:_OTHER] if item not in own[:_OWN]]
    return [_line(item) for item in (*own[:_OWN], *inner)]


def _is_foreign(file: str) -> bool:
    return is_library(file) or file.startswith("<")


def _line(frame: traceback.FrameSummary) -> str:
    path = Path(frame.filename)
    file = path.name
    for mark in ("site-packages/", "dist-packages/"):
        if mark in frame.filename:
            file = frame.filename.rpartition(mark)[2]
    source = f": {frame.line}" if frame.line else ""
    return clean_text(f"{file}:{frame.lineno} in {frame.name}{source}", limit=160)
