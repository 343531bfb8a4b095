"""What earlier runs have cut, one file a volume, so that an interrupted run goes on where it stopped."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vesalius import __version__
from vesalius.data.anatomy.settings import CutSettings
from vesalius.data.anatomy.sources import LabelledVolume
from vesalius.data.anatomy.table import PICTURES, TABLE, SliceRow, to_row
from vesalius.errors import DataError
from vesalius.files import write_json

FOLDER = ".volumes"


@dataclass(frozen=True)
class CutJournal:
    """The journal of one folder of slices.

    Raises:
        DataError: If the folder holds anything else.
    """

    dest: Path

    def __post_init__(self) -> None:
        dest = self.dest
        if dest.exists() and not dest.is_dir():
            raise DataError(f"{dest}: is a file; name a folder for the slices.")
        if dest.is_dir() and any(dest.iterdir()) and not (dest / FOLDER).is_dir() and not (dest / TABLE).is_file():
            raise DataError(f"{dest}: holds files that are no slices; name a new or an empty folder.")

    def finished(self, name: str, stamp: str) -> list[SliceRow] | None:
        """Rows of a volume that was cut from the same files in the same way, if all its pictures are there."""
        path = self._path(name)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            rows = [to_row(row, str(path)) for row in content["rows"]]
        except (OSError, ValueError, RecursionError, KeyError, TypeError, DataError):
            return None
        there = content.get("stamp") == stamp and all((self.dest / row.file).is_file() for row in rows)
        return rows if there else None

    def begin(self, name: str) -> None:
        """Forget what an earlier run made of a volume, as its pictures will be overwritten."""
        self._path(name).unlink(missing_ok=True)

    def add(self, name: str, stamp: str, rows: Sequence[SliceRow]) -> None:
        """Note that a volume is finished.

        Raises:
            OutputError: If that cannot be written.
        """
        write_json(self._path(name), {"stamp": stamp, "rows": [row.to_dict() for row in rows]})

    def remove_others(self, rows: Iterable[SliceRow], names: Iterable[str]) -> None:
        """Delete pictures that no row names, and notes on volumes that are not wanted any more."""
        wanted = {self.dest / row.file for row in rows}
        notes = {self._path(name) for name in names}
        for path in [*(self.dest / PICTURES).glob("*.png"), *(self.dest / FOLDER).glob("*.json")]:
            if path not in wanted and path not in notes:
                path.unlink()

    def _path(self, name: str) -> Path:
        return self.dest / FOLDER / f"{name}.json"


def stamp_of(volume: LabelledVolume, settings: CutSettings) -> str:
    """Changes when a volume, one of its files, what is said of it or the settings change."""
    parts = [__version__, repr(volume), repr(settings)]
    for path in volume.inputs:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        states = [each.stat() for each in files if each.is_file()]
        parts.append(f"{len(states)}:{sum(each.st_size for each in states)}:{[each.st_mtime_ns for each in states]}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
