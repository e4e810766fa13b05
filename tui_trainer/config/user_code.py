"""Where in the user's own code an exception arose, and what it said."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from tui_trainer.config.wording import class_name, printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_OURS = str(Path(__file__).resolve().parents[1])
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def user_frame(exception: BaseException) -> str | None:
    """Where an exception arose, such as `model.py:12 in forward`; None where only our own code took part.

    Of the frames that are neither ours nor the import system's: the last one outside installed libraries,
    else the last one. For a syntax error: the line with the mistake.
    """
    if isinstance(exception, SyntaxError) and exception.filename:
        return f"{_short(exception.filename)}:{exception.lineno or 1}"
    frames = [frame for frame in _frames(exception.__traceback__) if not _is_machinery(frame[0])]
    if not frames:
        return None
    own = [frame for frame in frames if not is_library(frame[0])]
    file, line, function = (own or frames)[-1]
    return f"{_short(file)}:{line}" + ("" if function == "<module>" else f" in {function}")


def exception_text(exception: BaseException, limit: int = 300) -> str:
    """Type and message of an exception on one line, without control characters."""
    try:
        message = exception.msg if isinstance(exception, SyntaxError) else str(exception)
    except Exception:  # the user's __str__
        message = "(its message cannot be shown)"
    text = printable(message or "", limit)
    return f"{class_name(type(exception))}: {text}" if text else class_name(type(exception))


def raised(exception: BaseException) -> str:
    """`model.py:12 in __init__ raised ValueError: …`, without a full stop."""
    if isinstance(exception, SystemExit):
        text = f"SystemExit (it asked the program to end, code {printable(str(exception.code), 60)})"
    else:
        text = exception_text(exception).rstrip(".")
    frame = user_frame(exception)
    return f"{frame} raised {text}" if frame else text


def _frames(trace: TracebackType | None) -> Iterator[tuple[str, int, str]]:
    while trace is not None:
        code = trace.tb_frame.f_code
        yield code.co_filename, trace.tb_lineno, code.co_name
        trace = trace.tb_next


def is_ours(file: str) -> bool:
    """Whether a source file belongs to this program."""
    return file.startswith((f"{_OURS}/", f"{_OURS}\\"))


def _is_machinery(file: str) -> bool:
    return is_ours(file) or file.startswith("<frozen") or file.endswith("importlib/__init__.py")


def is_library(file: str) -> bool:
    """Whether a source file belongs to Python or an installed package."""
    return "site-packages" in file or "dist-packages" in file or file.startswith(_LIBRARIES)


def _short(file: str) -> str:
    path = Path(file)
    for mark in ("site-packages/", "dist-packages/"):
        if mark in file:
            return printable(file.rpartition(mark)[2], 120)
    try:
        return printable(str(path.relative_to(Path.cwd())), 120)
    except (ValueError, OSError):
        return printable(file, 200)
