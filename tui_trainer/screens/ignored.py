"""Kinds of diagnostics that a user wants to hear no more of, in any run: `ignored.yaml` beside `keys.yaml`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tui_trainer.engine.manifest import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

IGNORED_FILE = "ignored.yaml"
HEADING = """\
# Kinds of diagnostics that no run tells any more; I in the panel adds one.
# Take a line out to hear of that kind again.
"""
_CODE = re.compile(r"[\w.:-]{1,100}")


@dataclass(frozen=True, slots=True)
class Ignored:
    """The `codes`; `folder` None: nothing is remembered. `note` says why the file could not be used."""

    folder: Path | None = None
    codes: frozenset[str] = frozenset()
    note: str = ""


def load_ignored(folder: Path) -> Ignored:
    """What is in the user's file. Raises nothing."""
    try:
        codes = _codes((folder / IGNORED_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Ignored(folder)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        return Ignored(None, note=f"{folder / IGNORED_FILE} cannot be used: {reason}. Nothing is ignored.")
    return Ignored(folder, codes)


def ignore_always(ignored: Ignored, code: str) -> Ignored:
    """`ignored` with one more kind, which is there the next time too; a note where that cannot be."""
    known = Ignored(ignored.folder, ignored.codes | {code})
    if not _CODE.fullmatch(code) or code in ignored.codes:
        return Ignored(ignored.folder, ignored.codes)
    if ignored.folder is None:
        return known
    path = ignored.folder / IGNORED_FILE
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else HEADING
        text = text.rstrip("\n") + f"\n- {code}\n"
        if not _adds_up(text, known.codes):
            text = HEADING + "".join(f"- {item}\n" for item in sorted(known.codes))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except (OSError, ValueError) as error:
        return Ignored(
            ignored.folder, known.codes, f"{code} is ignored until the app closes only: {path}: {error}."
        )
    return known


def _adds_up(text: str, codes: frozenset[str]) -> bool:
    try:
        return _codes(text) == codes
    except ValueError:  # a list in another style than a line each
        return False


def _codes(text: str) -> frozenset[str]:
    """Raises `ValueError` for what is no list of names."""
    import yaml

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error).splitlines()[0]) from error
    if content is None:
        return frozenset()
    if not isinstance(content, list) or not all(isinstance(item, str) for item in content):
        raise ValueError("it holds no list of diagnostics, a line such as “- slow_convergence” each")
    return frozenset(content)
