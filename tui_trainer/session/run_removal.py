"""Deleting a run: the one thing here that cannot be taken back, so it refuses more than it grants."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from typing import TYPE_CHECKING

from tui_trainer.config.errors import RunFolderError
from tui_trainer.session.run_folder import RUN_JSON, is_live, read_run_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def refusal(folder: Path, *, roots: Sequence[Path], present: Path | None) -> str | None:
    """Why this run folder is not to be deleted; None when it may be."""
    try:
        place = folder.resolve(strict=True)
        lies_there = place.parent in [root.resolve() for root in roots]
    except OSError as error:
        return f"it cannot be looked at ({error.strerror})"
    reasons = (
        (folder.is_symlink, "it is a link to a folder elsewhere; remove the link yourself"),
        (lambda: not lies_there, "it does not lie directly in the folder of runs"),
        (lambda: present is not None and place == present.resolve(), "it is the run of this app"),
        (lambda: not _is_ours(place), "it is no run folder that you may change"),
        (lambda: is_live(place), "it is going on; stop it first"),
    )
    return next((reason for holds, reason in reasons if holds()), None)


def _is_ours(folder: Path) -> bool:
    return (folder / RUN_JSON).is_file() and os.access(folder, os.R_OK | os.W_OK | os.X_OK)


def remove_run(folder: Path, run_id: str, *, roots: Sequence[Path], present: Path | None = None) -> None:
    """Delete a run folder with everything in it; links in it are removed, what they point to is not touched.

    `run_id` is that of the run which the user chose ("" where its record cannot be read). The folder leaves the list in
    one step, by a rename beside itself. Raises `RunFolderError` when it is refused, or could not be removed entirely.
    """
    reason = refusal(folder, roots=roots, present=present)
    if reason is None and run_id and _run_id(folder) != run_id:
        reason = "another run stands there by now"
    if reason is not None:
        raise RunFolderError(f"{folder.name} is not deleted: {reason}.")
    doomed = folder.with_name(f".deleted-{secrets.token_hex(4)}-{folder.name}"[:200])
    try:
        folder.rename(doomed)
    except OSError as error:
        raise RunFolderError(f"{folder.name} cannot be deleted ({error.strerror}).") from error
    if is_live(doomed):  # somebody has just begun to go on with it
        doomed.rename(folder)
        raise RunFolderError(f"{folder.name} is not deleted: it is going on again.")
    try:
        shutil.rmtree(doomed)
    except OSError as error:
        raise RunFolderError(
            f"{folder.name} could not be deleted entirely ({error.strerror}). What is left is in {doomed}."
        ) from error


def _run_id(folder: Path) -> str | None:
    with contextlib.suppress(RunFolderError):
        record = read_run_json(folder)
        return str(record["id"]) if record is not None else None
    return None
