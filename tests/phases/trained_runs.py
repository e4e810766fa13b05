"""Small real runs for the tests of phase 3, each trained once a session in a second or two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tui_trainer.config.hashing import config_hash
from tui_trainer.config.loading import LoadedConfig, parse_config
from tui_trainer.session.run_folder import create
from tui_trainer.session.run_session import RunRequest, RunSession

COMMON: dict[str, Any] = {
    "device": "cpu",
    "data": {"target": "digits", "batch_size": 64},
    "training": {"epochs": 6},
    "checkpoint": {"checkpoint_every_n_epochs": 2},
    "diagnostics": {"on_trigger": "report"},
}


def train_run(folder: Path, **changes: Any) -> Path:
    """Train to the end, whatever that is; sections given are laid over the common ones."""
    given = dict(COMMON)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(given.get(key), dict)
        given[key] = given[key] | value if both else value
    config = parse_config({"name": folder.name, **given})
    run = create(
        folder,
        name=config.name,
        mode="baseline",
        config_hash=config_hash(config),
        config_folder=folder.parent,
        lineage=None,
    )
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        session = RunSession(RunRequest(loaded=LoadedConfig(config, None, folder.parent, ""), folder=run))
        session.start()
        assert session.wait(120)
    finally:
        torch.set_num_threads(before)
    return folder


TARGET = {"metric": "val_accuracy", "at_least": 0.9}


def healthy(folder: Path) -> Path:
    return train_run(folder, training={"epochs": 8}, targets=TARGET)


def overfitting(folder: Path, **changes: Any) -> Path:
    """Few samples with much noise, a model that learns them by heart."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(260, 20)).astype(np.float32)
    targets = (inputs[:, 0] + 1.5 * rng.normal(size=260) > 0).astype(np.int64)
    np.savez(folder.parent / "noise.npz", inputs=inputs, targets=targets)
    return train_run(
        folder,
        data={"target": "npz", "args": {"path": "noise.npz"}, "batch_size": 16, "val_fraction": 0.4},
        model={"target": "mlp", "args": {"hidden": [256, 256]}},
        training={"epochs": 20},
        early_stopping={"enabled": False},
        targets={"metric": "val_accuracy", "at_least": 0.95},
        **changes,
    )


def underfitting(folder: Path) -> Path:
    """A model too narrow for ten classes."""
    return train_run(
        folder,
        model={"target": "mlp", "args": {"hidden": [2]}},
        optimizer={"target": "adam", "learning_rate": 3e-3},
        training={"epochs": 8},
        targets=TARGET,
    )


def exploded(folder: Path) -> Path:
    return train_run(
        folder,
        data={"target": "diabetes", "batch_size": 32},
        model={"target": "mlp", "args": {"hidden": [32]}},
        optimizer={"target": "sgd", "learning_rate": 1.0},
        training={"epochs": 4},
    )


def missed_class(folder: Path) -> Path:
    """Three classes, one of them rare and in no way different from another."""
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(900, 6)).astype(np.float32)
    targets = (inputs[:, 0] > 0).astype(np.int64)
    rare = rng.choice(np.flatnonzero(targets == 1), 30, replace=False)
    targets[rare] = 2
    np.savez(folder.parent / "rare.npz", inputs=inputs, targets=targets)
    return train_run(
        folder,
        data={"target": "npz", "args": {"path": "rare.npz"}, "batch_size": 32},
        model={"target": "mlp", "args": {"hidden": [32]}},
        optimizer={"target": "adam", "learning_rate": 0.01},
        training={"epochs": 8},
    )


def regression(folder: Path) -> Path:
    return train_run(
        folder,
        data={"target": "diabetes", "batch_size": 32},
        model={"target": "mlp", "args": {"hidden": [32]}},
        targets={"metric": "val_r2", "at_least": 0.9},
    )


def binary(folder: Path) -> Path:
    return train_run(
        folder, data={"target": "breast_cancer"}, model={"target": "mlp", "args": {"hidden": [16]}}
    )


def lstm(folder: Path) -> Path:
    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(300, 12, 3)).astype(np.float32)
    targets = (inputs.sum((1, 2)) > 0).astype(np.int64)
    np.savez(folder.parent / "series.npz", inputs=inputs, targets=targets)
    return train_run(
        folder,
        data={"target": "npz", "args": {"path": "series.npz"}, "batch_size": 32},
        model={"target": "lstm", "args": {"hidden_size": 16}},
        training={"epochs": 4},
    )


CRASHING = '''
import torch
from torch import nn

class Crashing(nn.Module):
    """Fails at its 40th forward pass in training."""
    def __init__(self, in_features, num_classes):
        super().__init__()
        self.layer = nn.Linear(in_features, num_classes)
        self.passes = 0
    def forward(self, inputs):
        self.passes += self.training
        if self.passes > LIMIT:
            raise RuntimeError("the | model <b>broke</b>")
        return self.layer(inputs)
'''


def crashed(folder: Path, *, limit: int = 60) -> Path:
    """The model raises in its third epoch; with a limit of 3 before the first one ends."""
    name = f"crashing_{limit}"
    (folder.parent / f"{name}.py").write_text(CRASHING.replace("LIMIT", str(limit)))
    return train_run(folder, model={"target": f"{name}:Crashing"})
