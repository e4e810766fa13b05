"""Rolling back inside a running session: the run goes on from a checkpoint as if it had never gone further."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.runs import assert_same_run, load_last, metric_log, read_json, train
from tests.session.processes import LiveRun
from tui_trainer.config.hashing import config_hash
from tui_trainer.config.loading import LoadedConfig, parse_config
from tui_trainer.engine import events
from tui_trainer.engine.manifest import read_manifest, sha256_of
from tui_trainer.session.run_folder import create
from tui_trainer.session.run_session import RunRequest, RunSession

CONFIG: dict[str, Any] = {
    "name": "rolled",
    "seed": 3,
    "device": "cpu",
    "data": {"target": "digits", "batch_size": 128},
    "model": {"target": "mlp", "args": {"hidden": [16], "dropout": 0.3}},
    "optimizer": {"target": "sgd", "learning_rate": 0.2, "args": {"momentum": 0.9}},
    "scheduler": {"target": "reduce_on_plateau", "args": {"patience": 0, "threshold": 0.3}},
    "training": {"epochs": 6},
    "early_stopping": {"enabled": False},
    "checkpoint": {"checkpoint_every_n_epochs": 2},
    "monitoring": {"log_every_n_steps": 1},
}
PER_EPOCH = 12  # of 1437 digits for training


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Watched(RunSession):
    """A session that is sent commands at steps: {step: [(command, details), …]}, each step once."""

    def __init__(
        self, folder: Path, script: dict[int, list[tuple[str, dict[str, Any]]]], **changes: Any
    ) -> None:
        config = parse_config(CONFIG | changes)
        run = create(
            folder,
            name="rolled",
            mode="baseline",
            config_hash=config_hash(config),
            config_folder=folder.parent,
            lineage=None,
        )
        super().__init__(RunRequest(loaded=LoadedConfig(config, None, folder.parent, ""), folder=run))
        self.seen: list[events.Event] = []
        self.script = dict(script)
        self.on: Callable[[events.Event], None] = lambda event: None
        emit = self.stream.emit

        def watching(event: events.Event) -> None:
            emit(event)
            self.seen.append(event)
            self.on(event)
            if isinstance(event, events.StepLogged):
                for command, details in self.script.pop(event.step, []):
                    self.send(command, **details)

        self.stream.emit = watching  # type: ignore[method-assign]

    def train(self, exit_code: int = 0) -> None:
        self.start()
        assert self.wait(120)
        assert self.exit_code == exit_code, self.summary

    def answers(self) -> list[tuple[str, bool]]:
        return [
            (event.command, event.accepted) for event in self.seen if isinstance(event, events.CommandHandled)
        ]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("straight") / "run"
    Watched(folder, {}).train()
    return folder


def back(file: str = "checkpoint_epoch_2.pt", **details: Any) -> tuple[str, dict[str, Any]]:
    return "roll_back", {"file": file, **details}


def assert_tidy(run: Path, straight: Path) -> None:
    """Files, manifest, CSVs and events of a run that was rolled back are those of one that never went further."""
    names = sorted(path.name for path in (straight / "checkpoints").iterdir())
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == names
    manifest = read_manifest(run / "checkpoints")
    assert manifest["pending"] == {}
    assert {name: entry["sha256"] for name, entry in manifest["files"].items()} == {
        path.name: sha256_of(path) for path in (run / "checkpoints").glob("*.pt")
    }
    assert (run / "gradient_stats.csv").read_text() == (straight / "gradient_stats.csv").read_text()
    assert [row["epoch"] for row in read_json(run / "metrics.json")["epochs"]] == [1, 2, 3, 4, 5, 6]
    assert effective_epochs(run) == [1, 2, 3, 4, 5, 6]


def effective_epochs(run: Path) -> list[int]:
    """The finished epochs that events.jsonl tells of, once `resumed` has superseded what it does; no line is torn."""
    finished: list[events.EpochFinished] = []
    for line in (run / "events.jsonl").read_text().splitlines():
        event = events.decode(line)
        assert event is not None
        if isinstance(event, events.Resumed):
            finished = [item for item in finished if item.step <= event.step]
        elif isinstance(event, events.EpochFinished):
            finished.append(event)
    return [item.epoch for item in finished]


@pytest.mark.parametrize(
    "step", [4 * PER_EPOCH + 5, 5 * PER_EPOCH], ids=["within an epoch", "before validation"]
)
def test_a_run_that_was_rolled_back_ends_as_one_that_never_was(
    step: int, straight: Path, tmp_path: Path
) -> None:
    session = Watched(tmp_path / "run", {step: [back()]})
    session.train()
    assert session.answers() == [("roll_back", True)]
    assert_same_run(straight, session.folder)
    assert_tidy(session.folder, straight)
    record = read_json(session.folder / "run.json")
    first, second = record["attempts"]
    assert (first["status"], second["status"]) == ("rolled_back", "completed")
    assert second["resumed_from"] == "checkpoint_epoch_2.pt"
    (note,) = first["interventions"]
    assert (note["command"], note["step"], note["to_step"]) == ("roll_back", step, 2 * PER_EPOCH)
    assert record["interventions"] == []
    attic = session.folder / "attempts" / "1"
    assert {"epoch_metrics.csv", "gradient_stats.csv", "checkpoint_epoch_4.pt"} <= {
        p.name for p in attic.iterdir()
    }


def test_the_answer_says_where_it_is_and_what_was_thrown_away(tmp_path: Path) -> None:
    session = Watched(tmp_path / "run", {4 * PER_EPOCH + 5: [("stop", {"when": "epoch"}), back()]})
    session.train()
    kinds = [type(event) for event in session.seen]
    at = kinds.index(events.Resumed)
    resumed, answer = (
        session.seen[at],
        next(e for e in session.seen[at:] if isinstance(e, events.CommandHandled)),
    )
    assert (resumed.attempt, resumed.epoch, resumed.step, resumed.epochs) == (2, 2, 2 * PER_EPOCH, 6)
    assert (answer.epoch, answer.step) == (2, 2 * PER_EPOCH)
    assert "the end of epoch 2, step 24" in answer.message
    assert "29 steps thrown away; it no longer stops after the epoch" in answer.message
    assert "29 steps thrown away" in (session.folder / "training.log").read_text()


def test_the_best_checkpoint_is_the_best_of_then_again(tmp_path: Path) -> None:
    session = Watched(tmp_path / "run", {4 * PER_EPOCH + 5: [back()]})
    then: list[tuple[int, str, int]] = []

    def on(event: events.Event) -> None:
        if isinstance(event, events.CommandHandled):
            assert session._trainer is not None
            entry = read_manifest(session.folder / "checkpoints")["files"]["best_model.pt"]
            file = session.folder / "checkpoints" / "best_model.pt"
            assert sha256_of(file) == entry["sha256"]
            then.append((entry["epoch"], entry["sha256"], session._trainer.best.epoch))

    session.on = on
    session.train()
    (found,) = then
    expected = read_manifest(session.folder / "checkpoints")["files"]["checkpoint_epoch_2.pt"]["sha256"]
    assert found == (2, expected, 2)
    assert "starts anew" not in (session.folder / "training.log").read_text()


def test_more_epochs_are_on_disk_once_a_rollback_is_answered(tmp_path: Path) -> None:
    """A crash right after it must not forget them."""
    script = {3 * PER_EPOCH: [("extend", {"epochs": 9})], 4 * PER_EPOCH + 5: [back(), ("stop", {})]}
    session = Watched(tmp_path / "run", script)
    on_disk: list[tuple[int, int]] = []

    def on(event: events.Event) -> None:
        if isinstance(event, events.CommandHandled) and event.command == "roll_back":
            state = load_last(session.folder)
            on_disk.append((state["step"], state["epochs"]))

    session.on = on
    session.train()
    assert on_disk == [(2 * PER_EPOCH, 9)]


def test_twice_in_a_row_and_to_an_earlier_one(straight: Path, tmp_path: Path) -> None:
    script = {5 * PER_EPOCH + 3: [back("checkpoint_epoch_4.pt"), back()]}
    session = Watched(tmp_path / "run", script)
    session.train()
    assert session.answers() == [("roll_back", True)] * 2
    assert_same_run(straight, session.folder)
    assert_tidy(session.folder, straight)
    assert [item["status"] for item in read_json(session.folder / "run.json")["attempts"]] == [
        "rolled_back",
        "rolled_back",
        "completed",
    ]
    assert (session.folder / "attempts" / "2" / "checkpoint_epoch_4.pt").exists()


def test_while_paused_it_stays_paused_there(straight: Path, tmp_path: Path) -> None:
    session = Watched(tmp_path / "run", {4 * PER_EPOCH + 5: [("pause", {}), back()]})
    paused: list[int] = []

    def on(event: events.Event) -> None:
        if isinstance(event, events.CommandHandled) and event.command == "pause":
            paused.append(event.step)
            assert read_json(session.folder / "run.json")["status"] in ("running", "paused")
            if len(paused) == 2:
                session.send("resume")

    session.on = on
    session.train()
    assert session.answers() == [("pause", True), ("roll_back", True), ("pause", True), ("resume", True)]
    assert paused == [4 * PER_EPOCH + 5, 2 * PER_EPOCH]
    assert_same_run(straight, session.folder)
    assert_tidy(session.folder, straight)


@pytest.mark.parametrize("paused", [False, True])
def test_a_damaged_checkpoint_is_refused_and_training_goes_on(
    paused: bool, straight: Path, tmp_path: Path
) -> None:
    commands = [("pause", {}), back(), ("resume", {})] if paused else [back()]
    session = Watched(tmp_path / "run", {4 * PER_EPOCH + 5: commands})
    damaged = session.folder / "checkpoints" / "checkpoint_epoch_2.pt"

    def on(event: events.Event) -> None:
        if isinstance(event, events.StepLogged) and event.step == 4 * PER_EPOCH:
            assert session._trainer is not None
            session._trainer.checkpointer.flush()
            raw = bytearray(damaged.read_bytes())
            raw[len(raw) // 2] ^= 1
            damaged.unlink()  # its other names are hard links of it
            damaged.write_bytes(raw)

    session.on = on
    session.train()
    (answer,) = [e for e in session.seen if isinstance(e, events.CommandHandled) and e.command == "roll_back"]
    assert not answer.accepted
    assert "is damaged" in answer.message
    assert_same_run(straight, session.folder)
    assert len(read_json(session.folder / "run.json")["attempts"]) == 1


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (back("nothing.pt"), "no checkpoint nothing.pt"),
        (back("../run.json"), "no checkpoint"),
        (back(file=None), "no checkpoint None"),
        (back(step=7), "holds step 24, not 7"),
        (back(learning_rate=-1), "learning_rate must be"),
        (back(learning_rate_factor="x"), "learning_rate_factor must be"),
    ],
)
def test_what_cannot_be_rolled_back_to_is_refused_with_the_reason(
    command: tuple[str, dict[str, Any]], said: str, straight: Path, tmp_path: Path
) -> None:
    session = Watched(tmp_path / "run", {3 * PER_EPOCH + 5: [command]})
    session.train()
    (answer,) = [event for event in session.seen if isinstance(event, events.CommandHandled)]
    assert not answer.accepted
    assert said in answer.message
    assert_same_run(straight, session.folder)


def test_a_folder_that_cannot_be_written_refuses_and_training_goes_on(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tui_trainer.session.rollback.roll_back", full)
    session = Watched(tmp_path / "run", {4 * PER_EPOCH + 5: [back()]})
    session.train()
    assert session.answers() == [("roll_back", False)]
    assert_same_run(straight, session.folder)


@pytest.mark.parametrize("asked", [{"learning_rate": 0.01}, {"learning_rate_factor": 0.05}])
def test_with_another_learning_rate_the_run_is_as_one_that_set_it_there(
    asked: dict[str, float], tmp_path: Path
) -> None:
    rolled = Watched(tmp_path / "rolled", {4 * PER_EPOCH + 5: [back(**asked)]})
    rolled.train()
    assert rolled.answers() == [("roll_back", True), ("set_learning_rate", True)]
    (note,) = read_json(rolled.folder / "run.json")["interventions"]
    assert (note["epoch"], note["step"], note["command"]) == (3, 2 * PER_EPOCH, "set_learning_rate")
    replayed = Watched(tmp_path / "replayed", {})

    def on(event: events.Event) -> None:  # as `verify` will: by epoch and step, before the first batch there
        if isinstance(event, events.EpochStarted) and (event.epoch, event.step) == (
            note["epoch"],
            note["step"],
        ):
            replayed.send(note["command"], learning_rate=note["learning_rate"])

    replayed.on = on
    replayed.train()
    assert_same_run(replayed.folder, rolled.folder)
    assert read_json(replayed.folder / "run.json")["interventions"] == [note]


def test_what_was_done_after_the_checkpoint_is_undone_but_more_epochs_stay(tmp_path: Path) -> None:
    script = {
        3 * PER_EPOCH: [("set_learning_rate", {"learning_rate": 1e-5}), ("extend", {"epochs": 7})],
        4 * PER_EPOCH + 5: [back()],
    }
    session = Watched(tmp_path / "run", script)
    session.train()
    assert [row["epoch"] for row in metric_log(session.folder)] == list("1234567")
    assert float(metric_log(session.folder)[-1]["learning_rate"]) > 1e-3
    assert [item["command"] for item in read_json(session.folder / "run.json")["interventions"]] == ["extend"]
    assert (
        "Undone, for it came after the checkpoint: set learning rate at step 36"
        in (session.folder / "training.log").read_text()
    )


def test_diagnostics_of_what_was_thrown_away_are_gone_and_those_of_the_data_stay(tmp_path: Path) -> None:
    script = {4 * PER_EPOCH + 5: [back()]}
    session = Watched(tmp_path / "run", script, diagnostics={"disabled": ["data_quality"]})

    def on(event: events.Event) -> None:
        if isinstance(event, events.RunStarted):
            session._judge.emit(raised("data", 0))
        if isinstance(event, events.StepLogged) and event.step in (5, 4 * PER_EPOCH) and session.script:
            session._judge.emit(raised(f"at-{event.step}", event.step))

    session.on = on
    session.train()
    kept = [
        json.loads(line)["id"] for line in (session.folder / "diagnostics.jsonl").read_text().splitlines()
    ]
    assert kept == ["data", "at-5"]
    assert session.summary is not None
    assert session.summary["diagnostics"] == ["at-5", "data"]


def raised(name: str, step: int) -> events.DiagnosticRaised:
    return events.DiagnosticRaised(
        time=0.0, id=name, code=name, severity="warning", epoch=0 if step == 0 else 1, step=step, message="x"
    )


def test_many_rollbacks_of_all_kinds_of_state_end_the_same(straight: Path, tmp_path: Path) -> None:
    """Back to the best, to a state within an epoch, and to what a pause has saved."""
    script = {
        PER_EPOCH + 4: [("checkpoint", {}), back("last_model.pt", step=PER_EPOCH + 4)],
        2 * PER_EPOCH + 6: [back("best_model.pt")],
        3 * PER_EPOCH + 1: [("pause", {}), back("last_model.pt"), ("resume", {})],
    }
    session = Watched(tmp_path / "run", script)

    def on(event: events.Event) -> None:
        if isinstance(event, events.CommandHandled) and event.command == "pause" and not session.script:
            session.send("resume")

    session.on = on
    session.train()
    assert [accepted for command, accepted in session.answers() if command == "roll_back"] == [True] * 3
    assert_same_run(straight, session.folder)
    assert_tidy(session.folder, straight)


MODULE = """
import threading
from pathlib import Path

def gate(context):
    Path(f"reached_{context.epoch}").touch()
    if context.epoch == 4 and Path("hold").exists() and Path("killed/attempts/1").exists():
        threading.Event().wait()  # until it is killed
    return {"epoch_seen": context.epoch}
"""


@pytest.mark.parametrize("asked", [{}, {"learning_rate": 0.001}], ids=["only back", "with a learning rate"])
def test_killed_after_a_rollback_the_run_resumes_to_the_bit(asked: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "gates.py").write_text(MODULE)
    (tmp_path / "driver.py").write_text(DRIVER)
    script = {4 * PER_EPOCH + 5: [back(**asked)]}
    settings = CONFIG | {"monitoring": {"log_every_n_steps": 1, "statistics": ["gates:gate"]}}
    (tmp_path / "config.yaml").write_text(json.dumps(settings))
    (tmp_path / "script.json").write_text(json.dumps(script))
    for name in ("whole", "killed"):
        if name == "killed":
            (tmp_path / "hold").touch()
        live = LiveRun(
            tmp_path / name, cwd=tmp_path, program=["driver.py", name, "script.json", "config.yaml"]
        )
        if name == "killed":
            live.until_logged('"kind":"resumed"')
            live.until_logged('"command":"set_learning_rate"' if asked else '"command":"roll_back"')
            live.process.kill()
            live.process.wait()
            (tmp_path / "hold").unlink()
        else:
            live.end(0)
    train("--output-dir", "killed", "--resume", "auto", cwd=tmp_path)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
    record = read_json(tmp_path / "killed" / "run.json")
    assert [item["status"] for item in record["attempts"]] == ["rolled_back", "died", "completed"]
    assert record["interventions"] == read_json(tmp_path / "whole" / "run.json")["interventions"]
    assert len(record["interventions"]) == len(asked)
    assert effective_epochs(tmp_path / "killed") == [1, 2, 3, 4, 5, 6]
    assert load_last(tmp_path / "killed")["epoch"] == 6


DRIVER = '''
"""A run in a process of its own that sends itself the commands of a script."""
import json, sys
from pathlib import Path

if __name__ == "__main__":
    from tui_trainer.config.loading import load_config
    from tests.session.test_roll_back import Watched

    folder, script, config = map(Path, sys.argv[1:])
    commands = {int(step): list(map(tuple, items)) for step, items in json.loads(script.read_text()).items()}
    Watched(folder, commands, monitoring=json.loads(config.read_text())["monitoring"]).train()
'''
