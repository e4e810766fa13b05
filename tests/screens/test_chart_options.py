"""Every change of what the charts show is a pure function; how somebody likes them outlives the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.screens import chart_options as change
from tui_trainer.screens.chart_grid import arrange
from tui_trainer.screens.chart_memory import ChartMemory, remembered
from tui_trainer.screens.chart_options import ChartOptions, Window

LAST = 1000.0


def test_axes_scales_and_smoothings_go_round():
    options = ChartOptions()
    seen = []
    for _ in range(3):
        options = change.next_axis(options)
        seen.append(options.axis)
    assert seen == ["step", "time", "epoch"]
    for expected in ("log", "linear", "auto"):
        options = change.next_scale(options, "loss")
        assert (options.scale("loss"), options.scale("accuracy")) == (expected, "auto")
    seen = []
    for _ in range(4):
        options = change.next_smoothing(options)
        seen.append(options.smoothing)
    assert seen == [0.9, 0.97, 0.0, 0.6]


def test_charts_are_one_to_four_with_the_loss_first():
    options = change.toggle_chart(ChartOptions(), ("grad_norm",), "loss")
    assert options.charts == ("loss", "grad_norm")
    assert change.toggle_chart(options, options.charts, "grad_norm").charts == ("loss",)
    assert isinstance(change.toggle_chart(options, ("loss",), "loss"), str)
    assert isinstance(change.toggle_chart(options, ("a", "b", "c", "d"), "e"), str)


def test_zooming_in_while_following_keeps_the_newest_in_view():
    options = change.zoom(ChartOptions(), 0.5, LAST)
    assert options.window.bounds(LAST) == (500.0, 1000.0)
    assert options.window.bounds(1200.0) == (700.0, 1200.0)
    assert change.zoom(options, 2.0, LAST).window == Window()


def test_zooming_keeps_the_cursor_where_it_stands():
    options = change.put_cursor(ChartOptions(), 250.0, LAST)
    low, high = change.zoom(options, 0.5, LAST).window.bounds(LAST)
    assert (250.0 - low) / (high - low) == pytest.approx(0.25)


def test_panning_back_holds_the_window_and_panning_on_follows_again():
    options = change.pan(change.zoom(ChartOptions(), 0.5, LAST), -0.25, LAST)
    assert options.window.bounds(LAST) == options.window.bounds(2 * LAST) == (375.0, 875.0)
    assert change.pan(options, 0.25, LAST).window.follows
    assert change.pan(ChartOptions(), -0.25, LAST).window == Window()
    assert change.follow(change.put_cursor(options, 3.0, LAST)) == ChartOptions()


def test_the_window_goes_along_with_the_cursor():
    options = change.pan(change.zoom(ChartOptions(), 0.25, LAST), -1.0, LAST)
    low, high = change.put_cursor(options, 300.0, LAST).window.bounds(LAST)
    assert low <= 300.0 <= high


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("zoom"), st.floats(0.1, 10)),
            st.tuples(st.just("pan"), st.floats(-3, 3)),
            st.tuples(st.just("cursor"), st.floats(0, 1)),
        ),
        max_size=12,
    ),
    st.floats(0, 1e7),
)
def test_the_window_always_lies_within_the_run(moves, last):
    options = ChartOptions()
    for kind, amount in moves:
        if kind == "zoom":
            options = change.zoom(options, amount, last)
        elif kind == "pan":
            options = change.pan(options, amount, last)
        else:
            options = change.put_cursor(options, amount * last, last)
        low, high = options.window.bounds(last)
        assert 0 <= low < high <= max(1.0, last) * (1 + 1e-9)


def test_at_most_three_runs_are_compared_with():
    folders = tuple(Path(f"/runs/{number}") for number in (1, 1, 2, 3, 4))
    assert change.with_overlays(ChartOptions(), folders).overlays == folders[1:4]


def test_what_is_remembered_comes_back_and_the_window_does_not(tmp_path):
    memory = ChartMemory(tmp_path / "deeper" / "charts.json")
    options = ChartOptions(
        charts=("loss", "gpu0.util"), axis="time", smoothing=0.97, scales=(("loss", "log"),),
        window=Window(5.0), cursor=3.0, overlays=(tmp_path,),
    )  # fmt: skip
    assert memory.save(options) == ""
    assert memory.load() == (remembered(options), "")
    assert remembered(options).window == Window()


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '{"version": 2}', '{"version": 1, "axis": "day"}', '{"version": 1, "smoothing": "much"}',
        '{"version": 1, "charts": ["a", "a"]}', '{"version": 1, "charts": [1]}', '{"version": 1, "scales": {"a": 3}}',
        '{"version": 1, "charts": ["a", "b", "c", "d", "e"]}', '{"version": 1, "smoothing": []}', "[" * 100_000,
        json.dumps({"version": 1, "charts": ["x" * 5000]}),
    ],
)  # fmt: skip
def test_a_broken_file_is_ignored_with_a_note(tmp_path, text):
    path = tmp_path / "charts.json"
    path.write_text(text)
    options, note = ChartMemory(path).load()
    assert options == ChartOptions()
    assert str(path) in note


def test_without_a_file_there_is_nothing_to_say(tmp_path):
    assert ChartMemory(tmp_path / "none.json").load() == (ChartOptions(), "")
    assert ChartMemory().load() == (ChartOptions(), "")
    assert ChartMemory().save(ChartOptions()) == ""


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    assert "not saved" in ChartMemory(tmp_path / "file" / "charts.json").save(ChartOptions())


@given(st.integers(1, 4), st.integers(0, 300), st.integers(0, 100))
def test_there_is_always_room_for_one_chart_and_never_for_more_than_chosen(count, width, height):
    rows = arrange(count, width, height)
    assert 1 <= sum(rows) <= count


@pytest.mark.parametrize(
    ("count", "size", "rows"),
    [
        (3, (80, 22), (1, 2)), (4, (80, 22), (2, 2)), (2, (80, 22), (1, 1)), (3, (42, 15), (1,)), (3, (78, 14), (2,)),
        (3, (42, 30), (1, 1, 1)),
    ],
)  # fmt: skip
def test_the_loss_has_a_row_of_its_own_where_there_is_room(count, size, rows):
    assert arrange(count, *size) == rows
