"""A run folder as a session leaves it, without a training."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import sample_run
import yaml

from tui_trainer.engine.events import json_safe

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = {
    "name": "digits-baseline",
    "seed": 42,
    "device": "auto",
    "data": {"target": "digits", "args": {}, "batch_size": 32},
    "model": {"target": "mlp", "args": {"hidden": [128]}},
    "loss": {"target": "cross_entropy", "args": {}},
    "optimizer": {"target": "adam", "learning_rate": 1e-3, "weight_decay": 0.0, "args": {}},
    "scheduler": {"target": "reduce_on_plateau", "args": {"patience": 5}},
    "training": {"epochs": 20, "precision": "fp32"},
    "targets": {"metric": "val_accuracy", "at_least": 0.75},
}


def write_run(
    folder: Path,
    *,
    epochs: int = 20,
    summary: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    diagnostics: list[dict[str, Any]] | None = None,
    rows: dict[int, dict[str, float]] | None = None,
) -> Path:
    """Write the files; `rows` replaces values in single epochs of the CSV."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "training_config.yaml").write_text(yaml.safe_dump(CONFIG | (config or {})), encoding="utf-8")
    (folder / "run.json").write_text(json.dumps({"id": "r1", "name": "digits-baseline", "attempts": 1}))
    finished = [sample_run.epoch_finished(number) for number in range(1, epochs + 1)]
    with (folder / "epoch_metrics.csv").open("w", newline="", encoding="utf-8") as file:
        names = [
            "epoch",
            *finished[0].metrics,
            "learning_rate",
            "grad_norm",
            "epoch_time",
            "samples_per_second",
        ]
        writer = csv.DictWriter(file, [*names, "gpu_util"])
        writer.writeheader()
        for event in finished:
            row: dict[str, Any] = {"epoch": event.epoch, **event.metrics}
            for name in names[1 + len(event.metrics) :]:
                row[name] = getattr(event, name)
            row["gpu_util"] = ""
            writer.writerow(row | (rows or {}).get(event.epoch, {}))
    last = finished[-1].metrics
    content = {
        "status": "completed",
        "epochs": epochs,
        "best_epoch": epochs,
        "best_val_loss": last["val_loss"],
        "final_val_accuracy": last["val_accuracy"],
        "best_val_accuracy": last["val_accuracy"],
        "duration_seconds": 21.4,
        "data_wait": 0.031,
        "samples_per_second": 1545.0,
        "diagnostics": [],
        "run_dir": str(folder),
        "exit_code": 0,
    } | (summary or {})
    (folder / "summary.json").write_text(json.dumps(json_safe(content)), encoding="utf-8")
    manifest = {
        name: {
            "epoch": epochs,
            "step": 45 * epochs,
            "metrics": {"val_loss": last["val_loss"]},
            "sha256": "ab" * 32,
            "size": 121_334,
            "valid": True,
        }
        for name in ("best_model.pt", "last_model.pt")
    }
    (folder / "checkpoints" / "manifest.json").write_text(json.dumps({"files": manifest}), encoding="utf-8")
    text = "".join(json.dumps(json_safe(item)) + "\n" for item in diagnostics or [])
    (folder / "diagnostics.jsonl").write_text(text, encoding="utf-8")
    return folder
