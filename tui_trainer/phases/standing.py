"""What a gate was earned for: digests of everything that, once changed, re-opens it. Cheap: nothing heavy is imported."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_trainer.config.hashing import config_hash
from tui_trainer.session.run_folder import host, versions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tui_trainer.config.loading import LoadedConfig
    from tui_trainer.config.schema import Config

MOST_FILES = 100_000  # of a data folder that are looked at

ASPECTS: Mapping[str, str] = {
    "config": "settings that affect results",
    "workers": "the number of loader workers",
    "subject": "what is trained: the name, the data, the model",
    "targets": "targets",
    "checkpoint": "checkpoint settings",
    "environment": "this machine, Python and package versions",
    "code": "the project's own Python files",
    "data": "data files",
    "run": "the run",
}
"""What items rest on, in words for people."""


def aspects(loaded: LoadedConfig, code: Sequence[str] = (), run: str = "") -> dict[str, str]:
    """The digest of each aspect as it is now. `code`: the files, relative to the config's folder, that the run imported
    when the gate was earned. `run`: what tells the run apart."""
    config = loaded.config
    return {
        "config": config_hash(config)[:16],
        "subject": digest([config.name, config.data.target, config.data.args, config.model.target]),
        "workers": digest(config.data.num_workers),
        "targets": digest(None if config.targets is None else config.targets.model_dump(mode="json")),
        "checkpoint": digest(config.checkpoint.model_dump(mode="json")),
        "environment": digest(_environment()),
        "code": digest({name: _file_digest(loaded.folder / name) for name in code}),
        "data": digest(data_files(config, loaded.folder)),
        "run": run,
    }


def changed_since(folder: Path, code: Sequence[str], moment: float) -> bool:
    """Whether a file of the project's own code was written after `moment` (s since 1970)."""
    for name in code:
        with contextlib.suppress(OSError):
            if (folder / name).stat().st_mtime > moment:
                return True
    return False


def digest(value: Any) -> str:
    """16 hexadecimal digits of a JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _environment() -> dict[str, Any]:
    machine = host()
    return {
        "versions": versions(),
        "machine": [machine["name"], machine["os"], machine["cpus"]],
        "driver": driver(),
        "gpus": sorted(first_line(path) for path in Path("/proc/driver/nvidia/gpus").glob("*/information")),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }


def driver() -> str:
    """The version of NVIDIA's kernel driver; empty without one."""
    return first_line(Path("/sys/module/nvidia/version"))


def first_line(path: Path) -> str:
    """Of a file of the system's; empty where it is not there. Asking NVML would take longer than all else here."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()
    except OSError:
        return ""


def _file_digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "gone"


def data_files(config: Config, folder: Path) -> dict[str, Any]:
    """The state of the files and folders that the config's data and weights name, by name."""
    named = [*_texts(config.data.args), config.model.init_from or ""]
    found: dict[str, Any] = {}
    for text in named:
        try:
            path = folder / Path(text).expanduser() if text else None
            if path is not None and path.exists():
                found[text] = _state(path)
        except (OSError, ValueError, RuntimeError):
            continue
    return found


def _state(path: Path) -> list[Any]:
    """Size and times (ns) of a file; of a folder how many files there are, and a digest of each one's name, size and
    times. The time of the last change to the file's record is among them: a copy may bring its old date along."""
    if not path.is_dir():
        return _facts(path)
    count, found = 0, hashlib.sha256()
    for file in _files_in(path):
        found.update(
            json.dumps([os.path.relpath(file, path), *_facts(file)]).encode("utf-8", "surrogatepass")
        )
        count += 1
        if count == MOST_FILES:
            break
    return [count, found.hexdigest()[:16]]


def _facts(path: Path) -> list[int]:
    try:
        facts = path.stat()  # what a link leads to: data folders are often full of them
    except OSError:
        facts = path.lstat()
    return [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns]


def _files_in(folder: Path) -> Iterator[Path]:
    """All files below, in a fixed order; linked folders too, each once."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        facts = Path(place).stat()
        if (facts.st_dev, facts.st_ino) in seen:
            folders.clear()
            continue
        seen.add((facts.st_dev, facts.st_ino))
        folders.sort()
        yield from (Path(place) / name for name in sorted(names))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
