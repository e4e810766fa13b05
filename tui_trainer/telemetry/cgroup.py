"""Limits of a container: what `free` and `nproc` show there is the whole machine's."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def memory_limit(root: Path = ROOT, membership: Path = MEMBERSHIP) -> tuple[int, int] | None:
    """Bytes (used, limit) of the tightest control group that this process is in; None where nothing limits it.

    File cache that the kernel would give back at once does not count as used.
    """
    found: list[tuple[int, int]] = []
    for folder in _folders(root, membership):
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
        if limit is None or used is None or limit >= 1 << 60:  # version 1 writes a huge number for "none"
            continue
        found.append((max(0, used - _cache(folder)), limit))
    return min(found, key=lambda pair: pair[1], default=None)


def cpu_limit(root: Path = ROOT, membership: Path = MEMBERSHIP) -> float | None:
    """Cores' worth of time that the tightest control group of this process is given (1.5: one and a half); None where
    nothing limits it."""
    found = []
    for folder in _folders(root, membership, "cpu"):
        share = _share(folder / "cpu.max")
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if share is None and quota and period and quota > 0:
            share = quota / period
        if share is not None:
            found.append(share)
    return min(found, default=None)


def _share(path: Path) -> float | None:
    """Version 2 writes "quota period", or "max period" where there is no limit."""
    try:
        quota, period = path.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _folders(root: Path, membership: Path, controller: str = "memory") -> list[Path]:
    """This process's group and those above it, in version 2 and in version 1."""
    try:
        lines = membership.read_text().splitlines()
    except (OSError, ValueError):
        return []
    folders: list[Path] = []
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controller if controllers else root
        place = base / path.lstrip("/")
        chain = [place, *place.parents]
        folders += [folder for folder in chain if folder == base or base in folder.parents]
    return folders


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # "max", or no such file
        return None


def _cache(folder: Path) -> int:
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
        facts = dict(line.split(maxsplit=1) for line in lines if " " in line)
        return int(facts.get("inactive_file", facts.get("total_inactive_file", 0)))
    except (OSError, ValueError):
        return 0
