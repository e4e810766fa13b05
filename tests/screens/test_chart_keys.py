"""Every key of the charts does what the help says; so does the mouse."""

from __future__ import annotations

import json

import pytest
import sample_charts
import sample_run as sample
from fake_run import FakeRun, InlinePainter, settle, until, workers_done
from run_folders import write_run
from textual.events import MouseScrollUp
from textual.widgets import DataTable, Input, OptionList

from tui_trainer.screens.app import MLTrainerApp
from tui_trainer.screens.chart import Chart
from tui_trainer.screens.chart_grid import ChartGrid
from tui_trainer.screens.chart_memory import ChartMemory
from tui_trainer.screens.chart_options import ChartOptions, Window
from tui_trainer.screens.keys import BINDINGS, CHART_BINDINGS
from tui_trainer.screens.log_pane import LogPane
from tui_trainer.screens.metric_picker import MetricPicker, entries_of, matching

SIZE = (120, 34)
FULL = sample_charts.view_of(sample_charts.everything())


def app_for(view=FULL, **options):
    return MLTrainerApp(None, painter=InlinePainter(), view=view, **options)


def grid(pilot) -> ChartGrid:
    return pilot.app.screen_stack[0].query_one(ChartGrid)


def charts(pilot):
    return [chart for chart in pilot.app.screen_stack[0].query(Chart) if chart.display]


def pictures(pilot):
    return pilot.app._painter.pictures


async def press(pilot, *keys):
    await settle(pilot)
    await pilot.press(*keys)
    await pilot.pause()


def test_no_chart_key_is_one_of_the_app_s():
    keys = [key for binding in (*BINDINGS, *CHART_BINDINGS) for key in binding.key.split(",")]
    assert len(keys) == len(set(keys))
    assert all(binding.id and binding.tooltip for binding in CHART_BINDINGS)


async def test_f_gives_one_chart_the_whole_screen_and_takes_it_back():
    async with app_for().run_test(size=SIZE) as pilot:
        await press(pilot, "f")
        assert grid(pilot).is_full
        assert charts(pilot)[0].size.width == SIZE[0] - 2
        assert not pilot.app.screen.query_one(LogPane).display
        await press(pilot, "f")
        assert len(charts(pilot)) == 3
        assert charts(pilot)[0].has_focus


@pytest.mark.parametrize("keys", [("enter",), ("enter", "escape", "enter")])
async def test_enter_on_a_focused_chart_is_the_same(keys):
    async with app_for().run_test(size=SIZE) as pilot:
        await settle(pilot)
        charts(pilot)[1].focus()
        await press(pilot, *keys)
        assert grid(pilot).is_full
        assert grid(pilot).current == "accuracy"


@pytest.mark.parametrize("size", [(20, 5), (1, 1), (80, 24), (300, 90)])
async def test_a_chart_alone_survives_any_terminal_size(size):
    async with app_for().run_test(size=SIZE) as pilot:
        await press(pilot, "f", "left")
        await pilot.resize_terminal(*size)
        await pilot.pause()
        await pilot.press("left", "down", "plus")
        await pilot.resize_terminal(*SIZE)
        await until(pilot, lambda: charts(pilot)[0].size.width == SIZE[0] - 2)


async def test_escape_goes_back_step_by_step():
    async with app_for().run_test(size=SIZE) as pilot:
        await press(pilot, "f", "left")
        assert grid(pilot).options.cursor is not None
        await press(pilot, "escape")
        assert grid(pilot).options.cursor is None
        assert grid(pilot).is_full
        await press(pilot, "escape")
        assert not grid(pilot).is_full
        await press(pilot, "escape")
        assert pilot.app.focused is None


async def test_tab_goes_from_the_log_to_the_charts():
    async with app_for().run_test(size=SIZE) as pilot:
        await settle(pilot)
        assert isinstance(pilot.app.focused, LogPane)
        await press(pilot, "shift+tab")
        assert pilot.app.focused is charts(pilot)[2]
        assert grid(pilot).current == "grad_norm"


async def test_a_chart_key_does_nothing_while_no_chart_has_the_focus():
    async with app_for().run_test(size=SIZE) as pilot:
        await press(pilot, "x", "a", "plus")
        assert grid(pilot).options == ChartOptions()


async def test_x_b_and_a_change_axis_scale_and_smoothing():
    async with app_for().run_test(size=SIZE) as pilot:
        await press(pilot, "f", "x", "b", "b", "a")
        options = grid(pilot).options
        assert (options.axis, options.scale("loss"), options.smoothing) == ("step", "linear", 0.9)
        picture = pictures(pilot)["chart-0"]
        assert (picture.x_label, picture.y.log) == ("step", False)
        assert "EMA 0.9 · by step" in charts(pilot)[0].border_subtitle


async def test_plus_minus_brackets_and_0_zoom_pan_and_follow():
    async with app_for().run_test(size=SIZE) as pilot:
        await press(pilot, "f", "plus")
        assert grid(pilot).options.window == Window(350.0)
        await press(pilot, "left_square_bracket")
        assert not grid(pilot).options.window.follows
        await press(pilot, "right_square_bracket")
        assert grid(pilot).options.window == Window(350.0)
        await press(pilot, "shift+left", "shift+right", "minus")
        assert grid(pilot).options.window == Window()
        await press(pilot, "equals_sign", "shift+left", "0")
        assert grid(pilot).options == ChartOptions()
        await press(pilot, "plus", "home")
        assert grid(pilot).options == ChartOptions()


async def test_arrows_move_the_cursor_and_the_border_tells_the_values():
    async with app_for().run_test(size=SIZE) as pilot:
        await press(pilot, "f", "left")
        assert grid(pilot).options.cursor == 700.0
        await press(pilot, "left", "left")
        earlier = grid(pilot).options.cursor
        assert earlier < 700.0
        assert f"step {earlier:.0f}" in charts(pilot)[0].border_subtitle
        await press(pilot, "right")
        assert grid(pilot).options.cursor > earlier


async def test_up_and_down_go_to_the_charts_that_have_no_room():
    async with app_for().run_test(size=(80, 24)) as pilot:
        await press(pilot, "f", "down")
        assert grid(pilot).current == "accuracy"
        assert "Accuracy 2/3" in charts(pilot)[0].border_title
        await press(pilot, "f")
        assert grid(pilot).current == "accuracy"
        assert len(charts(pilot)) == 1
        await press(pilot, "up", "up")
        assert grid(pilot).current == "grad_norm"


async def test_a_click_focuses_a_chart_and_reads_its_values_and_a_drag_takes_the_cursor_along():
    async with app_for().run_test(size=SIZE) as pilot:
        await settle(pilot)
        chart = charts(pilot)[1]
        await pilot.mouse_down(chart, offset=(15, 3))
        await pilot.pause()
        assert chart.has_focus
        first = grid(pilot).options.cursor
        assert first is not None
        await pilot.hover(chart, offset=(25, 3))
        await pilot.mouse_up(chart, offset=(25, 3))
        await pilot.pause()
        assert grid(pilot).options.cursor > first
        await pilot.hover(chart, offset=(10, 3))
        assert grid(pilot).options.cursor > first


async def test_the_wheel_zooms_a_focused_chart_only():
    async with app_for().run_test(size=SIZE) as pilot:
        await settle(pilot)
        chart = charts(pilot)[0]
        await pilot._post_mouse_events([MouseScrollUp], chart, (5, 3))
        assert grid(pilot).options.window == Window()
        chart.focus()
        await pilot._post_mouse_events([MouseScrollUp], chart, (5, 3))
        await pilot.pause()
        assert grid(pilot).options.window.span == 350.0


async def test_m_lists_everything_and_changes_the_charts_at_once():
    async with app_for().run_test(size=SIZE) as pilot:
        await press(pilot, "m")
        assert isinstance(pilot.app.screen, MetricPicker)
        await press(pilot, *"memory gpu", "enter")
        assert grid(pilot).names == ("loss", "accuracy", "grad_norm", "gpu0.memory")
        await press(pilot, "ctrl+u", *"layer", "down", "enter")
        assert grid(pilot).names[-1] == "gpu0.memory"  # four at most
        assert "4 charts at most" in str(pilot.app.screen.query_one("#said").render())
        await press(pilot, "ctrl+u", *"accuracy", "enter")
        await press(pilot, "ctrl+u", *"layer", "down", "enter")
        assert grid(pilot).names == (
            "loss",
            "grad_norm",
            "gpu0.memory",
            f"gradient_stats/{sample_charts.LAYER}",
        )
        await press(pilot, "escape")
        assert not isinstance(pilot.app.screen, MetricPicker)
        assert len(charts(pilot)) == 4


async def test_the_list_s_keys_move_and_a_click_chooses():
    async with app_for().run_test(size=SIZE) as pilot:
        await press(pilot, "m", "down", "down", "up")
        entries = pilot.app.screen.query_one(OptionList)
        assert entries.highlighted_option.id == "accuracy"
        await pilot.click(OptionList, offset=(5, entries.highlighted))
        await pilot.pause()
        assert grid(pilot).names == ("loss", "grad_norm")
        assert isinstance(pilot.app.focused, Input)


async def test_what_is_marked_in_the_list_stays_marked_when_the_terminal_changes_size():
    async with app_for().run_test(size=SIZE) as pilot:
        await press(pilot, "m", *["down"] * 4)
        marked = pilot.app.screen.query_one(OptionList).highlighted
        assert marked > 1
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert pilot.app.screen.query_one(OptionList).highlighted == marked


async def test_what_is_not_there_is_said():
    async with app_for().run_test(size=SIZE) as pilot:
        await press(pilot, "m", *"zzz", "enter")
        assert pilot.app.screen.query_one(OptionList).option_count == 1
        assert grid(pilot).names == ("loss", "accuracy", "grad_norm")


def test_the_list_is_grouped_and_found_by_every_word():
    entries = entries_of(FULL.recorded, FULL.metrics)
    groups = list(dict.fromkeys(entry.group for entry in entries))
    assert groups[:3] == ["Losses and metrics", "Training", "Machine"]
    assert {"Gradient norm by layer", "Loss components", "Features"} <= set(groups)
    assert [entry.chart for entry in matching(entries, "norm LAYER dense")] == [
        f"gradient_stats/{sample_charts.LAYER}"
    ]
    assert matching(entries, "") == entries
    assert next(entry.latest for entry in entries if entry.chart == "accuracy") == "98.5% / 97.5%"


async def test_settings_are_remembered_for_the_next_run(tmp_path):
    memory = ChartMemory(tmp_path / "charts.json")
    async with app_for(chart_memory=memory).run_test(size=SIZE) as pilot:
        await press(pilot, "f", "x", "plus")
        await workers_done(pilot)
    assert json.loads(memory.path.read_text())["axis"] == "step"
    async with app_for(chart_memory=memory).run_test(size=SIZE) as pilot:
        await settle(pilot)
        assert grid(pilot).options == ChartOptions(axis="step")


async def test_broken_settings_are_told_and_the_usual_ones_used(tmp_path):
    (tmp_path / "charts.json").write_text("{")
    async with app_for(chart_memory=ChartMemory(tmp_path / "charts.json")).run_test(size=SIZE) as pilot:
        await settle(pilot)
        assert any("charts.json" in note.message for note in pilot.app._notifications)
        assert grid(pilot).options == ChartOptions()


async def test_earlier_runs_are_read_in_the_background_and_a_folder_without_one_is_told(tmp_path):
    slow, empty = sample_charts.write_run(tmp_path / "slow", 2), tmp_path / "empty"
    empty.mkdir()
    async with app_for().run_test(size=SIZE) as pilot:
        await settle(pilot)
        pilot.app.set_overlays([slow, empty])
        await until(pilot, lambda: pictures(pilot)["chart-0"].curves[0].role == "over1")
        await until(pilot, lambda: any("empty" in note.message for note in pilot.app._notifications))
        assert "1 slow" in charts(pilot)[0].border_title
        pilot.app.set_overlays([])
        await pilot.pause()
        assert pictures(pilot)["chart-0"].curves[0].role == "raw"


async def test_nothing_is_asked_of_the_painter_while_nothing_changes():
    app = app_for()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        asked = []
        app._painter.request = lambda key, picture: asked.append(key)
        grid(pilot).show(FULL)
        grid(pilot).show(FULL)
        assert asked == []


async def test_the_charts_follow_the_run():
    run = FakeRun(sample.events(20, until_step=200))
    app = MLTrainerApp(lambda: run, painter=InlinePainter())
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "chart-0" in pictures(pilot))
        await until(pilot, lambda: pictures(pilot)["chart-0"].x_range[1] == 200 / 45)
        run.emit(sample.step(225))
        await until(pilot, lambda: pictures(pilot)["chart-0"].x_range[1] == 5.0)


async def test_b_in_the_list_of_runs_draws_them_behind_the_charts(tmp_path):
    write_run(tmp_path / "slow", summary={"status": "completed"})
    async with app_for(run_roots=(tmp_path,)).run_test(size=SIZE) as pilot:
        await press(pilot, "f6")
        await until(pilot, lambda: pilot.app.screen.query_one(DataTable).row_count == 1)
        await pilot.press("b")
        await until(pilot, lambda: pictures(pilot)["chart-0"].curves[0].role == "over1")
        assert grid(pilot).options.overlays == (tmp_path / "slow",)
        assert len(pilot.app.screen_stack) == 1
