"""What a run left in its folder, read back for reports: from the files only, never from memory."""

from __future__ import annotations

import contextlib
import csv
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tui_trainer.engine.events import from_json_number

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of one run, parsed. What is missing or damaged is empty, and named in `missing`."""

    folder: Path
    run: dict[str, Any]
    summary: dict[str, Any]
    config: dict[str, Any]
    epochs: list[dict[str, float | None]]
    checkpoints: dict[str, dict[str, Any]]
    diagnostics: list[dict[str, Any]]
    missing: tuple[str, ...]

    def number(self, key: str) -> float | None:
        """A number of the summary, non-finite words included; None when it is not there."""
        value = from_json_number(self.summary.get(key))
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    def column(self, name: str) -> list[tuple[float, float]]:
        """The (epoch, value) points of one CSV column; rows without a value are left out."""
        points: list[tuple[float, float]] = []
        for row in self.epochs:
            epoch, value = row.get("epoch"), row.get(name)
            if epoch is not None and value is not None:
                points.append((epoch, value))
        return points

    def setting(self, path: str) -> Any:
        """A value of the resolved config by its dotted path; None when it is not there."""
        value: Any = self.config
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return value


def read_run(folder: Path) -> RunFiles:
    """Read what `folder` holds. Never raises for what is missing or damaged."""
    missing: list[str] = []
    run = _json(folder / "run.json", missing)
    summary = _json(folder / "summary.json", missing)
    manifest = _json(folder / "checkpoints" / "manifest.json", missing)
    files = manifest.get("files")
    return RunFiles(
        folder=folder,
        run=run,
        summary=summary,
        config=_yaml(folder / "training_config.yaml", missing),
        epochs=_csv(folder / "epoch_metrics.csv", missing),
        checkpoints={str(name): entry for name, entry in files.items() if isinstance(entry, dict)}
        if isinstance(files, dict)
        else {},
        diagnostics=_diagnostics(folder / "diagnostics.jsonl"),
        missing=tuple(missing),
    )


def _json(path: Path, missing: list[str]) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        missing.append(path.name)
        return {}
    return content if isinstance(content, dict) else {}


def _yaml(path: Path, missing: list[str]) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        missing.append(path.name)
        return {}
    return content if isinstance(content, dict) else {}


def read_table(path: Path) -> list[dict[str, float | None]]:
    """The rows of one of the run's CSV files, cells that are no numbers as None; [] where it cannot be read."""
    return _csv(path, [])


def _csv(path: Path, missing: list[str]) -> list[dict[str, float | None]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        missing.append(path.name)
        return []
    return [{name: _float(text) for name, text in row.items() if name is not None} for row in rows]


def _float(text: Any) -> float | None:
    try:
        return float(text)  # "NaN", "Infinity" and "inf" included
    except (TypeError, ValueError):
        return None


def _diagnostics(path: Path) -> list[dict[str, Any]]:
    """The last line of every id, in the order in which the ids first came."""
    found: dict[str, dict[str, Any]] = {}
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                item = json.loads(line)
                if isinstance(item, dict):
                    found[str(item.get("id", len(found)))] = item
    return list(found.values())


def is_finite(value: float | None) -> bool:
    """Whether there is a value and it is finite."""
    return value is not None and math.isfinite(value)
