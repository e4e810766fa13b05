"""Which samples of a batch hold NaN or infinity themselves: the first thing to know of a non-finite loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tui_trainer.data.dataset import ArrayDataset, DataSplits
from tui_trainer.data.items import MappedDataset
from tui_trainer.data.view import source_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_trainer.data.batches import Batch

_NAMED = 16


@dataclass(slots=True)
class BadData:
    """`rows`: positions in the training split. `columns`: places in a flattened input. `places`: inputs, targets, or
    the item's key."""

    rows: list[int]
    columns: list[int]
    places: list[str]


def look_at(batches: Sequence[Batch]) -> BadData:
    """What is non-finite in batches as the model got them."""
    found = BadData([], [], [])
    for batch in batches:
        _look(batch.inputs, batch.targets, batch.rows, found)
    return found


def look_up(train: Any, rows: Tensor) -> BadData | None:
    """The same for samples that are gone from the device; None where they are not held in memory."""
    if not isinstance(train, ArrayDataset):
        return None
    found = BadData([], [], [])
    _look(train.inputs[rows], train.targets[rows], rows, found)
    return found


def described(bad: BadData | None, data: DataSplits) -> dict[str, Any]:
    """As it stands in events, by the names that the data's owner knows: {} where nothing was found or looked at."""
    if bad is None or not bad.rows:
        return {}
    rows = torch.tensor(bad.rows[:64])
    train = data.train
    while isinstance(train, MappedDataset):
        train = train.data
    source = train.source_rows[rows] if isinstance(train, ArrayDataset) else source_rows(train, rows)
    names = data.feature_names
    known = names is not None and data.input_shape is not None and len(names) == math.prod(data.input_shape)
    return {
        "places": bad.places,
        "rows": rows.tolist(),
        "source_rows": source.tolist(),
        "row_name": data.row_name,
        "columns": [
            names[column] if known and names is not None and column < len(names) else f"feature_{column}"
            for column in bad.columns[:_NAMED]
        ],
    }


def _look(inputs: Any, targets: Any, rows: Tensor, found: BadData) -> None:
    parts = dict(inputs) if isinstance(inputs, Mapping) else {"inputs": inputs}
    if isinstance(targets, Tensor):
        parts["targets"] = targets
    for place, values in parts.items():
        if not isinstance(values, Tensor) or not values.is_floating_point() or len(values) != len(rows):
            continue
        bad = ~torch.isfinite(values.detach()).reshape(len(rows), -1).cpu()
        if not bad.any():
            continue
        found.rows += [row for row in rows[bad.any(1)].tolist() if row not in found.rows]
        if place not in found.places:
            found.places.append(str(place))
        if place == "inputs" and values.ndim == 2:
            columns = bad.any(0).nonzero().flatten().tolist()
            found.columns += [column for column in columns if column not in found.columns]
