"""What the rest of the program knows of a data set: its splits, its task, the shape of one sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

if TYPE_CHECKING:
    from collections.abc import Callable

TaskKind = Literal["classification", "binary", "multilabel", "regression", "custom"]
SplitName = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Task:
    """What is predicted.

    `classification`: integer targets, one logit a class. `binary`: 0/1 float targets, one logit.
    `multilabel`: 0/1 float targets of `num_outputs` columns. `regression`: float targets of `num_outputs`
    columns. `custom`: targets that only the user's own loss understands (`num_outputs` is None).
    """

    kind: TaskKind
    num_outputs: int | None = None
    class_names: tuple[str, ...] | None = None


class ArrayDataset(Dataset[tuple[Tensor, Tensor]]):
    """Samples held whole in memory, so that a batch is one `index_select` instead of a Python loop.

    `inputs`: any dtype, first dimension is the sample. `targets`: same length. `source_rows`, where known,
    holds for each sample its row in the file or array it came from (for messages that name rows).
    """

    def __init__(self, inputs: Tensor, targets: Tensor, source_rows: Tensor | None = None) -> None:
        if len(inputs) != len(targets):
            raise ValueError(f"{len(inputs)} inputs but {len(targets)} targets")
        self.inputs = inputs.contiguous()
        self.targets = targets.contiguous()
        self.source_rows = torch.arange(len(inputs)) if source_rows is None else source_rows

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.inputs[index], self.targets[index]

    def take(self, indices: Tensor) -> ArrayDataset:
        """The samples at `indices` (int64[n]) as a data set of their own."""
        return ArrayDataset(self.inputs[indices], self.targets[indices], self.source_rows[indices])


@dataclass(frozen=True)
class DataSplits:
    """The three sets of a run and what is known about them.

    `input_shape` is the shape of one input without the batch dimension, None where items are dicts or of
    varying shape. `indices` maps each split to the rows of the undivided set (int64), empty where the target
    returned splits of its own. `collate` turns a list of items into a batch; None means torch's default.
    `row_name` is what a `source_rows` entry counts: lines of a text file (from 1, the header included) or
    rows of an array or table (from 0). `text_cells` holds, for each numeric column, the cells that were text:
    source row and what stood there; these cells are NaN in the tensors.
    """

    train: Dataset[Any]
    val: Dataset[Any]
    test: Dataset[Any] | None
    task: Task
    input_shape: tuple[int, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    collate: Callable[[list[Any]], Any] | None = None
    indices: dict[SplitName, Tensor] = field(default_factory=dict)
    label_column: str | None = None
    source: str = ""
    row_name: Literal["line", "row"] = "row"
    text_cells: dict[str, dict[int, str]] = field(default_factory=dict)
