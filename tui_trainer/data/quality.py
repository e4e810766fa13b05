"""What is wrong with the content of the data: found before training, named by row, column and split.

Looking changes nothing: items are read with the global generators put back, tensors are only read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from tui_trainer.config.wording import listed, printable
from tui_trainer.data.task import IGNORED_LABEL
from tui_trainer.data.view import View, has_non_finite, view

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from tui_trainer.data.dataset import DataSplits, SplitName

Problem = Literal[
    "non_finite_features",
    "label_out_of_range",
    "one_class",
    "non_numeric",
    "constant_labels",
    "constant_feature",
    "unnormalised",
    "duplicates",
]
Severity = Literal["info", "warning", "critical"]

SCALE_RATIO = 100.0  # a feature this many times larger than the typical one is not normalised
LARGE_SCALE = 1000.0  # nor is one of this size
_SCALE_ROWS = 65_536  # rows that means and deviations are taken from
NAMED = 10  # rows, columns and examples that a finding lists
_WORDED = 5  # rows of a split that a message lists
_ENOUGH_FOR_ONE_CLASS = 20  # samples from which on a val set of one class is more than chance


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with the data.

    `message`: one sentence that names rows, columns and splits. `evidence`: `count` (samples), `rows` (up to
    10, counted as `DataSplits.row_name` says), `columns` (up to 10), `splits` (count and rows of each),
    `examples` (row, column, value), where they apply.
    """

    problem: Problem
    severity: Severity
    blocks_training: bool
    message: str
    evidence: dict[str, Any] = field(default_factory=dict)


def scan(splits: DataSplits, *, sample_limit: int = 200_000, num_outputs: int | None = None) -> list[Finding]:
    """Everything found wrong with the content of the data, the worst first.

    In-memory data is checked for non-finite values and for labels in every row, for scales and duplicates in
    up to `sample_limit` train rows; other data sets are read item by item, up to `sample_limit` or about five
    seconds in all. `num_outputs`: how many classes the model tells apart, where that is stated. Raises
    `DataError` where an item cannot be read.
    """
    sets: dict[SplitName, Dataset[Any] | None] = {
        "train": splits.train,
        "val": splits.val,
        "test": splits.test,
    }
    views = [view(data, name, limit=sample_limit) for name, data in sets.items() if data is not None]
    findings = [
        *_non_numeric(splits, views),
        *_non_finite(splits, views),
        *_labels_out_of_range(splits, views, num_outputs),
        *_one_class(splits, views),
        *_constant_labels(splits, views),
        *_features(splits, views[0], sample_limit),
    ]
    order = {"critical": 0, "warning": 1, "info": 2}
    return sorted(findings, key=lambda finding: order[finding.severity])


# --- naming rows and columns --------------------------------------------------------------------------------


@dataclass
class _Places:
    """Samples with a problem, by split, and some of their values."""

    row_name: str
    rows: dict[str, list[int]] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, split: str, rows: list[int]) -> None:
        if rows:
            self.rows[split] = sorted({*self.rows.get(split, []), *rows})

    def example(self, row: int, column: str | None, value: str) -> None:
        if len(self.examples) < NAMED:
            self.examples.append({"row": row, "column": column, "value": value})

    @property
    def count(self) -> int:
        return sum(map(len, self.rows.values()))

    def worded(self) -> str:
        """`train lines 5, 9 and 3 more; val line 14`."""
        texts = []
        for split, rows in self.rows.items():
            more = f" and {len(rows) - _WORDED} more" if len(rows) > _WORDED else ""
            unit = self.row_name + ("" if len(rows) == 1 else "s")
            texts.append(f"{split} {unit} {', '.join(map(str, rows[:_WORDED]))}{more}")
        return "; ".join(texts)

    def evidence(self, columns: list[str] | None = None) -> dict[str, Any]:
        everything = sorted(row for rows in self.rows.values() for row in rows)
        return {
            "count": self.count,
            "rows": everything[:NAMED],
            "row_name": self.row_name,
            **({"columns": columns[:NAMED]} if columns else {}),
            "splits": {name: {"count": len(rows), "rows": rows[:NAMED]} for name, rows in self.rows.items()},
            "examples": self.examples,
        }


def _column_name(splits: DataSplits, column: int, shape: tuple[int, ...]) -> str:
    """The name of a number of the input, counted over the flattened input."""
    if splits.feature_names is not None and len(splits.feature_names) == math.prod(shape):
        return printable(splits.feature_names[column], 60)
    place = []
    for size in reversed(shape):
        place.append(column % size)
        column //= size
    return f"[{', '.join(map(str, reversed(place)))}]" if place else "the input"


def _columns_worded(names: list[str]) -> str:
    shown = listed(names[:_WORDED])
    more = f" and {len(names) - _WORDED} more" if len(names) > _WORDED else ""
    if more:
        shown = ", ".join(names[:_WORDED])
    return f"column{'' if len(names) == 1 else 's'} {shown}{more}"


def _worded_number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return ("Infinity" if value > 0 else "-Infinity") if math.isinf(value) else f"{value:g}"


# --- features -----------------------------------------------------------------------------------------------


def _non_numeric(splits: DataSplits, views: list[View]) -> list[Finding]:
    """Text where numbers stand, as the reader of the table came upon it; class labels are judged as labels."""
    named = {
        column: cells
        for column, cells in splits.text_cells.items()
        if column != splits.label_column or splits.task.kind in ("regression", "multilabel")
    }
    if not named:
        return []
    places = _Places(splits.row_name)
    for column, cells in named.items():
        for part in views:
            here = sorted(set(part.rows.tolist()) & cells.keys())
            places.add(part.name, here)
            for row in here:
                places.example(row, printable(column, 60), cells[row])
    first = places.examples[0]
    message = (
        "Text stands where numbers are expected in "
        f"{_columns_worded([printable(name, 60) for name in named])} ({places.worded()}), for example "
        f"{first['value']!r} in {splits.row_name} {first['row']}; correct these cells, empty them, or "
        "declare the column in data.args.categorical."
    )
    return [Finding("non_numeric", "critical", True, message, places.evidence(list(named)))]


def _non_finite(splits: DataSplits, views: list[View]) -> list[Finding]:
    places = _Places(splits.row_name)
    columns: dict[str, None] = {}
    for part in views:
        for place, name in part.bad_items.items():
            row = int(part.rows[place])
            places.add(part.name, [row])
            places.example(row, name, "NaN or Infinity")
            columns[name] = None
        if part.inputs is None or not has_non_finite(part.inputs):
            continue
        shape = tuple(part.inputs.shape[1:])
        flat = part.inputs.reshape(len(part.inputs), -1)
        bad = ~torch.isfinite(flat)
        _leave_out_text(splits, part, bad)
        rows = bad.any(dim=1).nonzero().flatten()
        places.add(part.name, part.rows[rows.cpu()].tolist())
        for column in bad.any(dim=0).nonzero().flatten().tolist():
            columns[_column_name(splits, column, shape)] = None
        for row in rows[:NAMED].tolist():
            for column in bad[row].nonzero().flatten()[:3].tolist():
                value = _worded_number(float(flat[row, column].real))
                places.example(int(part.rows[row]), _column_name(splits, column, shape), value)
    if not places.count:
        return []
    kinds = sorted({str(example["value"]) for example in places.examples})
    message = (
        f"The inputs hold {listed(kinds)} in {_columns_worded(list(columns))} ({places.worded()}); fill "
        "these values in, or drop the samples."
    )
    return [Finding("non_finite_features", "critical", True, message, places.evidence(list(columns)))]


def _leave_out_text(splits: DataSplits, part: View, bad: Tensor) -> None:
    """Cells that are NaN because they were text are reported as text."""
    for column, name in enumerate(splits.feature_names or ()):
        cells = splits.text_cells.get(name)
        if cells:
            rows = torch.isin(part.rows, torch.tensor(list(cells), dtype=torch.int64))
            bad[:, column] &= ~rows.to(bad.device)


def _features(splits: DataSplits, train: View, limit: int) -> list[Finding]:
    """Constant features, unlike scales and repeated samples, in up to `limit` train rows spread evenly."""
    inputs = train.inputs
    if inputs is None or not inputs.dtype.is_floating_point or inputs.ndim < 2 or len(inputs) < 2:
        return []
    step = -(-len(inputs) // limit)
    flat = inputs[::step].reshape(len(inputs[::step]), -1)
    if flat.dtype not in (torch.float32, torch.float64):
        flat = flat.float()
    if has_non_finite(flat):
        finite = torch.isfinite(flat)
        flat = flat[finite.all(dim=1)] if bool(finite.all(dim=1).any()) else flat[:0]
    if len(flat) < 2:
        return []
    deviation, mean = torch.std_mean(flat[:: -(-len(flat) // _SCALE_ROWS)], dim=0)
    constant = (
        deviation <= 1e-5 * mean.abs()
    )  # rounding included; the candidates are compared number by number
    constant[constant.clone()] = (flat[:, constant] == flat[:1, constant]).all(dim=0)
    findings = _constant_features(splits, constant, mean, tuple(inputs.shape[1:]))
    if not train.transformed:
        findings += _unlike_scales(splits, mean, deviation, constant, inputs.ndim)
    return findings + (_duplicates(splits, train) if step == 1 else [])


def _constant_features(
    splits: DataSplits, constant: Tensor, value: Tensor, shape: tuple[int, ...]
) -> list[Finding]:
    where = constant.nonzero().flatten().tolist()
    if not where:
        return []
    names = [_column_name(splits, column, shape) for column in where[:NAMED]]
    evidence = {
        "count": len(where),
        "columns": names,
        "examples": [
            {"column": name, "value": _worded_number(float(value[column]))}
            for name, column in zip(names, where, strict=False)
        ],
    }
    if len(where) == len(constant):
        message = (
            "Every input feature has the same value in all train samples: there is nothing to learn from."
        )
        return [Finding("constant_feature", "critical", False, message, evidence)]
    named = names + [""] * (len(where) - len(names))
    message = (
        f"{len(where)} of {len(constant)} input features have one value in all train samples "
        f"({_columns_worded(named)}); they tell the model nothing and can be dropped."
    )
    return [Finding("constant_feature", "info", False, message, evidence)]


def _unlike_scales(
    splits: DataSplits, mean: Tensor, deviation: Tensor, constant: Tensor, dimensions: int
) -> list[Finding]:
    """Features far larger than the others, or simply large. Pixels and the like are judged as a whole."""
    scale = torch.maximum(mean.abs(), deviation)
    varying = scale[~constant]
    if not len(varying):
        return []
    typical = float(varying.median())
    large = (scale > LARGE_SCALE) & ~constant
    if dimensions == 2:
        large |= (scale > SCALE_RATIO * typical) & (scale > 1.0) & ~constant
    where = large.nonzero().flatten()
    if not len(where):
        return []
    where = where[scale[where].argsort(descending=True)]
    shape = (len(scale),) if splits.input_shape is None else splits.input_shape
    names = [_column_name(splits, column, shape) for column in where[:NAMED].tolist()]
    worst = int(where[0])
    message = (
        f"The inputs are not normalised: {names[0]} has mean {float(mean[worst]):.4g} and standard deviation "
        f"{float(deviation[worst]):.4g}, where the typical feature is of size {typical:.3g}"
        + (f" ({len(where)} such features)" if len(where) > 1 else "")
        + "; bring all features to mean 0 and standard deviation 1."
    )
    evidence = {
        "count": len(where),
        "columns": names,
        "typical_scale": typical,
        "examples": [
            {"column": name, "mean": float(mean[column]), "std": float(deviation[column])}
            for name, column in zip(names, where.tolist(), strict=False)
        ],
    }
    return [Finding("unnormalised", "warning", False, message, evidence)]


def _duplicates(splits: DataSplits, train: View) -> list[Finding]:
    """Train samples whose whole input was there before.

    A fixed projection brings equal rows together; only neighbours in its order are compared number by number.
    """
    assert train.inputs is not None
    flat = train.inputs.reshape(len(train.inputs), -1)
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(flat.shape[1], generator=generator, dtype=torch.float32).to(flat)
    projected, order = (flat @ weights).sort()
    close = projected.diff() <= 1e-6 * (1 + projected[1:].abs())
    first, second = order[:-1][close], order[1:][close]
    repeated = train.rows[second[(flat[first] == flat[second]).all(dim=1)].cpu()].tolist()
    if not repeated:
        return []
    places = _Places(splits.row_name)
    places.add("train", repeated)
    message = (
        f"{places.count} of {len(flat)} train samples repeat the input of another one ({places.worded()}); "
        "check that they are not copies, also of validation samples."
    )
    return [Finding("duplicates", "info", False, message, places.evidence())]


# --- labels -------------------------------------------------------------------------------------------------


def _labels_out_of_range(splits: DataSplits, views: list[View], num_outputs: int | None) -> list[Finding]:
    kind = splits.task.kind
    if kind == "custom":
        return []
    classes = num_outputs or splits.task.num_outputs or 0
    places, ignored = _Places(splits.row_name), _Places(splits.row_name)
    column = splits.label_column
    texts = splits.text_cells.get(column or "", {})
    for part in views:
        if part.targets is None or not len(part.targets):
            continue
        flat = part.targets.reshape(len(part.targets), -1)
        if kind == "classification":
            bad = (flat < 0) | (flat >= classes) | (flat != flat)  # noqa: PLR0124 (NaN is what differs from itself)
            left_out = flat == IGNORED_LABEL
            ignored.add(part.name, part.rows[left_out.any(dim=1).cpu()].tolist())
            bad &= ~left_out
        elif kind == "regression":
            bad = ~torch.isfinite(flat) if has_non_finite(flat) else torch.zeros_like(flat, dtype=torch.bool)
        else:
            bad = ~((flat >= 0) & (flat <= 1))
        if kind in ("regression", "multilabel"):  # what is NaN because it was text is reported as text
            bad &= ~torch.isin(part.rows, torch.tensor(list(texts), dtype=torch.int64)).to(bad.device)[
                :, None
            ]
        rows = bad.any(dim=1).nonzero().flatten()
        places.add(part.name, part.rows[rows.cpu()].tolist())
        for row in rows[:NAMED].tolist():
            source = int(part.rows[row])
            value = float(flat[row][bad[row]][0])
            places.example(source, column, texts.get(source, _worded_label(value, splits)))
    findings = []
    if places.count:
        findings.append(_out_of_range(splits, places, classes))
    if ignored.count and ignored.count < sum(len(part.rows) for part in views):
        message = (
            f"{ignored.count} labels are {IGNORED_LABEL}, which cross entropy leaves out "
            f"({ignored.worded()}); metrics may still count them."
        )
        findings.append(Finding("label_out_of_range", "info", False, message, ignored.evidence()))
    return findings


def _worded_label(value: float, splits: DataSplits) -> str:
    """A label that is out of range, in words; readers number one that is missing, or no class, -1."""
    if math.isnan(value) or (value == -1 and splits.task.class_names):
        return "missing"
    if value == -1 and splits.label_column is not None:
        return "-1 or missing"
    return _worded_number(value)


def _out_of_range(splits: DataSplits, places: _Places, classes: int) -> Finding:
    values = list(dict.fromkeys(str(example["value"]) for example in places.examples))
    names = splits.task.class_names
    expected = {
        "classification": f"classes 0 to {classes - 1}"
        if not names
        else f"the {classes} classes {_shown(names)}",
        "binary": "0 or 1",
        "multilabel": "0 or 1",
        "regression": "finite numbers",
    }[splits.task.kind]
    where = f" in column {printable(splits.label_column, 60)}" if splits.label_column else ""
    message = (
        f"{places.count} label{' is' if places.count == 1 else 's are'} none of what is expected{where}: "
        f"{', '.join(values[:_WORDED])} ({places.worded()}), expected {expected}; correct these labels, or "
        "drop the samples."
    )
    columns = [splits.label_column] if splits.label_column else None
    return Finding("label_out_of_range", "critical", True, message, places.evidence(columns))


def _shown(names: tuple[str, ...]) -> str:
    texts = [printable(name, 40) for name in names[:_WORDED]]
    return ", ".join(texts) + (", …" if len(names) > _WORDED else "")


def _one_class(splits: DataSplits, views: list[View]) -> list[Finding]:
    if splits.task.kind not in ("classification", "binary"):
        return []
    findings = []
    train_varies = False
    for part in views:
        targets = part.targets
        if targets is None or not len(targets) or targets[0].numel() != 1:
            continue
        flat = targets.reshape(-1)
        valid = flat[(flat >= 0) if splits.task.kind == "classification" else torch.isfinite(flat)]
        if not len(valid) or bool((valid != valid[0]).any()):
            train_varies |= part.name == "train"
            continue
        number = int(valid[0])
        names = splits.task.class_names
        named = f" ({printable(names[number], 60)})" if names and number < len(names) else ""
        text = f"All {len(valid)} labels of the {part.name} set are the same class, {number}{named}"
        evidence = {"count": len(valid), "splits": {part.name: {"count": len(valid)}}, "class": number}
        if part.name == "train":
            message = f"{text}: there is nothing to tell apart; give samples of at least two classes."
            findings.append(Finding("one_class", "critical", True, message, evidence))
        elif train_varies:
            severity: Severity = "warning" if len(valid) >= _ENOUGH_FOR_ONE_CLASS else "info"
            message = (
                f"{text}, while training has others: its metrics say little; divide the data differently."
            )
            findings.append(Finding("one_class", severity, False, message, evidence))
    return findings


def _constant_labels(splits: DataSplits, views: list[View]) -> list[Finding]:
    """Regression or multi-label targets that never change in the train set."""
    targets = views[0].targets
    if splits.task.kind not in ("regression", "multilabel") or targets is None or len(targets) < 2:
        return []
    flat = targets.reshape(len(targets), -1)
    constant = (flat == flat[:1]).all(dim=0)
    where = constant.nonzero().flatten().tolist()
    if not where:
        return []
    values = [_worded_number(float(flat[0, column])) for column in where[:NAMED]]
    names = splits.task.class_names or tuple((splits.label_column or "").split(", "))
    columns = [names[k] if len(names) == flat.shape[1] and names[k] else f"target {k}" for k in where[:NAMED]]
    evidence = {"count": len(where), "columns": columns, "values": values}
    every = len(where) == flat.shape[1]
    message = (
        f"{'All targets' if every else f'{len(where)} of {flat.shape[1]} targets'} have one value in the "
        f"whole train set ({printable(columns[0], 60)}: {values[0]}); there is nothing to learn in them."
    )
    return [Finding("constant_labels", "critical" if every else "warning", False, message, evidence)]
