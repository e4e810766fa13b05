"""Pictures of the controls' dialogs, where a person decides something."""

from __future__ import annotations

import pytest
import sample_run as sample
from fake_run import FakeRun, InlinePainter, saved_run, settle, until

from tui_trainer.screens import controls
from tui_trainer.screens.app import MLTrainerApp

SIZES = [(80, 24), (120, 34), (200, 50)]
WAYS = {
    "learning rate": ["l"],
    "learning rate chosen": ["l", "t"],
    "learning rate wrong": ["l", *"3e"],
    "epochs": ["e", *"30"],
    "roll back": ["r"],
    "roll back and a tenth": ["r", "2", "t"],
    "roll back asks": ["r", "2", "t", "enter"],
    "stop": ["s"],
}


class FixedTime:
    """Stands for the module `time`."""

    @staticmethod
    def time() -> float:
        return sample.START + 240.0


def _stands(app):
    return app.handle is not None and app.view.step is not None and app.view.step.step == 700


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("way", WAYS)
def test_a_dialog(snap_compare, monkeypatch, tmp_path, way, size):
    monkeypatch.setattr(controls, "time", FixedTime)
    run = FakeRun(sample.events(20, until_step=700), saved_run(tmp_path))
    app = MLTrainerApp(lambda: run, painter=InlinePainter())

    async def press(pilot):
        await until(pilot, lambda: _stands(app))
        await settle(pilot)
        await pilot.press(*WAYS[way])
        for field in app.screen.query("Input"):
            field.cursor_blink = False

    assert snap_compare(app, terminal_size=size, run_before=press)


def test_ascii_without_colour(snap_compare, monkeypatch, tmp_path):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(controls, "time", FixedTime)
    run = FakeRun(sample.events(20, until_step=700), saved_run(tmp_path))
    app = MLTrainerApp(lambda: run, painter=InlinePainter(), ascii=True)

    async def press(pilot):
        await until(pilot, lambda: _stands(app))
        await settle(pilot)
        await pilot.press("r", "2")

    assert snap_compare(app, terminal_size=(80, 24), run_before=press)
