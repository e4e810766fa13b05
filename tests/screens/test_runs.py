"""The runs screen: every key, and pictures of the list, of comparisons and of runs that are replayed."""

from __future__ import annotations

import math
import shutil

import pytest
import sample_run as sample
from fake_run import FakeRun, InlinePainter, until
from wording import words_of

from tests.screens.run_folders import NOW, finished, many_kinds, write_run
from tests.session.test_run_index import held
from tui_trainer.engine.events import encode
from tui_trainer.screens.app import MLTrainerApp
from tui_trainer.screens.chart import Chart
from tui_trainer.screens.comparison import CompareScreen, curves_of, table_rows
from tui_trainer.screens.dialogs import Ask, Confirm, Help
from tui_trainer.screens.log_pane import LogPane
from tui_trainer.screens.page import Page
from tui_trainer.screens.replay import ReplayScreen
from tui_trainer.screens.rows import Rows
from tui_trainer.screens.run_table import in_order
from tui_trainer.screens.runs import RunsScreen, RunTable
from tui_trainer.session.comparison import compare
from tui_trainer.session.run_index import RunIndex

SIZES = [(80, 24), (120, 34), (200, 50)]
SIZE = SIZES[1]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A project folder with runs of every kind, as the working directory."""
    monkeypatch.chdir(tmp_path)
    many_kinds(tmp_path / "checkpoints")
    return tmp_path


@pytest.fixture(autouse=True)
def fixed_clock(monkeypatch):
    """What a live run took, and which year it is, are the same in every test."""
    monkeypatch.setitem(RunsScreen.__init__.__kwdefaults__, "clock", lambda: NOW)


def app_for(*, run: FakeRun | None = None, **options) -> MLTrainerApp:
    return MLTrainerApp((lambda: run) if run is not None else None, painter=InlinePainter(), **options)


async def opened(pilot) -> RunsScreen:
    """Open the list and wait until it stands, with the sizes of the runs."""
    await pilot.press("o")
    await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))
    screen = pilot.app.screen
    await until(pilot, lambda: screen._listed and not screen._reading)
    await pilot.pause()
    return screen


def names(screen) -> list[str]:
    table = screen.query_one(RunTable)
    return [str(table.get_row_at(row)[1]) for row in range(table.row_count)]


def text_of(screen, selector) -> str:
    rows = screen.query_one(selector, Rows).rows
    return "\n".join("".join(part for part, _ in row) for row in rows)


def notes(app) -> str:
    return "\n".join(note.message for note in app._notifications)


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("key", ["f6", "o"])
async def test_a_key_opens_the_list_and_escape_goes_back(here, key):
    app = app_for()
    async with app.run_test(size=SIZE) as pilot:
        own = app.screen
        await pilot.press(key)
        assert isinstance(app.screen, RunsScreen)
        await pilot.press(key)
        assert len(app.screen_stack) == 2
        await pilot.press("escape")
        assert app.screen is own


async def test_the_palette_opens_it_too(here):
    app = app_for()
    async with app.run_test(size=SIZE):
        assert "Runs" in [command.title for command in app.get_system_commands(app.screen)]


async def test_the_newest_run_comes_first_and_keys_sort_by_other_columns(here):
    app = app_for()
    async with app.run_test(size=SIZE) as pilot:
        screen = await opened(pilot)
        newest = ["digits-killed-at-night", "digits-lr-10", "digits-wide", "digits-baseline", "copied-badly"]
        assert names(screen) == newest
        await pilot.press("r")
        assert names(screen) == [*reversed(newest[:-1]), "copied-badly"]
        await pilot.press("s")  # duration, longest first
        assert names(screen)[0] == "digits-wide"
        await pilot.press("S", "S", "S")  # started, epochs, best
        assert names(screen) == [
            "digits-baseline", "digits-wide", "digits-killed-at-night", "digits-lr-10", "copied-badly",
        ]  # fmt: skip
        await pilot.press("r")
        assert names(screen)[0] == "digits-lr-10"
        assert names(screen)[-1] == "copied-badly"


async def test_a_click_on_a_column_sorts_by_it_and_another_one_turns_it_round(here):
    app = app_for()
    async with app.run_test(size=SIZE) as pilot:
        screen = await opened(pilot)
        await pilot.click(RunTable, offset=(8, 0))
        await pilot.pause()
        first = names(screen)
        assert first == sorted(first)
        await pilot.click(RunTable, offset=(8, 0))
        await pilot.pause()
        assert names(screen) == first[::-1]


async def test_the_cursor_stays_on_its_run_when_the_order_changes(here):
    app = app_for()
    async with app.run_test(size=SIZE) as pilot:
        screen = await opened(pilot)
        await pilot.press("down", "down")
        assert "digits-b" in text_of(screen, "#details")
        await pilot.press("r", "s")
        assert "digits-b" in text_of(screen, "#details")


async def test_enter_replays_a_run_and_escape_goes_back(here):
    app = app_for()
    async with app.run_test(size=SIZE) as pilot:
        screen = await opened(pilot)
        await pilot.press("end", "up", "enter")
        await until(pilot, lambda: isinstance(app.screen, ReplayScreen) and app.screen.shown.is_over)
        header = text_of(app.screen, "#header")
        assert "REPLAY" in header
        assert "digits-baseline" in header
        assert len(app.screen.shown.epochs) == 20
        await pilot.press("escape")
        assert app.screen is screen


async def test_a_live_run_is_followed_read_only(here):
    folder = write_run(here / "checkpoints" / "live", name="live", status="running", started=NOW - 60,
                       events=sample.events(20, until_step=300))  # fmt: skip
    app = app_for()
    with held(folder):
        async with app.run_test(size=SIZE) as pilot:
            screen = await opened(pilot)
            assert "1 live" in text_of(screen, "#header")
            await pilot.press("home", "enter")
            await until(
                pilot, lambda: isinstance(app.screen, ReplayScreen) and app.screen.shown.step is not None
            )
            assert "LIVE, READ ONLY" in text_of(app.screen, "#header")
            before = app.screen.shown.step.step
            with (folder / "events.jsonl").open("a") as stream:
                stream.write(encode(sample.step(before + 5)) + "\n")
            await until(pilot, lambda: app.screen.shown.step.step == before + 5)
            await pilot.press("escape", "escape")


async def test_enter_on_the_own_run_goes_back_to_it(here):
    run = FakeRun(sample.events(20, until_step=200), folder=here / "checkpoints" / "digits-a")
    app = app_for(run=run)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.handle is not None)
        own = app.screen
        screen = await opened(pilot)
        assert any("(this run)" in name for name in names(screen))
        await pilot.press("end", "up", "enter")
        await until(pilot, lambda: app.screen is own)


async def test_keys_of_the_own_run_do_nothing_while_others_are_looked_at(here):
    run = FakeRun(sample.events(20, until_step=200), folder=here / "checkpoints" / "digits-a")
    app = app_for(run=run)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.view.step is not None)
        await opened(pilot)
        await pilot.press("p", "c", "l", "e")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ReplayScreen))
        await pilot.press("p", "c", "l", "e", "s", "r")
        assert isinstance(app.screen, ReplayScreen)
        assert run.commands == []
        run.emit(sample.step(600))  # the own run's news stay on the own screen
        await until(pilot, lambda: app.view.step.step == 600)
        await until(pilot, lambda: app.screen.shown.step is not None)
        assert app.screen.shown.step.step != 600


async def test_space_marks_and_c_compares(here):
    app = app_for()
    async with app.run_test(size=SIZE) as pilot:
        screen = await opened(pilot)
        await pilot.press("c")
        assert "Mark two runs" in notes(app)
        await pilot.press("space")
        assert "1 marked" in text_of(screen, "#header")
        await pilot.press("up", "space")
        assert "marked" not in text_of(screen, "#header")
        await pilot.press("space", "space", "up", "c")
        await until(
            pilot, lambda: isinstance(app.screen, CompareScreen) and app.screen._comparison is not None
        )
        assert len(app.screen._runs) == 2
        await pilot.press("escape")
        assert app.screen is screen


async def test_m_shows_the_next_metric_of_compared_runs(here):
    app = app_for()
    async with app.run_test(size=SIZE) as pilot:
        await opened(pilot)
        await pilot.press("space", "space", "c")
        await until(
            pilot, lambda: isinstance(app.screen, CompareScreen) and app.screen._comparison is not None
        )

        def title():
            return str(app.screen.query_one("#left", Chart).border_title)

        assert "val_loss" in title()
        await pilot.press("m")
        assert "train_accuracy" in title()
        await pilot.press("M")
        assert "val_loss" in title()


async def test_too_many_runs_are_not_compared(here):
    for number in range(8):
        finished(here / "checkpoints" / f"more-{number}")
    app = app_for()
    async with app.run_test(size=SIZE) as pilot:
        screen = await opened(pilot)
        await pilot.press(*["space"] * 7, "c")
        assert app.screen is screen
        assert "At most 6" in notes(app)


@pytest.mark.parametrize("answer", ["n", "escape", "enter"])
async def test_x_asks_and_only_y_deletes(here, answer):
    folder = here / "checkpoints" / "digits-c"
    app = app_for()
    async with app.run_test(size=SIZE) as pilot:
        screen = await opened(pilot)
        await pilot.press("down", "x")
        assert isinstance(app.screen, Confirm)
        asked = " ".join(str(widget.render()) for widget in app.screen.query("Static"))
        assert "digits-c" in asked
        assert "kB" in asked
        await pilot.press(answer)
        await pilot.pause()
        assert folder.exists()
        await pilot.press("delete", "y")
        await until(pilot, lambda: not folder.exists())
        await until(pilot, lambda: "digits-lr-10" not in names(screen))
        assert "digits-c is deleted" in notes(app)
    assert len(list((here / "checkpoints").iterdir())) == 6


async def test_a_live_run_is_not_deleted(here):
    folder = write_run(here / "checkpoints" / "live", status="running", started=NOW - 60)
    app = app_for()
    with held(folder):
        async with app.run_test(size=SIZE) as pilot:
            screen = await opened(pilot)
            await pilot.press("home", "x")
            assert app.screen is screen
            assert "it is going on" in notes(app)
    assert folder.exists()


async def test_the_own_run_is_not_deleted(here):
    app = app_for(run=FakeRun(sample.events(20), folder=here / "checkpoints" / "digits-a"))
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.handle is not None)
        screen = await opened(pilot)
        await pilot.press("end", "up", "x")
        assert app.screen is screen
        assert "the run of this app" in notes(app)
    assert (here / "checkpoints" / "digits-a").exists()


async def test_help_tells_the_keys_of_the_list(here):
    app = app_for()
    async with app.run_test(size=SIZE) as pilot:
        await opened(pilot)
        await pilot.press("question_mark")
        assert isinstance(app.screen, Help)
        shown = words_of(app.screen.query_one(Page))
        for tooltip in ("Compare the marked runs", "Mark this run for comparing", "Delete this run for good"):
            assert tooltip in shown


@pytest.mark.parametrize("key", ["ctrl+q", "ctrl+c"])
async def test_leaving_from_the_list_asks_while_the_run_is_training(here, key):
    app = app_for(run=FakeRun(sample.events(20, until_step=200), folder=here / "checkpoints" / "digits-a"))
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.handle is not None)
        screen = await opened(pilot)
        await pilot.press(key)
        assert isinstance(app.screen, Ask)
        await pilot.press("escape")
        assert app.screen is screen


async def test_q_goes_back_page_by_page_and_leaves_only_at_last(here):
    app = app_for(run=FakeRun(sample.events(20), folder=here / "checkpoints" / "digits-a"))
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.view.is_over)
        screen = await opened(pilot)
        await pilot.press("enter")
        assert isinstance(app.screen, ReplayScreen)
        await pilot.press("q")
        assert app.screen is screen
        await pilot.press("space", "space", "c")
        assert isinstance(app.screen, CompareScreen)
        await pilot.press("q", "q")
        assert len(app.screen_stack) == 1
        await pilot.press("q")
        await until(pilot, lambda: app.return_value is not None)


async def test_a_run_that_begins_or_vanishes_shows_up(here):
    app = app_for()
    async with app.run_test(size=SIZE) as pilot:
        screen = await opened(pilot)
        finished(here / "checkpoints" / "fresh", name="fresh", started=NOW)
        shutil.rmtree(here / "checkpoints" / "digits-d")
        screen._look()
        await until(pilot, lambda: names(screen)[0] == "fresh")
        assert "digits-killed-at-night" not in names(screen)


async def test_text_from_outside_is_never_markup(here):
    nasty = "[/red] [bold]x[/] \x1b[31m"
    finished(here / "checkpoints" / "[x]", status="failed", message=nasty, summary={"diagnostics": [nasty]},
             started=NOW, events=[sample.started(name=nasty), sample.finished(status="failed")])  # fmt: skip
    app = app_for()
    async with app.run_test(size=(200, 50)) as pilot:
        screen = await opened(pilot)
        await pilot.press("home")
        assert "[/red] [bold]x[/] " in text_of(screen, "#details")
        await pilot.press("space", "space", "c")
        await until(
            pilot, lambda: isinstance(app.screen, CompareScreen) and app.screen._comparison is not None
        )
        await pilot.press("escape", "home", "x", "n", "enter")
        await until(pilot, lambda: isinstance(app.screen, ReplayScreen) and app.screen.shown.is_over)


@pytest.mark.parametrize("size", [(20, 5), (1, 1), (300, 90)])
async def test_any_terminal_size_is_survived(here, size):
    app = app_for()
    async with app.run_test(size=SIZE) as pilot:
        screen = await opened(pilot)
        for _ in range(2):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            await pilot.resize_terminal(*SIZE)
            await pilot.pause()
            await pilot.press("space", "space", "c")
        assert len(names(screen)) == 5


# ── what stands in them ─────────────────────────────────────────────────────────────────────────────────────


def test_runs_without_a_value_come_last_whichever_the_direction(tmp_path):
    runs = RunIndex([many_kinds(tmp_path)]).refresh()
    for falling in (False, True):
        ordered = in_order(runs, "best", falling=falling, now=NOW, sizes={})
        assert ordered[-1].name == "copied-badly"


def test_compared_runs_show_where_they_differ_and_which_was_better(tmp_path):
    runs = sorted(RunIndex([many_kinds(tmp_path)]).refresh(), key=lambda run: run.folder.name)[1:4]
    comparison = compare(runs)
    assert {item.key: item.values for item in comparison.settings} == {
        "optimizer.learning_rate": (0.001, 0.01, 10.0),
        "model.args.hidden": ([128], [256, 128], [128]),
        "early_stopping.patience": (10, 3, 10),
    }
    rows = dict(table_rows(comparison, NOW))
    assert [role for _, role in rows["best val_loss"]] == ["good", "text", "text"]
    assert rows["last train_loss"][2] == ("NaN", "bad")
    curves, broken = curves_of(comparison, "train_loss", 60)
    assert [curve.label for curve in curves] == ["A", "B", "C"]
    assert broken == ["C: 1 non-finite"]
    assert all(math.isfinite(y) for curve in curves for y in curve.ys)


def test_a_run_whose_config_cannot_be_read_is_compared_all_the_same(tmp_path):
    runs = sorted(RunIndex([many_kinds(tmp_path)]).refresh(), key=lambda run: run.folder.name)[1:4]
    (runs[1].folder / "training_config.yaml").write_text("modle: 3")
    rows = table_rows(compare(runs), NOW)
    assert any(label.startswith("B: ") and "modle" in label for label, _ in rows)
    assert dict(rows)["optimizer.learning_rate"][1] == ("?", "warn")


# ── pictures ────────────────────────────────────────────────────────────────────────────────────────────────

sizes = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")


@sizes
def test_list(snap_compare, here, size):
    async def look(pilot):
        await opened(pilot)
        await pilot.press("space", "space")
        await pilot.pause()

    assert snap_compare(app_for(), terminal_size=size, run_before=look)


@sizes
def test_empty_list(snap_compare, tmp_path, monkeypatch, size):
    monkeypatch.chdir(tmp_path)
    assert snap_compare(app_for(), terminal_size=size, run_before=opened)


@sizes
def test_compared(snap_compare, here, size):
    async def look(pilot):
        await opened(pilot)
        await pilot.press("down", "space", "space", "space", "c")
        await until(pilot, lambda: getattr(pilot.app.screen, "_comparison", None) is not None)
        charts = pilot.app.screen.query(Chart)
        await until(pilot, lambda: all(chart.rows for chart in charts if chart.size.height))
        await pilot.pause()

    assert snap_compare(app_for(), terminal_size=size, run_before=look)


@sizes
@pytest.mark.parametrize("moves", [["end", "up"], ["down"]], ids=["finished", "failed"])
def test_replayed(snap_compare, here, moves, size):
    async def look(pilot):
        await opened(pilot)
        await pilot.press(*moves, "enter")
        await until(
            pilot, lambda: isinstance(pilot.app.screen, ReplayScreen) and pilot.app.screen.shown.is_over
        )
        screen = pilot.app.screen
        log = screen.query_one(LogPane)
        await until(pilot, lambda: log.max_scroll_y == log.scroll_y > 0)
        charts = screen.query(Chart)
        await until(pilot, lambda: all(chart.rows for chart in charts if chart.display and chart.size.height))
        await pilot.pause()

    assert snap_compare(app_for(), terminal_size=size, run_before=look)


def test_list_in_ascii(snap_compare, here):
    async def look(pilot):
        await opened(pilot)
        await pilot.press("space")
        await pilot.pause()

    assert snap_compare(app_for(ascii=True), terminal_size=(80, 24), run_before=look)


@sizes
def test_deleting(snap_compare, here, size):
    async def look(pilot):
        await opened(pilot)
        await pilot.press("down", "x")
        await pilot.pause()

    assert snap_compare(app_for(), terminal_size=size, run_before=look)


@sizes
def test_help_on_the_list(snap_compare, here, size):
    async def look(pilot):
        await opened(pilot)
        await pilot.press("question_mark")

    assert snap_compare(app_for(), terminal_size=size, run_before=look)
