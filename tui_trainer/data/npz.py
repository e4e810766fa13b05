"""The `npz` data target: arrays from a NumPy archive."""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tui_trainer.config.errors import DataError
from tui_trainer.config.wording import did_you_mean, listed, printable
from tui_trainer.data.files import columns_named, existing_file, reading
from tui_trainer.data.source import Rows, Undivided, as_they_are, standardized, to_float32
from tui_trainer.data.task import infer_task, target_dtype

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from tui_trainer.data.dataset import SplitName, Task

_EXPECTED = "a NumPy archive (.npz, as numpy.savez writes it)"
_INPUTS = ("x", "X", "inputs", "features", "data", "images")
_TARGETS = ("y", "Y", "targets", "target", "labels", "label")
_SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


def npz(
    path: str,
    inputs: str = "auto",
    targets: str = "auto",
    *,
    standardize: bool = False,
    task: str = "auto",
    group_by: str | None = None,
) -> Undivided:
    """The arrays `inputs` and `targets` of an archive, first dimension the sample.

    With `auto` the names are looked for: x, X, inputs, features, data, images; y, Y, targets, target, labels,
    label. An archive with x_train, y_train and, where there are any, x_val, y_val, x_test, y_test comes as
    these splits. Images (uint8 of three or more dimensions) become float32 pixels/255; int32 and int64 inputs
    stay whole numbers (tokens, categories); all other inputs become float32. `standardize`: each column of
    two-dimensional inputs gets mean 0 and standard deviation 1, learned from the train split. Text targets
    are classes, in sorted order. Pickled objects are never loaded.
    """
    file = existing_file(path, what="npz", expected=_EXPECTED)
    names = _names(file)
    splits = {
        split: pair for split in _SPLITS if (pair := _pair(names, inputs, targets, f"_{split}")) is not None
    }
    if "train" not in splits:
        pair = _pair(names, inputs, targets, "")
        if pair is None:
            raise _no_arrays(file, names, inputs, targets)
        splits = {"train": pair}
    wanted = {name for pair in splits.values() for name in pair} | (
        {group_by} if group_by in names else set()
    )
    arrays = _load(file, sorted(name for name in wanted if name))
    classes = _class_names([arrays[y] for _, y in splits.values()])
    for x, y in splits.values():
        if not len(arrays[x]):
            raise DataError(
                f"npz: the array {x} of {printable(str(file))} has no samples; training needs data."
            )
        if len(arrays[x]) != len(arrays[y]):
            raise DataError(
                f"npz: {printable(str(file))} holds {len(arrays[x])} samples in {x} but {len(arrays[y])} in "
                f"{y}; expected as many targets as inputs."
            )
    wide = _joined([_inputs(arrays[x], x, file) for x, _ in splits.values()], "inputs", file)
    answers = _joined([_targets(arrays[y], y, file, classes) for _, y in splits.values()], "targets", file)
    found = infer_task(answers, task, classes)  # type: ignore[arg-type]  # the schema has checked the name
    sizes = {split: len(arrays[x]) for split, (x, _) in splits.items()}
    return Undivided(
        targets=_as_task_wants(answers, found),
        prepare=standardized(wide.numpy()) if standardize and wide.ndim == 2 else as_they_are(wide),
        task=found,
        source=str(file),
        groups={name: array for name, array in arrays.items() if array.ndim == 1 and len(array) == len(wide)},
        given=_consecutive(sizes) if len(sizes) > 1 else {},
        label_column=splits["train"][1],
        source_rows=torch.cat([torch.arange(size) for size in sizes.values()]),
    )


def _joined(parts: list[Tensor], what: str, file: Path) -> Tensor:
    if len({(part.dtype, part.shape[1:]) for part in parts}) > 1:
        found = ", ".join(f"{part.dtype} {list(part.shape)}" for part in parts)
        raise DataError(
            f"npz: the {what} of the splits in {printable(str(file))} differ in type or shape ({found}); "
            "expected the same for train, val and test."
        )
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _consecutive(sizes: dict[SplitName, int]) -> dict[SplitName, Rows]:
    """The rows of splits that stand one after the other."""
    starts = np.cumsum([0, *sizes.values()])
    return {name: np.arange(starts[k], starts[k + 1], dtype=np.int64) for k, name in enumerate(sizes)}


def _names(file: Path) -> list[str]:
    with reading(file, "npz"):
        if file.stat().st_size == 0:
            raise DataError(f"npz: {printable(str(file))} is empty (0 bytes). Expected {_EXPECTED}.")
        try:
            found = np.load(file, allow_pickle=False)
        except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise _damaged(file, error) from error
    if isinstance(found, np.ndarray):
        raise DataError(
            f"npz: {printable(str(file))} holds a single array; expected {_EXPECTED} with inputs and targets. Save "
            "both with numpy.savez(path, x=..., y=...)."
        )
    with found:
        return list(found.files)


def _damaged(file: Path, error: Exception) -> DataError:
    return DataError(
        f"npz: {printable(str(file))} is damaged or no NumPy archive ({printable(str(error), 160)}). "
        f"Expected {_EXPECTED}; write it again, or copy it again from its source."
    )


def _load(file: Path, names: list[str]) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    with reading(file, "npz"), np.load(file, allow_pickle=False) as archive:
        for name in names:
            try:
                array = archive[name]
            except (EOFError, zipfile.BadZipFile, zlib.error) as error:
                raise _damaged(file, error) from error
            except ValueError as error:
                if "pickle" not in str(error):
                    raise _damaged(file, error) from error
                raise DataError(
                    f"npz: the array {name} of {printable(str(file))} holds Python objects, which are not "
                    "loaded because that can run code. Save it with a number dtype: "
                    "array.astype(numpy.float32), padded to equal lengths where they differ."
                ) from error
            if not array.ndim:
                raise DataError(
                    f"npz: the array {name} of {printable(str(file))} is a single value; expected one entry "
                    "a sample."
                )
            arrays[name] = array
    return arrays


def _pair(names: list[str], inputs: str, targets: str, suffix: str) -> tuple[str, str] | None:
    """The names of inputs and targets that end in `suffix`, where both are there."""
    found = []
    for given, usual in ((inputs, _INPUTS), (targets, _TARGETS)):
        known = [name for name in (usual if given == "auto" else (given,)) if f"{name}{suffix}" in names]
        if not known:
            return None
        found.append(f"{known[0]}{suffix}")
    return found[0], found[1]


def _no_arrays(file: Path, names: list[str], inputs: str, targets: str) -> DataError:
    lines = []
    for key, given, usual in (("inputs", inputs, _INPUTS), ("targets", targets, _TARGETS)):
        if given == "auto" and not any(name in names for name in usual):
            lines.append(f"no array for the {key} (looked for {listed(usual, 'or')})")
        elif given != "auto" and given not in names:
            lines.append(
                f"no array {printable(str(given), 60)!r}{did_you_mean(str(given), names)}".rstrip("?")
            )
    return DataError(
        f"npz: {printable(str(file))} has {' and '.join(lines) or 'no pair of arrays'}. Its arrays are "
        f"{columns_named(names)}; name the right ones in data.args.inputs and data.args.targets."
    )


def _inputs(array: NDArray[Any], name: str, file: Path) -> Tensor:
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"npz: the inputs {name} of {printable(str(file))} are {array.dtype}; expected numbers. Save "
            "them as float32, or as integers where they are tokens."
        )
    if array.dtype == np.uint8 and array.ndim >= 3:
        return torch.from_numpy(array.astype(np.float32) / np.float32(255))
    if array.dtype.kind in "iu" and array.dtype.itemsize >= 4:
        return torch.from_numpy(array.astype(np.int64))
    return torch.from_numpy(to_float32(array))


def _class_names(targets: list[NDArray[Any]]) -> tuple[str, ...] | None:
    """The sorted values of text targets."""
    if any(array.dtype.kind not in "US" for array in targets):
        return None
    return tuple(sorted({_text(value) for array in targets for value in np.unique(array)}))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _targets(array: NDArray[Any], name: str, file: Path, classes: tuple[str, ...] | None) -> Tensor:
    if classes is not None:
        place = {text: number for number, text in enumerate(classes)}
        values, inverse = np.unique(array, return_inverse=True)
        return torch.from_numpy(
            np.array([place[_text(value)] for value in values])[inverse.reshape(array.shape)]
        )
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"npz: the targets {name} of {printable(str(file))} are {array.dtype}; expected numbers, or "
            "text for classes."
        )
    return torch.from_numpy(to_float32(array) if array.dtype.kind == "f" else array.astype(np.int64))


def _as_task_wants(targets: Tensor, task: Task) -> Tensor:
    """Targets in the dtype and shape of the built-in losses: [n] classes, [n, columns] floats."""
    if task.kind == "classification":
        if targets.dtype.is_floating_point:
            targets = torch.nan_to_num(targets, nan=-1.0, posinf=-1.0, neginf=-1.0)
        single = targets.ndim == 2 and targets.shape[1] == 1
        return (targets.squeeze(1) if single else targets).to(torch.int64)
    dtype = target_dtype(task)
    targets = targets if dtype is None else targets.to(dtype)
    return targets.unsqueeze(1) if targets.ndim == 1 and task.kind != "custom" else targets
