"""The diagnostics panel: fixes, undo, ignoring and closing."""

from __future__ import annotations

import pytest
import sample_diagnostics as samples
import sample_run as sample
from diagnosis_app import LATER, open_app
from fake_run import FakeRun, until

from tui_trainer.engine.events import Resumed
from tui_trainer.screens.chart import Chart
from tui_trainer.screens.dialogs import Ask
from tui_trainer.screens.ignored import load_ignored
from tui_trainer.screens.log_pane import LogPane

# Fixes


@pytest.mark.parametrize("number", [1, 2])
async def test_a_number_applies_the_fix_that_stands_beside_it(number):
    async with open_app(samples.nan_loss(step=480)) as it:
        await it.comes_up()
        assert "0.001 → 0.0001" in it.text()
        await it.press(str(number))
        fix = [samples.LOWER, samples.LOWER_MORE][number - 1]
        assert it.run.commands == [("apply_fix", {"diagnostic": "nan_loss-1", "fix": fix["id"]})]
        await it.closes()
        assert it.app.screen.focused is it.app.screen.query_one(LogPane)
        assert "diagnostics:" not in it.header
        assert any(title == "Fix" for title, _ in it.notes)


@pytest.mark.parametrize("number", range(1, 10))
async def test_each_of_nine_fixes_has_its_key(number):
    fixes = tuple(samples.LOWER | {"id": f"fix-{place}"} for place in range(1, 12))
    async with open_app(samples.overfitting(fixes=fixes)) as it:
        await it.comes_up()
        await it.press(str(number))
        assert it.run.commands == [("apply_fix", {"diagnostic": "overfitting-1", "fix": f"fix-{number}"})]


async def test_a_number_without_a_fix_does_nothing():
    async with open_app(samples.nan_loss(step=480)) as it:
        await it.comes_up()
        await it.press("3", "9")
        assert it.run.commands == []
        assert it.panel.mode == "one"


async def test_one_fix_at_a_time():
    async with open_app(samples.nan_loss(step=480)) as it:
        await it.comes_up()
        it.run.send = lambda command, **details: it.run.commands.append((command, details))  # no answer yet
        await it.press("1", "2", "1")
        assert len(it.run.commands) == 1
        assert "asked for" in it.text()


async def test_a_refused_fix_is_told_and_may_be_asked_for_again():
    run = FakeRun([*sample.events(20, until_step=500), samples.nan_loss(step=480)])
    run.accepts = False
    async with open_app(run=run) as it:
        await it.comes_up()
        await it.press("1")
        await until(it.pilot, lambda: any(title == "Fix: refused" for title, _ in it.notes))
        await it.rest()
        assert it.panel.mode == "one"
        await it.press("2")
        assert len(run.commands) == 2


@pytest.mark.parametrize(("answer", "sent"), [("y", 1), ("n", 0), ("escape", 0)])
async def test_a_fix_that_ends_the_run_asks_first(answer, sent):
    async with open_app(samples.overfitting()) as it:
        await it.comes_up()
        await it.press("3")
        assert isinstance(it.app.screen, Ask)
        assert it.run.commands == []
        await it.press(answer)
        assert len(it.run.commands) == sent


async def test_u_takes_the_last_fix_back():
    async with open_app(samples.nan_loss(step=130, epoch=3)) as it:
        await it.comes_up()
        await it.press("u")  # nothing to take back yet
        assert it.run.commands == []
        await it.press("1")
        await it.closes()
        assert [fix.fix for fix in it.app.view.diagnosed.fixes] == ["lower_lr_10_clip"]
        await it.press("d")
        assert it.panel.mode == "all"
        it.clock.now += LATER
        assert ("u", "Undo") in it.keys
        await it.press("u")
        assert it.run.commands[-1] == ("undo_fix", {})
        await until(it.pilot, lambda: not it.app.view.diagnosed.fixes)
        assert "diagnostics: 1" in it.header
        await until(it.pilot, lambda: ("u", "Undo") not in it.keys)


async def test_the_mark_of_a_fix_stands_on_the_charts_until_it_is_taken_back():
    async with open_app(samples.nan_loss(step=480)) as it:
        await it.comes_up()
        await it.press("1")
        await it.closes()
        pictures = it.app._painter.pictures
        await until(it.pilot, lambda: pictures["chart-0"].marks)
        ((place, words),) = pictures["chart-0"].marks
        assert (place, words[0]) == (3.0, "fix 1: LR 0.001 → 0.0001")
        chart = it.app.screen.query_one("#chart-0", Chart)
        await until(it.pilot, lambda: any("fix 1: LR 0.001" in part for row in chart.rows for part, _ in row))
        it.run.send("undo_fix")
        await until(it.pilot, lambda: not pictures["chart-0"].marks)


async def test_u_pressed_twice_takes_back_one_fix():
    async with open_app(samples.nan_loss(step=130, epoch=3)) as it:
        await it.comes_up()
        await it.press("1")
        await it.closes()
        await it.press("d")
        it.clock.now += LATER
        it.run.send = lambda command, **details: it.run.commands.append((command, details))  # no answer yet
        await it.press("u", "u")
        assert [name for name, _ in it.run.commands] == ["apply_fix", "undo_fix"]


# Ignoring and closing


async def test_i_ignores_it_in_this_run(tmp_path):
    async with open_app(samples.overfitting(), ignored=load_ignored(tmp_path)) as it:
        await it.comes_up()
        await it.press("i")
        assert it.run.commands == [("ignore", {"diagnostic": "overfitting-1", "always": False})]
        await it.closes()
        assert "diagnostics:" not in it.header
        await it.emit(samples.overfitting(message="grown worse"))
        assert it.panel.mode == "closed"
        assert not (tmp_path / "ignored.yaml").exists()


async def test_capital_i_ignores_its_kind_for_good(tmp_path):
    async with open_app(samples.overfitting(), ignored=load_ignored(tmp_path)) as it:
        await it.comes_up()
        await it.press("I")
        assert it.run.commands == [("ignore", {"diagnostic": "overfitting-1", "always": True})]
        await it.closes()
        assert load_ignored(tmp_path).codes == {"overfitting"}
        await it.emit(samples.overfitting(id="overfitting-2", step=600))
        assert it.panel.mode == "closed"
        assert "diagnostics:" not in it.header
    async with open_app(samples.overfitting(), ignored=load_ignored(tmp_path)) as it:  # the next run
        assert it.panel.mode == "closed"
        await it.press("d")
        assert "ignored always" in it.text("#cases")


async def test_a_refusal_to_ignore_is_remembered_nowhere(tmp_path):
    run = FakeRun([*sample.events(20, until_step=500), samples.overfitting()])
    run.accepts = False
    async with open_app(run=run, ignored=load_ignored(tmp_path)) as it:
        await it.comes_up()
        await it.press("I")
        await until(it.pilot, lambda: any(title == "Ignore: refused" for title, _ in it.notes))
        assert not (tmp_path / "ignored.yaml").exists()
        assert it.panel.mode == "one"


async def test_escape_closes_it_and_applies_nothing():
    async with open_app(samples.nan_loss(step=480)) as it:
        await it.comes_up()
        await it.press("escape")
        assert it.panel.mode == "closed"
        assert it.app.screen.query_one(LogPane).display
        assert it.run.commands == []
        assert "diagnostics: 1" in it.header
        await it.emit(samples.nan_loss(step=490, message="4 in a row now"))  # the same one: told already
        assert it.panel.mode == "closed"
        await it.press("1")
        assert it.run.commands == []
        await it.press("d")
        assert (it.panel.mode, it.shown) == ("one", "nan_loss-1")
        assert "4 in a row now" in it.text()


async def test_one_that_has_grown_critical_comes_up_again():
    async with open_app(samples.overfitting()) as it:
        await it.comes_up()
        await it.press("escape")
        await it.emit(samples.overfitting(severity="critical"))
        await it.comes_up()
        assert it.panel.has_class("-critical")


async def test_what_comes_back_after_a_rollback_comes_up_again():
    async with open_app(samples.nan_loss(step=480)) as it:
        await it.comes_up()
        await it.press("escape")
        back = Resumed(time=sample.START, attempt=2, epoch=8, step=360, checkpoint="checkpoint_epoch_8.pt")
        await it.emit(back)
        assert "diagnostics:" not in it.header
        await it.emit(samples.nan_loss(step=480))
        await it.comes_up()
