"""What stands in a chart: curves, y axis, words in the border, cursor. Whatever the numbers are."""

from __future__ import annotations

import math

import pytest
import sample_charts
import sample_run as sample
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.color import Color, ColorSystem

from tui_trainer.engine.events import Validated
from tui_trainer.screens.canvas import draw
from tui_trainer.screens.chart_content import chart_content, fit_legend, fit_note
from tui_trainer.screens.chart_cursor import cursor_column, move, reading, step_at_column
from tui_trainer.screens.chart_options import AXES, SCALES, SMOOTHINGS, ChartOptions, Window
from tui_trainer.screens.chart_scene import Scene, chosen_charts
from tui_trainer.screens.overlays import read_overlay
from tui_trainer.screens.recorded import Recorded, record_all
from tui_trainer.screens.themes import THEME_VARIABLES
from tui_trainer.screens.y_axis import y_axis
from tui_trainer.session.wording import cell_width

FULL = record_all(Recorded(), sample_charts.everything())
TROUBLED = record_all(Recorded(), sample_charts.troubled())
SIZE = (76, 14)


def scene(recorded=FULL, chart="loss", overlays=(), **options):
    return Scene(recorded, ChartOptions(**options), chart, overlays)


def shown(drawing):
    return "\n".join("".join(text for text, _ in row) for row in drawing.rows)


# The y axis


def test_a_curve_over_decades_is_logarithmic_unless_somebody_says_linear():
    values = [100.0 / (1 + number) for number in range(100)]
    assert y_axis(values, "auto").log
    assert not y_axis(values, "linear").log
    assert not y_axis([2.0, 1.0, 0.5], "auto").log
    assert not y_axis([0.0, *values], "auto").log
    assert y_axis([2.0, 1.0, 0.5], "log").log
    assert not y_axis([-2.0, -1.0], "log").log  # nothing to show on a log axis


def test_few_far_values_are_off_scale_and_counted():
    values = [1 + 0.2 * math.sin(number) for number in range(200)]
    spiked = [*values, 900.0, 700.0]
    axis = y_axis(spiked, "auto")
    assert (axis.log, axis.cut, axis.off(spiked)) == (False, True, 2)
    assert axis.high < 2
    axis = y_axis([*(value - 1 for value in values), -50.0], "auto")
    assert axis.off([*values, -50.0]) >= 1
    for scale in ("linear", "log"):
        assert y_axis(spiked, scale).off(spiked) == 0


@pytest.mark.parametrize(
    "values",
    [
        [1.0] * 100 + [9.0],  # without the spike there is nothing to see
        [1.0, 1.1, 40.0],  # too few to call one of them an outlier
        [math.exp(-number / 40) for number in range(200)],  # a loss that falls has no outliers
        [float(number % 2) for number in range(100)],
    ],
)
def test_nothing_else_is_off_scale(values):
    assert not y_axis(values, "auto").cut


def test_what_a_log_axis_cannot_show_is_off_scale():
    axis = y_axis([-1.0, 0.0, 1.0, 10.0], "log")
    assert axis.off([-1.0, 0.0, 1.0, 10.0]) == 2


# The chart


def test_the_loss_shows_batches_behind_their_average_and_the_validation():
    content = chart_content(scene(), SIZE, best_epoch=15)
    styles = [(curve.role, curve.style) for curve in content.picture.curves]
    assert styles == [("raw", "faint"), ("train", "line"), ("val", "dots")]
    assert content.title == "Loss"
    assert [text.strip() for text, _ in content.legend] == ["─ train", "● validation", "┄ each batch"]
    assert content.note == "log · EMA 0.6 · by epoch"
    assert content.picture.best == 15.0


def test_without_smoothing_the_batches_are_the_curve():
    content = chart_content(scene(smoothing=0.0), SIZE)
    assert [curve.style for curve in content.picture.curves] == ["line", "dots"]
    assert content.picture.curves[0].ys[:3] == FULL.traces["loss", "batch"].raw.ys[:3]
    assert "EMA" not in content.note


def test_trouble_is_marked_and_counted():
    content = chart_content(scene(TROUBLED, "grad_norm", smoothing=0.0), SIZE)
    assert content.note.startswith("2 off scale · 1 non-finite")
    picture = shown(draw(content.picture))
    assert picture.count("↑") == 2
    assert picture.count("×") == 1
    assert chart_content(scene(TROUBLED), SIZE).note.startswith("1 non-finite")
    smoothed = chart_content(scene(TROUBLED, "grad_norm", smoothing=0.97), SIZE)
    assert smoothed.note.startswith("2 off scale")  # however long the average remembers them
    assert shown(draw(smoothed.picture)).count("↑") == 2


def test_an_average_that_lags_behind_has_room_on_the_chart():
    events = [sample.step(number, loss=3.0 if number < 100 else 1.0 + number % 2) for number in range(1, 200)]
    recorded = record_all(Recorded(), [sample.started(), *events])
    picture = chart_content(scene(recorded, smoothing=0.97, window=Window(90.0)), SIZE).picture
    assert max(picture.curves[-1].ys) > max(picture.curves[0].ys)
    assert all(picture.y.place(y) <= picture.y.high for curve in picture.curves for y in curve.ys)


def test_a_run_is_not_off_scale_because_it_is_short_beside_one_it_is_compared_with(tmp_path):
    long = sample_charts.write_run(tmp_path / "long", 0.5, epochs=20)
    text = (long / "epoch_metrics.csv").read_text()
    rows = [f"{number},0.09,{0.1 + number % 7 / 1000},0.9,2.0" for number in range(21, 2000)]
    (long / "epoch_metrics.csv").write_text(text + "\n".join(rows) + "\n")
    recorded = record_all(Recorded(), [sample.started(), *(sample.step(number) for number in range(1, 400))])
    content = chart_content(scene(recorded, overlays=[read_overlay(long)]), SIZE)
    assert "off scale" not in content.note
    highest = max(recorded.traces["loss", "batch"].raw.ys)
    assert content.picture.y.place(highest) <= content.picture.y.high


def test_a_mean_that_was_not_finite_is_marked_though_it_is_not_drawn():
    bad = sample.epoch_finished(3, metrics={"train_loss": math.inf, "val_loss": 1.0})
    recorded = record_all(Recorded(), [*sample.events(20, until_step=120), bad])
    content = chart_content(scene(recorded), SIZE)
    assert "1 non-finite" in content.note
    assert "×" in shown(draw(content.picture))


@pytest.mark.parametrize(
    ("axis", "label", "right"),
    [("epoch", "epoch", 700 / 45), ("step", "step", 700), ("time", "seconds", 700 / 45)],
)
def test_the_x_axis_is_what_was_chosen(axis, label, right):
    picture = chart_content(scene(axis=axis), SIZE).picture
    assert picture.x_label == label
    assert picture.x_range == (0.0, pytest.approx(right, rel=0.01))
    assert picture.curves[-1].xs[0] == pytest.approx(45 if axis == "step" else 1, rel=0.05)


def test_gauges_stand_where_the_clock_says():
    by_step = chart_content(scene(chart="gpu0.util", axis="step", smoothing=0.0), SIZE).picture
    assert by_step.curves[0].xs[:2] == (pytest.approx(45), pytest.approx(90))
    by_time = chart_content(scene(chart="gpu0.util", axis="time", smoothing=0.0), SIZE).picture
    assert by_time.curves[0].xs[:2] == (1.0, 2.0)


def test_a_window_cuts_all_curves_and_says_so():
    content = chart_content(scene(window=Window(90.0, 450.0)), SIZE)
    assert content.picture.x_range == (8.0, 10.0)
    assert all(8.0 <= x <= 10.0 for curve in content.picture.curves for x in curve.xs)
    assert content.note.startswith("zoom 13%, held")
    assert chart_content(scene(window=Window(90.0)), SIZE).note.startswith("zoom 13% ·")


def test_a_dot_is_a_recorded_value_also_at_the_edge_of_a_window():
    within = chart_content(scene(window=Window(88.0, 452.0), smoothing=0.0), SIZE).picture
    assert within.curves[-1].cut == (True, True)
    assert shown(draw(within)).count("●") == 2  # epochs 9 and 10
    exact = chart_content(scene(window=Window(90.0, 450.0), smoothing=0.0), SIZE).picture
    assert exact.curves[-1].cut == (False, False)
    assert shown(draw(exact)).count("●") == 3


@pytest.mark.parametrize(("ascii_only", "dot"), [(True, "o"), (False, "●")])
@pytest.mark.parametrize("epochs", [3, 60, 900])
def test_the_validation_can_be_told_from_the_training_without_colours(epochs, ascii_only, dot):
    events = [sample.started(), *(sample.epoch_finished(number) for number in range(1, epochs + 1))]
    content = chart_content(scene(record_all(Recorded(), events), "accuracy"), SIZE, ascii_only=ascii_only)
    marks = "".join(text for row in draw(content.picture).rows for text, role in row if role == "val")
    assert min(epochs, 8) <= marks.count(dot)
    assert not ascii_only or "*" not in marks


def test_at_most_two_points_a_column_are_sent():
    events = [
        sample.started(),
        *(sample.step(number, loss=math.sin(number) + 2) for number in range(1, 30_000)),
    ]
    picture = chart_content(scene(record_all(Recorded(), events)), (60, 12)).picture
    assert all(len(curve.xs) <= 2 * 60 + 2 for curve in picture.curves)


def test_fractions_are_labelled_in_percent():
    assert chart_content(scene(chart="accuracy"), SIZE).picture.share
    assert not chart_content(scene(chart="loss"), SIZE).picture.share


def test_earlier_runs_are_drawn_behind_and_named(tmp_path):
    overlays = [
        read_overlay(sample_charts.write_run(tmp_path / name, factor))
        for name, factor in (("slow", 2), ("x", 3))
    ]
    content = chart_content(scene(overlays=overlays), SIZE)
    assert [curve.role for curve in content.picture.curves][:2] == ["over1", "over2"]
    assert content.picture.curves[0].ys[0] == pytest.approx(2 * sample.epoch_finished(1).metrics["val_loss"])
    assert tuple(text.strip() for text, role in content.legend if role.startswith("over")) == (
        "1 slow",
        "2 x",
    )
    assert content.picture.x_range[1] == 20.0  # all of theirs is shown
    drawing = draw(content.picture)
    assert any(role == "over1" and "1" in text for row in drawing.rows for text, role in row)


def test_charts_that_this_run_does_not_have_are_left_out():
    options = ChartOptions(charts=("loss", "bleu", "gpu0.util"))
    assert chosen_charts(options, Recorded(), ("accuracy",)) == ("loss",)
    assert chosen_charts(options, FULL, ("accuracy",)) == ("loss", "gpu0.util")
    assert chosen_charts(ChartOptions(charts=("bleu",)), FULL, ("f1",)) == ("loss", "f1", "grad_norm")
    assert chosen_charts(ChartOptions(), Recorded(), ()) == ("loss", "grad_norm")


@given(st.text(max_size=60), st.lists(st.text(max_size=30), max_size=5), st.integers(0, 120))
def test_the_border_is_never_overrun(title, words, width):
    shown_title, legend = fit_legend(title, [("─", word, "train") for word in words], width)
    taken = cell_width(shown_title) + sum(cell_width(text) for text, _ in legend)
    assert taken <= max(width, 2 * len(words))
    assert cell_width(fit_note(words[:2], words[2:], width)) <= width


# The cursor


def test_the_cursor_reads_exactly_what_was_recorded():
    at_epoch_10 = reading(scene(smoothing=0.0, cursor=450.0), 200)
    batch = FULL.traces["loss", "batch"].raw.nearest(450.0)[1]
    validation = sample.epoch_finished(10).metrics["val_loss"]
    assert (
        at_epoch_10
        == f"epoch 10.00 · step 450 · 10.0s · each batch {batch:.5f} · validation {validation:.5f}"
    )


def test_a_value_from_elsewhere_says_where():
    assert "@10" in reading(scene(cursor=460.0), 200)
    assert "@450" in reading(scene(cursor=460.0, axis="step"), 200)


def test_the_cursor_reads_what_was_not_finite():
    assert "NaN" in reading(scene(TROUBLED, "grad_norm", cursor=250.0), 200)


def test_a_narrow_border_keeps_the_first_values():
    text = reading(scene(cursor=450.0), 34)
    assert text.startswith("epoch 10.00 · train 0.")
    assert cell_width(text) <= 34


def test_the_cursor_begins_at_the_newest_values_and_moves_by_columns():
    view = scene(smoothing=0.0)
    assert move(view, 70, forward=False) == 700.0
    left = move(scene(cursor=700.0), 70, forward=False)
    assert left == 690.0
    assert move(scene(cursor=left), 70, forward=True) == 700.0
    assert move(scene(cursor=700.0), 70, forward=True) == 700.0
    assert move(scene(cursor=5.0), 70, forward=False) == 5.0
    assert move(scene(Recorded()), 70, forward=True) is None


def test_every_recorded_point_can_be_reached_where_they_lie_far_apart():
    events = [
        sample.started(),
        *(Validated(time=0.0, epoch=1, step=step, metrics={"val_x": 1.0}) for step in (5, 400)),
    ]
    recorded = record_all(Recorded(), events)
    assert move(scene(recorded, "x", cursor=400.0), 70, forward=False) == 5.0


@pytest.mark.parametrize("axis", AXES)
def test_the_column_of_the_cursor_is_the_one_that_was_pointed_at(axis):
    for column in (0, 20, 69):
        step = step_at_column(scene(axis=axis), column, 70)
        assert cursor_column(scene(axis=axis, cursor=step), 70) in (column - 1, column, column + 1)
    assert cursor_column(scene(cursor=10.0, window=Window(50.0)), 70) is None


# Whatever the numbers are

ANY = st.floats(allow_nan=True, allow_infinity=True)
CURVES = st.one_of(
    st.lists(ANY, max_size=50),
    st.lists(st.just(math.nan), min_size=1, max_size=5),
    st.lists(st.sampled_from([5e-324, 1e-308, 1e-30]), max_size=30),
    st.lists(st.sampled_from([1.7e308, -1.7e308, 1e200, 0.0]), max_size=30),
    st.tuples(ANY, st.integers(1, 50)).map(lambda pair: [pair[0]] * pair[1]),
    st.lists(st.floats(-5, 5), min_size=20, max_size=50),
)


@given(
    CURVES,
    CURVES,
    st.sampled_from(["loss", "grad_norm", "accuracy"]),
    st.sampled_from(AXES),
    st.sampled_from(SCALES),
    st.sampled_from(SMOOTHINGS),
    st.one_of(st.none(), st.floats(1, 400)),
    st.tuples(st.integers(0, 100), st.integers(0, 20)),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_no_numbers_can_break_a_chart(steps, epochs, chart, axis, scale, smoothing, span, size, ascii_only):
    events = [sample.started(metrics=("accuracy",))]
    events += [sample.step(5 * n, loss=y, grad_norm=y) for n, y in enumerate(steps, start=1)]
    events += [
        sample.epoch_finished(
            n, metrics={"train_loss": y, "val_loss": y, "train_accuracy": y, "val_accuracy": y}
        )
        for n, y in enumerate(epochs, start=1)
    ]
    recorded = record_all(Recorded(), sorted(events, key=lambda event: getattr(event, "step", 0)))
    options = ChartOptions(
        axis=axis, smoothing=smoothing, scales=((chart, scale),), window=Window(span), cursor=20.0
    )
    subject = Scene(recorded, options, chart)
    content = chart_content(subject, size, best_epoch=1, ascii_only=ascii_only)
    drawing = draw(content.picture)
    assert [sum(len(text) for text, _ in row) for row in drawing.rows] == [size[0]] * size[1]
    assert not ascii_only or shown(drawing).isascii()
    broken = sum(not math.isfinite(y) for y in (steps if chart == "grad_norm" else [])) or 0
    assert chart != "grad_norm" or recorded.broken(chart) == broken
    reading(subject, 60)
    move(subject, drawing.columns, forward=True)
    step_at_column(subject, 3, drawing.columns)
    cursor_column(subject, drawing.columns)


# Colours


def test_every_curve_has_a_colour_of_its_own_on_a_terminal_of_16():
    names = ("train", "validation", "raw", "bad", "good", "compared-1", "compared-2", "compared-3")
    sixteen = [Color.parse(THEME_VARIABLES[name]).downgrade(ColorSystem.STANDARD).number for name in names]
    assert len(set(sixteen)) == len(names)
