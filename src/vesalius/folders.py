"""What a folder of results was made from, so that no command takes the place of other results."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict, cast

from filelock import FileLock

from vesalius import __version__
from vesalius.errors import DataError, OutputError
from vesalius.files import parse_json, read_json, to_json, write_json

NOTE = "made.json"
"""In every folder of results: command -> what it was made from, and the files it wrote."""
LISTED = 3
"""Files and differences named in a message."""

Origin = Mapping[str, object]


@dataclass(frozen=True)
class Claim:
    """What a command is about to write into a folder.

    Other files in the folder are left alone. Results of the same command from the same origin may be written again.
    """

    folder: Path
    """New, empty, or used before."""
    command: str
    """Whose results they are, such as "evaluate"."""
    origin: Origin
    """Everything that decides them, as JSON."""
    files: Collection[str]
    """Their paths in the folder."""
    overwrite: bool = False
    """Replace results of the same command from another origin."""

    def check(self) -> bool:
        """See that it may be written, before anything is computed; nothing is changed.

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
            raise OutputError(
                f"{folder}: holds what `vesalius {self.command}` made from something else "
                f"({_tell_changes(before, now)}); name another folder, or replace it with --overwrite."
            )
        own = _files(before)
        _check_free(folder, [name for name in self.files if name not in own], notes, overwrite=self.overwrite)
        return False

    def make(self) -> bool:
        """Check again, delete what is to be replaced, and note what the new results are made from.

        Returns:
            As ``check``; then nothing is deleted.

        Raises:
            OutputError: As ``check``, or if nothing can be written.
        """
        if self.check():
            return True
        notes = read_notes(self.folder)
        for name in _files(self._before(notes)):
            _delete(self.folder, name)
        note = {"from": _plain(self.origin), "files": sorted(self.files), "vesalius": __version__}
        write_json(self.folder / NOTE, {**notes, self.command: note})
        return False

    def _before(self, notes: Mapping[str, dict[str, object]]) -> dict[str, object] | None:
        """The command's own note, unless it ended before anything was written."""
        before = notes.get(self.command)
        files = _files(before)
        return None if files and not any((self.folder / name).exists() for name in files) else before


def read_notes(folder: Path) -> dict[str, dict[str, object]]:
    """Command -> its note; {} where there is none.

    Raises:
        OutputError: If the file is damaged.
    """
    if not (folder / NOTE).exists():
        return {}
    try:
        content = read_json(folder / NOTE)
    except DataError as error:
        raise OutputError(f"{error} Name another folder.") from error
    whole = isinstance(content, dict) and all(isinstance(each, dict) and "from" in each for each in content.values())
    if not whole:
        raise OutputError(f"{folder / NOTE}: does not say what the folder was made from; name another folder.")
    assert isinstance(content, dict)
    return content


def tell_differences(before: object, now: object, place: str = "") -> list[str]:
    """Such as "config.seed was 0, is 1", for each value that differs."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = [*before, *(name for name in now if name not in before)]
        start = f"{place}." if place else ""
        return [line for name in names for line in tell_differences(before.get(name), now.get(name), f"{start}{name}")]
    return [] if before == now else [f"{place} was {to_json(before, indent=None)}, is {to_json(now, indent=None)}"]


def _tell_changes(before: Mapping[str, object], now: object) -> str:
    changes = tell_differences(before["from"], now)
    more = f"; and {len(changes) - LISTED} more" if len(changes) > LISTED else ""
    return "; ".join(changes[:LISTED]) + more


def _files(note: Mapping[str, object] | None) -> list[str]:
    files = note.get("files") if note else None
    return [each for each in files if isinstance(each, str)] if isinstance(files, list) else []


def _check_free(folder: Path, files: Sequence[str], notes: Mapping[str, Origin], *, overwrite: bool) -> None:
    """Refuse to write over files of others, whatever is asked, and over those of nobody knows whom, unless asked."""
    there = [name for name in files if (folder / name).exists()]
    others = {name: command for command, note in notes.items() for name in _files(note)}
    taken = [name for name in there if name in others]
    if taken:
        made = f"{taken[0]} there is what `vesalius {others[taken[0]]}` made"
        raise OutputError(f"{folder}: {made}; name another folder.")
    if there and not overwrite:
        listed = ", ".join(there[:LISTED]) + (f" and {len(there) - LISTED} more" if len(there) > LISTED else "")
        unknown = f"{listed}: there already, and nothing says what from"
        raise OutputError(f"{folder}/{unknown}; name another folder, or replace with --overwrite.")


def _delete(folder: Path, name: str) -> None:
    path = folder / name
    if path.resolve().is_relative_to(folder.resolve()) and path.is_file():
        try:
            path.unlink()
        except OSError as error:
            raise OutputError(f"{path}: cannot be replaced ({error.strerror or error}).") from error


def _plain(origin: Origin) -> object:
    """As it comes back from the file."""
    return parse_json(to_json(origin), "origin")


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
