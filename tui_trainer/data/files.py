"""Finding the files that data is read from, and saying plainly why one cannot be read."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_trainer.config.errors import DataError
from tui_trainer.config.wording import did_you_mean, listed, printable, shown

if TYPE_CHECKING:
    from collections.abc import Iterator


def existing_file(path: Any, *, what: str, expected: str) -> Path:
    """`path` as a file that exists; `what` names the reader, `expected` the kind of file it wants."""
    found = _existing(path, what=what, expected=expected)
    if found.is_dir():
        raise DataError(
            f"{what}: {printable(str(found))} is a folder; expected {expected}. Name the file in "
            "data.args.path."
        )
    return found


def existing_folder(path: Any, *, what: str, expected: str) -> Path:
    """`path` as a folder that exists."""
    found = _existing(path, what=what, expected=expected)
    if not found.is_dir():
        raise DataError(
            f"{what}: {printable(str(found))} is a file; expected {expected}. Name the folder in "
            "data.args.path."
        )
    return found


def _existing(path: Any, *, what: str, expected: str) -> Path:
    if not isinstance(path, (str, Path)) or not str(path):
        raise DataError(f"{what}: data.args.path is {shown(path)}; expected the path of {expected}.")
    found = Path(path).expanduser()
    try:
        if found.exists():
            return found
        neighbours = [item.name for item in found.parent.iterdir()] if found.parent.is_dir() else None
    except (OSError, ValueError) as error:
        raise _unreadable(found, error, what) from error
    hint = f", and there is no folder {printable(str(found.parent.absolute()))} either"
    if neighbours is not None:
        hint = did_you_mean(found.name, neighbours)
    raise DataError(
        f"{what}: there is no {printable(str(found.absolute()))}{hint}. Expected {expected}; a relative "
        "data.args.path is looked for beside the config, then in the working directory."
    )


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn the system's refusals (permission, disk, encoding of the name) into a `DataError` that names the
    file.
    """
    try:
        yield
    except OSError as error:
        raise _unreadable(path, error, what) from error


def _unreadable(path: Path, error: Exception, what: str) -> DataError:
    if isinstance(error, PermissionError):
        return DataError(
            f"{what}: no permission to read {printable(str(path))}. Give the user who trains read access to "
            "it."
        )
    reason = getattr(error, "strerror", None) or printable(str(error))
    return DataError(
        f"{what}: {printable(str(path))} cannot be read ({reason}). Check the file and its disk."
    )


def columns_named(names: list[str], limit: int = 30) -> str:
    """Column names for a message, the first `limit` of them."""
    shortened = [printable(name, 60) for name in names[:limit]]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(shortened) + more if more else listed(shortened)
