"""The states that a run could be rolled back to, read from its manifest, as rows of a table."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tui_trainer.engine.events import from_json_number
from tui_trainer.engine.manifest import read_manifest
from tui_trainer.session.wording import clean_text, crop, format_duration, format_metric

if TYPE_CHECKING:
    from pathlib import Path

BEST, LAST = "best_model.pt", "last_model.pt"
NAME_WIDTH, ALSO_WIDTH, METRIC_WIDTH = 24, 10, 9
ROW = f" {{:<2}} {{:<{NAME_WIDTH}}} {{:<{ALSO_WIDTH}}} {{:>6}} {{:>8}} {{:>{METRIC_WIDTH}}} {{:>7}}"


@dataclass(frozen=True, slots=True)
class SavedState:
    """A state that is on disk: under `file`, and `also` under other names. `age` in seconds, None where not known."""

    file: str
    also: tuple[str, ...]
    epoch: int
    step: int
    complete: bool
    metric: str
    age: float | None


def saved_states(run: Path, monitor: str, now: float) -> list[SavedState]:
    """The states in a run's checkpoints folder, newest first; files of the same content are one state."""
    folder = run / "checkpoints"
    groups: dict[str, list[str]] = {}
    entries = read_manifest(folder)["files"]
    for name, entry in entries.items():
        if (
            isinstance(entry.get("step"), int)
            and isinstance(entry.get("epoch"), int)
            and (folder / name).exists()
        ):
            groups.setdefault(str(entry.get("sha256", name)), []).append(name)
    states = []
    for names in groups.values():
        names.sort(key=lambda name: (name == LAST, name == BEST, name))  # the one that stays longest first
        states.append(_state(names, entries[names[0]], monitor, now))
    return sorted(states, key=lambda state: (state.step, state.epoch, state.complete), reverse=True)


def _state(names: list[str], entry: dict[str, Any], monitor: str, now: float) -> SavedState:
    metrics = entry.get("metrics")
    value = from_json_number(metrics.get(monitor)) if isinstance(metrics, dict) else None
    age = None
    with contextlib.suppress(ValueError):
        age = max(0.0, now - datetime.fromisoformat(str(entry.get("saved_at"))).timestamp())
    return SavedState(
        file=names[0],
        also=tuple(names[1:]),
        epoch=entry["epoch"],
        step=entry["step"],
        complete=bool(entry.get("epoch_complete")),
        metric=format_metric(monitor, float(value)) if isinstance(value, (int, float)) else "n/a",
        age=age,
    )


def heading(monitor: str) -> str:
    """The table's head, as wide as its rows."""
    name = crop(clean_text(monitor), METRIC_WIDTH)
    return ROW.format("", "checkpoint", "also", "epoch", "step", name, "age")


def table_row(number: int, state: SavedState) -> str:
    """One state; the number is the key that chooses it."""
    short = {BEST: "best", LAST: "last"}
    return ROW.format(
        number if number <= 9 else "",
        crop(clean_text(state.file), NAME_WIDTH),
        crop(", ".join(short.get(name, clean_text(name)) for name in state.also), ALSO_WIDTH),
        f"{state.epoch}" if state.complete else f"in {state.epoch}",
        f"{state.step:,}",
        state.metric,
        "?" if state.age is None else format_duration(state.age),
    )
