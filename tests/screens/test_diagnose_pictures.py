"""Pictures of the Diagnose screen, in three sizes and with what phase 3 may find."""

from __future__ import annotations

import pytest
import sample_diagnoses as samples
from diagnose_app import Opened

from tui_trainer.screens.panels import ASCII

SIZES = [(80, 24), (120, 34), (200, 50)]
SECTIONS = {
    "curves": "c",
    "fit": "f",
    "gradients": "g",
    "machine": "m",
    "errors": "e",
    "worst": "x",
    "data": "d",
}
MISSING = {"recommendations": "0 complete recommendations; 3 to 5 are asked for. [/red]"}
SHOWN = {
    "overfitting": (samples.view(samples.OVERFITTING), []),
    "long texts": (samples.view(samples.LONG), []),
    "long classes": (samples.view(samples.LONG), ["e"]),
    "long samples": (samples.view(samples.LONG), ["x"]),
    "sick gradients": (samples.view(samples.LONG), ["g"]),
    "target met": (samples.view(samples.MET), []),
    "crashed": (samples.view(samples.CRASHED, 2), []),
    "crashed curves": (samples.view(samples.CRASHED, 2), ["c"]),
    "regression": (samples.view(samples.REGRESSION, 6), []),
    "regression errors": (samples.view(samples.REGRESSION, 6), ["e"]),
    "regression fit": (samples.view(samples.REGRESSION, 6), ["f"]),
    "gate": (samples.view(samples.CRASHED, 2, **MISSING), ["k", "down", "down", "down"]),
    "busy": (samples.BUSY, []),
    "error": (samples.ERROR, []),
    **{name: (samples.view(samples.OVERFITTING), [key]) for name, key in SECTIONS.items()},
}
sizes = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")


@sizes
@pytest.mark.parametrize("shown", SHOWN)
def test_a_diagnosis(snap_compare, shown, size):
    view, keys = SHOWN[shown]
    opened = Opened(view)
    assert snap_compare(opened.app, terminal_size=size, run_before=lambda pilot: opened.open(pilot, *keys))


@sizes
@pytest.mark.parametrize("key", ["i", "c", "g"])
def test_ascii(snap_compare, key, size):
    opened = Opened(samples.view(samples.LONG), signs=ASCII)
    assert snap_compare(opened.app, terminal_size=size, run_before=lambda pilot: opened.open(pilot, key))


def test_no_colour(snap_compare, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    opened = Opened(samples.view(samples.LONG))
    assert snap_compare(opened.app, terminal_size=(120, 34), run_before=lambda pilot: opened.open(pilot, "g"))
