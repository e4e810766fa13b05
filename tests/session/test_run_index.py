"""The list of runs: every kind of folder has its line, and no folder can break the list."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.reports import sample_run as sample
from tests.runs import train
from tests.screens.run_folders import finished, many_kinds, write_run
from tui_trainer.session.run_folder import LOCK, is_live
from tui_trainer.session.run_index import RunIndex, read_entry, size_on_disk


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The run folder's lock, as the process of a live run holds it."""
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


def by_folder(*roots: Path):
    return {entry.folder.name: entry for entry in RunIndex(roots).refresh()}


def test_every_kind_of_folder_has_its_line_and_what_is_no_run_has_none(tmp_path: Path) -> None:
    found = by_folder(many_kinds(tmp_path))
    assert {name: entry.status for name, entry in found.items()} == {
        "digits-a": "completed",
        "digits-b": "early_stopped",
        "digits-c": "failed",
        "digits-d": "died",
        "copied-badly": "unreadable",
    }
    failed = found["digits-c"]
    assert (failed.best, failed.best_epoch, failed.diagnostics) == (0.2472, 6, ("nan_loss",))
    assert "not finite" in failed.message
    assert "run.json" in found["copied-badly"].message


def test_a_real_run_is_listed_with_what_its_summary_says(tmp_path: Path) -> None:
    train("--set", "training.epochs=2", "--output-dir", tmp_path / "runs" / "a", cwd=tmp_path)
    entry = by_folder(tmp_path / "runs")["a"]
    summary = json.loads((tmp_path / "runs" / "a" / "summary.json").read_text())
    assert (entry.status, entry.epochs, entry.epochs_planned) == ("completed", 2, 2)
    assert (entry.monitor, entry.best) == ("val_loss", summary["best_val_loss"])
    assert entry.duration == summary["duration_seconds"]
    assert (entry.attempts, entry.device, entry.diagnostics) == (1, "cpu", ())
    assert entry.started is not None
    assert abs(entry.started - time.time()) < 3600


def test_a_run_is_live_as_long_as_a_process_holds_it(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", status="running", events=sample.events(20, until_step=300))
    index = RunIndex([tmp_path])
    with held(folder):
        (entry,) = index.refresh()
        assert (entry.status, entry.is_live, entry.epochs, entry.epochs_planned) == ("running", True, 6, 20)
        assert entry.duration is None
    (entry,) = index.refresh()
    assert (entry.status, entry.is_live) == ("died", False)
    assert entry.best == pytest.approx(sample.epoch_finished(6).best_value)


def test_looking_at_a_run_leaves_its_lock_free(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", status="running")
    with held(folder):
        pass
    assert not is_live(folder)
    with held(folder):  # would wait for ever
        assert is_live(folder)


@pytest.mark.parametrize(("quiet_s", "status"), [(5, "running"), (3600, "died")])
def test_a_run_on_another_machine_lives_while_its_events_grow(
    tmp_path: Path, quiet_s: float, status: str
) -> None:
    folder = write_run(tmp_path / "a", status="running", host={"name": "another-machine"})
    (folder / LOCK).touch()
    then = time.time() - quiet_s
    os.utime(folder / "events.jsonl", (then, then))
    assert by_folder(tmp_path)["a"].status == status


def test_without_its_events_a_dead_run_is_told_from_its_rows(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", status="running", events=sample.events(20, until_step=300))
    (folder / "events.jsonl").write_bytes(b"\0" * 5000 + b"\n")
    with (folder / "epoch_metrics.csv").open("a") as stream:
        stream.write("7,0.1")  # torn
    entry = by_folder(tmp_path)["a"]
    assert (entry.status, entry.epochs, entry.best_epoch) == ("died", 6, 6)
    assert entry.best == pytest.approx(sample.epoch_finished(6).metrics["val_loss"])


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "null", "{}", '{"id": "a"}', '{"id": "a", "attempts": {}}', "\0\0\0", "[" * 100_000,
        '{"id": "a", "attempts": [], "status": ["running"]}',
        '{"id": 7, "attempts": [3, null, {"started": 12, "interventions": 4}], "status": "running", "name": {}}',
        '{"id": "a", "attempts": [{"started": "yesterday"}], "interventions": [{"command": "extend", "epochs": "x"}]}',
    ],
)  # fmt: skip
def test_no_record_however_odd_breaks_the_list(tmp_path: Path, content: str) -> None:
    finished(tmp_path / "good")
    odd = finished(tmp_path / "odd")
    for name in (
        "run.json",
        "summary.json",
        "diagnostics.jsonl",
        "training_config.yaml",
        "epoch_metrics.csv",
    ):
        (odd / name).write_text(content)
    found = by_folder(tmp_path)
    assert found["good"].status == "completed"
    assert found["odd"].name


def test_links_loops_pipes_and_missing_folders_do_no_harm(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    finished(runs / "a")
    (runs / "link").symlink_to(runs / "a")
    (runs / "broken").symlink_to(tmp_path / "nowhere")
    (runs / "loop").symlink_to(runs / "loop")
    (runs / "looping").mkdir()
    (runs / "looping" / "run.json").symlink_to(runs / "looping" / "run.json")
    (runs / "pipe").mkdir()
    os.mkfifo(runs / "pipe" / "run.json")
    found = by_folder(runs, tmp_path / "missing", runs / "loop", tmp_path / "runs" / "." / "..", runs)
    assert {name: entry.status for name, entry in found.items()} == {
        "a": "completed", "link": "completed", "loop": "unreadable", "looping": "unreadable",
    }  # fmt: skip
    assert (found["a"].is_link, found["link"].is_link) == (False, True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_without_permission_is_said_to_be_unreadable(tmp_path: Path) -> None:
    folder = finished(tmp_path / "a")
    folder.chmod(0)
    try:
        entry = read_entry(folder)
    finally:
        folder.chmod(0o755)
    assert entry is not None
    assert entry.status == "unreadable"


def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    first, second = finished(tmp_path / "a"), finished(tmp_path / "b")
    index = RunIndex([tmp_path])
    before = {entry.folder: entry for entry in index.refresh()}
    (second / "summary.json").write_text(json.dumps({"status": "completed", "epochs": 3}))
    after = {entry.folder: entry for entry in index.refresh()}
    assert after[first] is before[first]
    assert (before[second].epochs, after[second].epochs) == (20, 3)


def test_more_epochs_asked_for_while_it_ran_count_as_planned(tmp_path: Path) -> None:
    notes = [{"command": "set_learning_rate"}, {"command": "extend", "epochs": 30}]
    finished(tmp_path / "a", interventions=notes)
    assert by_folder(tmp_path)["a"].epochs_planned == 30


def test_the_size_counts_files_with_two_names_once_and_follows_no_links(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "best_model.pt").write_bytes(b"x" * 1000)
    os.link(folder / "checkpoints" / "best_model.pt", folder / "checkpoints" / "last_model.pt")
    outside = tmp_path / "outside"
    outside.write_bytes(b"x" * 10_000)
    (folder / "link").symlink_to(outside)
    (folder / "around").symlink_to(folder)
    assert 1000 <= size_on_disk(folder) < 2000
