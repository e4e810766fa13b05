"""The log pane: follows, pauses, filters by text and level; long lines can be read in full; floods leave the run's own."""

from __future__ import annotations

import pytest
import sample_run as sample
from fake_run import FakeRun, InlinePainter, settle, until
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.engine.events import LogLine
from tui_trainer.screens.app import MLTrainerApp
from tui_trainer.screens.log_history import LOG_LIMIT, SLACK, LogEntry, LogFilter, extended
from tui_trainer.screens.log_pane import HELD, LogPane
from tui_trainer.screens.view import RunView, advance_all, with_output
from tui_trainer.session.wording import cell_width, wrap

SIZES = [(80, 24), (120, 34), (200, 50)]
SIZE = (120, 34)
LONG = "The loader says: " + " ".join(f"word{number}" for number in range(200)) + " end-of-line"


def line(text, level="info"):
    return LogLine(time=sample.START + 15.7, level=level, text=text)


MIXED = [
    *sample.events(20, until_step=700),
    line("a file was odd", "warning"),
    line("a worker died", "error"),
    line("found 3 odd files"),
]


def view_of(*more, output=()):
    return with_output(advance_all(RunView(), [*MIXED, *more]), output, sample.START + 15.8)


def app_for(view):
    return MLTrainerApp(None, painter=InlinePainter(), view=view)


def pane_of(app):
    return app.screen_stack[0].query_one(LogPane)


def shown(app):
    return [item.text for item in pane_of(app)._lines]


def border(app):
    pane = pane_of(app)
    return f"{pane.border_title} | {pane.border_subtitle}"


async def press_after(pilot, *keys):
    await settle(pilot)
    await pilot.press(*keys)
    await pilot.pause()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_very_long_line(snap_compare, size):
    assert snap_compare(app_for(view_of(line(LONG))), terminal_size=size, run_before=settle)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_filtered_log(snap_compare, size):
    async def filtered(pilot):
        await press_after(pilot, "slash", *"odd", "enter")

    view = view_of(output=["a print about odd numbers"])
    assert snap_compare(app_for(view), terminal_size=size, run_before=filtered)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_typing_a_filter_that_matches_nothing(snap_compare, size):
    async def typing(pilot):
        await press_after(pilot, "slash", *"zebra")

    assert snap_compare(app_for(view_of()), terminal_size=size, run_before=typing)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_paused_log_of_warnings(snap_compare, size):
    async def paused(pilot):
        await press_after(pilot, "v", "space")
        app = pilot.app
        app.show(advance_all(app.view, [line("another file was odd", "warning")] * 3))
        pane_of(app).show(app.view)
        await pilot.pause()

    assert snap_compare(app_for(view_of()), terminal_size=size, run_before=paused)


async def test_the_filter_works_as_it_is_typed_and_escape_clears_it():
    async with app_for(view_of()).run_test(size=SIZE) as pilot:
        await settle(pilot)
        everything = shown(pilot.app)
        await pilot.press("slash", *"ODD")
        assert shown(pilot.app) == ["[WARNING] a file was odd", "found 3 odd files"]
        assert "filter: ODD_" in border(pilot.app)
        await pilot.press("backspace", "space", "v")  # keys are text here
        assert "filter: OD v_" in border(pilot.app)
        assert shown(pilot.app) == []
        await pilot.press("ctrl+u", *"worker", "enter")
        assert shown(pilot.app) == ["[ERROR] a worker died"]
        assert 'filter: "worker"' in border(pilot.app)
        await pilot.press("escape")
        assert shown(pilot.app) == everything
        await pilot.press("slash", *"odd", "escape")
        assert shown(pilot.app) == everything
        assert border(pilot.app).startswith("Log |")


async def test_pasted_text_filters_and_other_keys_still_work():
    run = FakeRun(MIXED)
    async with MLTrainerApp(lambda: run, painter=InlinePainter()).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "found 3 odd files" in shown(pilot.app))
        await pilot.press("slash")
        from textual.events import Paste

        pane_of(pilot.app).post_message(Paste("worker\x1b[31m\n"))
        await until(pilot, lambda: shown(pilot.app) == ["[ERROR] a worker died"])
        await pilot.press("p", "enter")  # the p is text
        assert run.commands == []
        await pilot.press("p")
        assert run.commands == [("pause", {})]


async def test_v_goes_through_the_levels():
    view = view_of(output=["step 1", "x.py:3: UserWarning: slow"])
    async with app_for(view).run_test(size=SIZE) as pilot:
        await settle(pilot)
        assert not any("[CHECKPOINT]" in text for text in shown(pilot.app))
        assert "step 1" in shown(pilot.app)
        await pilot.press("v")
        warnings = ["[WARNING] a file was odd", "[ERROR] a worker died", "x.py:3: UserWarning: slow"]
        assert shown(pilot.app) == warnings
        assert "warnings and errors" in border(pilot.app)
        await pilot.press("v")
        assert shown(pilot.app) == ["[ERROR] a worker died"]
        await pilot.press("v")
        assert shown(pilot.app) == ["step 1", "x.py:3: UserWarning: slow"]
        await pilot.press("v")
        assert any("[CHECKPOINT]" in text for text in shown(pilot.app))
        await pilot.press("v")
        assert border(pilot.app).startswith("Log |")


async def test_space_holds_the_log_still_and_end_follows():
    run = FakeRun(MIXED)
    async with MLTrainerApp(lambda: run, painter=InlinePainter()).run_test(size=SIZE) as pilot:
        app = pilot.app
        await until(pilot, lambda: "found 3 odd files" in shown(app))
        pane = pane_of(app)

        def last():
            return pane.render_line(pane.scrollable_content_region.height - 1).text.rstrip()

        await until(pilot, lambda: last().endswith("found 3 odd files"))
        await pilot.press("space")
        assert "paused" in border(app)
        run.emit(*(line(f"new {number}") for number in range(37)))
        await until(pilot, lambda: "paused, 37 new" in border(app))
        assert last().endswith("found 3 odd files")
        await pilot.press("end")
        await until(pilot, lambda: last().endswith("new 36"))
        assert "paused" not in border(app)
        await pilot.press("space")
        assert "paused" in border(app)
        await pilot.press("space")
        assert "paused" not in border(app)


async def test_a_flood_does_not_move_what_a_reader_holds_still():
    async with app_for(view_of()).run_test(size=SIZE) as pilot:
        await settle(pilot)
        app, pane = pilot.app, pane_of(pilot.app)
        await pilot.press("space")
        before = pane.render_line(0).text
        view = app.view
        for burst in range(HELD // 150 + 5):
            view = with_output(view, [f"flood {burst}.{number}" for number in range(200)], sample.START)
            app.show(view)
            pane.show(view)
        await pilot.pause()
        assert pane.render_line(0).text == before
        assert len(pane._lines) < HELD + 300
        await pilot.press("end")
        await until(pilot, lambda: shown(app)[-1] == f"flood {burst}.199")


async def test_the_place_is_kept_when_the_width_changes():
    async with app_for(view_of(line(LONG), *[line(f"later {k}") for k in range(30)])).run_test(
        size=SIZE
    ) as pilot:
        await settle(pilot)
        pane = pane_of(pilot.app)
        await pilot.press("pageup")
        await until(pilot, lambda: "paused" in border(pilot.app))
        await pilot.pause()
        top = pane._lines[pane.scroll_offset.y].number
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: pane._lines[pane.scroll_offset.y].number == top)


async def test_a_long_line_can_be_read_in_full():
    async with app_for(view_of(line(LONG), output=["x" * 15_000])).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        text = " ".join(shown(pilot.app))
        assert LONG in text
        assert text.count("x") >= 15_000


def test_prints_do_not_wash_away_what_the_run_said():
    view = view_of()
    for burst in range(20):
        view = with_output(view, [f"print {burst}.{number}" for number in range(200)], 0.0)
    assert len(view.log) <= LOG_LIMIT + SLACK
    assert any("a worker died" in entry.text for entry in view.log)
    assert view.log[-1].text == "print 19.199"
    numbers = [entry.number for entry in view.log]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == view.log_total


@given(st.lists(st.sampled_from(["info", "output", "debug", "error"]), max_size=3000))
def test_the_log_is_bounded_and_in_order(levels):
    log, total = (), 0
    for start in range(0, len(levels), 130):
        entries = [LogEntry(0.0, level, "") for level in levels[start : start + 130]]
        log, total = extended(log, total, entries)
    assert total == len(levels)
    assert len(log) <= LOG_LIMIT + SLACK
    assert [entry.number for entry in log] == sorted(entry.number for entry in log)


@given(st.text(max_size=300), st.integers(2, 40))
def test_wrapped_pieces_fit_and_nothing_but_spaces_gets_lost(text, width):
    parts = wrap(text, width)
    assert all(cell_width(part) <= width for part in parts)
    assert "".join(parts).replace(" ", "") == text.replace(" ", "")


def test_wrapping_a_huge_line_is_done_in_one_pass():
    assert len(wrap("é" * 200_000, 100)) == 2000


def test_a_filter_matches_whatever_the_case():
    entry = LogEntry(0.0, "info", "Loss 0.1")
    assert LogFilter(text="LOSS").matches(entry)
    assert not LogFilter("errors", "loss").matches(entry)
