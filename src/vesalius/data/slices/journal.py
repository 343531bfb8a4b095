"""The journal of a folder of slices: ``.volumes/NAME.json`` notes what a volume gave, once its pictures are written."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vesalius import __version__
from vesalius.data.slices.sources import CutSettings, LabelledVolume
from vesalius.data.slices.table import PICTURES, TABLE, SliceRow, to_row
from vesalius.errors import DataError
from vesalius.files import read_json, write_json
from vesalius.folders import read_folder_notes

COMMAND = "data slices"
FOLDER = ".volumes"


@dataclass(frozen=True)
class CutJournal:
    """The journal of one folder of slices.

    Raises:
        DataError: If the folder holds anything else.
        OutputError: If its made.json is damaged.
    """

    dest: Path

    def __post_init__(self) -> None:
        dest = self.dest
        if dest.exists() and not dest.is_dir():
            raise DataError(f"{dest}: is a file; name a folder for the slices.")
        ours = (dest / FOLDER).is_dir() or (dest / TABLE).is_file() or COMMAND in read_folder_notes(dest)
        if not ours and dest.is_dir() and any(dest.iterdir()):
            raise DataError(f"{dest}: holds files that are no slices; name a new or an empty folder.")

    def finished(self, name: str, stamp: str) -> list[SliceRow] | None:
        """Rows of a volume that was cut from the same files in the same way, if all its pictures are there."""
        rows = self._rows(name) if self._read(name).get("stamp") == stamp else None
        return rows if rows is not None and all((self.dest / row.file).is_file() for row in rows) else None

    def image_of(self, name: str) -> str | None:
        """The file that the volume of this name was cut from; None if none is noted."""
        image = self._read(name).get("image")
        return image if isinstance(image, str) else None

    def begin(self, name: str) -> set[str]:
        """Forget what an earlier run made of a volume, as its pictures will be overwritten; gives their files."""
        files = {row.file for row in self._rows(name) or ()}
        self._path(name).unlink(missing_ok=True)
        return files

    def add(self, name: str, image: Path, stamp: str, rows: Sequence[SliceRow]) -> None:
        """Note that a volume is finished.

        Raises:
            OutputError: If that cannot be written.
        """
        note = {"stamp": stamp, "image": str(image.resolve()), "rows": [row.to_dict() for row in rows]}
        write_json(self._path(name), note)

    def remove_others(
        self, rows: Iterable[SliceRow], names: Iterable[str], before: Iterable[str], *, everything: bool
    ) -> None:
        """Delete pictures that no row names any more.

        Args:
            rows: All of the table.
            names: Volumes of this run.
            before: Pictures that earlier runs made of them.
            everything: Delete those of all other volumes, too, and the notes on them.
        """
        wanted = {self.dest / row.file for row in rows}
        notes = {self._path(name) for name in names}
        inside = (self.dest / PICTURES).resolve()
        paths = [self.dest / file for file in before]
        if everything:
            paths = [*(self.dest / PICTURES).glob("*.png"), *(self.dest / FOLDER).glob("*.json")]
        for path in paths:
            if path not in wanted and path not in notes and (everything or path.resolve().is_relative_to(inside)):
                path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.dest / FOLDER / f"{name}.json"

    def _read(self, name: str) -> Mapping[str, object]:
        """What is noted of a volume; nothing if no note can be read."""
        try:
            content = read_json(self._path(name))
        except DataError:
            return {}
        return content if isinstance(content, dict) else {}

    def _rows(self, name: str) -> list[SliceRow] | None:
        """Rows that are noted of a volume; None if they are damaged."""
        rows = self._read(name).get("rows")
        try:
            return [to_row(row, str(self._path(name))) for row in rows] if isinstance(rows, list) else None
        except DataError:
            return None


def stamp_volume(volume: LabelledVolume, settings: CutSettings) -> str:
    """Changes when a volume, one of its files, what is said of it or the settings change."""
    parts = [__version__, repr(volume), repr(settings)]
    for path in volume.inputs:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        states = [each.stat() for each in files if each.is_file()]
        parts.append(f"{len(states)}:{sum(each.st_size for each in states)}:{[each.st_mtime_ns for each in states]}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
