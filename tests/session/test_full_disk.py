"""A disk that fills up, vanishes or turns hostile: training goes on, old checkpoints stay good, the exit says what is missing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.runs import assert_same_run, load_last, metric_log, read_json, train
from tests.session.processes import LiveRun
from tui_trainer.engine.checkpoints import load_newest
from tui_trainer.engine.manifest import settle

# Waits at the end of an epoch for a file of its own, so that a test can change the disk at a known moment.
MODULE = """
import time
from pathlib import Path

def gate(context):
    Path(f"reached_{context.epoch}").touch()
    while not (Path(f"pass_{context.epoch}").exists() or Path("pass_all").exists()):
        time.sleep(0.01)
    return {"epoch_seen": context.epoch}
"""
CONFIG = """
name: disk
device: cpu
data: {target: digits, batch_size: 200}
model: {target: mlp, args: {hidden: [256, 256]}}
early_stopping: {enabled: false}
checkpoint: {checkpoint_every_n_epochs: 1}
monitoring: {log_every_n_steps: 1, statistics: ["gates:gate"]}
training: {epochs: 4}
"""
# MB: five checkpoints of one megabyte and the logs fit, with the spare megabyte that is left for them.
DISK = 12


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs root, and a kernel that lets it mount a tmpfs")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], capture_output=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gates.py").write_text(MODULE)
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


def reach(live: LiveRun, folder: Path, epoch: int) -> None:
    """Stand at the end of `epoch`: its steps are done, its rows and checkpoints are not."""
    for earlier in range(1, epoch):
        let_pass(folder, earlier)
    live.until((folder / f"reached_{epoch}").exists)


def let_pass(folder: Path, epoch: int | str) -> None:
    (folder / f"pass_{epoch}").touch()


def fill(disk: Path) -> None:
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as stream:
        while stream.write(bytes(4096)):
            pass


def digests(run: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (run / "checkpoints").glob("*.pt")
    }


def assert_good(run: Path) -> None:
    """Every checkpoint is what the manifest says (settled, as loading does: the harm may hit between two of its
    writes), and loads."""
    entries = settle(run / "checkpoints")["files"]
    for name, digest in digests(run).items():
        assert entries[name]["sha256"] == digest
        torch.load(run / "checkpoints" / name, weights_only=True)
    assert load_newest(run / "checkpoints") is not None


def test_a_full_disk_keeps_the_old_checkpoint_and_the_run_ends_with_exit_1(folder: Path, disk: Path) -> None:
    run = disk / "run"
    live = LiveRun(run, "--config", "config.yaml", "--json", cwd=folder)
    reach(live, folder, 2)
    live.until_logged('"kind":"checkpoint_saved"')
    before = digests(run)
    fill(disk)
    let_pass(folder, "all")
    summary = json.loads(live.end(1))
    assert (summary["status"], summary["epochs"], summary["exit_code"]) == ("completed", 4, 1)
    assert {"last_model.pt", "checkpoint_epoch_4.pt", "events.jsonl"} <= summary["not_saved"].keys()
    said = live.log.read_text()
    assert "last_model.pt" in said
    assert "events.jsonl" in said
    assert digests(run) == before
    assert_good(run)
    assert load_last(run)["epoch"] == 1
    (disk / "filler").unlink()  # space is back: the run goes on from what is there, as if nothing had been
    train("--config", "config.yaml", "--output-dir", run, "--resume", "auto", cwd=folder)
    train("--config", "config.yaml", "--output-dir", "straight", cwd=folder)
    assert_same_run(folder / "straight", run)
    assert (run / "gate.csv").read_text() == (folder / "straight" / "gate.csv").read_text()


def test_when_space_returns_the_records_catch_up(folder: Path, disk: Path) -> None:
    run = disk / "run"
    live = LiveRun(run, "--config", "config.yaml", cwd=folder)
    reach(live, folder, 1)
    fill(disk)
    let_pass(folder, 1)
    reach(live, folder, 2)
    live.until(lambda: "refuses data" in live.log.read_text())
    (disk / "filler").unlink()
    let_pass(folder, "all")
    live.end(1)  # the checkpoint of epoch 1 is not there: that has to be said
    assert read_json(run / "summary.json")["not_saved"].keys() == {"checkpoint_epoch_1.pt"}
    assert_good(run)
    assert load_last(run)["epoch"] == 4
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    steps = read_json(run / "summary.json")["steps"]
    assert [item["step"] for item in lines if item["kind"] == "step"] == list(range(1, steps + 1))
    assert [row["epoch"] for row in metric_log(run)] == ["1", "2", "3", "4"]
    assert (run / "gate.csv").read_text() == "epoch,epoch_seen\n1,1\n2,2\n3,3\n4,4\n"


@pytest.mark.parametrize(
    "harm", ["folder removed", "checkpoints removed", "folders in the place of files", "read-only"]
)
def test_a_run_folder_that_is_taken_away_does_not_end_the_training(harm: str, folder: Path) -> None:
    run = folder / "run"
    wrapper: tuple[str, ...] = ()
    if harm == "read-only" and os.geteuid() == 0:  # without its privileges, root obeys permissions as well
        if shutil.which("setpriv") is None:
            pytest.skip("needs setpriv")
        wrapper = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")
    live = LiveRun(run, "--config", "config.yaml", "--json", cwd=folder, wrapper=wrapper)
    reach(live, folder, 2)
    live.until_logged('"kind":"checkpoint_saved"')
    if harm == "folder removed":
        shutil.rmtree(run)
    elif harm == "checkpoints removed":
        shutil.rmtree(run / "checkpoints")
    elif harm == "read-only":
        run.chmod(0o555)
        (run / "checkpoints").chmod(0o555)
    else:
        for name in (
            "events.jsonl",
            "epoch_metrics.csv",
            "gate.csv",
            "metrics.json",
            "checkpoints/last_model.pt",
        ):
            (run / name).unlink(missing_ok=True)
            (run / name).mkdir()
    let_pass(folder, "all")
    summary = json.loads(live.end(1))
    assert (summary["status"], summary["epochs"]) == ("completed", 4)
    assert "last_model.pt" in summary["not_saved"]
    if harm == "read-only":
        run.chmod(0o755)
        (run / "checkpoints").chmod(0o755)
        assert_good(run)
    if harm == "folders in the place of files":
        assert {"events.jsonl", "epoch_metrics.csv", "gate.csv", "metrics.json"} <= summary[
            "not_saved"
        ].keys()
    for name in summary["not_saved"]:
        assert name in live.log.read_text()
