"""The stream: readers may be slow, the trainer never is."""

import threading

from tui_trainer.engine import events
from tui_trainer.session import stream as stream_module
from tui_trainer.session.stream import EventStream


def step(number: int) -> events.StepLogged:
    return events.StepLogged(
        time=0.0,
        epoch=1,
        step=number,
        step_in_epoch=number,
        loss=1.0,
        learning_rate=0.1,
        grad_norm=None,
        samples_per_second=1.0,
    )


def diagnostic(number: int) -> events.DiagnosticRaised:
    return events.DiagnosticRaised(
        time=0.0, id=str(number), code="nan_loss", severity="critical", epoch=1, step=number, message=""
    )


def test_a_late_reader_gets_what_came_before():
    stream = EventStream()
    stream.emit(step(1))
    reader = stream.subscribe("late")
    stream.emit(step(2))
    assert [event.step for event in reader.poll(0)] == [1, 2]
    assert reader.poll(0) == []


def test_a_reader_that_never_reads_loses_points_but_neither_the_last_nor_a_diagnostic(monkeypatch):
    monkeypatch.setattr(stream_module, "_BUFFER", 100)
    stream = EventStream()
    reader = stream.subscribe("asleep")
    for number in range(5000):
        stream.emit(step(number))
        if number % 1000 == 0:
            stream.emit(diagnostic(number))
    got = reader.poll(0)
    assert len(got) < 300
    assert got[-1].step == 4999
    assert [event.step for event in got if isinstance(event, events.DiagnosticRaised)] == [
        0,
        1000,
        2000,
        3000,
        4000,
    ]


def test_poll_wakes_for_an_event_of_another_thread():
    stream = EventStream()
    reader = stream.subscribe("waiting")
    thread = threading.Thread(target=lambda: stream.emit(step(7)))
    thread.start()
    assert [event.step for event in reader.poll(30)] == [7]
    thread.join()


def test_a_closed_reader_gets_nothing_more():
    stream = EventStream()
    reader = stream.subscribe("gone")
    reader.close()
    stream.emit(step(1))
    assert reader.poll(0) == []


def log_line(number: int) -> events.LogLine:
    return events.LogLine(time=0.0, level="info", text=str(number))


def test_many_events_that_must_stay_are_not_gone_through_for_each_new_one(monkeypatch):
    monkeypatch.setattr(stream_module, "_BUFFER", 100)
    stream = EventStream()
    reader = stream.subscribe("asleep")
    rounds = {"reader": 0, "past": 0}

    def counted(name, tidy):
        def call():
            rounds[name] += 1
            tidy()

        return call

    monkeypatch.setattr(reader, "_thin_out", counted("reader", reader._thin_out))
    monkeypatch.setattr(stream, "_forget", counted("past", stream._forget))
    for number in range(20_000):
        stream.emit(log_line(number))
    assert 1 <= rounds["reader"] <= 10  # each time there are twice as many
    assert 1 <= rounds["past"] <= 10
    assert [event.text for event in reader.poll(0)] == [str(number) for number in range(20_000)]
    assert len(stream.subscribe("late").poll(0)) == 20_000
    stream.emit(log_line(-1))
    assert len(reader.poll(0)) == 1


def test_the_past_forgets_points_and_rows_but_no_milestone(monkeypatch):
    monkeypatch.setattr(stream_module, "_BUFFER", 100)
    stream = EventStream()
    for number in range(5000):
        stream.emit(events.SeriesRow(time=0.0, series="s", epoch=1, step=number, row={}))
        if number % 1000 == 0:
            stream.emit(diagnostic(number))
    late = stream.subscribe("late").poll(0)
    assert len(late) < 500
    assert [event.step for event in late if isinstance(event, events.DiagnosticRaised)] == [
        0, 1000, 2000, 3000, 4000,
    ]  # fmt: skip
    assert late[-1].step == 4999
