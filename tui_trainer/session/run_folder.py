"""The run folder: who may write to it, and `run.json`."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tui_trainer import __version__
from tui_trainer.config.errors import RunFolderError
from tui_trainer.engine.events import iso_time
from tui_trainer.engine.manifest import write_atomically

RUN_JSON, CONFIG_YAML, LOCK = "run.json", "training_config.yaml", ".lock"
OPTIMIZATION_YAML = "optimization_config.yaml"
"""What the diagnosis of a run proposes to train next."""
DEFAULT_ROOT = Path("checkpoints")
FINISHED = ("completed", "early_stopped")
GOING_ON = ("running", "paused")  # a run that says so may have died all the same: see `is_live`
_WRITTEN = (CONFIG_YAML, "events.jsonl", "training.log", "diagnostics.jsonl", "metrics.json", "summary.json",
            "epoch_metrics.csv")  # fmt: skip
_QUIET_S = 120.0  # a run on another machine that wrote nothing for so long counts as dead
_LOCK_PATIENCE_S = 15.0  # a killed run's writer process may still be finishing its last file


def read_run_json(folder: Path) -> dict[str, Any] | None:
    """The content of `run.json`; None when the folder holds no run. Raises `RunFolderError` when it is damaged."""
    path = folder / RUN_JSON
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return None
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"{path} cannot be read ({error}). Restore it from a backup, or start a new run under another --output-dir."
        ) from error
    if not isinstance(content, dict) or "id" not in content or not isinstance(content.get("attempts"), list):
        raise RunFolderError(f"{path} is not a run's record. Start a new run under another --output-dir.")
    return content


class RunFolder:
    """A run folder that this process owns: the lock is held until the process, and the writer it started, are gone."""

    def __init__(
        self, path: Path, lock: int, record: dict[str, Any], *, is_new: bool, made: tuple[Path, ...] = ()
    ) -> None:
        self.path, self.lock, self.record, self.is_new = path, lock, record, is_new
        self._made = made
        self.checkpoints = path / "checkpoints"

    def update(self, **changes: Any) -> None:
        """Change `run.json`; raises `OSError` with the old content in place."""
        self.record |= changes
        write_atomically(self.path / RUN_JSON, json.dumps(self.record, indent=1, default=str) + "\n")

    @property
    def attempt(self) -> dict[str, Any]:
        """The attempt under way."""
        found: dict[str, Any] = self.record["attempts"][-1]
        return found

    def discard(self) -> None:
        """Remove a new folder in which nothing was trained, so that the mended command can use its name.

        Files of others in it stay, and so do then the folder and those above it.
        """
        for name in (*_WRITTEN, "output.log", "checkpoints/manifest.json", RUN_JSON, LOCK):
            with contextlib.suppress(OSError):
                (self.path / name).unlink()
        for folder in (self.checkpoints, *self._made):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def give_up(self) -> None:
        """Let go of a folder in which nothing was begun; a new one is removed, an earlier run stays as it was."""
        if self.is_new:
            self.discard()
        self.release()

    def release(self) -> None:
        """Give up the lock, for processes that inherited it as well."""
        if self.lock >= 0:
            with contextlib.suppress(OSError):
                fcntl.flock(self.lock, fcntl.LOCK_UN)
            os.close(self.lock)
            self.lock = -1


def create(
    path: Path | None, *, name: str, mode: str, config_hash: str, config_folder: Path, lineage: str | None
) -> RunFolder:
    """A new run folder; `path` None means `checkpoints/<name>-<time>`.

    Raises `RunFolderError` when it cannot be written or holds a run already.
    """
    made: tuple[Path, ...] = ()
    try:
        if path is None:
            made = _missing(DEFAULT_ROOT.absolute())
            path = new_default(name)
            made = (path.absolute(), *made)
        else:
            made = _missing(path.absolute())
            path.mkdir(parents=True, exist_ok=True)
        path = path.resolve()
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        if isinstance(error, (FileExistsError, NotADirectoryError)):
            reason = "a file stands where a folder is needed"
        raise RunFolderError(
            f"The output folder {path or DEFAULT_ROOT} cannot be made ({reason}). "
            "Name a folder that you can write to with --output-dir."
        ) from error
    earlier = read_run_json(path)
    if earlier is not None and _never_began(path, earlier):
        _clear(path, earlier)
    elif earlier is not None:
        raise RunFolderError(
            f"{path} already holds a run, and runs are never overwritten. "
            "Go on with it (--resume auto), or name another --output-dir."
        )
    if found := [path / name for name in _WRITTEN if (path / name).exists()] or [
        *path.glob("checkpoints/*.pt")
    ]:
        raise RunFolderError(
            f"{path} holds no run, but {found[0].relative_to(path)}, which a run would write over. Name a new folder with "
            "--output-dir, or move that file away."
        )
    lock = _lock(path)
    if (path / RUN_JSON).exists():
        os.close(lock)
        raise RunFolderError(f"Another process has just begun a run in {path}. Name another --output-dir.")
    record: dict[str, Any] = {
        "id": f"{int(time.time()):x}-{secrets.token_hex(4)}",
        "name": name,
        "mode": mode,
        "status": "running",
        "created": iso_time(time.time()),
        "attempts": [],
        "interventions": [],
        "lineage": lineage,
        "config_hash": config_hash,
        "config_folder": str(config_folder),
        "versions": versions(),
        "host": host(),
        "git_commit": git_commit(config_folder),
    }
    folder = RunFolder(path, lock, record, is_new=True, made=made)
    try:
        folder.checkpoints.mkdir(exist_ok=True)
        begin_attempt(folder, resumed_from=None)
    except OSError as error:
        folder.release()
        folder.discard()
        raise RunFolderError(
            f"The output folder {path} cannot be written ({error.strerror}). Name another one with --output-dir."
        ) from error
    return folder


def _never_began(path: Path, record: dict[str, Any]) -> bool:
    """Whether a gate held that run before its first step, or its process was killed while the gate was checked."""
    killed = record.get("status") == "running" and not (path / "events.jsonl").exists()
    return bool(record.get("held") or killed) and not any(path.glob("checkpoints/*.pt"))


def _clear(path: Path, record: dict[str, Any]) -> None:
    """Remove the records of a run that never began. Raises `RunFolderError` where it is just beginning."""
    folder = RunFolder(path, _lock(path), record, is_new=True)
    folder.discard()
    folder.release()


def reopen(path: Path) -> RunFolder:
    """The folder of an earlier run, to go on with it. Raises `RunFolderError` when there is none or it is in use."""
    path = path.resolve()
    if read_run_json(path) is None:
        raise RunFolderError(f"{path} holds no run (no run.json). Name a run folder, or leave out --resume.")
    if not os.access(path, os.W_OK):
        raise RunFolderError(f"The run folder {path} cannot be written. Check its owner and permissions.")
    lock = _lock(path)
    record = read_run_json(path)  # again: whoever had the lock may have changed it
    if record is None:
        os.close(lock)
        raise RunFolderError(f"The run in {path} was removed by another process.")
    folder = RunFolder(path, lock, record, is_new=False)
    try:
        folder.checkpoints.mkdir(exist_ok=True)
    except OSError as error:
        folder.release()
        raise RunFolderError(
            f"The run folder {path} cannot be written ({error.strerror}). Check its owner and permissions."
        ) from error
    return folder


def begin_attempt(folder: RunFolder, *, resumed_from: str | None) -> None:
    """Note a new attempt in `run.json`; one that never ended is recorded as died. Raises `OSError`."""
    attempts = folder.record["attempts"]
    for earlier in attempts:
        if earlier.get("ended") is None:
            earlier |= {"ended": iso_time(time.time()), "status": "died"}
    attempts.append(
        {
            "number": len(attempts) + 1,
            "pid": os.getpid(),
            "started": iso_time(time.time()),
            "ended": None,
            "status": "running",
            "resumed_from": resumed_from,
            "interventions": [],
        }
    )
    folder.update(status="running", attempts=attempts)


def _missing(path: Path) -> tuple[Path, ...]:
    """Those of `path` and the folders above it that are not there yet, the innermost first."""
    return tuple(folder for folder in (path, *path.parents) if not folder.exists())


def new_default(name: str) -> Path:
    """A new folder `checkpoints/<name>-<time>`. Raises `OSError`."""
    DEFAULT_ROOT.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
        path = DEFAULT_ROOT / f"{name}-{stamp}{suffix}"
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise FileExistsError(17, "too many runs of that name in one second", str(DEFAULT_ROOT))


def _lock(path: Path) -> int:
    """Take the folder's lock and note this process in it. Raises `RunFolderError` naming the process that has it."""
    patience = time.monotonic() + _LOCK_PATIENCE_S
    handle = _open_lock(path)
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _living_owner(handle)
            if owner is None and time.monotonic() < patience:
                time.sleep(0.05)
                continue
            os.close(handle)
            if owner is None:
                raise RunFolderError(
                    f"The run in {path} was killed while it wrote a checkpoint, and its writer process is still at work. "
                    "Try again in a minute."
                ) from None
            raise RunFolderError(
                f"The run in {path} is in use by process {owner}. Wait for it or stop it; to train "
                "something else meanwhile, name another --output-dir."
            ) from None
        except OSError:
            return handle  # a file system without locks: go on without
        if _is_at(handle, path / LOCK):
            break
        os.close(handle)  # its owner removed it, and the folder with it, while we waited
        handle = _open_lock(path)
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def _open_lock(path: Path) -> int:
    try:
        return os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunFolderError(
            f"The output folder {path} cannot be written ({error.strerror}). Name another one with --output-dir."
        ) from error


def _is_at(handle: int, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False


def _living_owner(handle: int) -> int | None:
    """The process noted in the lock file, if it lives; None after a kill, while its writer finishes a file."""
    with contextlib.suppress(OSError, ValueError):
        process = int(os.pread(handle, 20, 0))
        with contextlib.suppress(PermissionError):
            os.kill(process, 0)
        return process
    return None


def is_live(folder: Path) -> bool:
    """Whether a process holds the run folder: its run goes on, or its writer finishes a last file.

    The lock tells. Where it cannot (a run on another machine, whose lock does not reach here), `events.jsonl` having
    grown a moment ago does. Asking takes the lock for an instant: ask only of runs that are not known to be over.
    """
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return _living_owner(handle) is not None
    finally:
        os.close(handle)
    return _grows_elsewhere(folder)


def _grows_elsewhere(folder: Path) -> bool:
    with contextlib.suppress(OSError, RunFolderError):
        record = read_run_json(folder) or {}
        if record.get("status") in GOING_ON and isinstance(record.get("host"), dict):
            quiet_s = time.time() - (folder / "events.jsonl").stat().st_mtime
            return record["host"].get("name") != platform.node() and quiet_s < _QUIET_S
    return False


def versions() -> dict[str, str]:
    """Versions of what a run's result depends on."""
    from importlib import (
        metadata,
    )  # with the modules for e-mail that it is made of: not before the first paint

    found = {"mltrainer-tui": __version__, "python": platform.python_version()}
    for package in (
        "torch",
        "numpy",
        "pandas",
        "scikit-learn",
        "torchmetrics",
        "textual",
        "plotext",
        "pydantic",
    ):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def host() -> dict[str, Any]:
    """This machine, in a few words."""
    return {
        "name": platform.node(),
        "os": platform.platform(),
        "cpus": os.cpu_count(),
        "executable": sys.executable,
    }


def git_commit(folder: Path) -> str | None:
    """The commit of the repository that `folder` is in; None outside one."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"],  # noqa: S607 (the user's own git)
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None
