"""`gates.yaml` in the project folder: the state of every gate, readable by people, safe beside other writers."""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

import yaml

from tui_trainer.config.yaml_text import write_yaml
from tui_trainer.engine.manifest import write_atomically
from tui_trainer.phases.gate import Checklist, Entry, Finding, Item, State
from tui_trainer.phases.standing import digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

GATES_YAML = "gates.yaml"
_HEAD = """\
# The gates of this project: what was checked and found, who signed what, what was waived and why.
# Written by mltrainer-tui. `rested_on` are digests of what each item was earned for; a change there re-opens it.
# `seal` is a digest of the item as it was written: one that is edited here is open again.
"""
_LARGEST = 4 * 2**20  # bytes; far beyond any gates.yaml of ours


@dataclass
class GateBook:
    """The gates of one project folder. A file that is missing or damaged counts as no gate earned."""

    folder: Path
    trouble: str | None = field(default=None, init=False)
    """Why the last write failed: the gate then holds for this process only."""

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return self.folder / GATES_YAML

    def code_of(self, gate: str) -> tuple[str, ...]:
        """The project's own files that were imported when `gate` was earned, relative to the folder."""
        files = self._read().get(gate, {}).get("code")
        return tuple(map(str, files)) if isinstance(files, list) else ()

    def run_of(self, gate: str) -> str | None:
        """The run that a gate was earned with."""
        run = self._read().get(gate, {}).get("run")
        return run if isinstance(run, str) else None

    def entries(self, gate: str, items: Sequence[Item], now: Mapping[str, str]) -> dict[str, Entry]:
        """What is known of `items` and still holds, by name.

        An item that is open, that rests on what has changed, or that somebody edited is left out.
        """
        stored = self._read().get(gate, {}).get("items")
        found: dict[str, Entry] = {}
        for item in items:
            content = stored.get(item.name) if isinstance(stored, dict) else None
            entry = _entry(gate, item, content) if isinstance(content, dict) else None
            if entry and all(entry.rested_on.get(name) == now[name] for name in item.rests_on):
                found[item.name] = entry
        return found

    def write(self, checklist: Checklist, *, code: Sequence[str] = ()) -> bool:
        """Keep `checklist` in place of what was known of that gate; False, with `trouble`, where that failed."""
        content: dict[str, Any] = {"passed": checklist.passed}
        if checklist.run is not None:
            content["run"] = checklist.run
        if code:
            content["code"] = list(code)
        content["items"] = {entry.item.name: _content(checklist.gate, entry) for entry in checklist.entries}
        try:
            with _locked(self.folder):
                gates = self._read() | {checklist.gate: content}
                write_atomically(self.path, _HEAD + write_yaml({"gates": gates}))
        except OSError as error:
            self.trouble = f"{self.path} cannot be written ({error.strerror or error})"
            return False
        self.trouble = None
        return True

    def _read(self) -> dict[str, Any]:
        try:
            if self.path.stat().st_size > _LARGEST:
                return {}
            content = yaml.safe_load(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError, RecursionError):
            return {}
        gates = content.get("gates") if isinstance(content, dict) else None
        if not isinstance(gates, dict):
            return {}
        return {str(name): value for name, value in gates.items() if isinstance(value, dict)}


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Nobody else changes the folder's gates meanwhile."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _content(gate: str, entry: Entry) -> dict[str, Any]:
    """One item as it stands in the file; what is empty is left out."""
    content = {
        "state": entry.finding.state,
        "title": entry.item.title,
        "evidence": entry.finding.evidence,
        "reason": entry.reason,
        "by": entry.by,
        "at": entry.at,
        "details": _plain(entry.finding.details),
        "rested_on": {name: value for name, value in entry.rested_on.items() if name in entry.item.rests_on},
    }
    content = {name: value for name, value in content.items() if value}
    return content | {"seal": _seal(gate, entry.item.name, content)}


def _seal(gate: str, item: str, content: Mapping[str, Any]) -> str:
    """No secret: it keeps people from ticking off by hand what is checked, or from mending what was found."""
    return digest([gate, item, {name: value for name, value in content.items() if name != "seal"}])


def _plain(value: Any) -> Any:
    """Something that YAML can hold."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _entry(gate: str, item: Item, content: dict[str, Any]) -> Entry | None:
    state = next((known for known in get_args(State) if known == content.get("state")), None)
    if state in (None, "open") or content.get("seal") != _seal(gate, item.name, content):
        return None
    details, rested_on = content.get("details"), content.get("rested_on")
    return Entry(
        item=item,
        finding=Finding(
            state, str(content.get("evidence", "")), details if isinstance(details, dict) else {}
        ),
        at=str(content.get("at", "")),
        by=str(content.get("by", "")),
        reason=str(content.get("reason", "")),
        rested_on={str(key): str(value) for key, value in rested_on.items()}
        if isinstance(rested_on, dict)
        else {},
    )
