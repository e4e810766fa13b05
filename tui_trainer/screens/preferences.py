"""What a user wants of every run's screen: keys of their own, the theme, and whether they were welcomed.

`keys.yaml` is the user's to write (`run.pause: f8`, by the names that the help page shows), `state.json` ours. Both
lie in the user's config folder. Neither can keep the app from opening: what is wrong with them is told in a note.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_trainer.config.wording import did_you_mean
from tui_trainer.engine.manifest import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from textual.binding import Binding

KEYS_FILE, STATE_FILE = "keys.yaml", "state.json"
OTHER_PAGES = {
    "runs",
    "compare",
    "plan",
    "diagnose",
    "gate",
}  # kinds of actions, by the first word of their ids
RUN_PAGE = {"run", "charts", "chart", "log", "machine", "diagnostics", "diagnosis"}


@dataclass(frozen=True, slots=True)
class Preferences:
    """`keys`: binding id → keys, as Textual's keymap takes them. `notes` say what could not be used, and why."""

    folder: Path | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    theme: str | None = None
    welcomed: bool = True
    notes: tuple[str, ...] = ()


def preferences_folder(environ: Mapping[str, str]) -> Path:
    """`mltrainer-tui` in `$XDG_CONFIG_HOME`, which is `~/.config` where it is not set."""
    base = environ.get("XDG_CONFIG_HOME") or ""
    return (Path(base) if base.startswith("/") else Path.home() / ".config") / "mltrainer-tui"


def load_preferences(folder: Path, bindings: Sequence[Binding]) -> Preferences:
    """The user's preferences for an app with these `bindings`. Raises nothing."""
    keys, notes = _keys(folder / KEYS_FILE, bindings)
    state = _state(folder / STATE_FILE)
    theme = state.get("theme")
    return Preferences(
        folder, keys, theme if isinstance(theme, str) else None, state.get("welcomed") is True, tuple(notes)
    )


def remember(preferences: Preferences, *, theme: str | None = None, welcomed: bool = False) -> Preferences:
    """`preferences` with a change, which is there the next time too where the folder can be written."""
    changed = replace(
        preferences, theme=theme or preferences.theme, welcomed=welcomed or preferences.welcomed
    )
    if changed != preferences and changed.folder is not None:
        content = {"theme": changed.theme, "welcomed": changed.welcomed}
        with contextlib.suppress(OSError):
            changed.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(changed.folder / STATE_FILE, json.dumps(content) + "\n")
    return changed


def with_keys(bindings: Sequence[Binding], keys: Mapping[str, str]) -> list[Binding]:
    """`bindings` as they are once the user's `keys` stand in their place."""
    return [
        replace(item, key=keys[item.id], key_display=None) if item.id and item.id in keys else item
        for item in bindings
    ]


def _state(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _keys(path: Path, bindings: Sequence[Binding]) -> tuple[dict[str, str], list[str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}, []
    except (OSError, ValueError) as error:
        return {}, [f"{path} cannot be read: {error}"]
    import yaml

    try:
        content = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 (gives strings only: `y` is a key, no truth)
    except yaml.YAMLError as error:
        return {}, [f"{path} is no YAML: {str(error).splitlines()[0]}"]
    if not content:
        return {}, []
    if not isinstance(content, dict):
        return {}, [f"{path} holds no mapping of actions to keys, such as run.pause: f8"]
    return _usable(path, content, bindings)


def _usable(
    path: Path, content: Mapping[str, Any], bindings: Sequence[Binding]
) -> tuple[dict[str, str], list[str]]:
    """The entries that name an action, and keys that nothing else has."""
    known = {item.id: item.key for item in bindings if item.id}
    keys: dict[str, str] = {}
    notes: list[str] = []
    for name, wanted in content.items():
        if name not in known:
            notes.append(f"{path}: there is no action {name}{did_you_mean(name, list(known)) or '.'}")
        elif not isinstance(wanted, str) or not wanted.strip():
            notes.append(f"{path}: {name} needs a key, such as f8 or ctrl+t.")
        else:
            keys[name] = wanted.replace(" ", "")
    for name in list(keys):
        others = {**known, **keys}
        del others[name]
        for other, taken in others.items():
            both = set(keys[name].split(",")) & set(taken.split(","))
            if both and _meet(name, other):
                notes.append(f"{path}: {name} cannot have {min(both)}, which is the key of {other}.")
                del keys[name]
                break
    return keys, notes


def _meet(first: str, second: str) -> bool:
    """Whether two actions can be had on the same page: those of the list of runs stand on one of their own."""
    kinds = {first.partition(".")[0], second.partition(".")[0]}
    return len(kinds) == 1 or not (kinds & OTHER_PAGES and kinds <= OTHER_PAGES | RUN_PAGE)
