"""The table of a folder of segmentations: one row an image and phrase."""

import csv
from collections.abc import Sequence
from pathlib import Path

from vesalius.errors import ConfigError, require
from vesalius.files import to_sheet, to_utf8, writing
from vesalius.records import ResultRow

SUFFIXES = (".csv", ".parquet")
"""Formats of the table."""
COLUMNS = {
    "source": "string",
    "phrase": "string",
    "answer": "string",
    "known": "bool",
    "target": "string",
    "family": "string",
    "remark": "string",
    "existence": "float64",
    "share_marked": "float64",
    "area_mm2": "float64",
    "volume_ml": "float64",
    "slices": "int64",
    "slices_marked": "int64",
    "mask": "string",
    "label": "int64",
    "overlay": "string",
    "notices": "string",
    "model": "string",
    "runtime": "string",
    "device": "string",
    "seconds": "float64",
    "made": "string",
}
"""Columns of the table -> type, as Arrow names it."""
RECORD_KEYS = {"source": "image", "phrase": "prompt", "share_marked": "share"}
"""Columns that have another name in the record."""


def check_table(path: Path) -> None:
    """Refuse a table that could not be written, before anything is computed.

    Raises:
        ConfigError: If its suffix is none of `SUFFIXES`.
        MissingPackageError: If Parquet is asked for without pyarrow.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--table {path}: expected a name that ends in {' or '.join(SUFFIXES)}, got '{path.suffix}'.")
    if path.suffix.lower() == ".parquet":
        require("pyarrow", extra="train")


def write_mask_table(path: Path, rows: Sequence[ResultRow]) -> None:
    """Write all rows of a folder's record.

    Args:
        path: A .csv or .parquet file.
        rows: Rows of the record, in the order of the table.

    Raises:
        OutputError: If it cannot be written.
    """
    table = [_to_table_row(row) for row in rows]
    with writing(path) as unfinished:
        if path.suffix.lower() == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])
            pq.write_table(pa.Table.from_pylist([*map(to_utf8, table)], schema=schema), unfinished)
            return
        with unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(COLUMNS))
            writer.writeheader()
            writer.writerows(map(to_sheet, table))


def _to_table_row(row: ResultRow) -> dict[str, object]:
    told = {name: row.get(RECORD_KEYS.get(name, name)) for name in COLUMNS}
    notices = row.get("notices")
    known = row.get("known", True)  # what was made one by one was known
    return told | {"known": known, "notices": "; ".join(map(str, notices)) if isinstance(notices, list) else None}
