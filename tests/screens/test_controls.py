"""The dialogs of the run's controls: every way through them, by keys and by mouse."""

from __future__ import annotations

import json

import pytest
import sample_run as sample
from fake_run import FakeRun, InlinePainter, saved_run, until
from textual.widgets import Input, OptionList

from tui_trainer.engine.events import CommandHandled, Resumed
from tui_trainer.screens.app import MLTrainerApp
from tui_trainer.screens.control_dialogs import (
    ExtendDialog,
    LearningRateDialog,
    RollBackDialog,
    StopDialog,
    current_rate,
)
from tui_trainer.screens.dialogs import Ask
from tui_trainer.screens.saved import saved_states
from tui_trainer.screens.view import RunView, advance_all

SIZE = (120, 34)


def running(folder=None, **changes):
    events = list(sample.events(20, until_step=200))
    events[0] = sample.started(**changes)
    return FakeRun(events, folder)


class open_app:
    """The app on `run`, once its first view is there."""

    def __init__(self, run, size=SIZE):
        self._context = MLTrainerApp(lambda: run, painter=InlinePainter()).run_test(size=size)

    async def __aenter__(self):
        pilot = await self._context.__aenter__()
        await until(pilot, lambda: pilot.app.view.step is not None and pilot.app.handle is not None)
        await pilot.pause()
        return pilot

    async def __aexit__(self, *error):
        await self._context.__aexit__(*error)


def said(pilot):
    return str(pilot.app.screen.query_one("#said").render())


def notes(pilot):
    return [(note.title, note.message) for note in pilot.app._notifications]


@pytest.mark.parametrize(
    ("keys", "rate"), [("3e-4", 3e-4), ("t", 1e-4), ("h", 5e-4), ("d", 2e-3), ("0.05", 0.05)]
)
async def test_l_sets_a_learning_rate(keys, rate):
    run = running()
    async with open_app(run) as pilot:
        await pilot.press("l")
        assert isinstance(pilot.app.screen, LearningRateDialog)
        await pilot.press(*keys, "enter")
        assert run.commands == [("set_learning_rate", {"learning_rate": pytest.approx(rate)})]
        await until(pilot, lambda: ("Learning rate", "done (epoch 1, step 5)") in notes(pilot))


async def test_the_learning_rate_is_checked_as_one_types():
    run = running()
    async with open_app(run) as pilot:
        await pilot.press("l")
        assert "Type a number" in said(pilot)
        await pilot.press("3", "e")
        assert "Not a number yet" in said(pilot)
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, LearningRateDialog)
        await pilot.press("-", "4")
        assert said(pilot) == "1.00e-03 → 3.00e-04 (×0.3)"
        pilot.app.screen.query_one(Input).value = "-1"
        await pilot.pause()
        assert "positive" in said(pilot)
        pilot.app.screen.query_one(Input).value = "0.5"
        await pilot.pause()
        assert "diverge" in said(pilot)
        await pilot.press("escape")
        assert not isinstance(pilot.app.screen, LearningRateDialog)
    assert run.commands == []


async def test_a_click_fills_in_a_usual_learning_rate():
    run = running()
    async with open_app(run) as pilot:
        await pilot.press("l")
        await pilot.click("#choice-t")
        await pilot.press("enter")
    assert run.commands == [("set_learning_rate", {"learning_rate": pytest.approx(1e-4)})]


async def test_a_click_takes_the_learning_rate_or_leaves_it():
    run = running()
    async with open_app(run) as pilot:
        await pilot.press("l", "h")
        await pilot.click("#choice-Esc")
        assert not isinstance(pilot.app.screen, LearningRateDialog)
        await pilot.press("l", "h")
        await pilot.click("#choice-Enter")
    assert run.commands == [("set_learning_rate", {"learning_rate": pytest.approx(5e-4)})]


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        ("none", "no schedule"),
        ("ReduceLROnPlateau", "lowers it on a plateau"),
        ("OneCycleLR", "keeps its shape"),
    ],
)
async def test_it_is_said_what_the_schedule_does_with_a_new_learning_rate(schedule, text):
    async with open_app(running(facts={"SCHEDULER": [f"Type: {schedule}"]})) as pilot:
        await pilot.press("l")
        shown = " ".join(str(widget.render()) for widget in pilot.app.screen.query("Static"))
        assert text in shown


def test_a_learning_rate_that_was_just_set_is_the_present_one():
    view = advance_all(RunView(), sample.events(20, until_step=200))
    assert current_rate(view) == 1e-3
    answer = CommandHandled(
        time=sample.START, command="set_learning_rate", accepted=True, epoch=5, step=200, message="",
        details={"learning_rate": 2e-5},
    )  # fmt: skip
    assert current_rate(advance_all(view, [answer])) == 2e-5
    later = sample.step(205, learning_rate=3e-5)
    assert current_rate(advance_all(view, [answer, later])) == 3e-5


@pytest.mark.parametrize(("keys", "epochs"), [("30", 30), ("f", 25), ("t", 30), ("d", 40), ("12", 12)])
async def test_e_changes_the_number_of_epochs(keys, epochs):
    run = running()
    async with open_app(run) as pilot:
        await pilot.press("e")
        assert isinstance(pilot.app.screen, ExtendDialog)
        await pilot.press(*keys, "enter")
        assert run.commands == [("extend", {"epochs": epochs})]
        await until(pilot, lambda: pilot.app.view.progress.epochs == epochs)
        await until(pilot, lambda: ("Epochs", "done (epoch 1, step 5)") in notes(pilot))


async def test_epochs_that_cannot_be_are_not_taken():
    run = running()
    async with open_app(run) as pilot:
        await pilot.press("e", "x", "-")
        assert "whole number" in said(pilot)
        pilot.app.screen.query_one(Input).value = "5"
        await pilot.pause()
        assert "Above 5" in said(pilot)
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, ExtendDialog)
        await pilot.press("escape", "e", "2", "0", "enter")
        assert not isinstance(pilot.app.screen, ExtendDialog)
    assert run.commands == []


async def test_more_epochs_are_refused_at_once_where_the_schedule_is_laid_out_for_the_run():
    run = running(fixed_length=True, facts={"SCHEDULER": ["Type: OneCycleLR"]})
    async with open_app(run) as pilot:
        await pilot.press("e")
        assert not isinstance(pilot.app.screen, ExtendDialog)
        assert any("OneCycleLR" in message for _, message in notes(pilot))
    assert run.commands == []


@pytest.mark.parametrize(
    ("key", "command"),
    [
        ("e", ("stop", {"when": "epoch"})),
        ("y", ("stop", {})),
        ("enter", ("stop", {})),
        ("n", None),
        ("escape", None),
        ("q", None),
    ],
)
async def test_s_asks_when_to_stop(key, command):
    run = running()
    async with open_app(run) as pilot:
        await pilot.press("s")
        assert isinstance(pilot.app.screen, StopDialog)
        await pilot.press(key)
        assert not isinstance(pilot.app.screen, StopDialog)
    assert run.commands == ([command] if command else [])


@pytest.mark.parametrize(("key", "details"), [("e", {"when": "epoch"}), ("y", {})])
async def test_a_click_stops_too(key, details):
    run = running()
    async with open_app(run) as pilot:
        await pilot.press("s")
        await pilot.click(f"#choice-{key}")
    assert run.commands == [("stop", details)]


def test_files_of_one_state_are_one_row_and_what_is_not_there_is_none(tmp_path):
    newest, older = saved_states(saved_run(tmp_path), "val_loss", sample.START + 240)
    assert (newest.file, newest.also) == ("checkpoint_epoch_4.pt", ("best_model.pt", "last_model.pt"))
    assert (older.file, older.epoch, older.step, older.metric) == ("checkpoint_epoch_2.pt", 2, 90, "0.5000")
    assert older.age == 320.0
    assert saved_states(tmp_path / "nowhere", "val_loss", 0.0) == []


def test_an_odd_manifest_is_survived(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "a.pt").touch()
    odd = {"epoch": 1, "step": 2, "metrics": None, "saved_at": "yesterday"}
    (folder / "manifest.json").write_text(json.dumps({"files": {"a.pt": odd, "b.pt": {}}, "pending": {}}))
    (state,) = saved_states(tmp_path, "val_loss", 0.0)
    assert (state.metric, state.age) == ("n/a", None)


@pytest.mark.parametrize(
    ("keys", "details"),
    [
        (["enter"], {"file": "checkpoint_epoch_4.pt", "step": 180}),
        (["down", "enter"], {"file": "checkpoint_epoch_2.pt", "step": 90}),
        (["2", "enter"], {"file": "checkpoint_epoch_2.pt", "step": 90}),
        (["2", "t", "enter"], {"file": "checkpoint_epoch_2.pt", "step": 90, "learning_rate_factor": 0.1}),
        (["h", "enter"], {"file": "checkpoint_epoch_4.pt", "step": 180, "learning_rate_factor": 0.5}),
        (["t", "k", "9", "enter"], {"file": "checkpoint_epoch_4.pt", "step": 180}),
    ],
)
async def test_r_goes_back_to_the_chosen_checkpoint_once_asked(keys, details, tmp_path):
    run = running(saved_run(tmp_path))
    async with open_app(run) as pilot:
        await pilot.press("r")
        assert isinstance(pilot.app.screen, RollBackDialog)
        await pilot.press(*keys)
        assert isinstance(pilot.app.screen, Ask)
        assert run.commands == []
        await pilot.press("y")
        assert run.commands == [("roll_back", details)]
        await until(pilot, lambda: ("Roll back", "done (epoch 1, step 5)") in notes(pilot))


async def test_the_question_says_what_is_thrown_away(tmp_path):
    async with open_app(running(saved_run(tmp_path))) as pilot:
        await pilot.press("r", "2", "t", "enter")
        shown = " ".join(str(widget.render()) for widget in pilot.app.screen.query("Static"))
        assert "Roll back to epoch 2, step 90?" in shown
        assert "About 110 steps since then are thrown away" in shown
        assert "attempts/1/" in shown
        assert "÷10" in shown


@pytest.mark.parametrize("keys", [["escape"], ["n"], ["q"], ["2", "enter", "n"], ["2", "enter", "escape"]])
async def test_rolling_back_can_be_left(keys, tmp_path):
    run = running(saved_run(tmp_path))
    async with open_app(run) as pilot:
        await pilot.press("r", *keys)
        assert not isinstance(pilot.app.screen, (RollBackDialog, Ask))
    assert run.commands == []


async def test_checkpoint_and_learning_rate_are_chosen_by_mouse(tmp_path):
    run = running(saved_run(tmp_path))
    async with open_app(run) as pilot:
        await pilot.press("r")
        await pilot.click("#choice-h")
        await pilot.click(OptionList, offset=(5, 1))
        await pilot.click("#choice-y")
    assert run.commands == [
        ("roll_back", {"file": "checkpoint_epoch_2.pt", "step": 90, "learning_rate_factor": 0.5})
    ]


async def test_without_a_checkpoint_that_is_said(tmp_path):
    async with open_app(running(tmp_path)) as pilot:
        await pilot.press("r")
        assert not isinstance(pilot.app.screen, RollBackDialog)
        assert any("no checkpoint yet" in message for _, message in notes(pilot))


@pytest.mark.parametrize("key", ["l", "e", "r", "s", "c", "p"])
async def test_a_run_that_is_over_takes_no_commands(key):
    run = FakeRun(sample.events(3))
    app = MLTrainerApp(lambda: run, painter=InlinePainter())
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.view.is_over)
        await pilot.press(key)
        assert len(app.screen_stack) == 1
        assert any("over already" in note.message for note in app._notifications)
    assert run.commands == []


async def test_a_refusal_is_told_with_its_reason():
    run = running()
    run.accepts = False
    async with open_app(run) as pilot:
        await pilot.press("c")
        await until(pilot, lambda: ("Checkpoint: refused", "not now (epoch 1, step 5)") in notes(pilot))


async def test_answers_to_others_are_not_told_twice():
    run = running()
    async with open_app(run) as pilot:
        run.emit(
            CommandHandled(
                time=sample.START, command="checkpoint", accepted=True, epoch=1, step=5, message="x"
            )
        )
        await until(pilot, lambda: pilot.app.view.answers_total == 1)
        await pilot.pause()
        assert not any(title == "Checkpoint" for title, _ in notes(pilot))


def test_after_a_rollback_the_view_knows_nothing_of_what_came_later():
    events = [*sample.events(20, until_step=500), sample.diagnostic(step=300)]
    back = Resumed(
        time=sample.START, attempt=2, epoch=4, step=180, checkpoint="checkpoint_epoch_4.pt", epochs=25
    )
    view = advance_all(RunView(), [*events, back])
    assert (view.attempt, view.best_epoch, len(view.epochs)) == (2, 4, 4)
    assert view.diagnostics == ()
    assert (view.saved.epoch, view.saved.step) == (4, 180)
    assert view.best_metrics["val_loss"] == view.epochs[-1].metrics["val_loss"]
    assert (view.progress.epochs, view.progress.epochs_done, view.progress.paused_since) == (25, 4, None)
