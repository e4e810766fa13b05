"""Pictures of the first screen, in three sizes and in the states a run can be in."""

from __future__ import annotations

import math

import pytest
import sample_run as sample
from fake_run import InlinePainter, settle

from tui_trainer.engine.events import CheckpointFailed, CommandHandled
from tui_trainer.screens.app import MLTrainerApp
from tui_trainer.screens.view import RunView, advance, advance_all

SIZES = [(80, 24), (120, 34), (200, 50)]
TRAINING = advance_all(RunView(), sample.events(20, until_step=700))
FINISHED = advance_all(RunView(), sample.events(20))


def app_for(view, **options):
    return MLTrainerApp(None, painter=InlinePainter(), view=view, **options)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("view", [TRAINING, FINISHED], ids=["training", "finished"])
def test_a_run(snap_compare, view, size):
    assert snap_compare(app_for(view), terminal_size=size, run_before=settle)


def test_before_the_first_event(snap_compare):
    assert snap_compare(app_for(RunView(name="digits-baseline")), terminal_size=(80, 24), run_before=settle)


def test_paused(snap_compare):
    pause = CommandHandled(
        time=sample.START + 15.6, command="pause", accepted=True, epoch=16, step=700, message="paused"
    )
    assert snap_compare(app_for(advance(TRAINING, pause)), terminal_size=(80, 24), run_before=settle)


def test_trouble(snap_compare):
    events = [
        *sample.events(20, broken=True, until_step=300),
        sample.epoch_finished(7, metrics={"train_loss": math.nan, "val_loss": math.inf, "val_accuracy": 0.1}),
        CheckpointFailed(
            time=sample.START + 7, files=("best_model.pt",), epoch=7, step=315, reason="disk full"
        ),
        sample.finished(status="failed", message="the loss did not recover [/red]"),
    ]
    assert snap_compare(app_for(advance_all(RunView(), events)), terminal_size=(120, 34), run_before=settle)


def test_long_names(snap_compare):
    metric = "a_metric_with_a_rather_long_name"
    events = [
        sample.started(name="a-run-whose-name-does-not-fit-into-any-header-" * 3, metrics=(metric,)),
        *(sample.step(number) for number in range(5, 90, 5)),
        sample.epoch_finished(1, metrics={"train_loss": 1.5, "val_loss": 1.4, f"val_{metric}": 123456.789}),
    ]
    assert snap_compare(app_for(advance_all(RunView(), events)), terminal_size=(80, 24), run_before=settle)


def test_ascii(snap_compare):
    assert snap_compare(app_for(TRAINING, ascii=True), terminal_size=(80, 24), run_before=settle)


def test_no_color(snap_compare, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(app_for(TRAINING), terminal_size=(80, 24), run_before=settle)


@pytest.mark.parametrize("size", SIZES[:2], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("key", ["q", "question_mark"])
def test_dialogs(snap_compare, monkeypatch, key, size):
    app = app_for(TRAINING)
    assert snap_compare(app, terminal_size=size, press=[key], run_before=settle)
