"""Run folders of every kind, written by hand: no training, the same on every machine."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

from tests.reports import sample_run as sample
from tui_trainer.config.loading import change_config, dump_config, load_config
from tui_trainer.engine.events import EpochFinished, RunFinished, encode, iso_time, json_safe

HOUR = 3600.0
NOW = sample.START + 5 * HOUR


def write_run(
    folder: Path,
    *,
    name: str = "digits-baseline",
    status: str = "completed",
    started: float = sample.START,
    events=None,
    settings: tuple[str, ...] = (),
    summary: dict | None = None,
    attempts: int = 1,
    **record,
) -> Path:
    """A run folder as the recorder leaves it. `summary` None: none is written."""
    folder.mkdir(parents=True)
    events = list(sample.events(20)) if events is None else list(events)
    events = [replace(event, time=event.time + started - sample.START) for event in events]
    (folder / "events.jsonl").write_text("".join(encode(event) + "\n" for event in events), encoding="utf-8")
    config = change_config(load_config(None).config, [f"name={name}", *settings])
    (folder / "training_config.yaml").write_text(dump_config(config))
    (folder / "epoch_metrics.csv").write_text(_csv(events))
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps(json_safe(summary)))
    going = status in ("running", "paused")
    one = {"started": iso_time(started), "ended": None if going else iso_time(started + 60), "status": status}
    content = {
        "id": f"id-{folder.name}", "name": name, "mode": "baseline", "status": status, "created": iso_time(started),
        "attempts": [{"number": number + 1, **one} for number in range(attempts)], "lineage": None, **record,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(content))
    return folder


def finished(folder: Path, *, status: str = "completed", message: str = "", **changes) -> Path:
    """A run that came to an end by itself."""
    about = {
        "status": status, "message": message, "epochs": 20, "best_epoch": 20, "monitor": "val_loss", "best_val_loss": 0.1003,
        "duration_seconds": 21.4, "diagnostics": [], "device": "cpu", "parameters": 9610, "attempt": 1,
    } | changes.pop("summary", {})  # fmt: skip
    given = list(sample.events(20)) if changes.get("events") is None else list(changes["events"])
    changes["events"] = [
        replace(event, status=status, message=message, summary=about)
        if isinstance(event, RunFinished)
        else event
        for event in given
    ]
    return write_run(folder, status=status, summary=about, **changes)


def _csv(events) -> str:
    rows = [event for event in events if isinstance(event, EpochFinished)]
    if not rows:
        return ""
    names = list(rows[0].metrics)
    lines = [",".join(["epoch", *names, "learning_rate"])]
    for row in rows:
        values = [json_safe(row.metrics[name]) for name in names]
        lines.append(",".join(map(str, [row.epoch, *values, row.learning_rate])))
    return "\n".join(lines) + "\n"


def many_kinds(root: Path) -> Path:
    """A folder of runs as one finds it after a week of work."""
    finished(root / "digits-a", started=sample.START, settings=("optimizer.learning_rate=0.001",))
    finished(
        root / "digits-b",
        name="digits-wide",
        status="early_stopped",
        started=sample.START + HOUR,
        settings=(
            "optimizer.learning_rate=0.01",
            "model.args.hidden=[256, 128]",
            "early_stopping.patience=3",
        ),
        events=[
            sample.epoch_finished(
                event.epoch,
                metrics={
                    key: 1.3 * value if "loss" in key else 0.97 * value
                    for key, value in event.metrics.items()
                },
            )
            if isinstance(event, EpochFinished)
            else event
            for event in sample.events(14)
        ],
        summary={
            "epochs": 14,
            "best_epoch": 12,
            "best_val_loss": 0.1384,
            "duration_seconds": 74.0,
            "parameters": 52_810,
        },
    )
    broken = [
        *sample.events(20, broken=True, until_step=300),
        sample.epoch_finished(7, metrics={"train_loss": math.nan, "val_loss": math.inf, "train_accuracy": 0.1,
                                          "val_accuracy": 0.1}, is_best=False, best_epoch=6, best_value=0.2472),
        sample.finished(),
    ]  # fmt: skip
    finished(
        root / "digits-c", name="digits-lr-10", status="failed", started=sample.START + 2 * HOUR, events=broken,
        message="10 batches in a row were not finite [/red]", settings=("optimizer.learning_rate=10.0",),
        summary={"epochs": 7, "best_epoch": 6, "best_val_loss": 0.2472, "diagnostics": ["nan_loss"], "duration_seconds": 7.9},
    )  # fmt: skip
    write_run(
        root / "digits-d", name="digits-killed-at-night", status="running", started=sample.START + 3 * HOUR,
        events=sample.events(20, until_step=400), attempts=2,
    )  # fmt: skip
    (root / "copied-badly").mkdir()
    (root / "copied-badly" / "run.json").write_text('{"id": "x", "attem')
    (root / "notes").mkdir()
    (root / "README.md").write_text("no run")
    return root
