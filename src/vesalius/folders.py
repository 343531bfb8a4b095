"""Folders of results: what they were made from (made.json).

The note is read before anything is computed, so that no command replaces the results of another.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vesalius import __version__
from vesalius.errors import DataError, OutputError, join_first
from vesalius.files import read_json, to_json, to_plain, write_json

NOTE = "made.json"
"""File in every folder of results: command -> what it was made from, and the files it wrote."""

Origin = Mapping[str, object]


@dataclass(frozen=True)
class Claim:
    """What a command is about to write into a folder.

    Other files in the folder are left alone. Results of the same command from the same origin may be written again.
    """

    folder: Path | None
    """Folder of the results: new, empty, or used before; None for results that are written nowhere."""
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
        if folder is None:
            return False
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder}: is a file; name a folder for the results.")
        notes = read_folder_notes(folder)
        before, now = _find_before(notes, self.command, folder), to_plain(self.origin)
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
        folder = self.folder
        if self.check() or folder is None:
            return folder is not None
        notes = read_folder_notes(folder)
        for name in _files(_find_before(notes, self.command, folder)):
            remove_inside(folder / name, folder)
        note = {"from": to_plain(self.origin), "files": sorted(self.files), "vesalius": __version__}
        write_json(folder / NOTE, {**notes, self.command: note})
        return False


def _find_before(notes: Mapping[str, dict[str, object]], command: str, folder: Path) -> dict[str, object] | None:
    """A command's note, unless it ended before anything was written."""
    before = notes.get(command)
    files = _files(before)
    return None if files and not any((folder / name).exists() for name in files) else before


def read_folder_notes(folder: Path) -> dict[str, dict[str, object]]:
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
    """Such as "config.seed was 0, is 1" or "volume was 2, is not given", for each value that differs."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = [*before, *(name for name in now if name not in before)]
        start = f"{place}." if place else ""
        return [line for name in names for line in tell_differences(before.get(name), now.get(name), f"{start}{name}")]
    was, now_is = ("not given" if each is None else to_json(each, indent=None) for each in (before, now))
    return [] if before == now else [f"{place} was {was}, is {now_is}"]


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
