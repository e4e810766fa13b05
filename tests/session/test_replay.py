"""A run read back from its folder is the run that was seen live, however long, torn or damaged its record is."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.reports import sample_run as sample
from tests.runs import metric_log, train
from tests.screens.run_folders import finished, write_run
from tests.session.test_run_index import held
from tui_trainer.engine.events import Event, LogLine, Resumed, RunFinished, StepLogged, decode, encode
from tui_trainer.screens.view import RunView, advance_all
from tui_trainer.session.event_file import STEPS_KEPT, EventFile
from tui_trainer.session.replay import RunReplay


def written(events: Iterable[Event]) -> list[Event]:
    """Events as they are once written: times in milliseconds."""
    found = [decode(encode(event)) for event in events]
    assert None not in found
    return [event for event in found if event is not None]


STEP_5, STEP_10 = written([sample.step(5), sample.step(10)])


def all_events(run: RunReplay) -> list[Event]:
    """What a reader gets until there is nothing more."""
    subscription = run.subscribe("test")
    found: list[Event] = []
    while events := subscription.poll(0):
        found += events
    subscription.close()
    return found


def write_lines(path: Path, events: list[Event]) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("".join(encode(event) + "\n" for event in events))


def same(view: RunView, other: RunView) -> None:
    """Field by field, so that a difference is found without reading two screens full of numbers. NaN equals NaN."""
    for item in fields(RunView):
        assert repr(getattr(view, item.name)) == repr(getattr(other, item.name)), item.name


def test_a_replay_shows_what_was_seen_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tui_trainer.phases.baseline import open_baseline
    from tui_trainer.session.launching import AlreadyDone, Options

    monkeypatch.chdir(tmp_path)
    session = open_baseline(
        Options(
            overrides=("training.epochs=2", "monitoring.log_every_n_steps=1"),
            output_dir=tmp_path / "run",
            waive=("all=tested elsewhere",),
        )
    )
    assert not isinstance(session, AlreadyDone)
    subscription = session.subscribe("live")
    session.start()
    assert session.wait(120)
    live = [event for event in subscription.poll(0) if event.kind != "resources"]
    replayed = [event for event in all_events(RunReplay(session.folder)) if event.kind != "resources"]
    assert len(live) > 60
    view = advance_all(RunView(), written(live))
    same(view, advance_all(RunView(), replayed))
    assert (view.status, len(view.epochs)) == ("completed", 2)
    assert RunReplay(session.folder).summary == json.loads((session.folder / "summary.json").read_text())


def test_a_run_that_was_resumed_shows_what_holds(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train("--set", "training.epochs=3", "--output-dir", run, cwd=tmp_path)
    train("--set", "training.epochs=5", "--output-dir", run, "--resume", "auto", cwd=tmp_path)
    with (run / "events.jsonl").open("a") as stream:
        stream.write('{"kind":"step","time":"20')
    view = advance_all(RunView(), all_events(RunReplay(run)))
    rows = metric_log(run)
    assert [event.epoch for event in view.epochs] == [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5]
    assert [event.metrics["val_loss"] for event in view.epochs] == [float(row["val_loss"]) for row in rows]
    assert (view.attempt, view.status) == (2, "completed")


def test_superseded_steps_are_not_shown(tmp_path: Path) -> None:
    first = list(sample.events(20, until_step=400))
    back = Resumed(time=sample.START + 9, attempt=2, epoch=4, step=180, checkpoint="checkpoint_epoch_4.pt")
    again = [event for event in sample.events(20) if getattr(event, "step", 0) > 180]
    events = written([*first, sample.started(attempt=2), back, *again, sample.finished()])
    folder = write_run(tmp_path / "run", events=events)
    view = advance_all(RunView(), all_events(RunReplay(folder)))
    same(view, advance_all(RunView(), events))
    assert [event.epoch for event in view.epochs] == list(range(1, 21))


def test_a_torn_last_line_waits_for_its_rest(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    whole, torn = encode(STEP_5), encode(STEP_10)
    path.write_text(f"{whole}\n{torn[:40]}")
    file = EventFile(path)
    assert file.read() == [STEP_5]
    assert file.read() == []
    with path.open("a") as stream:
        stream.write(torn[40:] + "\n")
    assert file.read() == [STEP_10]
    assert file.damaged == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line.replace('"loss":', '"loss":1'),
        lambda line: line[:30],
        lambda line: "\0" * 4096,
        lambda line: line.replace('"step"', '"stomp"'),
        lambda line: "{}",
        lambda line: "\udcff\ud800" * 10,
    ],
)
def test_damaged_lines_are_left_out_and_told(tmp_path: Path, damage: Any) -> None:
    events = written(sample.events(3))
    lines = [encode(event) for event in events]
    lines.insert(8, damage(lines[7]))
    folder = finished(tmp_path / "run", events=events)
    (folder / "events.jsonl").write_bytes(("\n".join(lines) + "\n").encode("utf-8", "replace"))
    found = all_events(RunReplay(folder))
    assert found[: len(events)] == events
    (note,) = found[len(events) :]
    assert isinstance(note, LogLine)
    assert note.level == "warning"
    assert "1 line is left out" in note.text


def long_run(count: int) -> list[StepLogged]:
    """Steps with one high loss, one low one, one high norm, and three that are no numbers."""
    odd: dict[int, dict[str, float]] = {
        1234: {"loss": 99.0}, 2222: {"loss": -5.0}, 3001: {"grad_norm": 77.0}, 3300: {"loss": math.nan},
        3301: {"loss": math.inf}, 3302: {"grad_norm": math.nan},
    }  # fmt: skip
    return [sample.step(number, **odd.get(number, {})) for number in range(1, count + 1)]


def test_of_a_long_run_all_extremes_and_everything_not_finite_are_shown(tmp_path: Path) -> None:
    events = long_run(3 * STEPS_KEPT)
    write_lines(tmp_path / "events.jsonl", list(events))
    found = EventFile(tmp_path / "events.jsonl").read()
    assert len(found) < len(events)
    kept = {event.step: event for event in found if isinstance(event, StepLogged)}
    assert {1234, 2222, 3001, 3300, 3301, 3302, len(events)} <= kept.keys()
    assert all(repr(event) == repr(written([events[step - 1]])[0]) for step, event in kept.items())
    assert list(kept) == sorted(kept)


def test_of_a_short_run_every_step_is_shown(tmp_path: Path) -> None:
    events = long_run(STEPS_KEPT)
    write_lines(tmp_path / "events.jsonl", list(events))
    assert len(EventFile(tmp_path / "events.jsonl").read()) == STEPS_KEPT


def test_a_live_run_is_followed_to_its_end(tmp_path: Path) -> None:
    events = written(sample.events(2))
    folder = write_run(tmp_path / "run", status="running", events=events[:10])
    run = RunReplay(folder)
    subscription = run.subscribe("test")
    with held(folder):
        assert subscription.poll(0) == events[:10]
        assert subscription.poll(0) == []
        assert not run.wait(0)
        with (folder / "events.jsonl").open("a") as stream:
            stream.writelines(encode(event) + "\n" for event in events[10:])
        assert subscription.poll(0) == events[10:]
    assert run.wait(0)
    assert subscription.poll(0) == []


def test_a_run_whose_process_is_gone_has_died_until_it_goes_on(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", status="running", events=sample.events(20, until_step=100))
    subscription = RunReplay(folder).subscribe("test")
    view = advance_all(RunView(), subscription.poll(0))
    assert view.status == "running"
    (end,) = subscription.poll(0)
    view = advance_all(view, [end])
    assert (view.status, view.is_over) == ("died", True)
    assert "--resume" in view.message
    assert subscription.poll(0) == []
    with held(folder), (folder / "events.jsonl").open("a") as stream:
        for event in (sample.started(attempt=2), sample.step(101)):
            stream.write(encode(event) + "\n")
        stream.flush()
        view = advance_all(view, subscription.poll(0))
    assert (view.status, view.attempt, view.is_over) == ("running", 2, False)
    assert advance_all(view, subscription.poll(0)).status == "died"


def test_an_end_that_the_record_lost_comes_from_the_summary(tmp_path: Path) -> None:
    folder = finished(
        tmp_path / "run", status="failed", message="disk full", events=sample.events(20, until_step=100)
    )
    end = all_events(RunReplay(folder))[-1]
    assert isinstance(end, RunFinished)
    assert (end.status, end.message) == ("failed", "disk full")


def test_a_folder_without_events_says_how_the_run_ended(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run", status="failed", message="no such file", events=[])
    (folder / "events.jsonl").unlink()
    (end,) = all_events(RunReplay(folder))
    assert isinstance(end, RunFinished)
    assert (end.status, end.message) == ("failed", "no such file")


def test_commands_are_refused_with_a_reason_and_nothing_changes(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    run = RunReplay(folder)
    subscription = run.subscribe("test")
    subscription.poll(0)
    run.send("stop", reason="x")
    run.stop_for_signal("SIGINT")
    (answer,) = subscription.poll(None)
    assert answer.kind == "command"
    assert (answer.accepted, answer.command) == (False, "stop")  # type: ignore[attr-defined]
    assert "read only" in answer.message  # type: ignore[attr-defined]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_closing_ends_a_poll_that_waits(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", status="running", events=[])
    with held(folder):
        subscription = RunReplay(folder).subscribe("test")
        waiting = threading.Thread(target=subscription.poll, args=(None,))
        waiting.start()
        subscription.close()
        waiting.join(20)
        assert not waiting.is_alive()


def test_a_line_that_is_longer_than_a_burst_is_read(tmp_path: Path) -> None:
    long = LogLine(time=sample.START, level="info", text="x" * 9_000_000)
    write_lines(tmp_path / "events.jsonl", [STEP_5, long, STEP_10])
    file = EventFile(tmp_path / "events.jsonl")
    assert [*file.read(), *file.read(), *file.read()] == [STEP_5, long, STEP_10]
