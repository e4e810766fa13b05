"""Making a project's own modules importable, and importing them anew once they were edited."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tui_trainer.config.user_code import is_library, is_ours

if TYPE_CHECKING:
    from collections.abc import Iterator

_folders_added: set[Path] = set()
_seen_modified: dict[str, int | None] = {}
"""When each of the project's modules was last changed (ns), as of its import, by the module's name."""


def make_importable(folder: Path, module: str) -> None:
    """Put the config's folder and the working directory in front of the import path, each once.

    Modules of the project are forgotten, so that they are imported anew, when one of them was edited since,
    and when `module` was imported from another config's folder although this one has a module of that name.
    """
    folder, here = folder.resolve(), Path.cwd()
    for place in (here, folder):
        if str(place) not in sys.path:
            sys.path.insert(0, str(place))
            _folders_added.add(place)
    importlib.invalidate_caches()
    if any(
        _modified(file) != _seen_modified.get(name, _modified(file)) for name, file in _modules_in(folder)
    ):
        _forget([name for name, _ in _modules_in(folder)])
    _forget_namesake(folder if _has_module(folder, module) else here, module.partition(".")[0])


def remember_edits(folder: Path) -> None:
    """Note how new the project's imported modules are, to tell later whether they were edited."""
    for name, file in _modules_in(folder.resolve()):
        _seen_modified.setdefault(name, _modified(file))


def _forget_namesake(place: Path, top: str) -> None:
    file = getattr(sys.modules.get(top), "__file__", None)
    if file is None or not _has_module(place, top) or Path(file).resolve().is_relative_to(place):
        return
    if any(Path(file).resolve().is_relative_to(added) for added in _folders_added) and not is_library(file):
        _forget([name for name in sys.modules if name == top or name.startswith(f"{top}.")])
        sys.path.remove(str(place))
        sys.path.insert(0, str(place))


def _forget(names: list[str]) -> None:
    for name in names:
        sys.modules.pop(name, None)
        _seen_modified.pop(name, None)


def _modules_in(folder: Path) -> Iterator[tuple[str, str]]:
    start = f"{folder}/"
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.startswith(start) or name == "__main__":
            continue
        if not is_library(file) and not is_ours(file):
            yield name, file


def _modified(file: str) -> int | None:
    try:
        return Path(file).stat().st_mtime_ns
    except OSError:
        return None


def _has_module(folder: Path, name: str) -> bool:
    top = name.partition(".")[0]
    return (folder / f"{top}.py").is_file() or (folder / top).is_dir()
