"""The view of a run: curves keep their spikes in bounded room, nothing non-finite gets lost."""

from __future__ import annotations

import math

import sample_run as sample
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.engine.events import (
    CheckpointFailed,
    CheckpointSaved,
    CommandHandled,
    EpochStarted,
    LogLine,
    NonFiniteSkipped,
    Resumed,
)
from tui_trainer.screens import panels
from tui_trainer.screens.log_history import LOG_LIMIT, SLACK
from tui_trainer.screens.recorded import BATCH_LOSS
from tui_trainer.screens.series import CAPACITY, Series
from tui_trainer.screens.view import RunView, advance, advance_all, with_output
from tui_trainer.session.progress import Progress, advance_progress

FLOATS = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(FLOATS, max_size=500), st.integers(1, 50))
def test_a_series_keeps_extremes_and_counts_what_is_not_finite(values, repeat):
    values = values * repeat
    series = Series()
    for start in range(0, len(values), 700):
        series = series.extend((float(start + i), y) for i, y in enumerate(values[start : start + 700]))
    finite = [y for y in values if math.isfinite(y)]
    assert len(series.xs) == len(series.ys) <= CAPACITY
    assert series.broken_count == len(values) - len(finite)
    assert list(series.xs) == sorted(series.xs)
    if finite:
        assert (min(series.ys), max(series.ys)) == (min(finite), max(finite))


def test_a_million_steps_stay_small_and_keep_a_single_spike():
    series = Series()
    for start in range(0, 1_000_000, 10_000):
        series = series.extend((float(i), 9.0 if i == 123_457 else 1.0) for i in range(start, start + 10_000))
    assert len(series.xs) <= CAPACITY
    assert (123_457.0, 9.0) in zip(series.xs, series.ys, strict=True)


def test_the_beginning_of_a_long_run_stays_as_fine_as_its_end():
    series = Series()
    for start in range(0, 200_000, 500):
        series = series.extend((float(i), math.sin(i / 300)) for i in range(start, start + 500))
    early = sum(1 for x in series.xs if x < 20_000)
    late = sum(1 for x in series.xs if 150_000 <= x < 170_000)
    assert early >= 60
    assert early >= late // 2


def test_folding_one_by_one_or_in_bursts_is_the_same():
    events = list(sample.events(4, broken=True))
    single = RunView()
    for event in events:
        single = advance(single, event)
    burst = advance_all(RunView(), events)
    assert single.recorded.traces.keys() == burst.recorded.traces.keys()
    for key, trace in burst.recorded.traces.items():
        assert (single.recorded.traces[key].raw.xs, single.recorded.traces[key].raw.ys) == (
            trace.raw.xs,
            trace.raw.ys,
        )
        assert [s.ys for s in single.recorded.traces[key].smooth] == [s.ys for s in trace.smooth]
    assert single.recorded.clock.ys == burst.recorded.clock.ys
    assert (single.log, single.progress, single.epochs, single.step) == (
        burst.log, burst.progress, burst.epochs, burst.step,
    )  # fmt: skip


def test_a_run_from_start_to_end():
    view = advance_all(RunView(name="x"), sample.events(20))
    assert (view.name, view.status, view.best_epoch, view.progress.fraction) == (
        "digits-baseline",
        "completed",
        20,
        1.0,
    )
    assert view.is_over
    assert len(view.epochs) == 20
    assert "Training complete" in view.log[-1].text


def test_non_finite_batches_are_counted_and_marked():
    view = advance_all(RunView(), sample.events(5, broken=True))
    assert view.non_finite == 1
    assert view.recorded.traces[BATCH_LOSS].raw.broken == (146.0,)
    view = advance(view, sample.step(300, loss=math.inf))
    assert view.recorded.broken("loss") == 2
    assert all(map(math.isfinite, view.recorded.traces[BATCH_LOSS].smoothed(0.6).ys))


def test_a_skipped_batch_with_a_finite_loss_is_marked_too():
    skipped = NonFiniteSkipped(
        time=0.0, epoch=1, step=3, loss=0.7, parameter="a", consecutive=1, batch_rows=()
    )
    assert advance_all(RunView(), [sample.started(), skipped]).recorded.broken("loss") == 1


def test_resuming_cuts_what_is_superseded():
    view = advance_all(RunView(), sample.events(10, until_step=400))
    resumed = Resumed(time=sample.START + 9, attempt=2, epoch=4, step=180, checkpoint="best_model.pt")
    view = advance(view, resumed)
    assert max(view.recorded.traces[BATCH_LOSS].raw.xs) <= 180
    assert [row.epoch for row in view.epochs] == [1, 2, 3, 4]
    assert view.attempt == 2
    assert view.progress.done == 4


def test_pausing_does_not_count_towards_the_estimate():
    def command(name, time):
        return CommandHandled(time=time, command=name, accepted=True, epoch=1, step=9, message="")

    progress = Progress()
    for event in (
        sample.started(time=0.0),
        EpochStarted(time=0.0, epoch=1, step=0),
        sample.step(9, time=1.0),
        command("pause", 1.0),
        command("resume", 100.0),
        sample.step(18, time=101.0),
    ):
        progress = advance_progress(progress, event)
    assert progress.eta is not None
    assert abs(progress.eta - (20 * 5 - 2)) < 1e-6


def test_what_could_not_be_saved_stays_until_it_is():
    failed = CheckpointFailed(time=0.0, files=("last.pt", "best.pt"), epoch=1, step=1, reason="disk full")
    saved = CheckpointSaved(time=1.0, files=("last.pt",), epoch=2, step=2, size_bytes=1, seconds=0.1)
    view = advance_all(RunView(), [sample.started(), failed, saved])
    assert view.unsaved == (("best.pt", "disk full"),)


def test_the_log_is_bounded_and_clean():
    flood = [LogLine(time=0.0, level="info", text=f"\x1b[31mline {i}") for i in range(3 * LOG_LIMIT)]
    view = with_output(advance_all(RunView(), flood), ["\x1b]0;x\x07[/red]"], 1.0)
    assert LOG_LIMIT <= len(view.log) <= LOG_LIMIT + SLACK
    assert view.log_total == 3 * LOG_LIMIT + 1
    assert view.log[-1].text == "[/red]"
    assert view.log[0].text.startswith("line ")


def last_rows(view, height):
    rows = panels.run_rows(view, 36, height, panels.UNICODE)
    assert len(rows) <= height
    return ["".join(text for text, _ in row) for row in rows]


def test_the_last_words_of_a_failed_run_are_told_in_full_where_there_is_room():
    words = "10 batches in a row gave a non-finite loss; lower the learning rate, then start again"
    events = [*sample.events(20, until_step=300), sample.finished(status="failed", message=words)]
    view = advance_all(RunView(), events)
    assert words in " ".join(last_rows(view, 20))
    cut = last_rows(view, 8)
    assert cut[-1].endswith("…")
    assert "10 batches in a row" in " ".join(cut)


def test_metrics_are_worth_more_than_the_last_words_of_a_complete_run():
    events = [*sample.events(20, until_step=900), sample.finished(message="All 20 epochs are done.")]
    view = advance_all(RunView(), events)
    assert "All 20 epochs are done." in last_rows(view, 12)
    short = last_rows(view, 9)
    assert "All 20 epochs are done." not in short
    assert any(row.startswith("accuracy") for row in short)
