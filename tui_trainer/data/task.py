"""What kind of prediction the targets call for."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from tui_trainer.config.errors import DataError
from tui_trainer.data.dataset import Task, TaskKind

IGNORED_LABEL = -100  # what torch's cross entropy leaves out (`ignore_index`)
RARE_SHARE = 0.05  # labels that are at most this share may be mistakes


def infer_task(
    targets: Tensor | None,
    stated: TaskKind | Literal["auto"] = "auto",
    class_names: tuple[str, ...] | None = None,
) -> Task:
    """The task that `targets` (first dimension: the sample) call for, or the `stated` one with its sizes
    filled in.

    Integers are classes; floats of only 0 and 1 are binary in one column and multi-label in several (as are
    integers of 0 and 1 in several columns); other numbers are regression. None, where targets are no tensors,
    is `custom`. Raises `DataError` where the stated task cannot hold such targets.
    """
    if targets is None or stated == "custom":
        return Task("custom", None, class_names)
    if targets.is_complex():
        raise DataError(
            f"The targets are {targets.dtype}; expected whole or real numbers. Return integer classes "
            "(classification) or floats (regression), or state data.task: custom and give a loss of your own."
        )
    kind = _kind(targets) if stated == "auto" else stated
    columns = int(targets.shape[1]) if targets.ndim > 1 else 1
    if kind == "classification":
        if targets.dtype.is_floating_point:
            _check_whole(targets)
        named = len(class_names) if class_names else 0
        return Task(kind, max(class_count(targets), named), class_names)
    if kind == "binary":
        return Task(kind, 1, class_names)
    return Task(kind, columns, class_names)


def target_dtype(task: Task) -> torch.dtype | None:
    """The dtype that the built-in losses want of this task's targets; None where any will do."""
    if task.kind == "custom":
        return None
    return torch.int64 if task.kind == "classification" else torch.float32


def class_count(labels: Tensor) -> int:
    """How many classes the labels number: the highest valid label + 1, at least 1.

    A few labels far above a gapless run 0, 1, … k−1 (say 999 among 0, 1, 2) are taken for mistakes, not for
    classes; the data check reports them.
    """
    valid = labels[torch.isfinite(labels)] if labels.dtype.is_floating_point else labels
    valid = valid[valid >= 0].to(torch.int64)
    if not len(valid):
        return 1
    values, counts = torch.unique(valid, return_counts=True)
    run = gapless_run(values.tolist())
    if run >= 2 and int(values[-1]) >= 2 * run:
        beyond = counts[run:]
        far = values[run:] >= 2 * run
        if bool(far.all()) and int(beyond.sum()) <= RARE_SHARE * len(valid):
            return run
    return int(values[-1]) + 1


def gapless_run(values: list[int], start: int = 0) -> int:
    """How many of the sorted `values` run start, start+1, … without a gap from the first one on."""
    run = 0
    while run < len(values) and values[run] == start + run:
        run += 1
    return run


def _kind(targets: Tensor) -> TaskKind:
    whole = not targets.dtype.is_floating_point
    if targets.ndim == 2 and targets.shape[1] > 1 and _zeros_and_ones(targets):
        return "multilabel"
    if whole:
        return "classification"
    if (targets.ndim == 1 or targets[0].numel() == 1) and _zeros_and_ones(targets):
        return "binary"
    return "regression"


def _zeros_and_ones(targets: Tensor) -> bool:
    if targets.dtype == torch.bool:
        return True
    known = targets[torch.isfinite(targets)] if targets.dtype.is_floating_point else targets
    return bool(len(known)) and bool(((known == 0) | (known == 1)).all())


def _check_whole(targets: Tensor) -> None:
    known = targets[torch.isfinite(targets)]
    broken = known[known != known.round()]
    if len(broken):
        raise DataError(
            f"data.task is classification, but targets hold {float(broken[0]):g}, which is no class number. "
            "Give integer classes 0, 1, …, or state data.task: regression."
        )
