"""Watching changes nothing: whatever looks at a run, and however often, it ends with the same bits."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.engine.conftest import merged
from tests.runs import differences, load_last, metric_log
from tui_trainer.config.hashing import config_hash
from tui_trainer.config.loading import LoadedConfig, parse_config
from tui_trainer.diagnostics.registry import CODES
from tui_trainer.session.run_folder import create
from tui_trainer.session.run_session import RunRequest, RunSession

OWN = "tests.engine.test_watching"
BASE: dict[str, Any] = {
    "name": "watched",
    "seed": 11,
    "device": "cpu",
    "data": {"target": "digits", "batch_size": 100},
    "model": {"target": f"{OWN}:Normed"},
    "training": {"epochs": 3, "gradient_clip_norm": None},
    "early_stopping": {"enabled": False},
    "checkpoint": {"checkpoint_every_n_epochs": None, "checkpoint_every_n_minutes": None},
    "monitoring": {"log_every_n_steps": 1000, "gradient_stats_every_n_epochs": 0},
}
NOT_COMPARED = ("config", "retention", "config_hash", "grad_norm", "layer_sum", "layer_count")


class Normed(nn.Sequential):
    """Anything that runs it in train mode, or draws a number, shows in its end."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(
            nn.Linear(in_features, 24),
            nn.BatchNorm1d(24),
            nn.ReLU(inplace=True),
            nn.Dropout(0.3),
            nn.Linear(24, num_classes),
        )


def careless(context: Any) -> dict[str, float]:
    """A statistic that draws from every generator and runs the model in train mode, buffers and all."""
    random.random()
    np.random.rand(7)
    context.model.train()
    batch = next(context.batches["train"].epoch(context.epoch))
    return {"noise": float(torch.randn(5).mean()), "output": float(context.model(batch.inputs).mean())}


WATCHERS: dict[str, dict[str, Any]] = {
    "every step logged": {"monitoring": {"log_every_n_steps": 1}},
    "gradients of every epoch": {"monitoring": {"log_every_n_steps": 3, "gradient_stats_every_n_epochs": 1}},
    "probes of every epoch": {"monitoring": {"probe_every_n_epochs": 1}},
    "no probes": {"monitoring": {"probe_every_n_epochs": 0}},
    "features": {"monitoring": {"feature_stats_every_n_epochs": 1}},
    "careless statistics": {"monitoring": {"statistics": [f"{OWN}:careless"]}},
    "checkpoints all the time": {
        "monitoring": {"log_every_n_steps": 1},
        "checkpoint": {"checkpoint_every_n_epochs": 1, "checkpoint_every_n_minutes": 0.00001},
    },
    "rules off": {"diagnostics": {"disabled": list(CODES)}, "monitoring": {"probe_every_n_epochs": 0}},
    "repairs by itself": {"diagnostics": {"on_trigger": "fix"}},
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def session_of(folder: Path, changes: dict[str, Any]) -> RunSession:
    config = parse_config(merged(BASE, changes))
    run = create(
        folder,
        name="watched",
        mode="baseline",
        config_hash=config_hash(config),
        config_folder=folder.parent,
        lineage=None,
    )
    return RunSession(RunRequest(loaded=LoadedConfig(config, None, folder.parent, ""), folder=run))


def ran(folder: Path, changes: dict[str, Any]) -> Path:
    session = session_of(folder, changes)
    session.start()
    assert session.wait(240)
    assert session.exit_code == 0, session.summary
    return folder


def assert_same_end(a: Path, b: Path) -> None:
    """Equal but for the config itself and what only the closer look measured."""
    ends = [load_last(a), load_last(b)]
    for end in ends:
        for name in NOT_COMPARED:
            end.pop(name, None)
            end["progress"].pop(name, None)
    assert differences(*ends) == []
    rows = [[{k: v for k, v in row.items() if k != "grad_norm"} for row in metric_log(run)] for run in (a, b)]
    assert rows[0] == rows[1]


@pytest.fixture(scope="module")
def unwatched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trainer alone: no session, no recorder, no telemetry, nothing that reads its events."""
    from tui_trainer.data.fingerprint import fingerprint
    from tui_trainer.engine.checkpoints import Checkpointer
    from tui_trainer.engine.commands import CommandQueue
    from tui_trainer.engine.parts import assemble, load_data
    from tui_trainer.engine.trainer import Trainer
    from tui_trainer.session.files import csv_line, epoch_row

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("unwatched")
    (folder / "checkpoints").mkdir()
    config = parse_config(BASE)
    data = load_data(config, folder)
    checkpointer = Checkpointer(folder / "checkpoints", lambda event: None)
    trainer = Trainer(
        assemble(config, data, folder),
        checkpointer,
        CommandQueue(),
        lambda event: None,
        config_hash="",
        data_fingerprint=fingerprint(data),
    )
    trainer.train()
    checkpointer.close()
    rows = [epoch_row(row) for row in trainer.history]
    lines = [csv_line(list(row)) for row in rows[:1]] + [csv_line(list(row.values())) for row in rows]
    (folder / "epoch_metrics.csv").write_text("".join(lines))
    return folder


def test_a_session_ends_as_the_trainer_alone(unwatched: Path, tmp_path: Path) -> None:
    assert_same_end(unwatched, ran(tmp_path / "session", {}))


@pytest.mark.parametrize("watcher", WATCHERS)
def test_monitoring_changes_nothing(watcher: str, unwatched: Path, tmp_path: Path) -> None:
    assert_same_end(unwatched, ran(tmp_path / "run", WATCHERS[watcher]))


def test_impatient_readers_in_other_threads_change_nothing(unwatched: Path, tmp_path: Path) -> None:
    session = session_of(tmp_path / "run", {"monitoring": {"log_every_n_steps": 1}})
    seen: list[int] = []

    def read(timeout: float | None) -> None:
        random_of_its_own = random.Random(1)
        reader = session.subscribe("impatient")
        count = 0
        while not session.wait(0):
            count += len(reader.poll(timeout))
            random_of_its_own.random()
        seen.append(count + len(reader.poll(0)))
        reader.close()

    readers = [threading.Thread(target=read, args=(timeout,)) for timeout in (0, 0.001, 0.1)]
    sleeper = session.subscribe("never reads")
    session.start()
    for reader in readers:
        reader.start()
    assert session.wait(240)
    for reader in readers:
        reader.join()
    assert_same_end(unwatched, tmp_path / "run")
    assert len(set(seen)) == 1
    assert len(sleeper.poll(0)) == seen[0]
