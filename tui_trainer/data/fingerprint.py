"""A short name for the data itself, so that a run can tell whether it is given the same data again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from tui_trainer.data.dataset import ArrayDataset
from tui_trainer.data.images import ImageFolder
from tui_trainer.data.items import MappedDataset, known_targets, sample_items, samples_in, spread

if TYPE_CHECKING:
    from hashlib import blake2b
    from pathlib import Path

    from tui_trainer.data.dataset import DataSplits

WHOLE_BYTES = (
    256 * 2**20
)  # arrays up to this size are read whole (about 0.3 s), larger ones at evenly spread rows
_SAMPLED_ROWS = 4096
_SAMPLED_ITEMS = 64


def fingerprint(splits: DataSplits) -> str:
    """32 hexadecimal digits from the samples of all splits, before transforms, and from what is predicted.

    In-memory data is read whole up to 256 MB; beyond that, and for item data sets, sizes, all known labels
    and an even sample of the rows are read. How much is read depends on the data alone, so equal data has
    equal names.
    """
    digest = hashlib.blake2b(digest_size=16)
    task = splits.task
    _add(digest, [task.kind, task.num_outputs, list(task.class_names or ())])
    for name, data in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        if data is not None:
            _add(digest, name)
            _add_data(digest, data, name)
    return digest.hexdigest()


def content_digest(value: Any) -> str:
    """32 hexadecimal digits that are equal for equal content: tensors, numbers, text, and what is made of them."""
    digest = hashlib.blake2b(digest_size=16)
    _add(digest, value)
    return digest.hexdigest()


def _add_data(digest: blake2b, data: Dataset[Any], split: str) -> None:
    if isinstance(data, MappedDataset):
        _add_data(digest, data.data, split)
        return
    _add(digest, samples_in(data))
    if isinstance(data, ArrayDataset):
        for tensor in (data.inputs, data.targets):
            rows = tensor
            if tensor.nbytes > WHOLE_BYTES:
                rows = tensor[torch.tensor(spread(len(tensor), _SAMPLED_ROWS), device=tensor.device)]
            _add(digest, rows)
        return
    targets = known_targets(data)
    if targets is not None:
        _add(digest, targets)
    files = _files(data)
    if files is not None:
        for file in files:
            _add(digest, [file.name, file.stat().st_size])
    for _, item in sample_items(data, split, limit=_SAMPLED_ITEMS):
        _add(digest, item)


def _files(data: Dataset[Any]) -> list[Path] | None:
    if isinstance(data, ImageFolder):
        return data.files
    if isinstance(data, Subset) and isinstance(data.dataset, ImageFolder):
        return [data.dataset.files[index] for index in data.indices]
    return None


def _add(digest: blake2b, value: Any) -> None:
    """Take in `value`, each part with its type and size, so that different values never look alike."""
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        digest.update(f"tensor {plain.dtype} {tuple(plain.shape)};".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data if plain.numel() else b"")
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        _add(digest, torch.from_numpy(np.ascontiguousarray(value)))
    elif isinstance(value, Mapping):
        digest.update(f"mapping {len(value)};".encode())
        for key in sorted(value, key=str):
            _add(digest, str(key))
            _add(digest, value[key])
    elif isinstance(value, (list, tuple)):
        digest.update(f"list {len(value)};".encode())
        for part in value:
            _add(digest, part)
    elif isinstance(value, (str, bytes)):
        content = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        digest.update(f"{type(value).__name__} {len(content)};".encode() + content)
    elif isinstance(value, (bool, int, float, complex, np.generic, type(None))):
        digest.update(f"{type(value).__name__} {value!r};".encode())
    elif hasattr(value, "tobytes") and hasattr(value, "size"):  # a PIL image
        digest.update(f"image {value.size};".encode() + value.tobytes())
    else:  # whatever has no content that can be read the same way in another process counts by its type alone
        digest.update(f"object {type(value).__qualname__};".encode())
