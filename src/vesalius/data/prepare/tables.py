"""Tables of a source, CSV and Parquet: their rows, columns by name, and words for splits."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from vesalius.data.annotations import SPLITS
from vesalius.errors import DataError

_SPLIT_WORDS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip

Row = Mapping[str, object]


def read_table(path: Path) -> list[Row]:
    """All rows of a CSV (with commas, semicolons or tabs) or Parquet file; empty cells are None.

    Raises:
        DataError: If the file is missing, damaged or without rows.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such table; expected a CSV or Parquet file.")
    rows = _read_parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _read_csv_file(path)
    if not rows:
        raise DataError(f"{path}: has no rows.")
    return rows


def parse_csv(text: str, separator: str | None = None) -> list[Row]:
    """Rows of a CSV text by the names in its first line.

    Args:
        text: The whole table.
        separator: By default the one of comma, semicolon and tab that the first line has most of.
    """
    head = text.partition("\n")[0]
    delimiter = separator or max(",;\t", key=head.count)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    return [{name: value or None for name, value in row.items() if name} for row in rows]


def to_split(word: object) -> str | None:
    """The split a table's cell names; None if it is empty.

    Raises:
        DataError: If it names none.
    """
    if word is None or not str(word).strip():
        return None
    found = _SPLIT_WORDS.get(str(word).strip().lower())
    if found is None:
        raise DataError(f"unknown split '{word}'; expected {', '.join(SPLITS)}.")
    return found


def find_column(row: Row, *names: str) -> str | None:
    """The first of some column names that a table has, whatever its case."""
    columns = {column.lower(): column for column in row}
    return next((columns[name] for name in names if name in columns), None)


def _read_csv_file(path: Path) -> list[Row]:
    try:
        return parse_csv(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error}); save it as UTF-8.") from error


def _read_parquet(path: Path) -> list[Row]:
    from pyarrow import ArrowException, parquet  # loads slowly, and most tables are CSV

    try:
        rows: Sequence[Row] = parquet.read_table(path).to_pylist()
    except (OSError, ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({error}).") from error
    return list(rows)
