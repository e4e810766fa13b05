"""A table's feature columns as numbers: what each column is, and encodings fitted on the train rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from tui_trainer.config.errors import DataError
from tui_trainer.config.wording import class_name, printable
from tui_trainer.data.source import Prepared, Rows, standardize, to_float32

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd
    from numpy.typing import NDArray

Encoding = Literal["onehot", "ordinal"]

MOSTLY_NUMBERS = (
    0.8  # a text column is taken for a numeric one with broken cells from this share of numbers on
)
MOST_ONE_HOT = 32  # categories; a text column with more is encoded as one ordinal number


@dataclass(frozen=True)
class Column:
    """One column of a table.

    `number` and `boolean`: `values` is float64 with NaN where a cell is missing or unreadable. `text`:
    `values` are strings (object), None where missing. `broken` holds the unreadable cells of a numeric
    column: position, text.
    """

    name: str
    kind: Literal["number", "boolean", "text"]
    values: NDArray[Any]
    whole_dtype: bool = False
    broken: dict[int, str] = field(default_factory=dict)


def read_column(name: str, series: pd.Series[Any], *, what: str) -> Column:
    """What the cells of `series` are; `what` names the column in messages.

    A text column of which at least 80 % can be read as numbers is a numeric one with broken cells. Raises
    `DataError` for cells that are neither numbers nor text.
    """
    import pandas as pd

    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return Column(name, "text", _texts(series.astype(object)))
    if pd.api.types.is_bool_dtype(dtype):
        return Column(name, "boolean", series.to_numpy(dtype=np.float64, na_value=np.nan))
    if (
        pd.api.types.is_complex_dtype(dtype)
        or pd.api.types.is_datetime64_any_dtype(dtype)
        or dtype.kind == "m"
    ):
        raise DataError(
            f"{what} holds {'complex numbers' if dtype.kind == 'c' else 'dates or times'} ({dtype}); "
            "expected numbers, text or true/false. Turn it into numbers (say days since a date), or list it "
            "in data.args.drop."
        )
    if pd.api.types.is_numeric_dtype(dtype):
        whole = pd.api.types.is_integer_dtype(dtype)
        return Column(name, "number", series.to_numpy(dtype=np.float64, na_value=np.nan), whole)
    return _read_mixed(name, series, what)


def _read_mixed(name: str, series: pd.Series[Any], what: str) -> Column:
    import pandas as pd

    filled = series.notna().to_numpy()
    for cell in series[filled].head(1000):
        if not isinstance(cell, (str, bool, int, float, np.generic)) and type(cell).__name__ != "Decimal":
            raise DataError(
                f"{what} holds {class_name(type(cell))} cells ({printable(str(cell), 60)}); expected numbers, "
                "text or true/false. Flatten it into columns of its own, or list it in data.args.drop."
            )
    if filled.any() and all(isinstance(cell, (bool, np.bool_)) for cell in series[filled]):
        values = np.array(
            [float(cell) if known else np.nan for cell, known in zip(series, filled, strict=True)]
        )
        return Column(name, "boolean", values)
    numbers = pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    unread = filled & np.isnan(numbers)
    if not filled.any() or unread.sum() <= (1 - MOSTLY_NUMBERS) * filled.sum():
        texts = series.to_numpy(dtype=object)
        return Column(
            name,
            "number",
            numbers,
            whole_dtype=bool(filled.all()) or bool(unread.any()),
            broken={int(k): printable(str(texts[k]), 60) for k in np.flatnonzero(unread)},
        )
    return Column(name, "text", _texts(series))


def _texts(series: pd.Series[Any]) -> NDArray[Any]:
    """Cells as strings, None where missing; 3.0 is written 3."""
    filled = series.notna().to_numpy()
    cells = series.to_numpy(dtype=object)
    return np.array(
        [text_of(cell) if known else None for cell, known in zip(cells, filled, strict=True)], dtype=object
    )


def text_of(cell: Any) -> str:
    """A cell as the name of a class or category."""
    if isinstance(cell, (float, np.floating)) and float(cell).is_integer():
        return str(int(cell))
    return str(cell).strip()


def feature_preparation(
    columns: list[Column], *, encodings: Mapping[str, Encoding], normalize: bool
) -> Callable[[Rows], Prepared]:
    """How features are made of `columns`, in their order; `encodings` as given by the user, for text columns.

    Numbers: less mean, divided by standard deviation (with `normalize`). Booleans: 0 or 1. Text: one 0/1
    column for each category of the train rows (`name=category`; a category that is not among them is all
    zeros), or with more than 32 of them, or where asked for, one number: the category's place in the sorted
    list, from 1, and 0 for a category the train rows lack; treated as a number from there on. A missing text
    cell is the category "missing".
    """

    def prepare(train_rows: Rows) -> Prepared:
        blocks: list[NDArray[np.float32]] = []
        names: list[str] = []
        for column in columns:
            if column.kind == "boolean":
                blocks.append(column.values[:, None].astype(np.float32))
                names.append(column.name)
            elif column.kind == "number":
                blocks.append(_numbers(column.values, train_rows, normalize=normalize))
                names.append(column.name)
            else:
                block, block_names = _categories(
                    column, train_rows, encodings.get(column.name), normalize=normalize
                )
                blocks.append(block)
                names += block_names
        if not names:
            raise DataError(
                "table: no feature is left: every feature column is empty of categories on the train rows. "
                "Give other columns in data.args.features."
            )
        return Prepared(torch.from_numpy(np.ascontiguousarray(np.concatenate(blocks, axis=1))), tuple(names))

    return prepare


def _numbers(values: NDArray[Any], train_rows: Rows, *, normalize: bool) -> NDArray[np.float32]:
    matrix = values.reshape(-1, 1).astype(np.float64)
    return standardize(matrix, train_rows) if normalize else to_float32(matrix)


def _categories(
    column: Column, train_rows: Rows, encoding: Encoding | None, *, normalize: bool
) -> tuple[NDArray[np.float32], list[str]]:
    cells = ["missing" if cell is None else cell for cell in column.values]
    known = sorted({cells[row] for row in train_rows.tolist()})
    if encoding is None:
        encoding = "onehot" if len(known) <= MOST_ONE_HOT else "ordinal"
    place = {category: number for number, category in enumerate(known, start=1)}
    numbers = np.array([place.get(cell, 0) for cell in cells], dtype=np.int64)
    if encoding == "ordinal":
        return _numbers(numbers, train_rows, normalize=normalize), [column.name]
    block = (numbers[:, None] == np.arange(1, len(known) + 1)).astype(np.float32)
    return block, [f"{column.name}={category}" for category in known]
