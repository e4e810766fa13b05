"""From the config's `data:` section to the three sets of a run."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from tui_trainer.config.errors import DataError
from tui_trainer.config.schema import DataConfig, TargetConfig, target_of
from tui_trainer.config.targets import call_target, resolve_target
from tui_trainer.data.dataset import ArrayDataset, DataSplits, SplitName, Task
from tui_trainer.data.divide import Divided, divide
from tui_trainer.data.items import (
    MappedDataset,
    Transform,
    known_targets,
    read_first,
    sample_items,
    stack_targets,
)
from tui_trainer.data.returned import parts_of, with_article
from tui_trainer.data.seeds import seed_cpu_generators, untouched_rng
from tui_trainer.data.task import infer_task, target_dtype

BUILTIN_DATA: Mapping[str, str] = {
    "digits": "tui_trainer.data.builtin:digits",
    "breast_cancer": "tui_trainer.data.builtin:breast_cancer",
    "wine": "tui_trainer.data.builtin:wine",
    "diabetes": "tui_trainer.data.builtin:diabetes",
    "table": "tui_trainer.data.tables:table",
    "image_folder": "tui_trainer.data.images:image_folder",
    "npz": "tui_trainer.data.npz:npz",
}
"""What `data.target` can name without an import path."""

TASK_SAMPLE = 4096  # items read to infer the task of a data set that does not show its targets
_PATH_ARGUMENTS = ("path", "root")


def build_data(config: DataConfig, *, seed: int, folder: Path) -> DataSplits:
    """The train, val and test sets that `config` describes; `folder` is the config's own.

    The target runs under global generators seeded with `seed`, which are then put back: data that it draws at
    random is the same in every process. Raises `DataError` where anything cannot be read, built or split.
    """
    folder = Path(folder)
    target = resolve_target(
        config.target, builtins=BUILTIN_DATA, folder=folder, what="data set", error=DataError
    )
    args = {
        name: _found(value, folder) if name in _PATH_ARGUMENTS else value
        for name, value in config.args.items()
    }
    args |= _settings_for(target, config, args)
    with untouched_rng():
        seed_cpu_generators(seed)
        made = call_target(target, args, what=f"data set {config.target}", error=DataError)
    parts = parts_of(made, config.target)
    train, indices = divide(parts, config, seed)
    return _finish(train, indices, config, folder)


def _found(value: Any, folder: Path) -> Any:
    """A relative path as seen from the config's folder, else from the working directory."""
    if not isinstance(value, str):
        return value
    try:
        path = Path(value).expanduser()
        return next((str(place) for place in (folder / path, path) if place.exists()), str(folder / path))
    except (OSError, ValueError, RuntimeError):  # say a name too long: its reader will complain
        return value


def _settings_for(target: Any, config: DataConfig, args: Mapping[str, Any]) -> dict[str, Any]:
    """What the built-in readers need to know of the section beside their arguments."""
    if not str(getattr(target, "__module__", "")).startswith("tui_trainer.data."):
        return {}
    known = inspect.signature(target).parameters
    offered = {"group_by": config.group_by, "task": config.task}
    return {name: value for name, value in offered.items() if name in known and name not in args}


def _finish(
    divided: Divided, indices: dict[SplitName, Tensor], config: DataConfig, folder: Path
) -> DataSplits:
    task = _task(divided, config)
    transforms: dict[SplitName, Transform | None] = {
        "train": _function(config.transforms.train, "data.transforms.train", folder),
        "val": _function(config.transforms.val, "data.transforms.val", folder),
    }
    transforms["test"] = transforms["val"]
    collate = _function(config.collate, "data.collate", folder)
    sets = {name: _ready(data, task, transforms[name], name) for name, data in divided.sets.items()}
    known = divided.known
    return DataSplits(
        train=sets["train"],
        val=sets["val"],
        test=sets.get("test"),
        task=task,
        input_shape=_input_shape(sets, collate, stacked=config.batch_size > 1),
        feature_names=divided.feature_names,
        collate=collate,
        indices=indices,
        label_column=known.label_column if known else None,
        source=known.source if known else config.target,
        row_name=known.row_name if known else "row",
        text_cells=known.text_cells if known else {},
    )


def _task(divided: Divided, config: DataConfig) -> Task:
    if divided.known is not None:
        task = divided.known.task
        if config.task in ("auto", task.kind):
            return task
        return infer_task(divided.known.targets, config.task, task.class_names)
    train = divided.sets["train"]
    targets = [known_targets(data) for data in divided.sets.values()]
    shown = [found for found in targets if found is not None]
    if len(shown) == len(targets) and len({found.shape[1:] for found in shown}) == 1:
        everything: Tensor | None = torch.cat([found.cpu() for found in shown])
    else:
        everything = stack_targets(
            [item for _, item in sample_items(train, "train", limit=TASK_SAMPLE, seconds=5.0)]
        )
    return infer_task(everything, config.task, _class_names(train))


def _class_names(data: Any) -> tuple[str, ...] | None:
    """The `classes` that torchvision-like data sets carry."""
    while isinstance(data, (Subset, MappedDataset)):
        data = data.dataset if isinstance(data, Subset) else data.data
    for name in ("class_names", "classes"):
        values = getattr(data, name, None)
        if isinstance(values, (list, tuple)) and values and all(isinstance(value, str) for value in values):
            return tuple(values)
    return None


def _function(reference: str | TargetConfig | None, what: str, folder: Path) -> Callable[[Any], Any] | None:
    """The function that a transform or collate setting names.

    A class is made with the setting's args. A function given args is a factory where they are all it needs,
    and otherwise gets them beside the sample.
    """
    if reference is None:
        return None
    target = target_of(reference)
    found = resolve_target(target.target, builtins={}, folder=folder, what=what, error=DataError)
    if isinstance(found, type) or (target.args and _needs_no_more(found, target.args)):
        found = call_target(found, target.args, what=f"{what} {target.target}", error=DataError)
    elif target.args:
        found = functools.partial(found, **target.args)
    if not callable(found):
        raise DataError(
            f"{what} {target.target} is {with_article(found)}; expected a function of one argument."
        )
    function: Callable[[Any], Any] = found
    return function


def _needs_no_more(function: Any, args: Mapping[str, Any]) -> bool:
    try:
        inspect.signature(function).bind(**args)
    except (TypeError, ValueError):
        return False
    return True


def _ready(data: Dataset[Any], task: Task, transform: Transform | None, name: SplitName) -> Dataset[Any]:
    """The set as training takes it: targets in the task's dtype, inputs through the transform."""
    if isinstance(data, ArrayDataset):
        data = _with_target_dtype(data, task)
        return data if transform is None else MappedDataset(data, transform)
    first = read_first(data, name)
    dtype = None
    if not isinstance(first, Mapping):
        wanted, target = target_dtype(task), stack_targets([first])
        wrong = target is not None and target.dtype.is_floating_point == (task.kind == "classification")
        dtype = wanted if wrong else None
    if transform is None and dtype is None:
        return data
    return MappedDataset(data, transform, dtype)


def _with_target_dtype(data: ArrayDataset, task: Task) -> ArrayDataset:
    wanted = target_dtype(task)
    if wanted is None or data.targets.dtype == wanted:
        return data
    if (
        wanted == torch.float32
        and data.targets.dtype.is_floating_point
        and data.inputs.dtype == torch.float64
    ):
        return data  # double precision on both sides is the user's choice
    targets = data.targets
    if wanted == torch.int64 and targets.dtype.is_floating_point:
        targets = torch.nan_to_num(targets, nan=-1.0, posinf=-1.0, neginf=-1.0)
    return ArrayDataset(data.inputs, targets.to(wanted), data.source_rows)


def _input_shape(
    sets: dict[SplitName, Dataset[Any]], collate: Callable[[Any], Any] | None, *, stacked: bool
) -> tuple[int, ...] | None:
    """The shape of one input, where all items looked at have the same.

    Raises `DataError` where they have not, but must be `stacked` in batches.
    """
    places: dict[tuple[int, ...] | None, str] = {}
    for name, data in sets.items():
        if isinstance(data, ArrayDataset):
            places.setdefault(tuple(data.inputs.shape[1:]), f"item 0 of {name}")
            continue
        for index, item in sample_items(data, name, limit=4):
            places.setdefault(_shape_of(item, name, index, collate), f"item {index} of {name}")
    if stacked and collate is None and None not in places and len(places) > 1:
        found = [f"{place} has the shape {list(shape or ())}" for shape, place in places.items()]
        raise DataError(
            f"The inputs differ in shape, so they cannot be put into batches: {found[0]}, {found[1]}. Crop, pad or "
            "resize them in the data set or in data.transforms, or batch them yourself with data.collate."
        )
    return next(iter(places)) if len(places) == 1 else None


def _shape_of(
    item: Any, name: str, index: int, collate: Callable[[Any], Any] | None
) -> tuple[int, ...] | None:
    inputs = None if isinstance(item, Mapping) else item[0]
    if isinstance(inputs, (Tensor, np.ndarray)):
        return tuple(inputs.shape)
    if isinstance(inputs, (bool, int, float, np.generic)):
        return ()
    if inputs is None and not isinstance(item, Mapping) and collate is None:
        raise DataError(
            f"The input of item {index} of {name} is None; expected a tensor or an array. Look for a return that "
            "is missing in the data set or in data.transforms."
        )
    if type(inputs).__module__.startswith("PIL.") and collate is None:
        raise DataError(
            f"The input of item {index} of {name} is a PIL image; expected a tensor or an array. Turn it "
            "into one in the data set, or with data.transforms.train and data.transforms.val."
        )
    return None
