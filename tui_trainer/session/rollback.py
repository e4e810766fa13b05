"""Cutting a run folder back to a checkpoint: it then knows nothing of what came later, which lies in `attempts/N/`."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from tui_trainer.engine.checkpoints import LAST
from tui_trainer.engine.events import json_safe
from tui_trainer.engine.manifest import settle, write_atomically, write_manifest
from tui_trainer.session.files import csv_line, cut_csv, epoch_row

if TYPE_CHECKING:
    from pathlib import Path

    from tui_trainer.session.resume import ResumePoint
    from tui_trainer.session.run_folder import RunFolder

_OF_THE_END = (
    "summary.json",
    "baseline_results.md",
    "learning_curves.png",
)  # they speak of an end that is not the end


def roll_back(folder: RunFolder, point: ResumePoint | None, *, same_process: bool = False) -> None:
    """Cut the run's files to `point` (None: to the start); what came later moves to `attempts/N/`.

    A new process raises anew what is raised before the first step; in the `same_process` that stays.

    Checkpoints go first, newest first: a crash at any moment leaves a folder that can be rolled back again, to the
    newest of what then is there. Raises `OSError`.
    """
    attic = folder.path / "attempts" / str(max(len(folder.record["attempts"]), 1))
    epochs = point.complete_epochs if point is not None else 0
    rows = [epoch_row(row) for row in point.state["history"]] if point is not None else []
    for leftover in (*folder.path.glob(".*.tmp"), *attic.glob(".*.tmp")):
        leftover.unlink(missing_ok=True)
    _set_later_checkpoints_aside(folder.checkpoints, point, attic)
    for path in folder.path.glob("*.csv"):
        cut_csv(path, lambda epoch: epoch <= epochs, attic)
    metrics = folder.path / "epoch_metrics.csv"
    if rows:
        write_atomically(
            metrics, csv_line(list(rows[0])) + "".join(csv_line(list(row.values())) for row in rows)
        )
    else:
        metrics.unlink(missing_ok=True)
    if (folder.path / "metrics.json").exists():
        content = json.dumps({"epochs": json_safe(rows)}, indent=1, default=str) + "\n"
        write_atomically(folder.path / "metrics.json", content)
    _cut_diagnostics(
        folder.path / "diagnostics.jsonl", point.step if point is not None else -1, attic, first=same_process
    )
    for name in _OF_THE_END:
        if (folder.path / name).exists():
            attic.mkdir(parents=True, exist_ok=True)
            (folder.path / name).replace(attic / name)
    _end_torn_line(folder.path / "events.jsonl")
    _end_torn_line(folder.path / "training.log")


def kept_diagnostics(folder: RunFolder) -> list[dict[str, Any]]:
    """The diagnostics that a folder that was rolled back still holds; of one id, the last."""
    found = {}
    with contextlib.suppress(OSError):
        for line in (
            (folder.path / "diagnostics.jsonl").read_text(encoding="utf-8", errors="replace").split("\n")
        ):
            item = _object(line)
            if item is not None and "id" in item:
                found[item["id"]] = item
    return list(found.values())


def _object(line: str) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError):
        content = json.loads(line)
        return content if isinstance(content, dict) else None
    return None


def _cut_diagnostics(path: Path, step: int, attic: Path, *, first: bool) -> None:
    """Keep what was raised up to `step`; with `first`, what was raised before the first step too."""
    with contextlib.suppress(FileNotFoundError):
        kept: list[str] = []
        removed: list[str] = []
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n")[
            :-1
        ]:  # the last is torn, or ""
            item = _object(line) or {}
            found = item.get("step")
            if item.get("applied") is not None:  # what was done about it still holds
                kept.append(line + "\n")
                continue
            if found == 0 and not first:
                continue
            (kept if isinstance(found, int) and found <= step else removed).append(line + "\n")
        if removed:
            attic.mkdir(parents=True, exist_ok=True)
            write_atomically(attic / path.name, "".join(removed))
        write_atomically(path, "".join(kept))


def _end_torn_line(path: Path) -> None:
    """A line that a crash cut short gets its newline, so that the next one stands alone."""
    with contextlib.suppress(FileNotFoundError), path.open("rb+") as stream:
        if stream.seek(0, 2):
            stream.seek(-1, 2)
            if stream.read(1) != b"\n":
                stream.write(b"\n")


def _set_later_checkpoints_aside(checkpoints: Path, point: ResumePoint | None, attic: Path) -> None:
    content = settle(checkpoints)
    here = (
        (-1, -1, False) if point is None else (point.step, point.epoch, bool(point.state["epoch_complete"]))
    )

    def place(name: str) -> tuple[int, int, bool]:
        entry = content["files"][name]
        return entry["step"], entry["epoch"], bool(entry.get("epoch_complete"))

    def is_later(name: str) -> bool:
        """The last state may have been changed where it stood (a learning rate that was set), and saved again."""
        if point is None or name != LAST or place(name) != here:
            return place(name) > here
        chosen = content["files"].get(point.path.name)
        return chosen is not None and content["files"][name].get("sha256") != chosen.get("sha256")

    names = sorted(content["files"], key=place, reverse=True)
    gone = [name for name in names if not (checkpoints / name).exists()]
    later = [name for name in names if name not in gone and is_later(name)]
    for name in later:
        if point is None or checkpoints / name != point.path:
            attic.mkdir(parents=True, exist_ok=True)
            (checkpoints / name).replace(attic / name)
    if gone or later:
        for name in {*gone, *later}:
            del content["files"][name]
        write_manifest(checkpoints, content)
