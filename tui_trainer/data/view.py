"""A look at one split for checks of its content: its numbers as tensors, with the source row of each sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tui_trainer.config.wording import printable
from tui_trainer.data.dataset import ArrayDataset
from tui_trainer.data.items import MappedDataset, as_tensor, sample_items

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from tui_trainer.data.dataset import SplitName

_MOST_ITEMS = 20_000
_SECONDS: dict[SplitName, float] = {"train": 3.0, "val": 1.2, "test": 0.8}
_STACKED_BYTES = 64 * 2**20
_STACKED_NUMBERS = 4096  # in one input; larger ones are only checked for non-finite values


@dataclass(frozen=True)
class View:
    """What is looked at of one split.

    `rows`: the source row of each sample looked at (int64). `inputs`: stacked, [rows, …]; None where they are
    dicts, no tensors, of varying shape or too large, and then `bad_items` maps the place of each sample that
    holds a non-finite number to what holds it. `targets`: stacked; None where they cannot be. `transformed`:
    whether inputs may pass through a transform before training.
    """

    name: SplitName
    rows: Tensor
    inputs: Tensor | None
    targets: Tensor | None
    transformed: bool
    bad_items: dict[int, str] = field(default_factory=dict)


def view(data: Dataset[Any], name: SplitName, *, limit: int) -> View:
    """All of an in-memory data set; of any other up to `limit` items (at most 20,000) in about 3 s or less.

    In-memory data is seen before its transform, other data after it. Raises `DataError` where an item cannot
    be read.
    """
    inner = data
    while isinstance(inner, MappedDataset):
        inner = inner.data
    if isinstance(inner, ArrayDataset):
        transformed = inner is not data
        return View(name, inner.source_rows, inner.inputs.detach(), inner.targets.detach(), transformed)
    rows: list[int] = []
    inputs, targets = _Stack(_STACKED_BYTES, _STACKED_NUMBERS), _Stack(_STACKED_BYTES)
    bad_items: dict[int, str] = {}
    for row, item in sample_items(data, name, limit=min(limit, _MOST_ITEMS), seconds=_SECONDS[name]):
        parts = item if isinstance(item, Mapping) else {"the input": item[0]}
        for key, value in parts.items():
            numbers = _numbers(value)
            if numbers is not None and has_non_finite(numbers):
                bad_items[len(rows)] = printable(str(key), 60)
        rows.append(row)
        inputs.add(None if isinstance(item, Mapping) else _numbers(item[0]))
        targets.add(None if isinstance(item, Mapping) else _numbers(item[1]))
    stacked = inputs.stacked()
    places = source_rows(data, torch.tensor(rows, dtype=torch.int64))
    return View(name, places, stacked, targets.stacked(), True, {} if stacked is not None else bad_items)


def source_rows(data: Any, rows: Tensor) -> Tensor:
    """The rows of the undivided data set that `rows` of a split stand for."""
    while isinstance(data, MappedDataset):
        data = data.data
    if isinstance(data, torch.utils.data.Subset):
        return source_rows(data.dataset, torch.as_tensor(list(data.indices), dtype=torch.int64)[rows])
    return rows


def has_non_finite(values: Tensor) -> bool:
    """Whether a tensor holds NaN or infinity; one pass in most cases."""
    if not (values.dtype.is_floating_point or values.dtype.is_complex):
        return False
    return not bool(torch.isfinite(values.sum())) and not bool(torch.isfinite(values).all())


def _numbers(value: Any) -> Tensor | None:
    try:
        found = as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        return None
    return None if found is None else found.cpu()


class _Stack:
    """Tensors gathered until one differs from the first, or they grow too large."""

    def __init__(self, most_bytes: int, most_numbers: int | None = None) -> None:
        self._parts: list[Tensor] | None = []
        self._bytes_left, self._most_numbers = most_bytes, most_numbers

    def add(self, value: Tensor | None) -> None:
        if self._parts is None:
            return
        self._bytes_left -= 0 if value is None else value.nbytes
        first = self._parts[0] if self._parts else value
        if (
            value is None
            or first is None
            or (value.shape, value.dtype) != (first.shape, first.dtype)
            or (self._most_numbers is not None and value.numel() > self._most_numbers)
            or self._bytes_left < 0
        ):
            self._parts = None
            return
        self._parts.append(value)

    def stacked(self) -> Tensor | None:
        return torch.stack(self._parts) if self._parts else None
