"""Everything recorded becomes a curve: in bounded room, in the right place, smoothed as it comes."""

from __future__ import annotations

import math

import pytest
import sample_charts
import sample_run as sample
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.engine.events import Resumed, SeriesRow
from tui_trainer.screens.quantities import quantity, value_text
from tui_trainer.screens.recorded import BATCH_LOSS, LIMIT, Recorded, key_of, record_all
from tui_trainer.screens.series import CAPACITY, Series, thin
from tui_trainer.screens.traces import WEIGHTS, Trace

FULL = record_all(Recorded(), sample_charts.everything())


def test_every_kind_of_number_is_recorded():
    assert {
        "loss", "accuracy", "grad_norm", "learning_rate", "samples_per_second", "data_wait", "epoch_time",
        sample_charts.LONG, f"gradient_stats/{sample_charts.LAYER}", "loss_components/loss_box",
        "feature_stats/age/mean", "gpu_util", "gpu0.util", "gpu0.memory", "gpu0.temperature", "cpu", "ram",
        "process_memory", "disk_free",
    } <= set(FULL.charts)  # fmt: skip
    assert "gpu0.power" not in FULL.charts  # a gauge that tells nothing has no curve
    assert set(FULL.of("loss")) == {"batch", "train", "val"}
    assert set(FULL.of("loss_components/loss_box")) == {"train", "val"}


def test_a_curve_holds_exactly_what_was_recorded():
    assert FULL.traces["loss", "val"].raw.ys == tuple(
        sample.epoch_finished(epoch).metrics["val_loss"] for epoch in range(1, 16)
    )
    assert FULL.traces["loss", "val"].raw.xs == tuple(45.0 * epoch for epoch in range(1, 16))
    assert FULL.traces["gpu0.memory", ""].raw.ys[0] == 8.0  # GB
    assert FULL.traces["gpu0.util", ""].raw.xs[:2] == (1.0, 2.0)  # seconds since the run began


def test_averages_are_the_exact_ones_of_all_values_however_thinned_the_curve_is():
    ys = [math.sin(number) + 2 for number in range(3 * CAPACITY)]
    trace = Trace(noisy=True)
    for start in range(0, len(ys), 1000):
        trace = trace.add(
            [float(x) for x in range(start, min(start + 1000, len(ys)))], ys[start : start + 1000]
        )
    for weight in WEIGHTS:
        total = 0.0
        for y in ys:
            total = weight * total + (1 - weight) * y
        assert trace.smoothed(weight).ys[-1] == pytest.approx(total, rel=1e-9)
    assert trace.smoothed(0.0) is trace.raw
    assert trace.smooth[0].ys[0] == pytest.approx(
        ys[0]
    )  # the first average is the first value, not near zero


def test_values_that_come_once_an_epoch_are_never_smoothed():
    assert not FULL.traces["loss", "val"].noisy
    assert FULL.traces["loss", "val"].smoothed(0.9) is FULL.traces["loss", "val"].raw


def test_resuming_cuts_every_curve_and_the_clock_goes_on():
    resumed = Resumed(time=sample.START + 1000, attempt=2, epoch=4, step=180, checkpoint="best_model.pt")
    again = record_all(FULL, [resumed, sample.step(185, time=sample.START + 1002)])
    assert max(again.traces["loss", "val"].raw.xs) <= 180
    assert max(again.traces["gpu0.util", ""].raw.xs) <= 180 / 45
    assert again.last_step == 185
    assert again.seconds == pytest.approx(
        180 / 45 + 2, abs=0.2
    )  # the hours between the attempts do not count


def test_a_clock_that_is_set_back_does_not_run_backwards():
    events = [sample.started(), sample.step(5), sample.step(10, time=sample.START - 500), sample.step(15)]
    assert list(record_all(Recorded(), events).clock.ys) == sorted(record_all(Recorded(), events).clock.ys)


def test_a_thousand_layers_too_many_are_counted_and_not_kept():
    row = {f"layer{number}": 1.0 for number in range(LIMIT + 50)}
    events = [sample.started(), SeriesRow(time=0.0, series="gradient_stats", epoch=1, step=45, row=row)]
    recorded = record_all(Recorded(), events)
    assert (len(recorded.traces), recorded.left_out) == (LIMIT, 50)


def test_a_new_run_begins_with_nothing():
    assert not record_all(FULL, [sample.started()]).traces


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=400),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(1, 40),
)
def test_what_a_chart_is_given_has_two_points_a_column_and_every_extreme(ys, first, second, columns):
    series = Series().add([float(x) for x in range(len(ys))], ys)
    low, high = sorted((first * len(ys), second * len(ys)))
    high = high if high > low else low + 1.0
    xs, shown = thin(series, low, high, columns)
    assert len(xs) <= 2 * columns + 2
    assert list(xs) == sorted(xs)
    assert all(low <= x <= high for x in xs)
    inside = [y for x, y in enumerate(ys) if low <= x <= high]
    if inside:
        assert min(inside) in shown
        assert max(inside) in shown


def test_a_zoomed_curve_enters_and_leaves_at_the_edges():
    series = Series().add([0.0, 10.0, 20.0], [0.0, 1.0, 0.0])
    assert thin(series, 4.0, 16.0, 20) == ((4.0, 10.0, 16.0), (0.4, 1.0, 0.4))


@pytest.mark.parametrize(
    ("column", "key"),
    [
        ("val_loss", ("loss", "val")),
        ("train_macro_f1", ("macro_f1", "train")),
        ("val_", ("val_", "")),
        ("x", ("x", "")),
    ],
)
def test_columns_of_the_csv_find_their_chart(column, key):
    assert key_of(column) == key


@pytest.mark.parametrize(
    ("chart", "title", "value"),
    [
        ("loss", "Loss", "0.50000"),
        ("accuracy", "Accuracy", "50.0%"),
        ("learning_rate", "Learning rate", "5.00e-01"),
        ("gpu3.temperature", "GPU 3 temperature", "0.50000 °C"),
        ("data_wait", "Data wait", "50.0%"),
        ("gradient_stats/net.0.weight", "net.0.weight", "0.50000"),
    ],
)
def test_quantities_have_words_for_people(chart, title, value):
    assert (quantity(chart).title, value_text(chart, 0.5)) == (title, value)


def test_batches_come_in_order_whatever_lies_between_them():
    raw = record_all(Recorded(), sample.events(4, broken=True)).traces[BATCH_LOSS].raw
    assert list(raw.xs) == sorted(raw.xs)
