"""The three training tasks, with data, split and initial weights that are the same for every contender.

Nothing heavy is imported here: a contender that starts fast shall not pay for the others.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn
    from torch.utils.data import TensorDataset

SEED = 42
WARM_UP_EPOCHS = 1
"""Epochs before the clock starts: they pay for lazy imports (torch._dynamo), thread pools and first allocations."""

VALIDATION_FACTOR = 4


@dataclass(frozen=True)
class Workload:
    """One task as parts of a run's config, and how long it is measured."""

    name: str
    title: str
    epochs: int
    batch_size: int
    data: dict[str, Any]
    model: dict[str, Any]
    learning_rate: float = 1e-3

    @property
    def all_epochs(self) -> int:
        """Measured epochs and those before them."""
        return WARM_UP_EPOCHS + self.epochs

    def config(self) -> dict[str, Any]:
        """The run's config: everything that is not the task itself has the schema's defaults, but no schedule,
        which the other contenders do not have either, and no early end."""
        return {
            "name": self.name,
            "seed": SEED,
            "device": "cpu",
            "data": {**self.data, "val_fraction": 0.2, "batch_size": self.batch_size},
            "model": self.model,
            "optimizer": {"target": "adam", "learning_rate": self.learning_rate},
            "scheduler": {"target": "none"},
            "training": {"epochs": self.all_epochs},
            "early_stopping": {"patience": self.all_epochs},
            "metrics": ["accuracy"],
        }

    def load(self) -> Task:
        """Data and model, made by the functions that a run of ours makes them with."""
        from tui_trainer.config.loading import parse_config
        from tui_trainer.data.build import build_data
        from tui_trainer.engine.seeding import seed_everything
        from tui_trainer.models.build import build_model

        config, folder = parse_config(self.config()), Path.cwd()
        data = build_data(config.data, seed=SEED, folder=folder)

        def make_model() -> nn.Module:
            seed_everything(SEED, deterministic=False)
            return build_model(config.model, data, folder=folder)

        train, val = data.train, data.val
        return Task(self, train.inputs, train.targets, val.inputs, val.targets, make_model)


@dataclass(frozen=True)
class Task:
    """A workload with its data in memory. `make_model` gives the same initial weights at each call."""

    workload: Workload
    train_inputs: Tensor
    train_targets: Tensor
    val_inputs: Tensor
    val_targets: Tensor
    make_model: Callable[[], nn.Module]

    @property
    def epochs(self) -> int:
        return self.workload.all_epochs

    @property
    def batch_size(self) -> int:
        return self.workload.batch_size

    @property
    def val_batch_size(self) -> int:
        """Ours validates in larger batches where the data is in memory; so do all the others."""
        return VALIDATION_FACTOR * self.workload.batch_size

    @property
    def learning_rate(self) -> float:
        return self.workload.learning_rate

    def datasets(self) -> tuple[TensorDataset, TensorDataset]:
        """Train and validation sets of (input, target) items."""
        from torch.utils.data import TensorDataset

        return (
            TensorDataset(self.train_inputs, self.train_targets),
            TensorDataset(self.val_inputs, self.val_targets),
        )


@dataclass
class Fit:
    """What a contender came to: when each epoch, validation included, was over, and how well it did.

    `wall` and `cpu`: seconds on the clock, and of processor time that all threads of the process took.
    """

    samples: int
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    val_loss: float = float("nan")
    val_accuracy: float = float("nan")

    def end_epoch(self) -> None:
        """Call when an epoch's validation is done."""
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())

    def rate(self, ends: list[float]) -> float:
        """Training samples per second of `wall` or `cpu` over the measured epochs."""
        return self.samples * (len(ends) - WARM_UP_EPOCHS) / (ends[-1] - ends[WARM_UP_EPOCHS - 1])


def synthetic_rows(rows: int = 200_000, features: int = 64, classes: int = 10) -> TensorDataset:
    """Normal rows, float32[rows, features], labelled by the largest of `classes` noisy linear scores."""
    import torch
    from torch.utils.data import TensorDataset

    generator = torch.Generator().manual_seed(SEED)
    inputs = torch.randn(rows, features, generator=generator)
    scores = inputs @ torch.randn(features, classes, generator=generator)
    noise = torch.randn(rows, classes, generator=generator)
    return TensorDataset(inputs, (scores + noise).argmax(1))


WORKLOADS = {
    item.name: item
    for item in (
        Workload(
            "overhead",
            "digits, MLP 64-128-10, batch 32, 20 epochs",
            epochs=20,
            batch_size=32,
            data={"target": "digits"},
            model={"target": "mlp", "args": {"hidden": [128]}},
        ),
        Workload(
            "compute",
            "digits 1×8×8, ResNet of 0.3 M parameters, batch 64, 4 epochs",
            epochs=4,
            batch_size=64,
            data={"target": "digits", "args": {"image": True}},
            model={"target": "resnet18", "args": {"stem": "small", "width": 32, "layers": [2, 1, 1]}},
        ),
        Workload(
            "data",
            "200,000 × 64 synthetic rows, MLP 64-128-10, batch 256, 2 epochs",
            epochs=2,
            batch_size=256,
            data={"target": "benchmarks.workloads:synthetic_rows"},
            model={"target": "mlp", "args": {"hidden": [128]}},
        ),
    )
}
