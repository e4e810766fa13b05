"""kill -9 at random moments: the resumed run ends with the very bits of one that was never disturbed.

`MLTRAINER_KILLS` sets how many kills each configuration gets (30 by `make torture`, which also takes the ones that
are left out otherwise), `MLTRAINER_SEED` the moments.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.runs import ENVIRONMENT, assert_same_run, command, metric_log, read_json, train
from tui_trainer.engine.manifest import read_manifest, sha256_of

if TYPE_CHECKING:
    from pathlib import Path

KILLS = int(os.environ.get("MLTRAINER_KILLS", "1"))
LONG = "MLTRAINER_KILLS" in os.environ
SEED = int(os.environ.get("MLTRAINER_SEED", "0")) or random.SystemRandom().randrange(1 << 30)

MODULE = '''
import random
import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

class Noisy(Dataset):
    """Digits-like items with random augmentation from all three generators."""
    def __init__(self, n=600):
        g = torch.Generator().manual_seed(7)
        self.x = torch.randn(n, 64, generator=g)
        self.y = (self.x[:, :10].argmax(1))
    def __len__(self):
        return len(self.x)
    def __getitem__(self, i):
        x = self.x[i] + 0.05 * torch.randn(64)
        x = x * (1 + 0.01 * random.random()) + float(np.random.rand()) * 0.01
        return x, self.y[i]

class Normed(nn.Sequential):
    """Dropout draws random numbers, BatchNorm keeps buffers."""
    def __init__(self, in_features, num_classes):
        super().__init__(nn.Linear(in_features, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.3),
                         nn.Linear(64, num_classes))
'''

COMMON = """
name: torture
seed: 5
device: cpu
model: {target: "noisy:Normed"}
early_stopping: {enabled: false}
checkpoint: {checkpoint_every_n_epochs: 2, checkpoint_every_n_minutes: 0.005}
monitoring: {log_every_n_steps: 5}
"""

CASES = {
    "digits, sgd momentum, plateau": """
data: {target: digits, batch_size: 16, test_fraction: 0.15}
optimizer: {target: sgd, learning_rate: 0.05, args: {momentum: 0.9}}
scheduler: {target: reduce_on_plateau, args: {patience: 1, factor: 0.5}}
training: {epochs: 60}
""",
    "augmented items, one cycle": """
data: {target: "noisy:Noisy", batch_size: 16}
optimizer: {target: adamw, learning_rate: 0.005}
scheduler: {target: one_cycle, interval: step, args: {max_lr: 0.01}}
training: {epochs: 25}
""",
    "augmented items, two workers, accumulation": """
data: {target: "noisy:Noisy", batch_size: 16, num_workers: 2}
optimizer: {target: adam, learning_rate: 0.001}
training: {epochs: 25, gradient_accumulation_steps: 4, gradient_clip_norm: 1.0}
""",
    "digits, bf16": """
data: {target: digits, batch_size: 16}
optimizer: {target: adam, learning_rate: 0.001}
scheduler: {target: cosine}
training: {epochs: 40, precision: bf16}
""",
    "digits, fp16 scaler, validation inside epochs": """
data: {target: digits, batch_size: 16}
optimizer: {target: rmsprop, learning_rate: 0.001}
training: {epochs: 30, precision: fp16, validate_every_n_steps: 17}
""",
    # Epochs far shorter than a write: nearly every moment is in the middle of one.
    "always writing": """
data: {target: digits, batch_size: 64}
optimizer: {target: adam, learning_rate: 0.002}
checkpoint: {checkpoint_every_n_epochs: 1, keep_last_n: 3, keep_best_n: 2}
training: {epochs: 60}
""",
}
BRIEF = ("augmented items, two workers, accumulation", "always writing")


def settings(case: str) -> str:
    own = CASES[case]
    common = [line for line in COMMON.splitlines() if line.split(":")[0] + ":" not in own]
    return "\n".join(common) + own


@pytest.mark.parametrize("case", CASES if LONG else BRIEF)
def test_a_killed_run_resumes_to_the_bit(case: str, tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(MODULE)
    config = tmp_path / "config.yaml"
    config.write_text(settings(case))
    straight = tmp_path / "straight"
    began = time.monotonic()
    train("--config", config, "--output-dir", straight, cwd=tmp_path)
    whole = time.monotonic() - began
    trained = float(read_json(straight / "summary.json")["training_seconds"])
    start = max(1.0, whole - trained)
    moments = random.Random(f"{SEED}{case}")
    print(f"MLTRAINER_SEED={SEED}")
    kills = lives = 0
    while kills < KILLS:
        killed, lives = tmp_path / f"killed-{lives}", lives + 1
        arguments = ["--config", config, "--output-dir", killed, "--resume", "auto"]
        while kills < KILLS:
            process = subprocess.Popen(
                command(*arguments),
                cwd=tmp_path,
                env=ENVIRONMENT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            if killed.exists() and moments.random() < 0.25:
                moment = moments.uniform(0.5 * start, start)  # in the start: imports, loading, rolling back
            elif moments.random() < 0.5:
                _wait_for(process, killed, "run_started")
                moment = moments.uniform(0.0, min(1.5, trained / 2))
            else:
                _wait_for(process, killed, "checkpoint_saved")  # this attempt gets somewhere
                moment = moments.uniform(0.0, 0.5)
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                children = psutil.Process(process.pid).children(recursive=True)
                process.kill()
                process.wait()
                kills += 1
                assert not psutil.wait_procs(children, timeout=60)[1], "child processes outlived the run"
            else:
                assert process.returncode == 0
                break
        train(*arguments, cwd=tmp_path)
        assert_same_run(straight, killed)
        assert read_json(killed / "summary.json")["status"] == "completed"
        _assert_tidy(straight, killed)
    print(f"{case}: {kills} kills in {lives} runs")


def test_a_run_whose_writer_is_killed_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(MODULE)
    config = tmp_path / "config.yaml"
    config.write_text(settings("always writing"))
    run, straight = tmp_path / "run", tmp_path / "straight"
    process = subprocess.Popen(
        command("--config", config, "--output-dir", run),
        cwd=tmp_path,
        env=ENVIRONMENT,
        stderr=subprocess.DEVNULL,
    )
    _wait_for(process, run, "run_started")
    _writer_of(process.pid).kill()
    assert process.wait(240) == 0
    train("--config", config, "--output-dir", straight, cwd=tmp_path)
    assert_same_run(straight, run)
    assert read_json(run / "summary.json")["not_saved"] == {}
    assert "writer process died" in (run / "training.log").read_text()
    _assert_tidy(straight, run)


def _writer_of(process: int) -> psutil.Process:
    found = [
        child
        for child in psutil.Process(process).children()
        if "tui_trainer.engine.writer" in " ".join(child.cmdline())
    ]
    assert len(found) == 1
    return found[0]


def _assert_tidy(straight: Path, killed: Path) -> None:
    """The same checkpoint files as undisturbed, each as the manifest says; the records hold each row once."""
    files = sorted(path.name for path in (killed / "checkpoints").iterdir())
    assert files == sorted(path.name for path in (straight / "checkpoints").iterdir())
    manifest = read_manifest(killed / "checkpoints")
    assert manifest["pending"] == {}
    assert {name: entry["sha256"] for name, entry in manifest["files"].items()} == {
        path.name: sha256_of(path) for path in (killed / "checkpoints").glob("*.pt")
    }
    for name in ("gradient_stats.csv", "epoch_metrics.csv"):
        epochs = [line.split(",")[0] for line in (killed / name).read_text().splitlines()]
        assert epochs == [line.split(",")[0] for line in (straight / name).read_text().splitlines()]
    assert (killed / "gradient_stats.csv").read_text() == (straight / "gradient_stats.csv").read_text()
    assert len(read_json(killed / "metrics.json")["epochs"]) == len(metric_log(straight))


def _wait_for(process: subprocess.Popen[bytes], run: Path, kind: str) -> None:
    """Return when this attempt has logged an event of `kind`."""
    log, mark = run / "events.jsonl", f'"{kind}"'.encode()
    before = log.read_bytes().count(mark) if log.exists() else 0
    while process.poll() is None:
        if log.exists() and log.read_bytes().count(mark) > before:
            return
        time.sleep(0.02)  # polling another process's file: there is no event to wait for
