"""The environment as a record: versions, machine, repository. Asked of the system at once; torch is not imported."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from tui_trainer.phases.standing import driver
from tui_trainer.telemetry.gpu import GpuGauge

_MOST_PATCH = 20 * 2**20  # bytes of uncommitted changes that are kept
_GIT_S = 20


@dataclass(frozen=True, slots=True)
class Repository:
    """The git repository that a folder is in. `patch`: its uncommitted changes, new files not included; `untracked`:
    how many new files there are beside it."""

    commit: str
    branch: str
    patch: str
    untracked: int


def machine() -> dict[str, Any]:
    """Python, operating system, processors, memory and GPUs of this machine."""
    gpus = GpuGauge().read().gpus
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "os": platform.platform(),
        "host": platform.node(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": [{"name": gpu["name"], "memory_bytes": gpu["memory_total"]} for gpu in gpus],
        "driver": driver() or None,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = next((line for line in lines if line.startswith("model name")), "")
    return named.partition(":")[2].strip() or platform.processor() or platform.machine()


def requirements() -> str:
    """Every installed package with its exact version, as a requirements file that pip can install."""
    lines = {}
    for package in metadata.distributions():
        name = str(package.metadata["Name"] or "")
        if name:
            lines[name.lower().replace("_", "-")] = _requirement(name, package)
    return "".join(lines[name] + "\n" for name in sorted(lines))


def _requirement(name: str, package: metadata.Distribution) -> str:
    url = _direct_url(package)
    if url is not None:
        return f"# {name}=={package.version} was installed from {url}"
    public, _, local = str(package.version).partition("+")
    return f"{name}=={public}" + (f"  # {package.version} here" if local else "")


def _direct_url(package: metadata.Distribution) -> str | None:
    """Where a package came from that no index has under this version."""
    try:
        content = json.loads(package.read_text("direct_url.json") or "null")
    except (ValueError, OSError):
        return None
    return str(content["url"]) if isinstance(content, dict) and "url" in content else None


class NoAnswer(Exception):
    """There is a repository, but git does not tell its state."""


def repository(folder: Path) -> Repository | None:
    """The repository that `folder` is in; None outside one. Raises `NoAnswer`."""
    inside = any((place / ".git").exists() for place in (folder, *folder.parents))
    if not inside:
        return None
    if shutil.which("git") is None:
        raise NoAnswer("this folder is in a git repository, but there is no git command to ask")
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        raise NoAnswer(
            "git does not name a commit: none was made yet, or the repository belongs to somebody else"
        )
    status = _git(folder, "status", "--porcelain", "--untracked-files=normal") or ""
    patch = _git(folder, "diff", "HEAD", "--binary", "--no-color", "--no-ext-diff") or ""
    return Repository(
        commit=commit.strip(),
        branch=(_git(folder, "rev-parse", "--abbrev-ref", "HEAD") or "").strip(),
        patch=patch[:_MOST_PATCH],
        untracked=sum(line.startswith("??") for line in status.splitlines()),
    )


def _git(folder: Path, *words: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *words],  # noqa: S607 (the user's own git)
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None
