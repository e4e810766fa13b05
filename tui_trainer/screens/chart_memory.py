"""How somebody likes the charts, remembered from one run to the next in a small file of their own."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tui_trainer.engine.manifest import write_atomically
from tui_trainer.screens.chart_options import AXES, MOST_CHARTS, SCALES, SMOOTHINGS, ChartOptions
from tui_trainer.screens.preferences import preferences_folder

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 1
LONGEST_NAME = 300
MOST_SCALES = 50


@dataclass(frozen=True, slots=True)
class ChartMemory:
    """The file, if any: without one nothing is remembered."""

    path: Path | None = None

    @classmethod
    def of_user(cls) -> ChartMemory:
        """The one of whoever runs this."""
        return cls(preferences_folder(os.environ) / "charts.json")

    def load(self) -> tuple[ChartOptions, str]:
        """What was remembered, or the defaults; and a note for the user when the file is there but no good."""
        if self.path is None:
            return ChartOptions(), ""
        try:
            return _parsed(json.loads(self.path.read_text(encoding="utf-8"))), ""
        except FileNotFoundError:
            return ChartOptions(), ""
        except (OSError, ValueError, TypeError, RecursionError):
            return (
                ChartOptions(),
                f"The charts' settings in {self.path} cannot be read: the usual ones are used.",
            )

    def save(self, options: ChartOptions) -> str:
        """Remember `options`; a note for the user when that did not work."""
        if self.path is None:
            return ""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, json.dumps(_plain(options), indent=1) + "\n")
        except OSError as error:
            return f"The charts' settings were not saved to {self.path}: {error.strerror}."
        return ""


def remembered(options: ChartOptions) -> ChartOptions:
    """The part of `options` that outlives the run: not the window, the cursor, nor the runs compared with."""
    return replace(ChartOptions(), charts=options.charts, axis=options.axis, smoothing=options.smoothing,
                   scales=options.scales)  # fmt: skip


def _plain(options: ChartOptions) -> dict[str, Any]:
    return {
        "version": VERSION,
        "charts": list(options.charts),
        "axis": options.axis,
        "smoothing": options.smoothing,
        "scales": dict(options.scales[-MOST_SCALES:]),
    }


def _parsed(content: Any) -> ChartOptions:
    """Raises `ValueError` or `TypeError` for what `_plain` cannot have written."""
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise ValueError("no settings of charts")
    charts, scales = content.get("charts", []), content.get("scales", {})
    axis, smoothing = content.get("axis", "epoch"), content.get("smoothing", 0.6)
    names = isinstance(charts, list) and all(isinstance(name, str) for name in charts)
    if not names or len(charts) > MOST_CHARTS or len(set(charts)) < len(charts):
        raise ValueError("charts")
    if axis not in AXES or smoothing not in SMOOTHINGS or not isinstance(scales, dict):
        raise ValueError("axis, smoothing or scales")
    if not all(isinstance(name, str) and scale in SCALES for name, scale in scales.items()):
        raise ValueError("scales")
    if any(len(name) > LONGEST_NAME for name in (*charts, *scales)):
        raise ValueError("a name")
    return ChartOptions(charts=tuple(charts), axis=axis, smoothing=smoothing, scales=tuple(scales.items()))
