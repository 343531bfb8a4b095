"""Folders of results: what they were made from (made.json), and what `vesalius segment` wrote (segmentation.json).

Both notes are read before anything is computed, so that no command replaces the results of another.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict, cast

from filelock import FileLock

from vesalius import __version__
from vesalius.errors import DataError, OutputError, join_first
from vesalius.files import parse_json, read_json, to_json, write_json

NOTE = "made.json"
"""File in every folder of results: command -> what it was made from, and the files it wrote."""

Origin = Mapping[str, object]


@dataclass(frozen=True)
class Claim:
    """What a command is about to write into a folder.

    Other files in the folder are left alone. Results of the same command from the same origin may be written again.
    """

    folder: Path
    """Folder of the results: new, empty, or used before."""
    command: str
    """Command that makes the results, such as "evaluate"."""
    origin: Origin
    """Everything that decides the results, as JSON."""
    files: Collection[str]
    """Paths of the results in the folder."""
    overwrite: bool = False
    """Whether results of the same command from another origin are replaced."""

    def check(self) -> bool:
        """Make sure that the results may be written, before anything is computed; nothing is changed.

        Returns:
            Whether the folder holds results of this command from this origin, begun or finished.

        Raises:
            OutputError: If other results, or files of the same names, are there.
        """
        folder = self.folder
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder}: is a file; name a folder for the results.")
        notes = read_notes(folder)
        before, now = self._before(notes), _plain(self.origin)
        if before is not None and before["from"] == now:
            return True
        if before is not None and not self.overwrite:
            changes = join_first(tell_differences(before["from"], now), separator="; ")
            raise OutputError(
                f"{folder}: holds what `vesalius {self.command}` made from something else ({changes}); "
                "name another folder, or replace it with --overwrite."
            )
        own = _files(before)
        _check_free(folder, [name for name in self.files if name not in own], notes, overwrite=self.overwrite)
        return False

    def make(self) -> bool:
        """Check again, delete what is to be replaced, and note what the new results are made from.

        Returns:
            As ``check``; where that is True, nothing is deleted.

        Raises:
            OutputError: As ``check``, or if nothing can be written.
        """
        if self.check():
            return True
        notes = read_notes(self.folder)
        for name in _files(self._before(notes)):
            remove_inside(self.folder / name, self.folder)
        note = {"from": _plain(self.origin), "files": sorted(self.files), "vesalius": __version__}
        write_json(self.folder / NOTE, {**notes, self.command: note})
        return False

    def _before(self, notes: Mapping[str, dict[str, object]]) -> dict[str, object] | None:
        """The command's own note, unless it ended before anything was written."""
        before = notes.get(self.command)
        files = _files(before)
        return None if files and not any((self.folder / name).exists() for name in files) else before


def read_notes(folder: Path) -> dict[str, dict[str, object]]:
    """Notes of a folder of results, by command; {} if there are none.

    Raises:
        OutputError: If the file is damaged.
    """
    if not (folder / NOTE).exists():
        return {}
    try:
        content = read_json(folder / NOTE)
    except DataError as error:
        raise OutputError(f"{error} Name another folder.") from error
    if not isinstance(content, dict) or not all(isinstance(each, dict) and "from" in each for each in content.values()):
        raise OutputError(f"{folder / NOTE}: does not say what the folder was made from; name another folder.")
    return content


def tell_differences(before: object, now: object, place: str = "") -> list[str]:
    """Such as "config.seed was 0, is 1", for each value that differs."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = [*before, *(name for name in now if name not in before)]
        start = f"{place}." if place else ""
        return [line for name in names for line in tell_differences(before.get(name), now.get(name), f"{start}{name}")]
    return [] if before == now else [f"{place} was {to_json(before, indent=None)}, is {to_json(now, indent=None)}"]


def _files(note: Mapping[str, object] | None) -> list[str]:
    files = note.get("files") if note else None
    return [each for each in files if isinstance(each, str)] if isinstance(files, list) else []


def _check_free(folder: Path, files: Sequence[str], notes: Mapping[str, Origin], *, overwrite: bool) -> None:
    """Refuse to replace files of other commands, and unasked also files of unknown origin."""
    there = [name for name in files if (folder / name).exists()]
    others = {name: command for command, note in notes.items() for name in _files(note)}
    taken = [name for name in there if name in others]
    if taken:
        made = f"{taken[0]} there is what `vesalius {others[taken[0]]}` made"
        raise OutputError(f"{folder}: {made}; name another folder.")
    if there and not overwrite:
        unknown = f"{join_first(there)}: there already, and nothing says what from"
        raise OutputError(f"{folder}/{unknown}; name another folder, or replace with --overwrite.")


def remove_inside(path: Path, folder: Path) -> None:
    """Delete a file that a note names; what is not there, is no file or lies outside is left alone.

    Args:
        path: The file; notes may have been changed, and ".." or a link may lead anywhere.
        folder: Where it must lie.

    Raises:
        OutputError: If it cannot be deleted.
    """
    try:
        if path.resolve().is_relative_to(folder.resolve()) and path.is_file():
            path.unlink(missing_ok=True)
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        raise OutputError(f"{path}: cannot be replaced ({getattr(error, 'strerror', None) or error}).") from error


def _plain(origin: Origin) -> object:
    """As it comes back from the file."""
    return parse_json(to_json(origin), "origin")


RECORD = "segmentation.json"
"""File in a folder of segmentations that says what each mask was made from."""

NAMES_RECORD = "naming.json"
"""The same in a folder of names, see `vesalius.naming.many`."""

FILE_COLUMNS = ("mask", "overlay", "names", "strip")
"""Columns of the record that name files beside it, or by their whole path elsewhere."""

ResultRow = dict[str, object]
"""What the record says of one phrase and image."""


class ResultsRecord(TypedDict):
    """Content of segmentation.json and naming.json."""

    results: list[ResultRow]
    """One row for each phrase and image, or for each series that is named."""
    begun: NotRequired[dict[str, list[str]]]
    """Images of a run that is under way or was interrupted -> names of the files that it may have left."""
    tables: NotRequired[list[str]]
    """Tables and pages that are made from the rows, and may be made anew."""


def locked(folder: Path, record: str = RECORD) -> FileLock:
    """The lock that a process holds while it changes the record."""
    return FileLock(folder / f".{record}.lock")


def read_record(folder: Path, record: str = RECORD) -> ResultsRecord:
    """The record of a folder of results; without results if there is none.

    Raises:
        OutputError: If the file in its place is no such record.
    """
    path = folder / record
    if not path.exists():
        return {"results": []}
    try:
        content = read_json(path)
    except DataError as error:
        raise OutputError(f"{error} Move it away, or name another --out.") from error
    needed = ("image", "prompt") if record == RECORD else ("image",)
    if not isinstance(content, dict) or not _is_record(content, needed):
        raise OutputError(f"{path}: is no record of results, or damaged; move it away, or name another --out.")
    return cast(ResultsRecord, content)


def result_files(folder: Path, record: str = RECORD) -> frozenset[Path]:
    """What a record names as results, written or begun, which is no image to be read.

    Raises:
        OutputError: As `read_record`.
    """
    content = read_record(folder, record)
    names = {str(row[kind]) for row in content["results"] for kind in FILE_COLUMNS if row.get(kind)}
    names |= {name for files in content.get("begun", {}).values() for name in files}
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


def write_record(folder: Path, content: ResultsRecord, record: str = RECORD) -> None:
    """Write the record of a folder, in the order of its masks.

    Raises:
        OutputError: If it cannot be written.
    """
    rows = sorted(content["results"], key=lambda row: str(row.get("mask") or ""))
    write_json(folder / record, {**content, "vesalius": __version__, "results": rows})
