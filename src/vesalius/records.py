"""The record of a folder of results: which image each file was made from, and with which settings."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict, cast

from filelock import FileLock, Timeout

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


@contextmanager
def locked(folder: Path, kind: RecordKind) -> Iterator[None]:
    """Hold the lock of a folder's record while it is changed; the folder is made if it is not there.

    Raises:
        OutputError: If the folder cannot be made or written.
    """
    with acquire(folder, f".{kind.name}.lock"):
        yield


def acquire(folder: Path, name: str, timeout: float = -1) -> AbstractContextManager[object]:
    """Acquire a lock in a folder of results, which is made if it is not there.

    Args:
        folder: Folder of the results.
        name: Name of the lock's file.
        timeout: Seconds to wait for whoever holds it; below 0 without end.

    Raises:
        OutputError: If the folder cannot be made or written.
        Timeout: If another holds the lock.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / name).acquire(timeout=timeout)
    except Timeout:
        raise
    except (OSError, NotImplementedError) as error:  # the latter where a file system has no locks
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{folder}: cannot be made or written ({reason}); name another --out.") from error


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
    names = {name for row in content["results"] for name in named_files(row)}
    names |= {name for files in content.get("begun", {}).values() for name in files}
    names |= {kind.name, *content.get("tables", [])}
    return frozenset(folder / name for name in names)


def named_files(row: ResultRow) -> list[str]:
    """Files of a row of the record, by the names that stand there."""
    return [str(row[column]) for column in FILE_COLUMNS if row.get(column)]


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
