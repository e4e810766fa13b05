"""A table's label columns as targets: which task they call for, and the names of its classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tui_trainer.config.errors import DataError
from tui_trainer.config.wording import printable, shown
from tui_trainer.data.dataset import Task
from tui_trainer.data.files import columns_named
from tui_trainer.data.source import to_float32
from tui_trainer.data.table_columns import Column, text_of
from tui_trainer.data.task import RARE_SHARE, gapless_run

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_CLASS = -1  # the class number of a sample whose label is missing or no class

_FEW_VALUES = 20
_MOST_CLASSES = 1000
_SAMPLES_A_CLASS = 10


@dataclass(frozen=True)
class Labels:
    """Targets with their task; `unknown` holds labels that are no class: position, what stands there."""

    targets: Tensor
    task: Task
    unknown: dict[int, str] = field(default_factory=dict)


def read_labels(columns: list[Column], *, stated: str, classes: Any = None) -> Labels:
    """Targets from one label column, or from several (multi-label where all are 0/1, else regression).

    `classes` is what the labels may be: a number of classes 0 … k−1, or their names. Labels that are missing
    or no class become −1 (classification) or NaN; they are left to the data check. Raises `DataError` where
    the columns cannot be what `stated` says.
    """
    if len(columns) > 1:
        return _several(columns, stated)
    (column,) = columns
    if stated == "multilabel":
        return _several(columns, stated)
    if stated == "regression" or (stated == "auto" and classes is None and not _are_classes(column)):
        return _regression(column)
    labels = _named_classes(column, classes) if isinstance(classes, list) else _own_classes(column, classes)
    if stated == "binary":
        return _binary(column, labels)
    return labels


def _several(columns: list[Column], stated: str) -> Labels:
    texts = [column.name for column in columns if column.kind == "text"]
    if texts:
        raise DataError(
            f"table: the label column {printable(texts[0], 60)} holds text ({_example(columns, texts[0])}); "
            "several label columns (and data.task: multilabel) need numbers: 0 and 1 for multi-label, any "
            "for regression."
        )
    values = np.stack([column.values for column in columns], axis=1)
    known = values[np.isfinite(values)]
    zeros_and_ones = bool(len(known)) and bool(np.isin(known, (0.0, 1.0)).all())
    kinds = {"auto": "multilabel" if zeros_and_ones else "regression"}
    kind = kinds.get(stated, stated)
    if kind not in ("multilabel", "regression"):
        raise DataError(
            f"table: data.args.label names {len(columns)} columns and data.task is {stated}, which has one. "
            "Name one label column, or state multilabel or regression."
        )
    names = tuple(column.name for column in columns) if kind == "multilabel" else None
    task = Task("multilabel" if kind == "multilabel" else "regression", len(columns), names)
    return Labels(torch.from_numpy(to_float32(values)), task)


def _example(columns: list[Column], name: str) -> str:
    cells = next(column.values for column in columns if column.name == name)
    return shown(next((cell for cell in cells if cell is not None), ""))


def _regression(column: Column) -> Labels:
    if column.kind == "text":
        raise DataError(
            f"table: the label column {printable(column.name, 60)} holds text "
            f"({_example([column], column.name)}), but data.task is regression, which needs numbers. State "
            "data.task: classification, or name a numeric column."
        )
    return Labels(torch.from_numpy(to_float32(column.values)).unsqueeze(1), Task("regression", 1))


def _are_classes(column: Column) -> bool:
    """Whether a label column names classes rather than amounts.

    Text and booleans do. Whole numbers do when they take few values (up to 20, each twice or more on
    average), or, stored as integers, up to 1,000 values without wide gaps and ten samples each on average.
    """
    if column.kind != "number":
        return True
    known = column.values[np.isfinite(column.values)]
    if not len(known) or bool((known != np.round(known)).any()):
        return False
    values = np.unique(known)
    if len(values) <= 2 or (len(values) <= _FEW_VALUES and 2 * len(values) <= len(known)):
        return True
    dense = values[-1] - values[0] + 1 <= 2 * len(values)
    enough = len(values) <= _MOST_CLASSES and len(known) >= _SAMPLES_A_CLASS * len(values)
    return column.whole_dtype and bool(dense) and enough


def _named_classes(column: Column, names: list[Any]) -> Labels:
    """Class numbers by the place of a label in the user's list."""
    texts = [text_of(name) for name in names]
    if len(set(texts)) != len(texts) or len(texts) < 2:
        raise DataError(
            f"table: data.args.classes is {shown(names)}; expected two or more different class names, or "
            "their number."
        )
    place = {name: number for number, name in enumerate(texts)}
    cells = _cells(column)
    unknown = {
        k: printable(cell, 60) for k, cell in enumerate(cells) if cell is not None and cell not in place
    }
    task = Task("classification", len(texts), tuple(texts))
    return Labels(_class_numbers(cells, place), task, {**unknown, **column.broken})


def _class_numbers(cells: list[str | None], place: dict[str, int]) -> Tensor:
    numbers = [NO_CLASS if cell is None else place.get(cell, NO_CLASS) for cell in cells]
    return torch.tensor(numbers, dtype=torch.int64)


def _cells(column: Column) -> list[str | None]:
    """A label column's cells as class names, None where missing."""
    if column.kind == "text":
        return list(column.values)
    if column.kind == "boolean":
        return [None if np.isnan(value) else str(bool(value)) for value in column.values]
    cells = [None if np.isnan(value) else text_of(value) for value in column.values]
    for position, text in column.broken.items():
        cells[position] = text
    return cells


def _own_classes(column: Column, count: Any) -> Labels:
    """Class numbers by the sorted values of the column itself."""
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 2):
        raise DataError(
            f"table: data.args.classes is {shown(count)}; expected the number of classes (2 or more) or a "
            "list of their names."
        )
    if column.kind == "number":
        return _numbered_classes(column, count)
    cells = _cells(column)
    names = sorted({cell for cell in cells if cell is not None})
    if count is not None and len(names) > count:
        raise DataError(
            f"table: the label column {printable(column.name, 60)} holds {len(names)} classes "
            f"({columns_named(names, 10)}), but data.args.classes says {count}. List the names of the right "
            "ones there."
        )
    if column.kind == "boolean":
        names = ["False", "True"]
    numbers = _class_numbers(cells, {name: number for number, name in enumerate(names)})
    return Labels(numbers, Task("classification", max(len(names), count or 0, 1), tuple(names)))


def _numbered_classes(column: Column, count: int | None) -> Labels:
    known = column.values[np.isfinite(column.values)]
    if bool((known != np.round(known)).any()):
        broken = known[known != np.round(known)]
        raise DataError(
            f"table: the label column {printable(column.name, 60)} holds {float(broken[0]):g}, which is no "
            "class number. State data.task: regression, or label the classes with whole numbers or text."
        )
    valid = np.arange(count, dtype=np.float64) if count is not None else _valid_classes(known)
    first = int(valid[0]) if len(valid) else 0
    numbers = np.full(len(column.values), NO_CLASS, dtype=np.int64)
    finite = np.isfinite(column.values)
    place = np.clip(np.searchsorted(valid, column.values), 0, max(len(valid) - 1, 0))
    member = finite & (valid[place] == column.values) if len(valid) else np.zeros_like(finite)
    numbers[member] = place[member]
    strange = finite & ~member
    if first == 0:  # out of range as it stands: −3 stays −3, 99 stays 99
        kept = np.clip(column.values[strange], -(2.0**62), 2.0**62).astype(np.int64)
        numbers[strange] = np.where((kept >= 0) & (kept < len(valid)), NO_CLASS, kept)
    unknown = {int(k): text_of(column.values[k]) for k in np.flatnonzero(strange)}
    names = tuple(text_of(value) for value in valid)
    return Labels(
        torch.from_numpy(numbers),
        Task("classification", max(len(names), 1), names),
        {**unknown, **column.broken},
    )


def _valid_classes(known: NDArray[Any]) -> NDArray[Any]:
    """The sorted values that number classes.

    Where they run 0, 1, … (or 1, 2, …) without a gap but for a few samples below zero or far above, those few
    are mistakes rather than classes; in any other case every value is a class.
    """
    values, counts = np.unique(known, return_counts=True)
    for start in (0, 1):
        begin = int(np.searchsorted(values, start))
        run = gapless_run(values[begin:].tolist(), start)
        if run < 2:
            continue
        strange = np.ones(len(values), dtype=bool)
        strange[begin : begin + run] = False
        far = (values < 0) | (values >= start + 2 * run)
        if bool(far[strange].all()) and counts[strange].sum() <= RARE_SHARE * len(known):
            return values[begin : begin + run]
        return values
    return values


def _binary(column: Column, labels: Labels) -> Labels:
    names = labels.task.class_names or ()
    if len(names) > 2:
        raise DataError(
            f"table: data.task is binary, but the label column {printable(column.name, 60)} holds "
            f"{len(names)} values ({columns_named(list(names), 10)}). State classification, or give a "
            "column of two values."
        )
    numbers = labels.targets
    targets = torch.where(numbers >= 0, numbers.to(torch.float32), torch.nan)
    return Labels(targets.unsqueeze(1), Task("binary", 1, names), labels.unknown)
