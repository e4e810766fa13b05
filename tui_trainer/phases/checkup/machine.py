"""Python and packages, disk and memory, limits, processors: what a run takes for granted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_trainer.phases.checkup.box import OPTIONAL, PACKAGES
from tui_trainer.phases.checkup.check import Check, size

if TYPE_CHECKING:
    from tui_trainer.phases.checkup.box import Box, Disk

OLDEST_PYTHON = (3, 11)
_GIB = 2**30


def python(box: Box) -> list[Check]:
    """Which Python is it, and is all there that we are made of?"""
    version = ".".join(map(str, box.python))
    found = [Check("Python", "ok", f"{version} ({box.executable})")]
    if box.python[:2] < OLDEST_PYTHON:
        found = [
            Check(
                "Python", "problem", version, "At least 3.11 is needed. Make an environment with a newer one."
            )
        ]
    missing = [name for name in PACKAGES if box.packages.get(name) is None]
    if missing:
        return [*found, Check("Packages", "problem", f"not installed: {', '.join(missing)}",
                              f"pip install {' '.join(missing)}")]  # fmt: skip
    return [*found, Check("Packages", "ok", f"all {len(PACKAGES)} that are needed")]


def optional_packages(box: Box) -> list[Check]:
    """What could be installed beside."""
    purposes: dict[str, list[str]] = {}
    for name, purpose in OPTIONAL.items():
        if box.packages.get(name) is None:
            purposes.setdefault(purpose, []).append(name)
    there = [f"{name} {box.packages[name]}" for name in OPTIONAL if box.packages.get(name) is not None]
    found = ", ".join(there) or "none installed"
    if not purposes:
        return [Check("Optional packages", "ok", found)]
    advice = "; ".join(f"for {purpose}: pip install {' '.join(names)}" for purpose, names in purposes.items())
    return [Check("Optional packages", "not_applicable", found, f"Only where you want it, {advice}.")]


def git(box: Box) -> list[Check]:
    """Can the state of the code be recorded?"""
    if box.git:
        return [Check("git", "ok", box.git)]
    return [Check("git", "warning", "not found",
                  "Runs cannot note which state of your code they were trained with. Install git.")]  # fmt: skip


def disks(box: Box) -> list[Check]:
    """Is there room here, and where checkpoints go?"""
    checks = [_disk("Disk, here", box.here)]
    if (box.runs.free, box.runs.total) != (box.here.free, box.here.total) or box.runs.error:
        checks.append(_disk("Disk, runs", box.runs))
    shared = box.shared_memory
    if shared is None:
        return [*checks, Check("Shared memory", "not_applicable", "no /dev/shm")]
    found = f"{size(shared.free)} of {size(shared.total)} free at {shared.path}"
    if shared.error or shared.total < _GIB:
        return [*checks, Check("Shared memory", "warning", shared.error or found,
                               "Loader workers (data.num_workers above 0) hand their batches over there, and large batches "
                               "end in a bus error. In a container, start that with --shm-size=8g or --ipc=host.")]  # fmt: skip
    return [*checks, Check("Shared memory", "ok", found)]


def _disk(name: str, disk: Disk) -> Check:
    if disk.error:
        return Check(name, "problem", f"{disk.path}: {disk.error}", "Go to a folder that you can write to, or name one "
                     "with --output-dir.")  # fmt: skip
    found = f"{size(disk.free)} of {size(disk.total)} free at {disk.path}"
    if disk.free < _GIB // 2:
        return Check(
            name, "problem", found, "Too little for the checkpoints of most models. Free some space."
        )
    if disk.free < 5 * _GIB:
        return Check(name, "warning", found, "Little for the checkpoints of large models: each takes about three times the "
                     "model's weights. checkpoint.keep_last_n bounds how many stay.")  # fmt: skip
    return Check(name, "ok", found)


def memory(box: Box) -> list[Check]:
    """How much memory is there for us?"""
    if box.memory is None and box.memory_limit is None:
        return [Check("Memory", "not_applicable", "cannot be read")]
    total = box.memory
    if box.memory_limit is not None and (total is None or box.memory_limit[1] < total):
        used, limit = box.memory_limit
        found = f"{size(limit - used)} of {size(limit)} free, the limit of this container"
        if limit - used < _GIB:
            return [Check("Memory", "warning", found, "A process that goes beyond is killed without a word. Give the "
                          "container more, or keep batches and loader workers few.")]  # fmt: skip
        return [Check("Memory", "ok", found)]
    return [Check("Memory", "ok", f"{size(total or 0)}")]


def limits(box: Box) -> list[Check]:
    """Do the limits of this shell leave room? (`ulimit`)"""
    checks = []
    for name, least, flag, failure in (
        ("open files", 1024, "-n", "too many open files"),
        ("processes", 512, "-u", "no process to be had"),
    ):
        limit = box.limits.get(name)
        found = "no limit" if limit is None else f"{limit:,}"
        short = limit is not None and limit < least
        advice = (
            f"Loader workers may fail with {failure}. Before you start: ulimit {flag} {8 * least}"
            if short
            else ""
        )
        checks.append(Check(f"Limit: {name}", "warning" if short else "ok", found, advice))
    locked = box.limits.get("locked memory")
    checks.append(Check("Limit: locked memory", "ok", "no limit" if locked is None else size(locked)))
    return checks


def threads(box: Box) -> list[Check]:
    """Do torch's threads fit the cores, and do they wait quietly?"""
    cores, usable = box.cores, box.cores.usable
    found = (
        f"{usable:g} of {cores.machine} cores for this process"
        if usable < cores.machine
        else f"{cores.machine} cores"
    )
    checks = [Check("Processors", "ok", found)]
    if cores.load is not None and cores.load > usable + 0.5:
        checks = [Check("Processors", "warning", f"{found}; {cores.load:.1f} processes want one (load of the last minute)",
                        "Training shares them, and waits. See top for who else is at work.")]  # fmt: skip
    if not box.torch.error:
        checks.append(_torch_threads(box))
    return [*checks, _waiting(box)]


def _torch_threads(box: Box) -> Check:
    threads, usable = box.torch.threads, box.cores.usable
    found = f"{threads}"
    if threads > max(1, usable + 0.5):
        return Check("PyTorch threads", "warning", f"{found}, on {usable:g} cores",
                     "They wait for each other more than they compute. Before you start: export OMP_NUM_THREADS="
                     f"{max(1, int(usable))}")  # fmt: skip
    return Check("PyTorch threads", "ok", found)


def _waiting(box: Box) -> Check:
    """The program sets OMP_WAIT_POLICY=passive and GOMP_SPINCOUNT=0 where nobody else has set them."""
    policy = box.environ.get("OMP_WAIT_POLICY", "passive")
    spins = box.environ.get("GOMP_SPINCOUNT", "0")
    loud = []
    if policy.strip().lower() != "passive":
        loud.append(f"OMP_WAIT_POLICY={policy}")
    if spins.strip() != "0":
        loud.append(f"GOMP_SPINCOUNT={spins}")
    if loud:
        return Check("Thread waiting", "warning", f"set in your environment: {', '.join(loud)}",
                     "Threads that wait spin, and beside any other busy process a step then takes up to 30 times as long. "
                     f"Before you start: unset {' '.join(item.partition('=')[0] for item in loud)}; the program sets "
                     "what is best.")  # fmt: skip
    return Check("Thread waiting", "ok", "quiet (OMP_WAIT_POLICY=passive, GOMP_SPINCOUNT=0)")
