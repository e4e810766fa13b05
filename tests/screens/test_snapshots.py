"""Pictures of the first screen, in three sizes and in the states a run can be in."""

from __future__ import annotations

import math

import pytest
import sample_run as sample
from fake_run import FakeRun, InlinePainter, settle, until
from textual.command import CommandInput, CommandList

from tui_trainer.engine.events import CheckpointFailed, CommandHandled
from tui_trainer.screens.app import MLTrainerApp
from tui_trainer.screens.preferences import Preferences
from tui_trainer.screens.view import RunView, advance, advance_all

SIZES = [(80, 24), (120, 34), (200, 50)]
TRAINING = advance_all(RunView(), sample.events(20, until_step=700))
FINISHED = advance_all(RunView(), sample.events(20))


def app_for(view, **options):
    return MLTrainerApp(None, painter=InlinePainter(), view=view, **options)


PAUSED = advance(
    TRAINING,
    CommandHandled(
        time=sample.START + 15.6, command="pause", accepted=True, epoch=16, step=700, message="paused"
    ),
)
LOST = (
    "10 batches in a row, up to step 325 of epoch 7, gave a non-finite loss or gradient (first in layers.0.weight); "
    "none was used for an update. Lower optimizer.learning_rate 10x, set training.gradient_clip_norm: 1.0, or look for "
    "bad samples [/red]; then start again from the last good checkpoint."
)
FAILED = advance_all(
    RunView(),
    [
        # without the diagnostic, whose panel has pictures of its own
        *(event for event in sample.events(20, broken=True, until_step=300) if event.kind != "diagnostic"),
        sample.epoch_finished(7, metrics={"train_loss": math.nan, "val_loss": math.inf, "val_accuracy": 0.1}),
        CheckpointFailed(
            time=sample.START + 7, files=("best_model.pt",), epoch=7, step=315, reason="disk full"
        ),
        sample.finished(status="failed", message=LOST),
    ],
)
METRIC = "a_metric_of_thirty_characters_"
LONG_NAMES = advance_all(
    RunView(),
    [
        sample.started(name="a-run-whose-name-does-not-fit-into-any-header-" * 3, metrics=(METRIC,)),
        *(sample.step(number) for number in range(5, 90, 5)),
        sample.epoch_finished(1, metrics={"train_loss": 1.5, "val_loss": 1.4, f"val_{METRIC}": 123456.789}),
    ],
)
STATES = {
    "starting": RunView(name="digits-baseline"),
    "training": TRAINING,
    "paused": PAUSED,
    "finished": FINISHED,
    "failed": FAILED,
    "long names": LONG_NAMES,
}
sizes = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")


@sizes
@pytest.mark.parametrize("state", STATES)
def test_a_run(snap_compare, state, size):
    assert snap_compare(app_for(STATES[state]), terminal_size=size, run_before=settle)


@sizes
def test_ascii(snap_compare, size):
    assert snap_compare(app_for(PAUSED, ascii=True), terminal_size=size, run_before=settle)


@sizes
def test_no_color(snap_compare, monkeypatch, size):
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(app_for(FAILED), terminal_size=size, run_before=settle)


@sizes
@pytest.mark.parametrize("key", ["q", "question_mark"])
def test_dialogs(snap_compare, key, size):
    assert snap_compare(app_for(TRAINING), terminal_size=size, press=[key], run_before=settle)


@sizes
def test_saving(snap_compare, size):
    run = FakeRun(sample.events(20, until_step=700), obeys_stop=False)
    app = MLTrainerApp(lambda: run, painter=InlinePainter())

    async def leave(pilot):
        await until(pilot, lambda: app.view.step is not None and app.view.step.step == 700)
        await settle(pilot)
        await pilot.press("q", "y")

    assert snap_compare(app, terminal_size=size, run_before=leave)


@sizes
def test_the_first_time(snap_compare, tmp_path, size):
    app = app_for(TRAINING, preferences=Preferences(tmp_path, welcomed=False))
    assert snap_compare(app, terminal_size=size, run_before=settle)


@sizes
def test_the_palette(snap_compare, size):
    async def look_up(pilot):
        await settle(pilot)
        await pilot.press("ctrl+p", *"learn")
        palette = pilot.app.screen
        await until(pilot, lambda: palette.query_one(CommandList).option_count)
        palette.query_one(CommandInput).cursor_blink = False

    assert snap_compare(app_for(TRAINING), terminal_size=size, run_before=look_up)


def test_high_contrast(snap_compare):
    app = app_for(FAILED, preferences=Preferences(theme="high-contrast"))
    assert snap_compare(app, terminal_size=(120, 34), run_before=settle)


def test_ascii_dialogs_have_ascii_borders(snap_compare):
    app = app_for(TRAINING, ascii=True)
    assert snap_compare(app, terminal_size=(80, 24), press=["m"], run_before=settle)
