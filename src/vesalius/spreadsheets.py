"""Tables of results as CSV or Parquet; of Parquet, some thousand rows at a time lie in memory."""

import csv
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path

from vesalius.errors import ConfigError, require
from vesalius.files import to_sheet, to_utf8, writing

SUFFIXES = (".csv", ".parquet")
ARROW = {str: "string", int: "int64", float: "float64", bool: "bool"}
"""Type of a column -> the same, as Arrow names it."""
BATCH = 10_000
"""Rows of a Parquet file that lie in memory at once."""

Columns = Mapping[str, type]
"""Name -> type of its values, which holds where every value is missing, too."""
SheetRow = Mapping[str, object]


def check_spreadsheet(path: Path, option: str) -> None:
    """Refuse a table that could not be written, before anything is computed.

    Args:
        path: File of the table.
        option: What the message calls it, such as "--table".

    Raises:
        ConfigError: If its suffix is none of `SUFFIXES`.
        MissingPackageError: If Parquet is asked for without pyarrow.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"{option} {path}: expected a name that ends in {' or '.join(SUFFIXES)}, got '{path.suffix}'."
        )
    if path.suffix.lower() == ".parquet":
        require("pyarrow", extra="archive")


def write_spreadsheet(path: Path, columns: Columns, rows: Iterable[SheetRow]) -> None:
    """Write a table; what a row lacks is left empty.

    Args:
        path: A .parquet file; any other is CSV.
        columns: Columns in their order.
        rows: Gone through once.

    Raises:
        MissingPackageError: If Parquet is asked for without pyarrow.
        OutputError: If it cannot be written.
    """
    write = _write_parquet if path.suffix.lower() == ".parquet" else _write_csv
    with writing(path) as unfinished:
        write(unfinished, columns, rows)


def _write_csv(path: Path, columns: Columns, rows: Iterable[SheetRow]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        writer.writerows(map(to_sheet, rows))


def _write_parquet(path: Path, columns: Columns, rows: Iterable[SheetRow]) -> None:
    pa, pq = require("pyarrow", extra="archive"), require("pyarrow.parquet", extra="archive")
    schema = pa.schema([(name, pa.type_for_alias(ARROW[kind])) for name, kind in columns.items()])
    left = map(to_utf8, rows)
    with pq.ParquetWriter(path, schema) as writer:
        while batch := list(islice(left, BATCH)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
