"""The run folder: one owner at a time, and a way back to any checkpoint that no crash can spoil."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from tests.runs import ENVIRONMENT, assert_same_run, read_json, train
from tests.session.processes import LiveRun
from tui_trainer.config.errors import RunFolderError
from tui_trainer.engine.checkpoints import BEST, LAST, Checkpointer, load_newest, periodic_name
from tui_trainer.engine.manifest import read_manifest, sha256_of
from tui_trainer.session.files import AppendFile, CsvFile, csv_line, cut_csv
from tui_trainer.session.resume import ResumePoint, find_resume_point
from tui_trainer.session.rollback import roll_back
from tui_trainer.session.run_folder import LOCK, RUN_JSON, RunFolder, begin_attempt, create, reopen

MODULE = """
import time
from pathlib import Path

def gate(context):
    Path(f"reached_{context.epoch}").touch()
    while not Path("pass").exists():
        time.sleep(0.01)
    return {"epoch_seen": context.epoch}
"""
GATED = [
    "--set",
    "monitoring.statistics=['gates:gate']",
    "--set",
    "training.epochs=2",
    "--set",
    "name=folder",
]


def new_folder(path: Path) -> RunFolder:
    return create(path, name="x", mode="baseline", config_hash="h", config_folder=path.parent, lineage=None)


# ── one owner ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_second_process_is_refused_and_told_whose_run_it_is(tmp_path: Path) -> None:
    (tmp_path / "gates.py").write_text(MODULE)
    live = LiveRun(tmp_path / "run", *GATED, cwd=tmp_path)
    live.until((tmp_path / "reached_1").exists)
    record = (tmp_path / "run" / RUN_JSON).read_text()
    for arguments in (["--resume", "auto"], []):
        refused = train("--output-dir", "run", *GATED, *arguments, cwd=tmp_path, expect=2)
    second = train("--output-dir", "run", *GATED, "--resume", "auto", cwd=tmp_path, expect=2)
    assert f"in use by process {live.process.pid}" in second.stderr
    assert "already holds a run" in refused.stderr
    assert (tmp_path / "run" / RUN_JSON).read_text() == record
    (tmp_path / "pass").touch()
    live.end(0)


def test_a_lock_that_its_process_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run")
    folder.release()
    (tmp_path / "run" / LOCK).write_text("1\n")  # a process that lives, but does not hold the lock
    again = reopen(tmp_path / "run")
    assert (tmp_path / "run" / LOCK).read_text() == f"{os.getpid()}\n"
    with pytest.raises(RunFolderError, match=f"in use by process {os.getpid()}"):
        reopen(tmp_path / "run")
    again.release()
    reopen(tmp_path / "run").release()


def test_the_writer_of_a_killed_run_finishes_its_file_before_anybody_resumes(tmp_path: Path) -> None:
    """The writer is stopped in mid-air, its parent killed; the next run waits until the writer is through."""
    (tmp_path / "gates.py").write_text(MODULE)
    live = LiveRun(tmp_path / "run", *GATED, cwd=tmp_path)
    live.until((tmp_path / "reached_1").exists)
    (writer,) = [item for item in live.children() if "engine.writer" in " ".join(item.cmdline())]
    writer.suspend()
    (tmp_path / "pass").touch()
    live.until((tmp_path / "reached_2").exists)  # the checkpoint of epoch 1 waits in the socket
    live.process.kill()
    live.process.wait()
    following = LiveRun(tmp_path / "run", *GATED, "--resume", "auto", cwd=tmp_path)
    descriptors = Path(f"/proc/{following.process.pid}/fd")
    following.until(lambda: any(os.path.realpath(item).endswith(LOCK) for item in descriptors.iterdir()))
    assert not (tmp_path / "run" / "checkpoints" / LAST).exists()
    writer.resume()
    following.end(0)
    train("--output-dir", "straight", *GATED, cwd=tmp_path)
    assert_same_run(tmp_path / "straight", tmp_path / "run")
    assert read_json(tmp_path / "run" / RUN_JSON)["attempts"][0]["status"] == "died"


# ── the way back ────────────────────────────────────────────────────────────────────────────────────────────


class Crash(BaseException):
    """The process dies here: nothing after it happens, clean-up included."""


@contextlib.contextmanager
def crash_at(number: int) -> Iterator[Callable[[], int]]:
    """Die at the `number`-th change of a file system entry; gives a function that tells how many there were."""
    count = 0

    def dying(real: Any) -> Any:
        def call(*arguments: Any, **keywords: Any) -> Any:
            nonlocal count
            count += 1
            if count >= number:
                raise Crash
            return real(*arguments, **keywords)

        return call

    names = ("replace", "unlink", "hardlink_to", "mkdir")
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(mock.patch.object(Path, name, dying(getattr(Path, name))))
        yield lambda: count


def state_of(epoch: int, *, complete: bool = True) -> dict[str, Any]:
    return {
        "model_state_dict": {"weight": torch.full((4,), float(epoch))},
        "optimizer_state_dict": {},
        "scheduler_state_dict": {},
        "epoch": epoch,
        "step": epoch * 10,
        "epoch_complete": complete,
        "val_loss": 1.0 / epoch,
        "metrics": {},
        "config": {},
        "rng": {},
        "sampler": {},
        "progress": {},
    }


def save(checkpointer: Checkpointer, epoch: int, names: list[str], retired: tuple[int, ...] = ()) -> None:
    entry = {
        "epoch": epoch,
        "step": epoch * 10,
        "epoch_complete": True,
        "metrics": {"val_loss": 1.0 / epoch},
        "valid": True,
    }
    history = [
        {"epoch": number, "step": number * 10, "val_loss": 1.0 / number} for number in range(1, epoch + 1)
    ]
    checkpointer.save(state_of(epoch), history, names, entry=entry, wait=True, retired=retired)
    checkpointer.flush()


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A run of six epochs with everything in its folder."""
    folder = new_folder(tmp_path / "run")
    checkpointer = Checkpointer(folder.checkpoints, lambda event: None, pace=0.0)
    for epoch in range(1, 7):
        best = [BEST] if epoch != 6 else []
        save(checkpointer, epoch, [*best, *([periodic_name(epoch)] if epoch % 2 == 0 else []), LAST])
    checkpointer.close()
    rows = [csv_line(["epoch", "val_loss"])] + [csv_line([number, 1.0 / number]) for number in range(1, 7)]
    (folder.path / "epoch_metrics.csv").write_text("".join(rows))
    (folder.path / "notes.csv").write_text(
        "epoch,text\n" + "".join(f'{k},"a\nb {k}"\n' for k in range(1, 7)) + '7,"to'
    )
    (folder.path / "foreign.csv").write_text("name,value\nx,1\n")
    lines = [
        json.dumps({"id": f"d-{step}", "code": "d", "severity": "warning", "step": step})
        for step in (0, 10, 40, 60)
    ]
    (folder.path / "diagnostics.jsonl").write_text("\n".join(lines) + '\n{"id": "torn')
    (folder.path / "events.jsonl").write_text('{"kind":"x"}\n{"kind":"to')
    (folder.path / "training.log").write_text("line\n")
    (folder.path / "metrics.json").write_text("{}")
    folder.release()
    return folder.path


def content_of(run: Path) -> dict[str, str]:
    """Everything but the attic, hashes for checkpoints."""
    files = [
        path
        for path in run.rglob("*")
        if path.is_file() and "attempts" not in path.parts and path.name != LOCK
    ]
    found = {
        str(path.relative_to(run)): sha256_of(path)
        for path in files
        if path.name not in (RUN_JSON, "manifest.json")
    }
    return found | {
        name: entry["sha256"] for name, entry in read_manifest(run / "checkpoints")["files"].items()
    }


def rolled_back(run: Path, wanted: str | None, *, crash: int = 0) -> dict[str, str]:
    """Roll back to `wanted` or the newest, dying at the `crash`-th change; what the folder then holds."""
    folder = reopen(run)
    try:
        with crash_at(crash) if crash else contextlib.nullcontext():
            point = find_resume_point(
                folder.checkpoints, None if wanted is None else folder.checkpoints / wanted
            )
            roll_back(folder, point)
    finally:
        folder.release()
    return content_of(run)


def test_rolling_back_leaves_only_what_the_checkpoint_knows_and_keeps_the_rest(written: Path) -> None:
    rolled_back(written, periodic_name(4))
    assert [line.split(",")[0] for line in (written / "epoch_metrics.csv").read_text().splitlines()] == [
        "epoch",
        "1",
        "2",
        "3",
        "4",
    ]
    assert (written / "notes.csv").read_text() == "epoch,text\n" + "".join(
        f'{k},"a\nb {k}"\n' for k in range(1, 5)
    )
    assert (written / "foreign.csv").read_text() == "name,value\nx,1\n"
    assert [json.loads(line)["id"] for line in (written / "diagnostics.jsonl").read_text().splitlines()] == [
        "d-10",
        "d-40",
    ]
    assert (written / "events.jsonl").read_text().endswith("to\n")
    assert {path.name for path in (written / "checkpoints").glob("*.pt")} == {
        periodic_name(2),
        periodic_name(4),
    }
    attic = written / "attempts" / "1"
    assert {path.name for path in attic.iterdir()} == {
        "epoch_metrics.csv", "notes.csv", "diagnostics.jsonl", BEST, LAST, periodic_name(6),
    }  # fmt: skip
    assert (attic / "notes.csv").read_text() == 'epoch,text\n5,"a\nb 5"\n6,"a\nb 6"\n7,"to'


def test_rolling_back_to_the_start_leaves_nothing_of_the_dead_attempt(written: Path) -> None:
    for path in (written / "checkpoints").iterdir():
        path.unlink()
    rolled_back(written, None)
    assert not (written / "epoch_metrics.csv").exists()
    assert (written / "notes.csv").read_text() == "epoch,text\n"
    assert (written / "diagnostics.jsonl").read_text() == ""


@pytest.mark.parametrize("wanted", [None, periodic_name(4)])
def test_a_crash_in_the_middle_of_rolling_back_spoils_nothing(
    wanted: str | None, written: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(written, whole)
    expected = rolled_back(whole, wanted)
    number, survived = 0, False
    while not survived:
        number += 1
        run = tmp_path / f"crash-{number}"
        shutil.copytree(written, run)
        with contextlib.suppress(Crash):
            rolled_back(run, wanted, crash=number)
            survived = True
        after = rolled_back(run, None)
        if wanted is None:
            assert after == expected
            continue
        # Whatever is the newest by then: a state that verifies, and records that end where it ends.
        loaded = load_newest(run / "checkpoints")
        assert loaded is not None
        newest = loaded.state["epoch"]
        epochs = [line.split(",")[0] for line in (run / "epoch_metrics.csv").read_text().splitlines()[1:]]
        assert epochs == [str(epoch) for epoch in range(1, newest + 1)]
        assert (run / "notes.csv").read_text().count("\n") == 1 + 2 * newest
        assert rolled_back(run, wanted) == expected
    assert number > 5


def test_a_crash_in_the_middle_of_publishing_leaves_one_state_under_all_its_names(tmp_path: Path) -> None:
    """Best before last: no checkpoint ever names a best that is not there."""
    base = tmp_path / "base"
    base.mkdir()
    first = Checkpointer(base, lambda event: None, pace=0.0)
    save(first, 1, [BEST, periodic_name(1), LAST])
    first.close()
    number, survived = 0, False
    while not survived:
        number += 1
        folder = tmp_path / f"crash-{number}"
        shutil.copytree(base, folder)
        with crash_at(number) as changes:
            second = Checkpointer(folder, lambda event: None, pace=0.0)
            second._tell = lambda event: None
            second._thread.join(0)
            with contextlib.suppress(Crash):
                item = _snapshot(second, 2)
                from tui_trainer.engine.writer import write_checkpoint

                write_checkpoint(item, [torch.full((4,), 2.0)], [])
                survived = True
        assert changes() > 0
        second.close()
        loaded = load_newest(folder)
        assert loaded is not None
        entries = read_manifest(folder)["files"]
        names = {path.name for path in folder.glob("*.pt")}
        assert names == set(entries)
        assert all(entries[name]["sha256"] == sha256_of(folder / name) for name in names)
        epochs = {name: torch.load(folder / name, weights_only=True)["epoch"] for name in names}
        if loaded.state["epoch"] == 2:
            assert epochs == {BEST: 2, periodic_name(2): 2, LAST: 2}, "retired ones gone, new ones complete"
        else:
            assert epochs == {BEST: 1, periodic_name(1): 1, LAST: 1}
        assert not list(folder.glob(".*.tmp"))


def _snapshot(checkpointer: Checkpointer, epoch: int) -> Any:
    from tui_trainer.engine.snapshot import split
    from tui_trainer.engine.writer import WriteRequest

    entry = {"epoch": epoch, "step": epoch * 10, "epoch_complete": True, "metrics": {}, "valid": True}
    names = [BEST, periodic_name(epoch), LAST]
    return WriteRequest(
        str(checkpointer.folder), names, split(state_of(epoch), []), entry, [], [periodic_name(1)]
    )


def test_attempts_are_numbered_and_each_has_its_own_attic(written: Path) -> None:
    for number, epoch in ((1, 4), (2, 2)):
        folder = reopen(written)
        point = find_resume_point(folder.checkpoints, folder.checkpoints / periodic_name(epoch))
        assert isinstance(point, ResumePoint)
        roll_back(folder, point)
        begin_attempt(folder, resumed_from=periodic_name(epoch))
        assert folder.attempt["number"] == number + 1
        folder.release()
    assert (written / "attempts" / "1" / periodic_name(6)).exists()
    assert (written / "attempts" / "2" / periodic_name(4)).exists()
    assert [item["status"] for item in read_json(written / RUN_JSON)["attempts"]] == [
        "died",
        "died",
        "running",
    ]


def test_a_last_state_that_was_changed_where_it_stood_is_later_than_what_it_was_made_of(
    tmp_path: Path,
) -> None:
    """A learning rate that was set right after a checkpoint was taken: same step, other content."""
    for wanted, kept in ((periodic_name(4), {periodic_name(4)}), (LAST, {periodic_name(4), LAST})):
        folder = new_folder(tmp_path / wanted)
        checkpointer = Checkpointer(folder.checkpoints, lambda event: None, pace=0.0)
        save(checkpointer, 4, [periodic_name(4), LAST])
        entry = {"epoch": 4, "step": 40, "epoch_complete": True, "metrics": {}, "valid": True}
        changed = state_of(4) | {"optimizer_state_dict": {"lr": 0.5}}
        checkpointer.save(changed, [], [LAST], entry=entry, wait=True)
        checkpointer.close()
        roll_back(folder, find_resume_point(folder.checkpoints, folder.checkpoints / wanted))
        assert {path.name for path in folder.checkpoints.glob("*.pt")} == kept
        newest = load_newest(folder.checkpoints)
        assert newest is not None
        assert newest.path.name == wanted
        folder.release()


def test_a_checkpoint_of_another_run_is_read_and_nothing_there_is_touched(
    written: Path, tmp_path: Path
) -> None:
    (written / "checkpoints" / ".last_model.pt.1234.tmp").write_bytes(b"its writer is at work")
    before = {path: path.stat().st_mtime_ns for path in written.rglob("*")}
    point = find_resume_point(tmp_path / "mine" / "checkpoints", written / "checkpoints" / LAST)
    assert point is not None
    assert point.epoch == 6
    assert {path: path.stat().st_mtime_ns for path in written.rglob("*")} == before


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_torn_heading_begins_the_file_anew(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("epoch,pha")
    cut_csv(path, lambda epoch: True, tmp_path / "attic")
    rows = CsvFile(path)
    rows.add({"epoch": 1, "phase": "train"})
    rows.file.close()
    assert path.read_text() == "epoch,phase\n1,train\n"


def test_what_the_disk_refuses_for_long_is_bounded_and_said(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.mkdir()  # stands in the place of the file
    log = AppendFile(path)
    line = "x" * 9999 + "\n"
    for _ in range(5000):
        log.write(line)
    assert log.waiting <= 16 << 20
    assert "lost" in str(log.error)
    path.rmdir()
    log.close()
    kept = path.read_text()
    assert set(kept.split("\n")) == {line.strip(), ""}, "whole lines only"
    assert "lost" in str(log.error)


def test_a_file_that_was_removed_is_begun_anew_with_its_heading(tmp_path: Path) -> None:
    rows = CsvFile(tmp_path / "rows.csv")
    rows.add({"epoch": 1, "value": 0.5})
    (tmp_path / "rows.csv").unlink()
    rows.add({"epoch": 2, "value": 0.25})
    rows.file.close()
    assert (tmp_path / "rows.csv").read_text() == "epoch,value\n2,0.25\n"


def test_many_runs_in_one_process_leave_no_thread_and_no_descriptor(tmp_path: Path) -> None:
    """In a process of its own: what other tests hold open must not count."""
    script = """
import gc, os, sys, threading
from pathlib import Path
import psutil
from tui_trainer.session.launching import Options, open_request
from tui_trainer.session.run_session import RunSession

def once(number):
    overrides = ("training.epochs=1", "data.batch_size=400", "monitoring.log_every_n_steps=1")
    session = RunSession(open_request(Options(output_dir=Path(f"run{number}"), overrides=overrides)))
    session.start()
    assert session.wait(200) and session.exit_code == 0, session.summary

def open_now():
    gc.collect()
    found = []
    for fd in os.listdir("/proc/self/fd"):
        if os.path.islink(f"/proc/self/fd/{fd}"):
            found.append(os.readlink(f"/proc/self/fd/{fd}").split(":")[0])
    return sorted(found)

once(0)
before = open_now(), threading.active_count(), len(psutil.Process().children())
for number in range(1, 4):
    once(number)
after = open_now(), threading.active_count(), len(psutil.Process().children())
assert before == after, (before, after)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
