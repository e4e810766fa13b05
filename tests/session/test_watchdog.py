"""The watchdog: told once when no step is made any more, silent whenever there is a reason."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from tui_trainer.config.loading import LoadedConfig, parse_config
from tui_trainer.diagnostics.facts import RunFacts
from tui_trainer.diagnostics.hang import Hang
from tui_trainer.engine.events import DiagnosticRaised, LogLine, RunFinished
from tui_trainer.engine.manifest import write_manifest
from tui_trainer.session import watchdog
from tui_trainer.session.run_folder import create
from tui_trainer.session.run_session import RunRequest, RunSession
from tui_trainer.session.thread_stack import stack_of
from tui_trainer.session.watchdog import Watchdog


@dataclass
class FakeTrainer:
    epoch: int = 1
    step: int = 0
    heartbeat: float | None = None
    awaiting: bool = False


@dataclass
class Watch:
    """A watchdog over a trainer that does what the test says, at times that it says."""

    trainer: FakeTrainer
    folder: Path
    config: Any
    now: float = 1000.0
    told: list[DiagnosticRaised] = field(default_factory=list)
    notes: list[LogLine] = field(default_factory=list)
    thread: int = field(default_factory=threading.get_ident)

    def __post_init__(self) -> None:
        facts = RunFacts(self.config, 5, 10, (), "val_loss", "min")
        self.dog = Watchdog(
            self.trainer,
            Hang(facts, self.config.diagnostics.thresholds.get("hang")),
            config=self.config,
            thread=self.thread,
            checkpoints=self.folder,
            report=lambda diagnostic, _: self.told.append(diagnostic),
            note=self.notes.append,  # type: ignore[arg-type]
            clock=lambda: self.now,
        )

    def wait(self, seconds: float) -> None:
        """Time goes by, with a look every five seconds."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 5)
            self.dog.look()

    def steps(self, count: int, each: float) -> None:
        """Steps of `each` seconds; the last begins one that has not ended."""
        for _ in range(count):
            self.trainer.heartbeat = self.now
            self.wait(each)
            self.trainer.step += 1
        self.trainer.heartbeat = self.now
        self.dog.look()


@pytest.fixture
def make_watch(tmp_path):
    def make(**changes) -> Watch:
        config = parse_config({"name": "watched", "device": "cpu", "data": {"target": "digits"}} | changes)
        return Watch(FakeTrainer(), tmp_path, config)

    return make


def test_a_minute_without_a_step_is_told_once(make_watch):
    watch = make_watch()
    watch.steps(5, each=2)
    watch.wait(59)
    assert not watch.told
    watch.wait(300)
    (told,) = watch.told
    assert (told.code, told.severity, told.id, told.step) == ("hang", "critical", "hang-6", 5)
    assert told.evidence["threshold"] == 60
    assert "within a training step" in told.message


def test_slow_steps_are_waited_for_ten_times_as_long(make_watch):
    watch = make_watch()
    watch.steps(10, each=30)
    watch.wait(299)
    assert not watch.told
    watch.wait(2)
    assert watch.told[0].evidence["usual_step_seconds"] == pytest.approx(30)


def test_what_steps_take_is_not_known_before_there_were_some(make_watch):
    watch = make_watch()
    watch.steps(0, each=0)
    watch.wait(299)
    assert not watch.told
    watch.wait(5)
    assert watch.told[0].evidence["usual_step_seconds"] is None


def test_thresholds_are_those_of_the_config(make_watch):
    watch = make_watch(diagnostics={"thresholds": {"hang": {"seconds": 20, "factor": 2}}})
    watch.steps(5, each=2)
    watch.wait(21)
    assert watch.told


def test_pauses_validation_and_checkpoints_may_take_their_time(make_watch):
    watch = make_watch()
    watch.steps(5, each=2)
    watch.trainer.heartbeat = None
    watch.wait(10_000)
    watch.steps(3, each=2)
    assert not watch.told
    assert not watch.notes
    watch.wait(61)
    assert watch.told[0].evidence["usual_step_seconds"] == pytest.approx(2), "nor did it count as a step"


def test_compiling_may_take_its_time_in_the_first_epoch(make_watch):
    watch = make_watch(training={"compile": True})
    watch.steps(5, each=2)
    watch.wait(2000)
    assert not watch.told
    watch.trainer.epoch = 2
    watch.steps(5, each=2)
    watch.wait(61)
    assert watch.told


def test_a_process_that_was_stopped_did_not_hang(make_watch):
    watch = make_watch()
    watch.steps(5, each=2)
    watch.now += 5000
    watch.dog.look()
    watch.wait(50)
    assert not watch.told
    watch.wait(15)
    assert watch.told


def test_its_end_is_noted_and_the_next_one_is_told_again(make_watch):
    watch = make_watch()
    watch.steps(5, each=2)
    watch.wait(70)
    watch.trainer.step += 1
    watch.steps(3, each=2)
    (note,) = watch.notes
    assert note.text == "Training goes on: step 6 took 1m 10s."
    watch.wait(61)
    assert [item.id for item in watch.told] == ["hang-6", "hang-10"]


def test_the_last_checkpoint_and_what_is_waited_for_are_named(make_watch):
    watch = make_watch(data={"target": "digits", "num_workers": 2})
    entry = {"epoch": 1, "step": 3}
    write_manifest(watch.folder, {"files": {"best_model.pt": entry, "last_model.pt": entry}, "pending": {}})
    watch.steps(5, each=2)
    watch.trainer.awaiting = True
    watch.wait(61)
    (told,) = watch.told
    assert "waiting for a batch of data" in told.message
    assert "Last checkpoint: last_model.pt (epoch 1, step 3)." in told.message
    assert [fix["id"] for fix in told.fixes] == ["no_workers", "end_and_resume"]
    assert told.fixes[0]["config_diff"] == {"data.num_workers": {"from": 2, "to": 0}}
    assert not any(fix["by_itself"] for fix in told.fixes)


def test_the_stack_begins_with_the_users_line():
    there, go = threading.Event(), threading.Event()

    def wait_for_ever():
        there.set()
        go.wait()

    thread = threading.Thread(target=wait_for_ever, daemon=True)
    thread.start()
    there.wait()
    try:
        lines = stack_of(thread.ident)
    finally:
        go.set()
        thread.join()
    assert lines[0].startswith("test_watchdog.py:")
    assert "in wait_for_ever: " in lines[0]
    assert any("threading.py" in line for line in lines[1:]), "then where it really stands"
    assert len(lines) <= 9
    assert stack_of(thread.ident) == []


# ── in a real run ───────────────────────────────────────────────────────────────────────────────────────────────

GO_ON = threading.Event()
STANDS_AT = 30


class Stubborn(nn.Linear):
    """Waits at its 30th training pass until it is told to go on."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        self.passes = 0

    def forward(self, x: Any) -> Any:
        self.passes += self.training
        if self.training and self.passes == STANDS_AT:
            GO_ON.wait()
        return super().forward(x)


def test_a_run_that_hangs_says_where_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(watchdog, "_INTERVAL_S", 0.02)
    GO_ON.clear()
    config = parse_config(
        {
            "name": "stubborn",
            "device": "cpu",
            "data": {"target": "digits", "batch_size": 64},
            "model": {"target": f"{__name__}:Stubborn"},
            "training": {"epochs": 2},
            "diagnostics": {"thresholds": {"hang": {"seconds": 1, "factor": 1, "first_seconds": 30}}},
        }
    )
    folder = create(
        tmp_path / "run",
        name="stubborn",
        mode="baseline",
        config_hash="",
        config_folder=tmp_path,
        lineage=None,
    )
    session = RunSession(RunRequest(loaded=LoadedConfig(config, None, tmp_path, ""), folder=folder))
    reader = session.subscribe("test")
    session.start()
    seen: list[Any] = []

    def hangs() -> list[DiagnosticRaised]:
        return [event for event in seen if isinstance(event, DiagnosticRaised) and event.code == "hang"]

    while not hangs() and not any(isinstance(event, RunFinished) for event in seen):
        seen += reader.poll(60)
    assert not session.wait(0)
    GO_ON.set()
    assert session.wait(120)
    seen += reader.poll(0)
    assert session.exit_code == 0
    (told,) = hangs()
    assert "in forward: GO_ON.wait()" in told.evidence["stack"][0]
    assert told.step == STANDS_AT - 1
    notes = [event.text for event in seen if isinstance(event, LogLine)]
    assert any(text.startswith("Training goes on: step") for text in notes)
