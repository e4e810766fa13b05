"""The gate at the end of the Baseline screen: pictures, and what its keys do."""

from __future__ import annotations

import pytest
import sample_gates as samples
import test_snapshots as runs
from gate_app import Judged
from textual.widgets import Input

from tui_trainer.screens.gate_view import GateView
from tui_trainer.screens.keys import GATE_BINDINGS, GATE_KEY
from tui_trainer.screens.log_pane import LogPane
from tui_trainer.screens.mark_list import MarkList

SIZES = [(80, 24), (120, 34), (200, 50)]
sizes = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
BINDINGS = {item.id: item for item in [*GATE_BINDINGS, GATE_KEY]}


@sizes
@pytest.mark.parametrize("state", samples.VIEWS)
def test_a_gate(snap_compare, state, size):
    judged = Judged(samples.VIEWS[state], runs.FAILED if state in ("failing", "again") else None)
    assert snap_compare(judged.app, terminal_size=size, run_before=judged.open)


@sizes
def test_ascii(snap_compare, size):
    judged = Judged(samples.FAILING, ascii=True)
    assert snap_compare(judged.app, terminal_size=size, run_before=judged.open)


@pytest.mark.parametrize("keys", [["enter"], ["s"], ["w"]], ids=["item", "sign", "waive"])
def test_a_dialog(snap_compare, keys):
    judged = Judged(samples.FAILING)

    async def press(pilot):
        await judged.open(pilot, *keys)
        for field in judged.app.screen.query(Input):
            field.cursor_blink = False

    assert snap_compare(judged.app, terminal_size=(100, 30), run_before=press)


@pytest.mark.parametrize("name", BINDINGS)
async def test_a_key_does_something(name):
    judged = Judged(samples.FAILING)
    async with judged.app.run_test(size=(100, 30)) as pilot:
        await judged.open(pilot)

        def seen():
            return judged.app.screen.has_class("-gate"), type(judged.app.screen), list(judged.asked)

        before = seen()
        await pilot.press(BINDINGS[name].key)
        await pilot.pause()
        assert seen() != before


async def test_before_the_run_is_over_there_is_no_gate():
    judged = Judged(None, runs.TRAINING)
    async with judged.app.run_test(size=(120, 34)) as pilot:
        await judged.open(pilot, "t")
        assert not judged.app.screen.has_class("-gate")
        assert judged.app.screen.query_one(LogPane).display


async def test_it_takes_the_log_s_place_and_t_gives_it_back():
    judged = Judged(samples.UNSIGNED)
    async with judged.app.run_test(size=(120, 34)) as pilot:
        await judged.open(pilot)
        screen = judged.app.screen
        assert (screen.gate.display, screen.query_one(LogPane).display) == (True, False)
        await pilot.press("t")
        await pilot.pause()
        assert (screen.gate.display, screen.query_one(LogPane).display) == (False, True)
        assert isinstance(screen.focused, LogPane)
        await pilot.press("t")
        await pilot.pause()
        assert (screen.gate.display, screen.query_one(LogPane).display) == (True, False)


async def test_a_newer_view_does_not_open_it_again():
    judged = Judged(GateView(busy=True))
    async with judged.app.run_test(size=(120, 34)) as pilot:
        await judged.open(pilot, "t")
        judged.app.screen.show_gate(samples.PASSED)
        await pilot.pause()
        assert not judged.app.screen.gate.display


async def test_the_first_thing_missing_is_marked_when_the_checks_are_done():
    judged = Judged(GateView(busy=True))
    async with judged.app.run_test(size=(120, 34)) as pilot:
        await judged.open(pilot)
        judged.app.screen.show_gate(samples.UNSIGNED)
        await pilot.pause()
        items = judged.app.screen.gate.query_one(MarkList)
        assert items.cursor == 7
        assert judged.app.screen.focused is items


async def test_s_signs_the_decision_wherever_the_mark_is():
    judged = Judged(samples.UNSIGNED)
    async with judged.app.run_test(size=(120, 34)) as pilot:
        await judged.open(pilot, "up", "up", "s", *"go", "enter")
        assert judged.asked == [("sign", "decision", "go")]


async def test_w_waives_what_failed():
    judged = Judged(samples.FAILING)
    async with judged.app.run_test(size=(120, 34)) as pilot:
        await judged.open(pilot, "down", "w", *"so", "enter")
        assert judged.asked == [("waive", "loss_fell", "so")]


async def test_what_has_not_failed_is_neither_waived_nor_checked_again():
    judged = Judged(samples.UNSIGNED)
    async with judged.app.run_test(size=(120, 34)) as pilot:
        await judged.open(pilot, "w", "r")
        assert judged.asked == []
        assert len(judged.app._notifications) == 2


async def test_a_run_that_could_not_be_judged_is_judged_again():
    judged = Judged(samples.VIEWS["error"])
    async with judged.app.run_test(size=(120, 34)) as pilot:
        await judged.open(pilot, "r")
        assert judged.asked == [("again",)]


async def test_in_the_log_the_keys_mean_what_they_always_do():
    judged = Judged(samples.UNSIGNED)
    async with judged.app.run_test(size=(120, 34)) as pilot:
        await judged.open(pilot, "t", "s")
        assert judged.asked == []
        assert "The run has not started yet." in next(iter(judged.app._notifications)).message


async def test_the_diagnostics_stand_before_the_gate_while_they_are_open():
    judged = Judged(samples.UNSIGNED)
    async with judged.app.run_test(size=(120, 34)) as pilot:
        await judged.open(pilot, "d")
        screen = judged.app.screen
        assert (screen.gate.display, screen.diagnosis.display) == (False, True)
        await pilot.press("t")
        assert screen.has_class("-gate")
        await pilot.press("escape")
        await pilot.pause()
        assert screen.gate.display
        await pilot.press("s")
        await pilot.pause()
        assert judged.app.screen is not screen


async def test_the_help_names_the_gate_s_keys_once():
    judged = Judged(samples.UNSIGNED)
    async with judged.app.run_test(size=(120, 34)) as pilot:
        await judged.open(pilot, "question_mark")
        groups = judged.app.screen._groups
        assert {item.id for item in groups["On the gate after the run"]} >= {"gate.sign", "view.gate"}
        keys = [key for group in groups.values() for item in group for key in item.key.split(",")]
        assert {key for key in keys if keys.count(key) > 1} <= {"escape", "enter"}  # of the chart as well
