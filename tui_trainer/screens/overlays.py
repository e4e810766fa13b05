"""Earlier runs to compare with: their curves, read from their folders' files."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tui_trainer.engine.events import RunStarted, decode
from tui_trainer.screens.recorded import Recorded, key_of, record_all
from tui_trainer.screens.series import Series
from tui_trainer.screens.traces import Trace
from tui_trainer.session.wording import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tui_trainer.engine.events import Event

HEAD = 64 << 10  # bytes of events.jsonl, in which RunStarted stands
READ_AT_MOST = 4 << 20  # bytes of events.jsonl, for a run that ended within its first epoch


@dataclass(frozen=True, slots=True)
class Overlay:
    """One earlier run. `name` is its folder's; `problem` says why nothing of it can be shown."""

    folder: Path
    name: str
    recorded: Recorded = field(default_factory=Recorded)
    problem: str = ""


def read_overlay(folder: Path) -> Overlay:
    """The curves in `folder`: one point an epoch, or all steps of a run without a finished epoch. Never raises."""
    name = clean_text(folder.name, limit=120)
    try:
        recorded = _from_csv(folder)
        if not recorded.traces:
            recorded = record_all(Recorded(), _events(folder, READ_AT_MOST))
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "its files are damaged"
        return Overlay(folder, name, problem=f"{name} cannot be compared with: {reason}.")
    if not recorded.traces:
        return Overlay(folder, name, problem=f"{name} has recorded nothing yet.")
    return Overlay(folder, name, recorded)


def _from_csv(folder: Path) -> Recorded:
    """`epoch_metrics.csv`; steps are counted from the epochs, seconds are the sum of the epochs' times."""
    started = next((event for event in _events(folder, HEAD) if isinstance(event, RunStarted)), None)
    per_epoch = max(1, started.steps_per_epoch) if started is not None else 1
    columns: dict[str, tuple[list[float], list[float]]] = {}
    clock = Series().add([0.0], [0.0])
    try:
        text = (folder / "epoch_metrics.csv").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return Recorded()
    seconds = 0.0
    for row in csv.DictReader(text.splitlines()):
        values = {name: value for name, text in row.items() if name and (value := _number(text)) is not None}
        step = values.pop("epoch", math.nan) * per_epoch
        if not math.isfinite(step):
            continue
        took = values.get("epoch_time", 0.0)
        seconds += took if math.isfinite(took) else 0.0
        clock = clock.add([step], [seconds])
        for name, value in values.items():
            xs, ys = columns.setdefault(name, ([], []))
            xs.append(step)
            ys.append(value)
    traces = {key_of(name): Trace().add(*points) for name, points in columns.items()}
    last = int(clock.xs[-1])
    return Recorded(traces=traces, clock=clock, began=0.0, steps_per_epoch=per_epoch, last_step=last)


def _events(folder: Path, most: int) -> Iterator[Event]:
    """The events in the first `most` bytes."""
    try:
        stream = (folder / "events.jsonl").open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    with stream:
        for line in stream.read(most).splitlines():
            try:
                event = decode(line)
            except (ValueError, TypeError, KeyError):  # not one of ours
                continue
            if event is not None:
                yield event


def _number(text: object) -> float | None:
    try:
        return float(text)  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError):
        return None
