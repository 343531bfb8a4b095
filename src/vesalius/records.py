"""The record of a folder of results: which image each file was made from, and with which settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict, cast

from filelock import FileLock

from vesalius import __version__
from vesalius.errors import DataError, OutputError
from vesalius.files import read_json, write_json


@dataclass(frozen=True)
class RecordKind:
    """What a folder of results holds, and the names of its record."""

    command: str
    """Command that makes such results."""
    name: str
    """File of the record."""
    lock: str
    """File that a run over many images locks."""
    needed: tuple[str, ...]
    """Columns that every row has."""


SEGMENTATIONS = RecordKind("segment", "segmentation.json", ".segmentation.run.lock", ("image", "prompt"))
NAMES = RecordKind("name", "naming.json", ".naming.run.lock", ("image",))
KINDS = (SEGMENTATIONS, NAMES)

FILE_COLUMNS = ("mask", "overlay", "names", "strip")
"""Columns of the record that name files beside it, or by their whole path elsewhere."""

ResultRow = dict[str, object]
"""What the record says of one phrase and image."""


class ResultsRecord(TypedDict):
    """Content of a record."""

    results: list[ResultRow]
    """One row for each phrase and image, or for each series that is named."""
    begun: NotRequired[dict[str, list[str]]]
    """Images of a run that is under way or was interrupted -> names of the files that it may have left."""
    tables: NotRequired[list[str]]
    """Tables and pages that are made from the rows, and may be made anew."""


def locked(folder: Path, kind: RecordKind) -> FileLock:
    """The lock that a process holds while it changes the record."""
    return FileLock(folder / f".{kind.name}.lock")


def read_record(folder: Path, kind: RecordKind) -> ResultsRecord:
    """The record of a folder of results; without results if there is none.

    Raises:
        OutputError: If the file in its place is no such record.
    """
    path = folder / kind.name
    if not path.exists():
        return {"results": []}
    try:
        content = read_json(path)
    except DataError as error:
        raise OutputError(f"{error} Move it away, or name another --out.") from error
    if not isinstance(content, dict) or not _is_record(content, kind.needed):
        raise OutputError(f"{path}: is no record of results, or damaged; move it away, or name another --out.")
    return cast(ResultsRecord, content)


def result_files(folder: Path, kind: RecordKind) -> frozenset[Path]:
    """The record and what it names as results, written or begun, and as tables: no image to be read.

    Raises:
        OutputError: As `read_record`.
    """
    content = read_record(folder, kind)
    names = {str(row[kind]) for row in content["results"] for kind in FILE_COLUMNS if row.get(kind)}
    names |= {name for files in content.get("begun", {}).values() for name in files}
    names |= {kind.name, *content.get("tables", [])}
    return frozenset(folder / name for name in names)


def _is_record(content: Mapping[str, object], needed: Sequence[str]) -> bool:
    rows, begun = content.get("results"), content.get("begun", {})
    told = [*begun.values(), content.get("tables", [])] if isinstance(begun, dict) else [None]
    return isinstance(rows, list) and all(_is_row(row, needed) for row in rows) and all(map(_are_names, told))


def _is_row(row: object, needed: Sequence[str]) -> bool:
    """Whether it says of which image it is, and of which phrase, and what names files are texts."""
    if not isinstance(row, dict) or not all(isinstance(row.get(column), str) for column in needed):
        return False
    return all(isinstance(row.get(column), str | None) for column in FILE_COLUMNS)


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def write_record(folder: Path, content: ResultsRecord, kind: RecordKind) -> None:
    """Write the record of a folder, in the order of its masks.

    Raises:
        OutputError: If it cannot be written.
    """
    rows = sorted(content["results"], key=lambda row: str(row.get("mask") or ""))
    write_json(folder / kind.name, {**content, "vesalius": __version__, "results": rows})
