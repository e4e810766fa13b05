"""`checkpoints/manifest.json`: what each checkpoint file must hash to.

Writing a file goes: new hash into the manifest as pending, rename, fsync of the folder, manifest final. So at any
byte where a crash can hit, the file on disk matches one of the two hashes its manifest names, and `settle` can
finish what was begun.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

NAME = "manifest.json"
Entry = dict[str, Any]


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text` so that a crash leaves the old or the new content, never a mixture.

    Raises `OSError` with `path` as it was.
    """
    temporary = temporary_beside(path)
    try:
        with temporary.open("x", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def temporary_beside(path: Path) -> Path:
    """A new hidden name in the folder of `path`, for content that shall be renamed to it."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_manifest(folder: Path) -> dict[str, dict[str, Entry]]:
    """`{"files": …, "pending": …}`; empty where the manifest is missing or damaged."""
    try:
        content = json.loads((folder / NAME).read_text(encoding="utf-8"))
        files, pending = content["files"], content["pending"]
        if all(isinstance(entry, dict) for entry in (*files.values(), *pending.values())):
            return {"files": files, "pending": pending}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return {"files": {}, "pending": {}}


def write_manifest(folder: Path, content: dict[str, dict[str, Entry]]) -> None:
    """Write the manifest; raises `OSError`."""
    write_atomically(folder / NAME, json.dumps(content, indent=1, allow_nan=False) + "\n")


def settle(folder: Path) -> dict[str, dict[str, Entry]]:
    """The manifest after finishing what a crash left half-done; only for a folder that nobody else writes to.

    Pending entries are a redo log: where a file with the new content is there, under its name or still under a hidden
    one, every name that was to hold it gets it, and the files that it retires go. Where there is none, the old
    files stand. Half-written files are removed.
    """
    content = read_manifest(folder)
    hidden = list(folder.glob(".*.tmp"))
    pending, content["pending"] = content["pending"], {}
    for digest in {str(entry.get("sha256")) for entry in pending.values()}:
        names = [name for name, entry in pending.items() if entry.get("sha256") == digest]
        size = pending[names[0]].get("size")
        candidates = [*(folder / name for name in names), *hidden]
        source = next((path for path in candidates if _holds(path, digest, size)), None)
        if source is None:
            continue
        for name in names:
            entry = dict(pending[name])
            retired = entry.pop("retires", [])
            if not _holds(folder / name, digest, size):
                stage_copy(source, folder / name).replace(folder / name)
            content["files"][name] = entry
            for old in retired:
                (folder / old).unlink(missing_ok=True)
                content["files"].pop(old, None)
    for leftover in hidden:
        leftover.unlink(missing_ok=True)
    if pending:
        sync_folder(folder)
        write_manifest(folder, content)
    return content


def stage_copy(source: Path, target: Path) -> Path:
    """`source` again under a hidden name beside `target`: a hard link, or a copy where there are none."""
    staged = temporary_beside(target)
    try:
        staged.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, staged)
        with staged.open("rb") as stream:
            os.fsync(stream.fileno())
    return staged


def _holds(path: Path, digest: str, size: object) -> bool:
    return path.is_file() and path.stat().st_size == size and sha256_of(path) == digest
