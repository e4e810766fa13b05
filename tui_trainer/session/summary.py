"""`summary.json`: what a run came to, computed from its metric history."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tui_trainer.engine.events import from_json_number, json_safe

if TYPE_CHECKING:
    from collections.abc import Sequence


def summarize(
    history: Sequence[dict[str, Any]],
    *,
    monitor: str,
    monitor_mode: str,
    metric_names: Sequence[str],
) -> dict[str, Any]:
    """Epochs, best and final values: `best_<metric>` over all epochs, `best_epoch` that of the monitored metric."""
    from tui_trainer.engine.metrics import higher_is_better  # imports torch, which must not delay a start

    rows = [{key: from_json_number(value) for key, value in row.items()} for row in history]
    result: dict[str, Any] = {"epochs": rows[-1]["epoch"] if rows else 0, "monitor": monitor}
    best = _best(rows, monitor, monitor_mode)
    result["best_epoch"] = best["epoch"] if best else None
    for name in ("train_loss", "val_loss", *(f"{p}_{m}" for p in ("train", "val") for m in metric_names)):
        mode = monitor_mode if name == monitor else ("max" if higher_is_better(name) else "min")
        row = _best(rows, name, mode)
        result[f"final_{name}"] = rows[-1].get(name) if rows else None
        result[f"best_{name}"] = row[name] if row else None
    seconds = sum(row["epoch_time"] for row in rows)
    result["training_seconds"] = seconds
    result["samples_per_second"] = _mean(row["samples_per_second"] for row in rows)
    result["data_wait"] = _mean(row["data_wait"] for row in rows)
    result["gpu_util"] = _mean(row["gpu_util"] for row in rows if row.get("gpu_util") is not None)
    result["gpu_hours"] = seconds / 3600 if result["gpu_util"] is not None else None
    content: dict[str, Any] = json_safe(result)
    return content


def _best(rows: Sequence[dict[str, Any]], name: str, mode: str) -> dict[str, Any] | None:
    """The first row with the extreme finite value of `name`."""
    finite = [row for row in rows if isinstance(row.get(name), (int, float)) and math.isfinite(row[name])]
    if not finite:
        return None
    return min(finite, key=lambda row: row[name]) if mode == "min" else max(finite, key=lambda row: row[name])


def _mean(values: Any) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None
