"""The `table` data target: features and labels from the columns of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from tui_trainer.config.errors import DataError
from tui_trainer.config.wording import closest, printable, shown
from tui_trainer.data.files import columns_named
from tui_trainer.data.source import Undivided
from tui_trainer.data.table_columns import Column, Encoding, feature_preparation, read_column
from tui_trainer.data.table_file import TableFile, read_table
from tui_trainer.data.table_labels import read_labels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def table(
    path: str,
    label: str | int | list[str],
    *,
    features: list[str] | None = None,
    drop: str | list[str] | None = None,
    categorical: str | list[str] | dict[str, str] = "auto",
    normalize: bool = True,
    classes: int | list[str] | None = None,
    separator: str | None = None,
    header: bool = True,
    encoding: str = "utf-8",
    task: str = "auto",
    group_by: str | None = None,
) -> Undivided:
    """A CSV, Parquet or JSON Lines file, by its suffix; float32 features [n, columns].

    `label`: the column to predict; several for multi-label or multi-output regression. `features`: the
    columns to learn from, by default all but the label, `data.group_by` and those in `drop`. `categorical`:
    `auto` (text columns, one-hot up to 32 categories, else ordinal), `onehot`, `ordinal`, a list of columns
    to treat as categories, or a mapping from column to `onehot` or `ordinal`. `normalize`: numbers get mean 0
    and standard deviation 1. Categories, means and deviations are learned from the train split alone.
    `classes`: how many classes there are, or their names in order; by default the sorted values of the label
    column. `separator`: found from the header by default. `header`: false where the first line is data;
    columns are then named 0, 1, ….

    Cells that are no numbers in a numeric column, NaN and infinity stay NaN and infinity: the data check
    names them.
    """
    file = read_table(path, separator=separator, header=header, encoding=encoding)
    labels_named = _columns(file, label, "label")
    dropped = _columns(file, drop, "drop")
    grouped = _columns(file, group_by, "group_by", key="data.group_by")
    if features is None:
        left_out = {*labels_named, *dropped, *grouped}
        chosen = [name for name in file.columns if name not in left_out]
    else:
        chosen = _columns(file, features, "features")
        leaking = [name for name in chosen if name in labels_named]
        if leaking:
            raise DataError(
                f"table: {printable(leaking[0], 60)} is named both in data.args.features and in "
                "data.args.label; the model would read the answer. Take it out of one of them."
            )
        chosen = [name for name in chosen if name not in dropped and name not in grouped]
    if not labels_named or not chosen:
        missing = "label" if not labels_named else "feature"
        raise DataError(
            f"table: no {missing} column is left of {printable(str(file.path))}, whose columns are "
            f"{columns_named(file.columns)}. Check data.args.label, features and drop."
        )
    encodings, treated = _encodings(file, categorical)
    columns = [_column(file, name, as_text=name in treated) for name in chosen]
    label_columns = [_label_column(file, name, classes) for name in labels_named]
    labels = read_labels(label_columns, stated=task, classes=classes)
    broken = {column.name: column.broken for column in [*columns, *label_columns]}
    if labels.unknown:
        broken[labels_named[0]] = labels.unknown
    return Undivided(
        targets=labels.targets,
        prepare=feature_preparation(columns, encodings=encodings, normalize=normalize),
        task=labels.task,
        source=str(file.path),
        groups={name: _group_values(file, name) for name in grouped},
        label_column=", ".join(labels_named),
        source_rows=torch.from_numpy(file.rows),
        row_name=file.row_name,
        text_cells={
            name: {int(file.rows[position]): text for position, text in cells.items()}
            for name, cells in broken.items()
            if cells
        },
    )


def _columns(file: TableFile, given: Any, argument: str, key: str | None = None) -> list[str]:
    """The column names in an argument, each checked to be in the file."""
    key = key or f"data.args.{argument}"
    names = [] if given is None else list(given) if isinstance(given, (list, tuple)) else [given]
    for name in names:
        if not isinstance(name, (str, int)) or isinstance(name, bool):
            raise DataError(f"table: {key} holds {shown(name)}; expected the name of a column.")
        if str(name) not in file.columns:
            match = closest(str(name), file.columns)
            raise DataError(
                f"table: {key} names the column {printable(str(name), 60)!r}, which "
                f"{printable(str(file.path))} does not "
                f"have{f'; did you mean {printable(match, 60)!r}?' if match else '.'} Its columns are "
                f"{columns_named(file.columns)}."
            )
    return list(dict.fromkeys(str(name) for name in names))


def _encodings(file: TableFile, categorical: Any) -> tuple[dict[str, Encoding], set[str]]:
    """How columns are encoded, by name, and which are categories whatever they hold."""
    if categorical == "auto":
        return {}, set()
    if isinstance(categorical, list):
        return {}, set(_columns(file, categorical, "categorical"))
    if isinstance(categorical, dict):
        _columns(file, list(categorical), "categorical")
        given = {str(name): encoding for name, encoding in categorical.items()}
        treated = set(given)
    else:
        given, treated = dict.fromkeys(file.columns, categorical), set()
    checked: dict[str, Encoding] = {}
    for name, encoding in given.items():
        if encoding not in ("onehot", "ordinal"):
            raise DataError(
                f"table: data.args.categorical is {shown(categorical)}; expected auto, onehot, ordinal, a "
                "list of columns, or a mapping from column to onehot or ordinal."
            )
        checked[name] = encoding
    return checked, treated


def _column(file: TableFile, name: str, *, as_text: bool = False) -> Column:
    series = file.frame[name]
    if as_text:
        series = series.astype("category")
    what = f"table: the column {printable(name, 60)} of {printable(str(file.path))}"
    return read_column(name, series, what=what)


def _label_column(file: TableFile, name: str, classes: Any) -> Column:
    """The label column; as text where the classes are given by name, so that any cell can be looked up."""
    return _column(file, name, as_text=isinstance(classes, list))


def _group_values(file: TableFile, name: str) -> NDArray[np.object_]:
    series = file.frame[name].astype(object)
    return series.where(series.notna(), None).to_numpy(dtype=object)
