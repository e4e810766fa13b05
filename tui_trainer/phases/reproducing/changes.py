"""What is not as it was when a run was trained: environment, data, code, config."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tui_trainer.diagnostics.fix import value_at
from tui_trainer.session.run_folder import git_commit, host, versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_trainer.phases.reproducing.course import Course

Room = Literal["environment", "data", "code", "config"]
ROOMS: tuple[Room, ...] = ("environment", "data", "code", "config")


@dataclass(frozen=True)
class Change:
    """One thing that differs. `was` and `now` may be empty where `name` says it all."""

    room: Room
    name: str
    was: str = ""
    now: str = ""

    def __str__(self) -> str:
        if not self.was and not self.now:
            return self.name
        return f"{self.name} was {self.was or 'not there'} and is {self.now or 'not there'} now"

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def changes_since(course: Course, result: Mapping[str, Any]) -> list[Change]:
    """Everything that differs, as far as the run's files tell. `result`: of the retraining, empty where it failed."""
    return [
        *_environment(course.record, course.folder, result),
        *_data(course, result),
        *_code(course, result),
        *_config(course),
    ]


def _environment(record: Mapping[str, Any], folder: Path, result: Mapping[str, Any]) -> list[Change]:
    was, now = record.get("versions"), versions()
    was = was if isinstance(was, dict) else {}
    found = [
        Change("environment", name, str(was.get(name, "")), str(now.get(name, "")))
        for name in dict.fromkeys([*was, *now])
        if was.get(name) != now.get(name)
    ]
    machine, here = record.get("host"), host()
    machine = machine if isinstance(machine, dict) else {}
    found += [
        Change("environment", title, str(machine[name]), str(here[name]))
        for name, title in (("name", "machine"), ("os", "operating system"), ("cpus", "number of CPUs"))
        if name in machine and machine[name] != here[name]
    ]
    device = _summary(folder).get("device")
    if result.get("device") and device and device != result["device"]:
        found.append(Change("environment", "device", str(device), str(result["device"])))
    return found


def _summary(folder: Path) -> dict[str, Any]:
    import json

    try:
        content = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _data(course: Course, result: Mapping[str, Any]) -> list[Change]:
    found = []
    was, now = str(course.state.get("data_fingerprint", "")), str(result.get("data_fingerprint", ""))
    if now and was != now:
        divided = any(item.name.startswith(("seed", "data.")) for item in _config(course))
        name = "fingerprint (seed and data settings, which have changed, decide the splits)"
        found.append(Change("data", name if divided else "fingerprint", was, now))
        samples = course.state["sampler"].get("samples")
        if samples != result.get("samples"):
            found.append(Change("data", "training samples", f"{samples:,}", f"{result.get('samples'):,}"))
    for name in ("path", "root"):
        value = course.config.data.args.get(name)
        if isinstance(value, str):
            found += _file_changed("data", course, Path(value))
    if course.config.model.init_from is not None:
        found += _file_changed("data", course, Path(course.config.model.init_from))
    return found


def _code(course: Course, result: Mapping[str, Any]) -> list[Change]:
    found = []
    was, now = course.record.get("git_commit"), git_commit(course.config_folder)
    if was != now:
        found.append(Change("code", "git commit", str(was or ""), str(now or "")))
    for item in result.get("modules", ()):
        found += _file_changed("code", course, Path(item["file"]))
    return found


def _file_changed(room: Room, course: Course, path: Path) -> list[Change]:
    """A file that was written after the run had begun."""
    begun = _begun(course.record)
    places = (course.config_folder / path, path)
    place = next((item for item in places if item.is_file()), None)
    if place is None or begun is None:
        return []
    written = place.stat().st_mtime
    if written <= begun + 1:  # file systems round
        return []
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(written))
    return [Change(room, f"{place} was written after the run had begun ({stamp} UTC)")]


def _begun(record: Mapping[str, Any]) -> float | None:
    try:
        moment = datetime.fromisoformat(str(record["created"]))
    except (KeyError, ValueError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _config(course: Course) -> list[Change]:
    """Settings that `training_config.yaml` has otherwise than the final checkpoint, which was trained under them."""
    from tui_trainer.config.errors import UserError
    from tui_trainer.config.hashing import config_hash, differing_keys
    from tui_trainer.config.loading import parse_config

    try:
        then = parse_config(course.state["config"])
    except UserError as error:  # of a version that knew other settings
        return [Change("config", f"the checkpoint's own config is not one of this version: {error}")]
    found = [
        Change("config", key, repr(value_at(then, key)), repr(value_at(course.config, key)))
        for key in differing_keys(then, course.config)
    ]
    recorded = course.record.get("config_hash")
    if not found and recorded not in (None, config_hash(course.config)):
        found.append(
            Change("config", "hash of the settings", str(recorded)[:12], config_hash(course.config)[:12])
        )
    return found
