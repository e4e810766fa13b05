"""Reading a table (CSV, Parquet, JSON Lines) so that every row can be named as it stands in the file."""

from __future__ import annotations

import csv
import gzip
import json
import warnings
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TextIO

import numpy as np

from tui_trainer.config.errors import DataError
from tui_trainer.config.wording import printable, shown
from tui_trainer.data.files import existing_file, reading

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

WHAT = "table"
_CSV = (".csv", ".tsv", ".txt", ".data")
_JSON_LINES = (".jsonl", ".ndjson")
_PARQUET = (".parquet", ".pq")
_SEPARATORS = ",;\t|"
_EXPECTED = "a CSV (.csv, .tsv, .txt, .data, also .gz), Parquet (.parquet) or JSON Lines (.jsonl) file"


@dataclass(frozen=True)
class TableFile:
    """A table's cells; `rows` are its file's line numbers (from 1) or, for Parquet, row numbers (from 0)."""

    path: Path
    frame: pd.DataFrame
    rows: NDArray[np.int64]
    row_name: Literal["line", "row"]

    @property
    def columns(self) -> list[str]:
        return list(self.frame.columns)


def read_table(path: Any, *, separator: str | None, header: bool, encoding: str) -> TableFile:
    """The table at `path`, by its suffix; rows without a single filled cell are left out.

    Raises `DataError` where the file is missing, empty, damaged or of another kind.
    """
    found = existing_file(path, what=WHAT, expected=_EXPECTED)
    suffixes = [suffix.lower() for suffix in found.suffixes[-2:]]
    zipped = bool(suffixes) and suffixes[-1] == ".gz"
    suffix = suffixes[-2] if zipped and len(suffixes) > 1 else suffixes[-1] if suffixes else ""
    with reading(found, WHAT):
        if found.stat().st_size == 0:
            raise DataError(f"{WHAT}: {_name(found)} is empty (0 bytes). Expected {_EXPECTED}.")
        if suffix in _CSV:
            table = _read_csv(found, zipped=zipped, separator=separator, header=header, encoding=encoding)
        elif suffix in _JSON_LINES:
            table = _read_json_lines(found, zipped=zipped, encoding=encoding)
        elif suffix in _PARQUET and not zipped:
            table = _read_parquet(found)
        else:
            ending = f"ends in {''.join(suffixes) or 'no suffix'}"
            raise DataError(f"{WHAT}: {_name(found)} {ending}; expected {_EXPECTED}. Convert or rename it.")
    if not len(table.frame):
        raise DataError(f"{WHAT}: {_name(found)} has a header but no rows of data; training needs samples.")
    return table


def _name(path: Path) -> str:
    return printable(str(path))


def _open(path: Path, *, zipped: bool, encoding: str) -> TextIO:
    if zipped:
        return gzip.open(path, "rt", encoding=encoding, newline="")
    return path.open(encoding=encoding, newline="")


# --- CSV ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Header:
    names: list[str]
    separator: str
    lines_before: int
    lines: int


def _read_csv(path: Path, *, zipped: bool, separator: str | None, header: bool, encoding: str) -> TableFile:
    import pandas as pd

    found = _csv_errors(path, encoding, lambda: _read_header(path, zipped, separator, encoding))
    if header:
        _check_header(path, found)
    skipped = found.lines_before + (found.lines if header else 0)
    frame = _csv_errors(
        path,
        encoding,
        lambda: pd.read_csv(
            path,
            sep=found.separator,
            header=None,
            index_col=False,
            names=found.names if header else None,
            skiprows=skipped,
            skip_blank_lines=False,
            skipinitialspace=True,
            encoding=encoding,
            low_memory=False,
            compression="gzip" if zipped else None,
        ),
        columns=found.names if header else None,
    )
    frame.columns = [str(name) for name in frame.columns]
    rows = np.arange(len(frame), dtype=np.int64) + skipped + 1 + _lines_inside_cells(path, frame, zipped)
    filled = frame.notna().to_numpy().any(axis=1)
    return TableFile(path, frame[filled].reset_index(drop=True), rows[filled], "line")


def _csv_errors(path: Path, encoding: str, read: Any, columns: list[str] | None = None) -> Any:
    """What `read` returns, with a parser's complaints worded for people."""
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "error", pd.errors.ParserWarning
            )  # cells beyond the header would be dropped
            return read()
    except pd.errors.EmptyDataError:
        return pd.DataFrame(columns=columns)
    except (UnicodeError, LookupError) as error:
        raise DataError(
            f"{WHAT}: {_name(path)} is not text in the encoding {encoding} ({printable(str(error), 120)}). "
            "Set data.args.encoding (say latin-1 or utf-16), or save the file as UTF-8."
        ) from error
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error, ValueError) as error:
        reason = printable(str(error)).removeprefix("Error tokenizing data. ").removeprefix("C error: ")
        if isinstance(error, pd.errors.ParserWarning):
            reason = f"its lines have more cells than its header has names ({len(columns or [])})"
        raise DataError(
            f"{WHAT}: {_name(path)} cannot be read as CSV: {reason}. Every line needs as many cells as the "
            "header; cells that hold the separator go in double quotes."
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{WHAT}: {_name(path)} is damaged or no gzip file ({printable(str(error))}). Copy it again "
            "from its source."
        ) from error


def _read_header(path: Path, zipped: bool, separator: str | None, encoding: str) -> _Header:
    """The first line that is not blank, cut at `separator` or at the one it holds most of."""
    with _open(path, zipped=zipped, encoding="utf-8-sig" if encoding == "utf-8" else encoding) as file:
        before = 0
        for line in file:
            if line.strip():
                break
            before += 1
        else:
            raise DataError(f"{WHAT}: {_name(path)} holds blank lines only. Expected {_EXPECTED}.")
        if separator is None:
            separator = max(_SEPARATORS, key=line.count)
        if len(separator) != 1:
            raise DataError(
                f"{WHAT}: data.args.separator is {shown(separator)}; expected one character, such as ',' or "
                "';'."
            )
        reader = csv.reader(_chain(line, file), delimiter=separator, skipinitialspace=True)
        names = next(reader)
        return _Header(names, separator, before, reader.line_num)


def _chain(first: str, rest: TextIO) -> Any:
    yield first
    yield from rest


def _check_header(path: Path, header: _Header) -> None:
    twice = [name for name, count in Counter(header.names).items() if count > 1]
    if twice:
        positions = [str(k + 1) for k, name in enumerate(header.names) if name == twice[0]]
        name = f"the column name {printable(twice[0], 60)!r}" if twice[0] else "an empty column name"
        raise DataError(
            f"{WHAT}: the header of {_name(path)} has {name} at positions {' and '.join(positions)}; "
            "expected different names. Rename the columns (or set data.args.header to false if the first "
            "line is data)."
        )


def _lines_inside_cells(path: Path, frame: pd.DataFrame, zipped: bool) -> NDArray[np.int64]:
    """How many extra lines quoted cells with line breaks take up before each row."""
    extra = np.zeros(len(frame), dtype=np.int64)
    texts = [name for name in frame.columns if frame[name].dtype.kind not in "biufc"]
    if texts and _holds_quotes(path, zipped):
        for name in texts:
            extra += frame[name].astype(str).str.count("\n").fillna(0).to_numpy(dtype=np.int64)
    shifted: NDArray[np.int64] = np.cumsum(extra) - extra
    return shifted


def _holds_quotes(path: Path, zipped: bool) -> bool:
    with gzip.open(path, "rb") if zipped else path.open("rb") as file:
        return any(b'"' in chunk for chunk in iter(lambda: file.read(1 << 20), b""))


# --- JSON Lines and Parquet ---------------------------------------------------------------------------------


def _read_json_lines(path: Path, *, zipped: bool, encoding: str) -> TableFile:
    import pandas as pd

    records: list[dict[str, Any]] = []
    numbers: list[int] = []
    try:
        with _open(path, zipped=zipped, encoding=encoding) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    records.append(_json_object(path, number, line))
                    numbers.append(number)
    except (UnicodeError, LookupError, EOFError, zlib.error) as error:
        raise DataError(
            f"{WHAT}: {_name(path)} is not text in the encoding {encoding} ({printable(str(error), 120)}). "
            "Expected JSON Lines: one object a line."
        ) from error
    frame = pd.DataFrame.from_records(records)
    frame.columns = [str(name) for name in frame.columns]
    return TableFile(path, frame, np.array(numbers, dtype=np.int64), "line")


def _json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{WHAT}: line {number} of {_name(path)} is not valid JSON ({printable(str(error), 120)}). "
            'Expected one object a line, such as {"width": 1.5, "label": "cat"}.'
        ) from error
    if not isinstance(record, dict):
        raise DataError(
            f"{WHAT}: line {number} of {_name(path)} holds {shown(record)}; expected an object with one key "
            "a column."
        )
    return record


def _read_parquet(path: Path) -> TableFile:
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise DataError(
            f"{WHAT}: reading {_name(path)} needs pyarrow, which is not installed here. `pip install "
            "pyarrow`, or convert the file to CSV."
        ) from error
    except (ValueError, OSError, NotImplementedError, KeyError) as error:
        if isinstance(error, PermissionError):
            raise
        raise DataError(
            f"{WHAT}: {_name(path)} is damaged or no Parquet file ({printable(str(error), 160)}). Write it "
            "again, or copy it again from its source."
        ) from error
    if frame.index.names != [None]:
        frame = frame.reset_index()
    frame.columns = [str(name) for name in frame.columns]
    twice = [name for name, count in Counter(frame.columns).items() if count > 1]
    if twice:
        raise DataError(
            f"{WHAT}: {_name(path)} has more than one column named {printable(twice[0], 60)!r}; rename them."
        )
    return TableFile(path, frame.reset_index(drop=True), np.arange(len(frame), dtype=np.int64), "row")
