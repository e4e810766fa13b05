"""`mltrainer-tui verify RUN`: what comes out the same is called identical, and nothing else is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from tests.runs import ENVIRONMENT, read_json, train
from tests.session.test_fixes import RULE, apply_when_raised, watched
from tests.session.test_roll_back import PER_EPOCH, Watched, _one_thread, back  # noqa: F401 (a fixture)
from tui_trainer.config.errors import RunFolderError
from tui_trainer.engine import events
from tui_trainer.engine.manifest import read_manifest, sha256_of, write_manifest
from tui_trainer.phases.reproducing.differences import compare_logs, compare_weights
from tui_trainer.phases.verify import Verification, lines_of, verify
from tui_trainer.session.run_folder import reopen

TABLE = """
name: table
seed: 3
device: cpu
data: {target: table, args: {path: samples.csv, label: y}, batch_size: 16}
model: {target: own_model:Net, args: {width: 8}}
training: {epochs: 2}
"""
MODEL = """
from torch import nn

class Net(nn.Module):
    def __init__(self, in_features, num_classes, width):
        super().__init__()
        self.first, self.last = nn.Linear(in_features, width), nn.Linear(width, num_classes)
    def forward(self, inputs):
        return self.last(self.first(inputs).relu())
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run on a CSV file and a model of the user's own, both as old as the hills."""
    folder = tmp_path_factory.mktemp("trained")
    rows = [f"{i % 7},{(i * 5) % 11},{'yes' if i % 7 > 3 else 'no'}" for i in range(120)]
    (folder / "samples.csv").write_text("a,b,y\n" + "\n".join(rows) + "\n")
    (folder / "own_model.py").write_text(MODEL)
    (folder / "table.yaml").write_text(TABLE)
    for name in ("samples.csv", "own_model.py"):
        os.utime(folder / name, (1e9, 1e9))
    train("--config", "table.yaml", "--output-dir", "run", cwd=folder)
    return folder


@pytest.fixture
def table_run(trained: Path, tmp_path: Path) -> Path:
    """The same, the folder having been moved here."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    edit_json(tmp_path / "run" / "run.json", lambda record: record.update(config_folder=str(tmp_path)))
    return tmp_path / "run"


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    record = read_json(path)
    change(record)
    path.write_text(json.dumps(record))


def edit_checkpoint(run: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a checkpoint as if it had been saved so, manifest included."""
    folder = run / "checkpoints"
    state = torch.load(folder / name, weights_only=True)
    change(state)
    (folder / name).unlink()  # it may be a hard link
    torch.save(state, folder / name)
    manifest = read_manifest(folder)
    manifest["files"][name]["sha256"] = sha256_of(folder / name)
    write_manifest(folder, manifest)


def said(found: Verification) -> str:
    return "\n".join(lines_of(found))


# ── the same ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_bundled_digits_come_out_identical_and_nothing_in_the_run_changes(tmp_path: Path) -> None:
    train("--output-dir", "run", "--set", "training.epochs=2", cwd=tmp_path)
    before = content(tmp_path / "run")
    done = subprocess.run(
        [sys.executable, "-m", "tui_trainer", "verify", "run", "--json"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["verdict"], told["epochs"], told["changed"], told["remarks"]) == ("identical", 2, [], [])
    assert told["metric_log"]["columns"] >= 6
    assert [item["file"] for item in told["weights"]] == ["best_model.pt", "last_model.pt"]
    assert content(tmp_path / "run") == before


def test_a_run_on_ones_own_code_and_file_is_identical_from_any_folder(
    table_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = verify(table_run)
    assert (found.verdict, found.exit_code, found.changes) == ("identical", 0, ())
    assert "equal to the last digit" in said(found)


def test_a_run_that_was_stopped_within_an_epoch_is_trained_again_up_to_there(tmp_path: Path) -> None:
    session = Watched(tmp_path / "run", {2 * PER_EPOCH + 5: [("stop", {})]})
    session.train()
    found = verify(session.folder)
    assert (found.verdict, found.steps, found.epochs) == ("identical", 2 * PER_EPOCH + 5, 2)
    assert "up to step 29" in said(found)


def test_a_run_that_was_interrupted_and_resumed_is_identical(tmp_path: Path) -> None:
    first = Watched(tmp_path / "run", {PER_EPOCH + 3: [("stop", {})]})
    first.train()
    train("--output-dir", "run", "--resume", "auto", cwd=tmp_path)
    assert len(read_json(first.folder / "run.json")["attempts"]) == 2
    assert verify(first.folder).verdict == "identical"


def test_a_run_is_trained_again_with_as_many_threads_as_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They decide the last digits; what they are in the shell of today must not."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setitem(ENVIRONMENT, name, "2")
    wide = ("--set", "data.batch_size=256", "--set", "model.args.hidden=[2048]", "--set", "training.epochs=2")
    train("--output-dir", "run", *wide, cwd=tmp_path)
    assert read_json(tmp_path / "run" / "run.json")["attempts"][0]["cpu_threads"] == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = verify(tmp_path / "run")
    assert (found.verdict, found.remarks) == ("identical", ())
    edit_json(tmp_path / "run" / "run.json", lambda record: record["attempts"][0].pop("cpu_threads"))
    assert "did not record its number of CPU threads" in said(verify(tmp_path / "run"))


# ── what was done to a run is done again ────────────────────────────────────────────────────────────────────


def test_learning_rate_epochs_and_rollbacks_are_done_again(tmp_path: Path) -> None:
    script = {
        PER_EPOCH + 2: [("set_learning_rate", {"learning_rate": 0.05})],
        3 * PER_EPOCH: [("extend", {"epochs": 7})],  # before the validation
        4 * PER_EPOCH + 5: [back(learning_rate=0.02)],
    }
    session = Watched(tmp_path / "run", script)
    session.train()
    found = verify(session.folder)
    assert (found.verdict, found.epochs) == ("identical", 7)
    assert found.replayed == (
        "learning rate set to 0.05 at step 14",
        "epochs set to 7 at step 36",
        "learning rate set to 0.02 at step 24",
    )
    assert "Rolled back once" in said(found)


def test_a_learning_rate_that_was_set_counts(tmp_path: Path) -> None:
    """As long as it is done again: a record that does not tell of it gives another run."""
    session = Watched(tmp_path / "run", {PER_EPOCH + 2: [("set_learning_rate", {"learning_rate": 0.05})]})
    session.train()
    edit_checkpoint(session.folder, "last_model.pt", lambda state: state["interventions"].clear())
    found = verify(session.folder)
    assert found.verdict == "different"
    assert found.log is not None
    assert found.log.first_epoch == 2


@pytest.mark.parametrize("fix", ["here", "best", "fresh", "data", "swap", "find"])
def test_a_repaired_run_is_identical(fix: str, tmp_path: Path) -> None:
    (tmp_path / "sick_rules.py").write_text(RULE)
    session = watched(tmp_path)
    apply_when_raised(session, fix)
    session.train()
    assert len(read_json(session.folder / "run.json")["fixes"]) == 1
    found = verify(session.folder)
    assert found.verdict == "identical", said(found)
    assert found.replayed[0].startswith(f"fix {fix} ")
    if fix != "fresh":
        assert fix == "find" or "before_fix_1.pt" in [item.file for item in found.weights]


def test_several_fixes_one_after_the_other_with_a_learning_rate_between_are_identical(tmp_path: Path) -> None:
    (tmp_path / "sick_rules.py").write_text(RULE)
    session = watched(tmp_path)
    asked: list[str] = []

    def answer(event: events.Event) -> None:
        if isinstance(event, events.DiagnosticRaised) and event.code == "sick" and len(asked) < 2:
            asked.append("best" if not asked else "data")
            session.send("apply_fix", diagnostic=event.id, fix=asked[-1])
        if isinstance(event, events.StepLogged) and event.step == 2 * PER_EPOCH + 4 and len(asked) == 1:
            asked.insert(0, "rate")
            session.send("set_learning_rate", learning_rate=0.07)

    session.on = answer
    session.train()
    found = verify(session.folder)
    assert found.verdict == "identical", said(found)
    assert len(found.replayed) >= 2


# ── what has changed is said ────────────────────────────────────────────────────────────────────────────────


def test_one_changed_row_of_the_data_is_different_and_named(table_run: Path, tmp_path: Path) -> None:
    text = (tmp_path / "samples.csv").read_text()
    (tmp_path / "samples.csv").write_text(text.replace("3,4,no", "3,400,no", 1))
    os.utime(tmp_path / "samples.csv")
    later = read_json(table_run / "run.json")
    later["created"] = "2020-01-01T00:00:00Z"
    (table_run / "run.json").write_text(json.dumps(later))
    found = verify(table_run)
    assert (found.verdict, found.exit_code) == ("different", 1)
    assert found.log is not None
    assert found.log.first_epoch == 1
    first = found.first_difference
    assert first is not None
    assert first.first_tensor == "first.weight"
    assert {item.room for item in found.changes} == {"data"}
    assert "fingerprint was" in said(found)
    assert "samples.csv was written after the run had begun" in said(found)


def test_another_version_with_the_same_result_is_identical_although(table_run: Path) -> None:
    edit_json(table_run / "run.json", lambda record: record["versions"].update(torch="2.5.0"))
    found = verify(table_run)
    assert (found.verdict, found.exit_code) == ("identical", 0)
    (change,) = found.changes
    assert (change.room, change.name, change.was) == ("environment", "torch", "2.5.0")
    assert said(found).startswith("identical: table, 2 epochs")
    assert f"although torch was 2.5.0 and is {torch.__version__} now" in said(found)


def test_another_seed_in_the_config_is_different_and_named(table_run: Path) -> None:
    config = table_run / "training_config.yaml"
    config.write_text(config.read_text().replace("seed: 3\n", "seed: 4\n"))
    found = verify(table_run)
    assert (found.verdict, found.exit_code) == ("different", 1)
    assert "seed was 3 and is 4 now" in said(found)
    assert "metric log   first differs in epoch 1: train_loss" in said(found)


def test_an_edited_model_is_different_and_its_file_is_named(table_run: Path, tmp_path: Path) -> None:
    edit_json(table_run / "run.json", lambda record: record.update(created="2020-01-01T00:00:00Z"))
    (tmp_path / "own_model.py").write_text(MODEL.replace("relu", "tanh"))
    found = verify(table_run)
    assert found.verdict == "different"
    assert [item.room for item in found.changes] == ["code"]
    assert "own_model.py was written after the run had begun" in said(found)


def test_another_model_form_is_different_not_an_error(table_run: Path) -> None:
    config = table_run / "training_config.yaml"
    config.write_text(config.read_text().replace("width: 8", "width: 9"))
    found = verify(table_run)
    assert found.verdict == "different"
    assert "shapes differ: [8, 2] float32 and [9, 2] float32" in said(found)
    assert "model.args.width was 8 and is 9 now" in said(found)


@pytest.mark.parametrize(("by", "verdict"), [(1e-7, "within_tolerance"), (0.5, "different")])
def test_one_weight_that_is_not_what_was_trained_is_found(by: float, verdict: str, table_run: Path) -> None:
    def nudge(state: dict[str, Any]) -> None:
        state["model_state_dict"]["last.bias"][0] += by

    edit_checkpoint(table_run, "last_model.pt", nudge)
    found = verify(table_run)
    assert found.verdict == verdict
    assert found.exit_code == (0 if by < 1e-3 else 1)
    first = found.first_difference
    assert first is not None
    assert (first.file, first.first_tensor) == ("last_model.pt", "last.bias")
    assert first.largest == pytest.approx(by, rel=0.5)


# ── what cannot be verified is never called identical ───────────────────────────────────────────────────────


def refused(run: Path, why: str) -> Verification:
    found = verify(run)
    assert (found.verdict, found.exit_code) == ("cannot_be_verified", 1)
    assert why in found.reason
    assert said(found).startswith("cannot be verified: ")
    return found


def test_an_intervention_that_is_not_known_is_said(table_run: Path) -> None:
    note = {"command": "hypnotise", "epoch": 1, "step": 3}
    edit_checkpoint(table_run, "last_model.pt", lambda state: state["interventions"].append(note))
    refused(table_run, "'hypnotise' at step 3")


def test_an_intervention_that_was_not_reached_is_said(table_run: Path) -> None:
    note = {"command": "set_learning_rate", "learning_rate": 0.1, "epoch": 9, "step": 300}
    edit_checkpoint(table_run, "last_model.pt", lambda state: state["interventions"].append(note))
    refused(table_run, "set learning rate at step 300")


def test_a_fix_whose_state_is_lost_is_said(tmp_path: Path) -> None:
    (tmp_path / "sick_rules.py").write_text(RULE)
    session = watched(tmp_path)
    apply_when_raised(session, "here")
    session.train()
    (session.folder / "checkpoints" / "before_fix_1.pt").unlink()
    refused(session.folder, "before_fix_1.pt")
    edit_json(session.folder / "run.json", lambda record: record["fixes"].clear())
    refused(session.folder, "the fix 'here'")


def test_a_damaged_checkpoint_is_said(table_run: Path) -> None:
    path = table_run / "checkpoints" / "last_model.pt"
    raw = path.read_bytes()
    path.unlink()
    path.write_bytes(raw[:-9])
    refused(table_run, "is damaged")


def test_data_or_code_that_is_gone_is_said(table_run: Path, tmp_path: Path) -> None:
    (tmp_path / "samples.csv").unlink()
    refused(table_run, "samples.csv")
    edit_json(table_run / "run.json", lambda record: record.update(config_folder=str(tmp_path / "gone")))
    refused(table_run, "is not there any more")


def test_code_that_ends_the_process_is_said(table_run: Path, tmp_path: Path) -> None:
    (tmp_path / "own_model.py").write_text("import os\nos._exit(7)\n")
    refused(table_run, "exit code 7")


def test_a_folder_without_a_run_and_a_run_that_goes_on_are_refused(table_run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="holds no run"):
        verify(tmp_path)
    held = reopen(table_run)
    with pytest.raises(RunFolderError, match="is going on"):
        verify(table_run)
    held.release()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_verification_that_is_broken_off_leaves_nothing_behind(
    number: signal.Signals, code: int, table_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "own_model.py").write_text(f"import time\nopen('{tmp_path}/begun', 'w')\ntime.sleep(600)\n")
    (tmp_path / "temporary").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "tui_trainer", "verify", "run"],
        cwd=tmp_path,
        env=ENVIRONMENT | {"TMPDIR": str(tmp_path / "temporary")},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    patience = time.monotonic() + 120
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        assert time.monotonic() < patience
        time.sleep(0.01)  # polling another process's state
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    os.killpg(process.pid, number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in stderr
    assert psutil.wait_procs(children, timeout=60)[1] == []
    assert list((tmp_path / "temporary").iterdir()) == []


# ── comparing ───────────────────────────────────────────────────────────────────────────────────────────────


def test_logs_are_compared_as_numbers_and_times_are_left_out() -> None:
    was = [{"epoch": "1", "val_loss": "NaN", "epoch_time": "3.0"}, {"epoch": "2", "val_loss": "0.5"}]
    now = [{"epoch": 1, "val_loss": "NaN", "epoch_time": 9.0}, {"epoch": 2, "val_loss": 0.5000000001}]
    found = compare_logs(was, now, until=2)
    assert (found.likeness, found.first_epoch, found.epochs) == ("within_tolerance", 2, 2)
    assert compare_logs(was, now, until=1).likeness == "identical"
    short = compare_logs(was, now[:1], until=2)
    assert (short.likeness, short.first_epoch, short.note) == ("different", 2, "2 epochs then, 1 now")
    assert compare_logs(was, [now[0], {"epoch": 2, "val_loss": "NaN"}], until=2).likeness == "different"


def test_weights_are_compared_bit_by_bit() -> None:
    def state(*values: float) -> dict[str, Any]:
        return {"epoch": 1, "step": 2, "model_state_dict": {"a": torch.ones(2), "b": torch.tensor(values)}}

    assert compare_weights("x", state(0.0, float("nan")), state(0.0, float("nan"))).likeness == "identical"
    assert compare_weights("x", state(0.0), state(-0.0)).likeness == "within_tolerance"
    found = compare_weights("x", state(1.0), state(float("inf")))
    assert (found.likeness, found.first_tensor) == ("different", "b")
    assert compare_weights("x", state(1.0), state(1.0) | {"step": 3}).likeness == "different"
