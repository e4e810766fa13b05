"""Data of any shape, for models to be built on."""

from __future__ import annotations

import torch

from tui_trainer.data.batches import Batch
from tui_trainer.data.dataset import ArrayDataset, DataSplits, Task

TEN_CLASSES = Task("classification", 10)


def data_of(*shape: int, task: Task = TEN_CLASSES, dtype: torch.dtype = torch.float32) -> DataSplits:
    """40 samples of random numbers in `shape`, with labels 0, 1, … in turn."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(40, *shape, generator=generator).to(dtype)
    targets = torch.arange(40) % 10
    if task.kind != "classification":
        targets = torch.rand(40, task.num_outputs or 1, generator=generator).round()
    samples = ArrayDataset(inputs, targets)
    return DataSplits(samples, samples, None, task, shape)


def batch_of(data: DataSplits) -> Batch:
    samples = data.train
    assert isinstance(samples, ArrayDataset)
    return Batch(samples.inputs, samples.targets, len(samples), 0, torch.arange(len(samples)))
