"""Samples in memory that are not divided yet, and the preparation to be fitted on the train rows alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tui_trainer.data.dataset import SplitName, Task

Rows = NDArray[np.int64]
Groups = NDArray[Any]


@dataclass(frozen=True)
class Prepared:
    """All samples' inputs, prepared with what was learned from the train rows."""

    inputs: Tensor
    feature_names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Undivided:
    """What a built-in data target returns.

    `targets`: one a sample, as the loss wants them. `prepare` takes the train rows (int64, sorted) and
    returns the inputs of all samples: whatever it fits (mean, categories) it fits on those rows. `groups` are
    the arrays that `data.group_by` can name. `given`: the rows of the splits that the source itself has,
    train at least. `source_rows`, `row_name` and `text_cells`: see `DataSplits`.
    """

    targets: Tensor
    prepare: Callable[[Rows], Prepared]
    task: Task
    source: str
    groups: Mapping[str, Groups] = field(default_factory=dict)
    given: Mapping[SplitName, Rows] = field(default_factory=dict)
    label_column: str | None = None
    source_rows: Tensor | None = None
    row_name: Literal["line", "row"] = "row"
    text_cells: dict[str, dict[int, str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.targets)


def as_they_are(inputs: Tensor, feature_names: tuple[str, ...] | None = None) -> Callable[[Rows], Prepared]:
    """A preparation that learns nothing."""
    return lambda _: Prepared(inputs, feature_names)


def standardized(
    values: NDArray[Any], feature_names: tuple[str, ...] | None = None
) -> Callable[[Rows], Prepared]:
    """Each column of `values` with mean 0 and standard deviation 1 on the train rows, as float32."""

    def prepare(train_rows: Rows) -> Prepared:
        return Prepared(torch.from_numpy(standardize(values, train_rows)), feature_names)

    return prepare


def standardize(values: NDArray[Any], train_rows: Rows) -> NDArray[np.float32]:
    """`values` (n × columns) less the train rows' mean, divided by their standard deviation.

    Mean and deviation are those of the finite cells; NaN stays NaN and inf stays inf, so that nothing
    non-finite is hidden. A column that is constant on the train rows is only shifted.
    """
    wide = values.astype(np.float64)
    train = wide[train_rows]
    finite = np.isfinite(train)
    largest = np.abs(np.where(finite, train, 0.0)).max(axis=0, initial=0.0)
    if bool((largest > 1e100).any()):  # squares would overflow
        scale = np.where(largest > 1e100, largest, 1.0)
        wide, train = wide / scale, train / scale
    count = np.maximum(finite.sum(axis=0), 1)
    mean = np.where(finite, train, 0.0).sum(axis=0) / count
    deviation = np.sqrt(np.where(finite, (train - mean) ** 2, 0.0).sum(axis=0) / count)
    rounding_only = deviation <= 1e-12 * np.abs(mean)
    deviation = np.where(rounding_only | (deviation == 0), 1.0, deviation)
    return to_float32((wide - mean) / deviation)


def to_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    """`values` as float32; what is beyond its range becomes infinity, which the data check reports."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
