"""Dividing what a data target returned into train, val and test, by class and by group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from tui_trainer.config.errors import DataError
from tui_trainer.config.wording import class_name
from tui_trainer.data.dataset import ArrayDataset, SplitName
from tui_trainer.data.items import known_targets, read_first, sample_items, samples_in, stack_targets
from tui_trainer.data.source import Undivided
from tui_trainer.data.splits import split_rows
from tui_trainer.data.task import infer_task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tui_trainer.config.schema import DataConfig
    from tui_trainer.data.returned import Part

STRATIFY_SAMPLE = 1024  # data sets that do not show their targets are stratified up to this size


@dataclass(frozen=True)
class Divided:
    """The sets as divided, before transforms, with what their source knows of them."""

    sets: dict[SplitName, Dataset[Any]]
    known: Undivided | None = None
    feature_names: tuple[str, ...] | None = None


def divide(
    parts: dict[SplitName, Part], config: DataConfig, seed: int
) -> tuple[Divided, dict[SplitName, Tensor]]:
    """The sets of a run, and for each set that was divided here its rows in the undivided one.

    Sets that the target made itself stay as they are; a missing val set is taken from train, and a missing
    test set too, but only where there was no val set either. Raises `DataError` where a set would be empty.
    """
    whole = parts["train"]
    given = whole.given if isinstance(whole, Undivided) else parts
    if config.group_by is not None and "val" in given:
        raise DataError(
            f"data.group_by is {config.group_by}, but data.target {config.target} returned train and val "
            "sets of its own, which are not divided again. Group them there, or leave data.group_by out."
        )
    own = (
        {name: torch.from_numpy(rows) for name, rows in whole.given.items()}
        if isinstance(whole, Undivided)
        else {}
    )
    if "val" in given:
        return (
            _take(whole, own) if own else Divided({name: _dataset(part) for name, part in parts.items()})
        ), {}
    among = own["train"].numpy() if own else np.arange(len_of(whole), dtype=np.int64)
    labels, groups = _classes(whole, config), None
    if config.group_by is not None:
        groups = _groups(whole, config.group_by)[among]
    rows = split_rows(
        len(among),
        val_fraction=config.val_fraction,
        test_fraction=0.0 if "test" in given else config.test_fraction,
        seed=seed,
        labels=None if labels is None else labels[among],
        groups=groups,
    )
    indices: dict[SplitName, Tensor] = {
        name: torch.from_numpy(among[chosen]) for name, chosen in rows.items()
    }
    divided = _take(whole, {**own, **indices})
    if "test" in parts:
        divided.sets["test"] = _dataset(parts["test"])
    return divided, indices


def len_of(part: Part) -> int:
    """The number of samples of anything that a target may return."""
    return len(part) if isinstance(part, Undivided) else samples_in(part)


def _dataset(part: Part) -> Dataset[Any]:
    assert not isinstance(part, Undivided)
    return part


def _take(whole: Part, indices: dict[SplitName, Tensor]) -> Divided:
    if isinstance(whole, Undivided):
        prepared = whole.prepare(indices["train"].numpy())
        samples = ArrayDataset(prepared.inputs, whole.targets, whole.source_rows)
        return Divided(
            {name: samples.take(rows) for name, rows in indices.items()}, whole, prepared.feature_names
        )
    if isinstance(whole, ArrayDataset):
        return Divided({name: whole.take(rows) for name, rows in indices.items()})
    return Divided({name: Subset(whole, rows.tolist()) for name, rows in indices.items()})


def _classes(whole: Part, config: DataConfig) -> NDArray[np.int64] | None:
    """The labels to stratify by, where samples fall into classes."""
    if isinstance(whole, Undivided):
        targets: Tensor | None = whole.targets
    else:
        targets = known_targets(whole)
        if targets is None and samples_in(whole) <= STRATIFY_SAMPLE:
            items = sample_items(whole, "the data", limit=STRATIFY_SAMPLE)
            targets = stack_targets([item for _, item in items])
    if targets is None or (targets.ndim > 1 and targets[0].numel() != 1):
        return None
    task = whole.task if isinstance(whole, Undivided) else infer_task(targets, config.task)
    if task.kind not in ("classification", "binary"):
        return None
    flat = targets.reshape(-1).cpu()
    if flat.dtype.is_floating_point:
        flat = torch.nan_to_num(flat, nan=-1.0, posinf=-1.0, neginf=-1.0)
    return flat.to(torch.int64).numpy()


def _groups(whole: Part, name: str) -> NDArray[Any]:
    """The values of `data.group_by`, one a sample."""
    samples = len_of(whole)
    if isinstance(whole, Undivided):
        if name not in whole.groups:
            known = ", ".join(sorted(whole.groups)) or "none"
            raise DataError(
                f"data.group_by names {name!r}, which {whole.source} does not have; what it can be grouped "
                f"by: {known}."
            )
        values: Any = whole.groups[name]
    elif hasattr(whole, name):
        values = getattr(whole, name)
    elif isinstance(whole, ArrayDataset) and name.isdecimal():
        if whole.inputs.ndim != 2 or int(name) >= whole.inputs.shape[1]:
            raise DataError(
                f"data.group_by is column {name}, but the inputs have the shape "
                f"{tuple(whole.inputs.shape)}; expected a column number of a two-dimensional input, counted "
                "from 0."
            )
        values = whole.inputs[:, int(name)]
    else:
        return _groups_of_items(whole, name, samples)
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.ndim != 1 or len(array) != samples:
        raise DataError(
            f"data.group_by names {name!r}, whose shape is {array.shape}; expected one value for each of the "
            f"{samples} samples."
        )
    return array


def _groups_of_items(whole: Part, name: str, samples: int) -> NDArray[Any]:
    """The group of each item, read from dict items under the key `name`."""
    assert not isinstance(whole, Undivided)
    first = read_first(whole, "the data")
    if not isinstance(first, Mapping) or name not in first:
        keys = (
            f" and its items are dicts with the keys {', '.join(map(str, first))}"
            if isinstance(first, Mapping)
            else ""
        )
        raise DataError(
            f"data.group_by names {name!r}, but the data set ({class_name(type(whole))}) has no such "
            f"attribute{keys}. Give the data set an attribute with one group a sample, or dict items with "
            "such a key."
        )
    values = [item[name] for _, item in sample_items(whole, "the data", limit=samples)]
    return np.array(
        [value.item() if isinstance(value, (Tensor, np.generic)) else value for value in values], dtype=object
    )
