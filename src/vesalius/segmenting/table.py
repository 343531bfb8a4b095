"""The table of a folder of segmentations: one row an image and phrase."""

from collections.abc import Sequence
from pathlib import Path

from vesalius.records import ResultRow
from vesalius.spreadsheets import write_spreadsheet

COLUMNS = {
    "source": str,
    "phrase": str,
    "answer": str,
    "known": bool,
    "target": str,
    "family": str,
    "remark": str,
    "existence": float,
    "share_marked": float,
    "area_mm2": float,
    "volume_ml": float,
    "slices": int,
    "slices_marked": int,
    "mask": str,
    "label": int,
    "overlay": str,
    "notices": str,
    "model": str,
    "runtime": str,
    "device": str,
    "seconds": float,
    "made": str,
}
"""Columns of the table -> type."""
RECORD_KEYS = {"source": "image", "phrase": "prompt", "share_marked": "share"}
"""Columns that have another name in the record."""


def write_mask_table(path: Path, rows: Sequence[ResultRow]) -> None:
    """Write all rows of a folder's record.

    Args:
        path: A .csv or .parquet file.
        rows: Rows of the record, in the order of the table.

    Raises:
        OutputError: If it cannot be written.
    """
    write_spreadsheet(path, COLUMNS, map(_to_table_row, rows))


def _to_table_row(row: ResultRow) -> dict[str, object]:
    told = {name: row.get(RECORD_KEYS.get(name, name)) for name in COLUMNS}
    notices = row.get("notices")
    known = row.get("known", True)  # what was made one by one was known
    return told | {"known": known, "notices": "; ".join(map(str, notices)) if isinstance(notices, list) else None}
