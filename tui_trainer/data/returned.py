"""What a data target returned, checked: data sets with a length, one or already divided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from tui_trainer.config.errors import DataError, UserError
from tui_trainer.config.user_code import raised
from tui_trainer.config.wording import class_name
from tui_trainer.data.dataset import ArrayDataset, SplitName
from tui_trainer.data.source import Undivided

Part = ArrayDataset | Undivided | Dataset[Any]


def parts_of(made: Any, target: str) -> dict[SplitName, Part]:
    """What the target returned, by split; a single data set is under `train`."""
    if isinstance(made, Mapping):
        unknown = [str(key) for key in made if key not in ("train", "val", "test")]
        if unknown or "train" not in made:
            raise DataError(
                f"data.target {target} returned a dict with the keys "
                f"{', '.join(map(str, made)) or '(none)'}; expected train, and if need be val and test."
            )
        given = {name: made[name] for name in ("train", "val", "test") if made.get(name) is not None}
    elif isinstance(made, (tuple, list)) and not _looks_like_samples(made):
        if len(made) not in (2, 3):
            raise DataError(
                f"data.target {target} returned a {class_name(type(made))} of {len(made)}; expected a Dataset, "
                "(train, val) or (train, val, test)."
            )
        names: tuple[SplitName, ...] = ("train", "val", "test")
        given = {name: part for name, part in zip(names, made, strict=False) if part is not None}
        if "train" not in given:
            raise DataError(
                f"data.target {target} returned None in place of its train set; expected a Dataset."
            )
    else:
        given = {"train": made}
    if len(given) > 1 and any(isinstance(part, Undivided) for part in given.values()):
        raise DataError(
            f"data.target {target} returned several built-in data sets as splits; what they learn from the "
            "data (means, categories) would differ from split to split. Return one of them and let it be "
            "divided, or Datasets of your own."
        )
    return {name: _as_part(part, target, name if len(given) > 1 else None) for name, part in given.items()}  # type: ignore[misc]  # the names are SplitNames


def _looks_like_samples(made: Any) -> bool:
    """A plain list of samples, which is no pair of data sets."""
    return bool(made) and not any(
        hasattr(part, "__getitem__") or isinstance(part, Undivided) for part in made
    )


def _as_part(part: Any, target: str, name: str | None) -> Part:
    """`part`, checked to be a data set with a length; in-memory tensors become an `ArrayDataset`."""
    what = f"data.target {target} returned" + (f" for {name}" if name else "")
    if isinstance(part, Undivided):
        return _with_samples(part, part, what)
    if isinstance(part, IterableDataset) or (
        hasattr(part, "__iter__")
        and not hasattr(part, "__getitem__")
        and not isinstance(part, (set, frozenset))
    ):
        if isinstance(part, DataLoader):
            raise DataError(
                f"{what} a DataLoader; expected the Dataset inside it. Return the Dataset: batches, order "
                "and workers are set in the config's data section."
            )
        raise DataError(
            f"{what} {class_name(type(part))}, which can only be iterated: it has no positions, so samples "
            "cannot be divided, shuffled by seed, or found again when a run resumes exactly where it "
            "stopped. Expected a Dataset with __len__ and __getitem__; write the stream to files or an "
            "array and index into that."
        )
    plain = isinstance(part, (str, bytes, list, tuple, dict, np.ndarray, Tensor))
    missing = [name for name in ("__len__", "__getitem__") if not hasattr(part, name)]
    if plain or missing or isinstance(part, type) or type(part).__module__.startswith("pandas."):
        lacks = f", which has no {' and no '.join(missing)}" if missing and isinstance(part, Dataset) else ""
        found = (
            f"the class {class_name(part)} itself"
            if isinstance(part, type)
            else f"{with_article(part)}{lacks}"
        )
        raise DataError(
            f"{what} {found}; expected a torch Dataset with __len__ and __getitem__, (train, val) or "
            "(train, val, test). Arrays and tensors can be wrapped in "
            "torch.utils.data.TensorDataset(inputs, targets)."
        )
    return _with_samples(in_memory(part), part, what)


def with_article(part: Any) -> str:
    if part is None:
        return "None"
    name = class_name(type(part))
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _with_samples(part: Part, made: Any, what: str) -> Part:
    try:
        samples = len(part)  # type: ignore[arg-type]  # checked by the caller
    except UserError:
        raise
    except Exception as error:  # the user's __len__
        raise DataError(
            f"{what} {with_article(made)} that cannot tell its length: {raised(error)}. Mend its __len__: "
            "the number of samples must be known before training."
        ) from error
    if samples < 1:
        raise DataError(f"{what} {with_article(made)} without a single sample; training needs data.")
    return part


def in_memory(data: Dataset[Any]) -> Dataset[Any]:
    """A `TensorDataset` of two tensors, or a `Subset` of one, as an `ArrayDataset`; others unchanged."""
    if type(data) is TensorDataset and len(data.tensors) == 2:
        inputs, targets = (tensor.detach() for tensor in data.tensors)
        return ArrayDataset(inputs, targets)
    if type(data) is Subset:
        inner = in_memory(data.dataset)
        if isinstance(inner, ArrayDataset):
            return inner.take(torch.as_tensor(list(data.indices), dtype=torch.int64))
    return data
