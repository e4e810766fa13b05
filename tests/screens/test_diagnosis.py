"""The diagnostics panel: when it comes up, what it shows, and what it leaves alone."""

from __future__ import annotations

import pytest
import sample_diagnostics as samples
import sample_run as sample
from diagnosis_app import LATER, SIZE, open_app
from fake_run import FakeRun, until
from textual.widgets import Input
from wording import words_of

from tui_trainer.engine.events import CommandHandled, LogLine, encode
from tui_trainer.screens.chart import Chart
from tui_trainer.screens.dialogs import Help
from tui_trainer.screens.log_pane import LogPane
from tui_trainer.screens.page import Page, RowList
from tui_trainer.screens.replay import ReplayScreen
from tui_trainer.screens.rows import Rows

# Coming up


@pytest.mark.parametrize(
    "told", [samples.nan_loss(step=480), samples.overfitting()], ids=["critical", "warning"]
)
async def test_it_comes_up_by_itself_and_leaves_the_training_in_sight(told):
    async with open_app(told) as it:
        await it.comes_up()
        screen = it.app.screen
        assert it.shown == told.id
        assert told.message[:40] in it.text()
        assert screen.query_one("#chart-0", Chart).region.height >= 8
        assert screen.query_one("#run", Rows).region.height >= 8
        assert not screen.query_one(LogPane).display
        await it.emit(sample.step(505, loss=0.25))
        assert it.app.view.step.step == 505
        assert "step 10/45" in "".join(part for row in screen.query_one("#run", Rows).rows for part, _ in row)
        assert "diagnostics: 1" in it.header


@pytest.mark.parametrize("size", [(80, 24), (120, 34), (200, 50), (80, 15)])
async def test_loss_and_run_panel_stay_visible_in_every_size(size):
    async with open_app(samples.nan_loss(step=480), size=size) as it:
        await it.comes_up()
        run, panel = it.app.screen.query_one("#run").region, it.panel.region
        charts = it.app.screen.query_one("#charts").region
        assert run.height >= 3
        assert panel.height >= 8
        assert not panel.overlaps(run)
        assert not panel.overlaps(charts) or not charts.height
        assert panel.bottom <= size[1] - 1


async def test_what_is_merely_worth_knowing_does_not_come_up_and_is_in_the_list():
    async with open_app(samples.slow()) as it:
        assert it.panel.mode == "closed"
        assert "diagnostics:" not in it.header
        await it.press("d")
        assert it.panel.mode == "all"
        assert "resource_inefficiency" in it.text("#cases")


async def test_the_evidence_and_the_playbook_are_there():
    async with open_app(samples.nan_loss(step=480)) as it:
        await it.comes_up()
        assert "first step" in it.text()
        assert "144" in it.text()
        assert "NaN" in it.text()
        assert "Decision tree" in it.text("#playbook")
        assert "diagnosis:evidence" in it.app._painter.pictures


async def test_in_a_narrow_terminal_the_playbook_stands_below_the_facts():
    async with open_app(samples.nan_loss(step=480), size=(80, 24)) as it:
        await it.comes_up()
        page = it.panel.query_one("#facts", Page)
        assert "Decision tree" in it.text()
        assert "Gradient norm  " in it.text()
        assert it.app.screen.focused is page
        await it.press("pagedown")
        assert page.scroll_y > 0


async def test_it_waits_for_a_dialog_in_which_somebody_types():
    async with open_app() as it:
        await it.press("l")
        await it.emit(samples.nan_loss(step=480))
        await it.press("3", "e", "minus", "4")
        assert it.app.screen.query_one(Input).value == "3e-4"
        assert [title for title, _ in it.notes] == ["Critical: nan_loss"]
        assert it.panel.mode == "closed"
        await it.press("enter")
        await it.comes_up()
        await it.press("1")  # typed too late for the dialog
        assert it.run.commands == [("set_learning_rate", {"learning_rate": 3e-4})]
        it.clock.now += LATER
        await it.press("1")
        assert it.run.commands[-1] == ("apply_fix", {"diagnostic": "nan_loss-1", "fix": "lower_lr_10_clip"})


async def test_it_waits_while_the_filter_of_the_log_is_typed():
    async with open_app() as it:
        await it.press("slash", "1")
        await it.emit(samples.nan_loss(step=480))
        assert it.panel.mode == "closed"
        assert "diagnostics: 1" in it.header
        await it.press("2", "enter")
        await it.comes_up()
        assert it.run.commands == []


async def test_a_dialog_in_front_of_it_keeps_its_keys():
    async with open_app(samples.nan_loss(step=480)) as it:
        await it.comes_up()
        await it.press("l", "1", "u", "i", "enter")
        assert [name for name, _ in it.run.commands] == ["set_learning_rate"]
        await it.press("1")  # the dialog has only just gone
        assert len(it.run.commands) == 1


async def test_a_chart_that_has_the_focus_keeps_it_and_its_keys():
    async with open_app() as it:
        await it.press("f", "f")
        chart = it.app.screen.focused
        assert isinstance(chart, Chart)
        await it.emit(samples.nan_loss(step=480))
        await it.comes_up()
        it.clock.now += LATER
        assert it.app.screen.focused is chart
        await it.press("left", "escape")  # the cursor, and away with it
        assert it.panel.mode == "one"
        assert it.app.screen.focused is chart
        await it.press("1")
        assert it.run.commands[-1][0] == "apply_fix"


# The first moment


@pytest.mark.parametrize("key", ["1", "2", "u", "i", "I", "n", "N", "escape"])
async def test_keys_of_the_first_moment_were_meant_for_something_else(key):
    async with open_app(samples.overfitting(), settled=False) as it:
        await it.comes_up()
        it.clock.now += 0.69
        await it.press(key)
        assert it.run.commands == []
        assert (it.panel.mode, it.shown) == ("one", "overfitting-1")


async def test_after_the_first_moment_keys_work():
    async with open_app(samples.overfitting(), settled=False) as it:
        await it.comes_up()
        it.clock.now += 0.71
        await it.press("2")
        assert it.run.commands == [("apply_fix", {"diagnostic": "overfitting-1", "fix": "find_lr"})]


async def test_other_keys_work_at_once():
    async with open_app(samples.overfitting(), settled=False) as it:
        await it.comes_up()
        await it.press("c", "p")
        assert [name for name, _ in it.run.commands] == ["checkpoint", "pause"]


async def test_when_the_numbers_come_to_mean_other_fixes_keys_wait_again():
    async with open_app(samples.nan_loss(step=480)) as it:
        await it.comes_up()
        await it.emit(samples.nan_loss(step=490, fixes=(samples.LOWER_MORE, samples.LOWER)))
        await it.press("1")
        assert it.run.commands == []
        it.clock.now += LATER
        await it.press("1")
        assert it.run.commands[-1][1]["fix"] == "lower_lr_100_clip"


# Several


async def test_of_two_the_worse_is_shown_first_and_n_turns_to_the_other():
    async with open_app(samples.overfitting(), samples.nan_loss(step=480)) as it:
        await it.comes_up()
        assert it.shown == "nan_loss-1"
        assert "diagnostics: 2" in it.header
        await it.press("n")
        assert it.shown == "overfitting-1"
        await it.press("1")  # turned by hand: no need to wait
        assert it.run.commands[-1][1] == {"diagnostic": "overfitting-1", "fix": "regularise"}


@pytest.mark.parametrize(("keys", "shown"), [("n", 1), ("nn", 2), ("nnn", 0), ("N", 2), ("NN", 1)])
async def test_n_and_capital_n_go_round(keys, shown):
    told = [samples.overfitting(id=f"overfitting-{number}", step=450 + number) for number in (3, 2, 1)]
    async with open_app(*told) as it:
        await it.comes_up()
        await it.press(*keys)
        assert it.shown == f"overfitting-{3 - shown}"


async def test_a_second_one_does_not_change_what_is_being_read():
    async with open_app(samples.overfitting()) as it:
        await it.comes_up()
        await it.emit(samples.nan_loss(step=480))
        assert it.shown == "overfitting-1"
        assert "diagnostics: 2" in it.header
        assert "of 2 open" in str(it.panel.border_subtitle)
        await it.press("1")
        assert it.run.commands[-1][1]["diagnostic"] == "overfitting-1"


async def test_when_one_is_done_the_next_comes_up_and_takes_no_keys_at_first():
    async with open_app(samples.overfitting(), samples.nan_loss(step=480)) as it:
        await it.comes_up()
        await it.press("i")
        await until(it.pilot, lambda: it.panel.mode == "one" and it.shown == "overfitting-1")
        await it.rest()
        await it.press("1")
        assert [name for name, _ in it.run.commands] == ["ignore"]


async def test_the_list_shows_what_became_of_each_and_enter_opens_one():
    told = samples.nan_loss()
    run = FakeRun(
        [*sample.events(20, until_step=146), told, *samples.applied(told, "lower_lr_10_clip", to_step=135)]
    )
    run.emit(*(sample.step(number) for number in range(140, 600, 5)), samples.overfitting(), samples.slow())
    async with open_app(run=run) as it:
        await it.comes_up()
        await it.press("d")
        assert it.panel.mode == "all"
        newest, middle, oldest = it.text("#cases").splitlines()
        assert "resource_inefficiency" in newest
        assert "open" in middle
        assert "fix 1: LR 0.001 → 0.0001" in oldest
        await it.press("down", "enter")  # the mark stands on the one that was shown
        assert (it.panel.mode, it.shown) == ("one", "nan_loss-1")
        assert "applied" in it.text()
        assert not {("i", "Ignore"), ("I", "Always")} & set(it.keys)
        await it.press("1")  # has its fix already
        assert it.run.commands == []
        await it.press("d", "up", "enter")
        assert it.shown == "overfitting-1"


async def test_the_mark_in_the_list_stays_on_its_case_when_another_comes_in():
    async with open_app(samples.overfitting()) as it:
        await it.comes_up()
        await it.press("d")
        await it.emit(samples.nan_loss(step=480), samples.slow(step=500))
        assert it.panel.mode == "all"
        await it.press("enter")
        assert it.shown == "overfitting-1"


async def test_the_list_is_picked_from_by_mouse():
    async with open_app(samples.overfitting(), samples.nan_loss(step=480)) as it:
        await it.comes_up()
        await it.press("d")
        await it.pilot.click(RowList, offset=(5, 1))
        await it.rest()
        assert (it.panel.mode, it.shown) == ("one", "overfitting-1")


async def test_an_empty_list_says_so():
    async with open_app() as it:
        await it.press("d")
        assert "Nothing has been found" in it.text("#cases")
        await it.press("escape")
        assert it.panel.mode == "closed"


# Runs that take no fixes


async def test_a_run_that_is_over_shows_its_diagnostics_and_takes_no_fixes():
    run = FakeRun([*sample.events(20, broken=True)])
    async with open_app(run=run) as it:
        await it.comes_up()
        await it.press("1", "i", "I", "u")
        assert run.commands == []
        assert "the run is over" in it.text()
        await it.press("escape")
        assert it.panel.mode == "closed"


async def test_a_replay_has_badge_list_and_marks_but_no_fixes(tmp_path):
    told = samples.nan_loss()
    events = [
        *sample.events(20, until_step=146),
        told,
        *samples.applied(told, "lower_lr_10_clip", to_step=135),
    ]
    events += [sample.step(number) for number in range(140, 600, 5)]
    events += [samples.overfitting(), sample.finished()]
    (tmp_path / "events.jsonl").write_text("\n".join(map(encode, events)) + "\n")
    async with open_app() as it:
        page = ReplayScreen(it.app._painter, it.app.glyphs, tmp_path, "old")
        it.app.push_screen(page)
        await until(it.pilot, lambda: page.shown.is_over)
        await it.rest()
        assert page.diagnosis.mode == "closed"  # what is past does not come up by itself
        assert "diagnostics: 1" in it.header
        assert it.app._painter.pictures["replay:chart-0"].marks
        await it.press("d")
        assert page.diagnosis.case.told.id == "overfitting-1"
        it.clock.now += LATER
        await it.press("1", "i", "I", "u")
        assert it.run.commands == []
        await it.press("d")
        assert page.diagnosis.mode == "all"
        await it.press("escape")
        assert page.diagnosis.mode == "closed"
        assert it.app.screen is page
        await it.press("escape")
        assert it.app.screen is not page


async def test_help_lists_its_keys():
    async with open_app() as it:
        await it.press("question_mark")
        assert isinstance(it.app.screen, Help)
        text = words_of(it.app.screen.query_one(Page))
        for word in (
            "diagnosis.undo",
            "diagnosis.always",
            "ignored.yaml",
            "diagnosis.fix_1",
            "diagnostics.open",
        ):
            assert word in text


# Odd things


NASTY = "[/red] [bold]x[/] [00] \x1b[2J\x1b]0;t\x07 \u202eabc " + "M" * 10_000


async def test_hostile_text_is_shown_as_text_in_bounds():
    fix = samples.LOWER | {
        "title": NASTY,
        "effect": NASTY,
        "checkpoint": NASTY,
        "config_diff": {NASTY: {"from": NASTY, "to": NASTY}},
    }
    told = samples.nan_loss(
        step=480,
        code=NASTY,
        message=NASTY,
        evidence={NASTY: NASTY, "rows": [NASTY] * 50, "x": {"y": {NASTY: 1}}},
        fixes=(fix,) * 12,
    )
    async with open_app(told, samples.overfitting(message=NASTY)) as it:
        await it.comes_up()
        assert "[/red] [bold]x[/]" in it.text()
        assert "\x1b" not in it.text()
        assert "\u202e" not in it.text()
        assert len(it.panel.query_one("#facts", Page).rows) < 600
        assert "[/red]" in str(it.panel.border_title)
        for key in ("n", "d", "down", "enter", "pagedown", "end"):
            await it.press(key)
        await it.pilot.resize_terminal(40, 12)
        await it.rest()
        await it.pilot.resize_terminal(*SIZE)
        await it.rest()


async def test_malformed_fixes_are_survived():
    told = samples.nan_loss(
        step=480,
        fixes=({}, {"id": 3, "config_diff": [1], "action": None}, {"title": None}),
        evidence={"a": None},
    )
    async with open_app(told) as it:
        await it.comes_up()
        it.run.accepts = False
        await it.press("1", "2", "3")
        assert it.panel.mode == "one"


@pytest.mark.parametrize("size", [(20, 5), (1, 1), (300, 90)])
async def test_any_terminal_size_is_survived(size):
    async with open_app(samples.overfitting(), samples.nan_loss(step=480)) as it:
        await it.comes_up()
        await it.pilot.resize_terminal(*size)
        await it.rest()
        await it.press("d", "d", "n")
        await it.pilot.resize_terminal(*SIZE)
        await it.rest()
        assert it.panel.mode == "one"


async def test_what_the_log_says_of_a_question_without_answer_is_told_here_too():
    said = "overfitting: no answer for 10 minutes; reported, and training goes on."
    async with open_app(samples.overfitting()) as it:
        await it.comes_up()
        await it.emit(LogLine(time=sample.START, level="warning", text=said))
        assert said in it.text().replace("\n", " ")


async def test_the_command_palette_opens_it():
    async with open_app() as it:
        await it.press("ctrl+p", *"Diagnostics")
        await until(
            it.pilot,
            lambda: it.app.screen.query("OptionList") and it.app.screen.query_one("OptionList").option_count,
        )
        await it.press("enter")
        await until(it.pilot, lambda: it.panel.mode == "all")


async def test_the_log_goes_on_where_it_was_once_the_panel_is_closed():
    async with open_app(samples.overfitting()) as it:
        await it.comes_up()
        await it.emit(LogLine(time=sample.START, level="info", text="said meanwhile"))
        await it.press("escape")
        pane = it.app.screen.query_one(LogPane)

        def lines():
            return [pane.render_line(y).text for y in range(pane.scrollable_content_region.height)]

        await until(it.pilot, lambda: any("said meanwhile" in line for line in lines()))


async def test_a_paused_run_says_what_it_waits_for():
    pause = CommandHandled(
        time=sample.START, command="pause", accepted=True, epoch=4, step=480, message="paused"
    )
    async with open_app(samples.nan_loss(step=480), pause) as it:
        await it.comes_up()
        assert "paused until you choose" in it.text()
