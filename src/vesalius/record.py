"""The record in a folder of segmentations: what each file there was made from."""

from pathlib import Path
from typing import NotRequired, TypedDict, cast

from filelock import FileLock

from vesalius import __version__
from vesalius.errors import DataError, OutputError
from vesalius.files import read_json, write_json

RECORD = "segmentation.json"
"""Its name."""

Row = dict[str, object]


class WholeRecord(TypedDict):
    """What segmentation.json holds."""

    results: list[Row]
    """A row a phrase and image."""
    begun: NotRequired[dict[str, list[str]]]
    """Of a run over many images that goes on or was ended: image -> names of the files that it may have left."""
    tables: NotRequired[list[str]]
    """Tables and pages that are made from the rows, and may be made anew."""


def locked(folder: Path) -> FileLock:
    """What a process holds while it changes the record."""
    return FileLock(folder / f".{RECORD}.lock")


def read_record(folder: Path) -> list[Row]:
    """What a folder of results says of its files; [] if there is no record.

    Raises:
        OutputError: If the file in its place is none.
    """
    return read_whole_record(folder)["results"]


def read_whole_record(folder: Path) -> WholeRecord:
    """All that a folder's record says; no results if there is none.

    Raises:
        OutputError: If the file in its place is none.
    """
    path = folder / RECORD
    if not path.exists():
        return {"results": []}
    try:
        content = read_json(path)
    except DataError as error:
        raise OutputError(f"{error} Move it away, or name another --out.") from error
    rows = content.get("results") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise OutputError(f"{path}: is no record of segmentations; move it away, or name another --out.")
    return cast(WholeRecord, content)


def write_record(folder: Path, content: WholeRecord) -> None:
    """Write a folder's record, in the order of its masks.

    Raises:
        OutputError: If it cannot be written.
    """
    rows = sorted(content["results"], key=lambda row: str(row.get("mask") or ""))
    write_json(folder / RECORD, {**content, "vesalius": __version__, "results": rows})
