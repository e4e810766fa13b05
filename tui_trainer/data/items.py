"""Reading a data set item by item: errors that name the item, transforms, a look at a few items.

Whatever is read here for looking only is read with the global generators left as they stood.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from tui_trainer.config.errors import DataError, UserError
from tui_trainer.config.user_code import raised
from tui_trainer.config.wording import class_name
from tui_trainer.data.dataset import ArrayDataset
from tui_trainer.data.seeds import derive_seed, seed_cpu_generators, untouched_rng

Transform = Callable[[Any], Any]

_LABEL_ATTRIBUTES = ("targets", "labels")


class MappedDataset(Dataset[Any]):
    """A data set whose inputs pass through `transform` (None: unchanged), targets cast to `target_dtype`."""

    def __init__(
        self, data: Dataset[Any], transform: Transform | None, target_dtype: torch.dtype | None = None
    ) -> None:
        self.data, self.transform, self.target_dtype = data, transform, target_dtype

    def __len__(self) -> int:
        return samples_in(self.data)

    def __getitem__(self, index: int) -> Any:
        item = self.data[index]
        if isinstance(item, Mapping):
            return item if self.transform is None else self.transform(item)
        inputs, target = item
        if self.transform is not None:
            inputs = self.transform(inputs)
        if self.target_dtype is not None:
            target = torch.as_tensor(target, dtype=self.target_dtype)
        return inputs, target


def samples_in(data: Dataset[Any]) -> int:
    """The number of samples; `Dataset` itself declares no length."""
    return len(data)  # type: ignore[arg-type]  # build_data has checked that it is there


def read_item(data: Dataset[Any], index: int, split: str) -> Any:
    """Item `index`, an (input, target) pair or a dict.

    Raises `DataError` naming the item, and the file and line where the data set's own code failed.
    """
    try:
        item = data[index]
    except UserError:
        raise
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        raise DataError(
            f"Item {index} of {split} cannot be read: {raised(error)}. Mend the data set's __getitem__ (or "
            "its transform), or drop that sample."
        ) from error
    if isinstance(item, Mapping) or (isinstance(item, (tuple, list)) and len(item) == 2):
        return item
    raise DataError(
        f"Item {index} of {split} is {_describe(item)}; expected a pair (input, target) or a dict. Return "
        "one of these from the data set's __getitem__."
    )


def read_first(data: Dataset[Any], split: str) -> Any:
    """The first item, read for looking at it."""
    with untouched_rng():
        return read_item(data, 0, split)


def _describe(item: Any) -> str:
    if isinstance(item, (tuple, list)):
        kinds = ", ".join(class_name(type(part)) for part in item[:6])
        return (
            f"a {class_name(type(item))} of {len(item)} parts ({kinds})" if item else "an empty tuple or list"
        )
    if isinstance(item, Tensor):
        return f"a tensor of shape {tuple(item.shape)} with no target beside it"
    return f"{'None' if item is None else 'of type ' + class_name(type(item))}"


def sample_items(
    data: Dataset[Any], split: str, *, limit: int, seconds: float = float("inf")
) -> Iterator[tuple[int, Any]]:
    """Up to `limit` items spread evenly over the data set, first and last included, with their positions.

    Read under seeds of their own, so that random augmentation gives the same items each time. Stops after
    `seconds`, having read at least one; for that case the items come in a scattered order.
    """
    end = time.monotonic() + seconds
    positions = spread(samples_in(data), limit)
    if seconds != float("inf"):
        positions = np.random.RandomState(0).permutation(positions).tolist()
    for index in positions:
        with untouched_rng():
            seed_cpu_generators(derive_seed(0, index))
            item = read_item(data, index, split)
        yield index, item
        if time.monotonic() > end:
            break


def spread(samples: int, limit: int) -> list[int]:
    """At most `limit` positions spread evenly over `samples`, first and last included."""
    if samples <= limit:
        return list(range(samples))
    positions: list[int] = np.unique(np.linspace(0, samples - 1, limit).round().astype(np.int64)).tolist()
    return positions


def known_targets(data: Any) -> Tensor | None:
    """All targets of a data set that holds them in an attribute (`targets`, `labels`), without reading an
    item.
    """
    if isinstance(data, ArrayDataset):
        return data.targets
    if isinstance(data, MappedDataset):
        return known_targets(data.data)
    if isinstance(data, Subset):
        inner = known_targets(data.dataset)
        return None if inner is None else inner[torch.as_tensor(list(data.indices), dtype=torch.int64)]
    for name in _LABEL_ATTRIBUTES:
        values = getattr(data, name, None)
        if isinstance(values, (Tensor, np.ndarray, list, tuple)):
            try:
                targets = as_tensor(values)
            except (TypeError, ValueError, RuntimeError):
                continue
            if targets is not None and targets.ndim and len(targets) == samples_in(data):
                return targets
    return None


def as_tensor(values: Any) -> Tensor | None:
    """Numbers (Python's, numpy's, a tensor, nested lists of them) as a tensor; None for anything else."""
    if isinstance(values, Tensor):
        return values.detach()
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        return None
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    # Python's own floats become torch's default, as in torch's collate.
    if array.dtype == np.float64 and not isinstance(values, (np.ndarray, np.generic)):
        array = array.astype(np.float32)
    return torch.from_numpy(np.array(array))


def stack_targets(items: Iterable[Any]) -> Tensor | None:
    """The targets of (input, target) items as one tensor; None for dicts and where they are not alike."""
    targets: list[Tensor] = []
    for item in items:
        if isinstance(item, Mapping):
            return None
        try:
            target = as_tensor(item[1])
        except (TypeError, ValueError, RuntimeError):
            return None
        if target is None or (targets and target.shape != targets[0].shape):
            return None
        targets.append(target.cpu())
    return torch.stack([target.to(targets[0].dtype) for target in targets]) if targets else None
