"""The Diagnose screen's keys: sections, recommendations that are carried into the next run, the gate."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
import sample_diagnoses as samples
from diagnose_app import Opened

from tui_trainer.screens.dialogs import Help
from tui_trainer.screens.keys import DIAGNOSE_BINDINGS, MARK_BINDINGS, MORE_CARRY_KEYS
from tui_trainer.screens.mark_list import MarkList
from tui_trainer.screens.page import Page

OVERFITTING = samples.view(samples.OVERFITTING)
FAILING = samples.view(
    samples.CRASHED, 2, recommendations="0 complete recommendations; 3 to 5 are asked for."
)
AFTER = {
    "mark.up": ["down"],
    "diagnose.issue": ["c"],
    "diagnose.page_up": ["pagedown"],
    "diagnose.sign": ["k"],
    "diagnose.waive": ["k", "down", "down", "down"],
}
BINDINGS = {item.id: item for item in [*MARK_BINDINGS, *DIAGNOSE_BINDINGS, *MORE_CARRY_KEYS]}


def looks(opened):
    """All that a key may change."""
    app = opened.app
    cells = [list(strip) for strip in app.screen._compositor.render_strips()]
    return list(opened.asked), app.clipboard, len(app._notifications), type(app.screen), cells


@pytest.mark.parametrize(
    ("name", "key"), [(name, key) for name in BINDINGS for key in BINDINGS[name].key.split(",")]
)
async def test_a_key_does_something(name, key):
    opened = Opened(FAILING if name in ("diagnose.sign", "diagnose.waive") else OVERFITTING)
    async with opened.app.run_test(size=(100, 30)) as pilot:
        await opened.open(pilot, *AFTER.get(name, []))
        before = looks(opened)
        await pilot.press(key)
        await pilot.pause()
        assert looks(opened) != before


@pytest.mark.parametrize("number", range(1, 6))
async def test_a_number_carries_that_recommendation(number):
    opened = Opened(OVERFITTING)
    async with opened.app.run_test(size=(120, 34)) as pilot:
        await opened.open(pilot, str(number))
        assert opened.asked == [("carry", samples.OVERFITTING.recommendations[number - 1].changes)]


async def test_enter_carries_the_marked_one():
    opened = Opened(OVERFITTING)
    async with opened.app.run_test(size=(120, 34)) as pilot:
        await opened.open(pilot, "down", "down", "enter")
        assert opened.asked == [("carry", samples.SMALLER.changes)]


async def test_what_was_carried_is_marked_and_not_carried_again():
    opened = Opened(OVERFITTING)
    async with opened.app.run_test(size=(120, 34)) as pilot:
        await opened.open(pilot)
        carried = MappingProxyType({"optimizer.weight_decay": 0.0001, "early_stopping.enabled": True})
        opened.screen.show(replace(OVERFITTING, carried=carried))
        await pilot.pause()
        rows = opened.screen.query_one("#recommendations", MarkList).rows
        marked = ["✓" in "".join(text for text, _ in row) for row in rows]
        assert marked == [True, False, False, False, False]  # of early stopping, only one of two changes
        await pilot.press("1")
        assert opened.asked == []
        assert "has it already" in next(iter(opened.app._notifications)).message


async def test_a_refused_change_is_told():
    opened = Opened(OVERFITTING, refusal="model.args.dropout: the model takes no such argument [/red]")
    async with opened.app.run_test(size=(120, 34)) as pilot:
        await opened.open(pilot, "2")
        note = next(iter(opened.app._notifications))
        assert (note.title, note.severity) == ("Not carried", "error")
        assert "[/red]" in note.message


async def test_a_number_without_a_recommendation_does_nothing():
    opened = Opened(samples.view(samples.CRASHED, 2))
    async with opened.app.run_test(size=(120, 34)) as pilot:
        await opened.open(pilot, "5")
        assert opened.asked == []


async def test_in_a_narrow_terminal_numbers_mean_what_can_be_seen():
    opened = Opened(OVERFITTING)
    async with opened.app.run_test(size=(80, 24)) as pilot:
        await opened.open(pilot, "c", "1")
        assert opened.asked == []
        await pilot.press("i", "1")
        assert [what for what, *_ in opened.asked] == ["carry"]


@pytest.mark.parametrize("size", [(80, 24), (120, 34), (200, 50)], ids=str)
async def test_tab_goes_through_all_sections_and_around(size):
    opened = Opened(OVERFITTING)
    async with opened.app.run_test(size=size) as pilot:
        await opened.open(pilot)
        seen = []
        for _ in range(9):
            seen.append(opened.screen._section)
            await pilot.press("tab")
        assert seen == ["Issue", "Curves", "Fit", "Gradients", "Machine", "Errors", "Worst", "Data", "Gate"]
        assert opened.screen._section == "Issue"
        await pilot.press("shift+tab")
        assert opened.screen._section == "Gate"


async def test_a_click_on_a_name_shows_the_section():
    opened = Opened(OVERFITTING)
    async with opened.app.run_test(size=(120, 34)) as pilot:
        await opened.open(pilot)
        assert await pilot.click("#sections", offset=(34, 0))
        assert opened.screen._section == "Gradients"


async def test_a_click_marks_a_recommendation_and_another_carries_it():
    opened = Opened(OVERFITTING)
    async with opened.app.run_test(size=(120, 34)) as pilot:
        await opened.open(pilot)
        assert await pilot.click("#recommendations", offset=(12, 3))
        assert opened.screen.query_one("#recommendations", MarkList).cursor == 3
        assert opened.asked == []
        assert await pilot.click("#recommendations", offset=(12, 3))
        assert opened.asked == [("carry", samples.STOPPING.changes)]


async def test_the_marked_one_shows_its_diff():
    opened = Opened(OVERFITTING)
    async with opened.app.run_test(size=(120, 34)) as pilot:
        await opened.open(pilot, "down", "down", "down")
        details = [
            "".join(text for text, _ in row) for row in opened.screen.query_one("#proposal", Page).rows
        ]
        assert details[0].split() == ["early_stopping.enabled", "false", "→", "true"]
        assert details[1].split() == ["early_stopping.patience", "10", "→", "5"]


async def test_a_long_section_scrolls_and_begins_at_its_top():
    opened = Opened(samples.view(samples.LONG))
    async with opened.app.run_test(size=(80, 24)) as pilot:
        await opened.open(pilot, "e", "pagedown")
        page = opened.screen.query_one("#text", Page)
        assert page.scroll_offset.y > 0
        await pilot.press("c")
        await pilot.pause()
        assert page.scroll_offset.y == 0


async def test_a_waiver_is_asked_for_and_passed_on():
    opened = Opened(FAILING)
    async with opened.app.run_test(size=(120, 34)) as pilot:
        await opened.open(pilot, "k", "down", "down", "down", "w", *"tonight", "enter")
        assert opened.asked == [("waive", "recommendations", "tonight")]


async def test_enter_on_the_gate_shows_the_item_not_the_recommendation():
    opened = Opened(FAILING)
    async with opened.app.run_test(size=(120, 34)) as pilot:
        await opened.open(pilot, "k", "enter")
        assert opened.app.screen is not opened.screen
        assert opened.asked == []
        await pilot.press("escape")
        assert opened.app.screen is opened.screen


async def test_while_it_is_busy_nothing_is_carried_or_begun():
    opened = Opened(samples.BUSY)
    async with opened.app.run_test(size=(120, 34)) as pilot:
        await opened.open(pilot, "1", "enter", "r", "y", "k", "w")
        assert opened.asked == []


async def test_a_view_that_comes_behind_a_dialog_is_shown_afterwards():
    opened = Opened(samples.BUSY)
    async with opened.app.run_test(size=(120, 34)) as pilot:
        await opened.open(pilot, "question_mark")
        assert isinstance(opened.app.screen, Help)
        opened.screen.show(OVERFITTING)
        await pilot.press("escape")
        await pilot.pause()
        assert "Overfitting" in opened.text()


async def test_the_report_s_path_is_copied():
    opened = Opened(OVERFITTING)
    async with opened.app.run_test(size=(120, 34)) as pilot:
        await opened.open(pilot, "y")
        assert opened.app.clipboard == str(samples.FOLDER / "diagnostic_report.md")


async def test_the_help_names_no_key_twice():
    opened = Opened(OVERFITTING)
    async with opened.app.run_test(size=(120, 34)) as pilot:
        await opened.open(pilot, "question_mark")
        named = [item for group in opened.app.screen._groups.values() for item in group]
        keys = [key for item in named for key in item.key.split(",")]
        assert not {key for key in keys if keys.count(key) > 1}
