"""An archive's index on disk: one SQLite file that says what lies where, and two arrays with a row a slice.

``vectors.f16`` holds unit vectors, ``labels.f16`` what is known of each slice's labels. Rows are on disk before the
database names them, so a killed run leaves at most rows that nothing names, and the next run writes over them. Nothing
in the index names a patient, except where paths or descriptions do.
"""

import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from vesalius.archive.facts import IndexFacts
from vesalius.errors import DataError, OutputError
from vesalius.files import escape_surrogates

Halves = NDArray[np.float16]
DATABASE, VECTORS, LABELS = "index.sqlite", "vectors.f16", "labels.f16"
FILES = (DATABASE, VECTORS, LABELS)
BUSY_S = 30.0
"""How long one process waits for another's write."""
HEADER_FIELDS = ("Modality", "BodyPartExamined", "SeriesDescription", "ProtocolName", "StudyDate")
"""Header attributes that an index keeps; the last only if asked for."""
SCHEMA = f"""
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE series (
    id INTEGER PRIMARY KEY, source NOT NULL, uid TEXT NOT NULL,
    {", ".join(f"{name} TEXT NOT NULL" for name in HEADER_FIELDS)}
);
CREATE TABLE files (
    id INTEGER PRIMARY KEY, path NOT NULL UNIQUE, bytes INTEGER NOT NULL, changed INTEGER NOT NULL,
    series INTEGER REFERENCES series(id)
);
CREATE TABLE slices (row INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE);
CREATE TABLE places (
    series INTEGER NOT NULL, stack INTEGER NOT NULL, slice INTEGER NOT NULL, row INTEGER NOT NULL,
    file INTEGER NOT NULL, PRIMARY KEY (series, stack, slice)
) WITHOUT ROWID;
CREATE TABLE holes (row INTEGER PRIMARY KEY);
CREATE INDEX files_series ON files (series);
CREATE INDEX places_row ON places (row);
CREATE INDEX series_uid ON series (uid);
"""
WAITING = "CREATE TABLE IF NOT EXISTS waiting (path PRIMARY KEY, bytes, changed, uid TEXT NOT NULL) WITHOUT ROWID"
"""Files whose headers were read and whose series are not indexed yet; made when an index is written."""


@dataclass(frozen=True)
class FileState:
    """A file by its size and time, which tell whether it changed."""

    path: str
    """Path relative to the archive."""
    bytes: int
    changed: int
    """Time of the last change, ns."""


@dataclass(frozen=True)
class IndexedSeries:
    """A series, volume or picture of the archive."""

    files: tuple[FileState, ...]
    """Its files, at least one; it is called by the first."""
    uid: str
    """Hash of the SeriesInstanceUID; "" if there is none."""
    header: Mapping[str, str]
    """Values of ``HEADER_FIELDS``; absent ones are left out."""


@dataclass(frozen=True)
class SlicePlace:
    """Where a slice lies."""

    stack: int
    """Number of the stack in its series, from 1."""
    slice: int
    """Number of the slice in its stack, from 1, in display order."""
    row: int
    """Its row in the arrays."""
    file: str
    """The file that holds it, relative to the archive."""


@dataclass(frozen=True)
class FoundPlace:
    """A place with what the index knows of its series."""

    place: SlicePlace
    series: int
    """Number of the series in the index."""
    header: Mapping[str, str]


class ArchiveIndex:
    """An index that is there; see ``create`` and ``open``.

    Args:
        folder: Its folder.
        database: Its open database.
        facts: What it was made from.
    """

    def __init__(self, folder: Path, database: sqlite3.Connection, facts: IndexFacts) -> None:
        self.folder, self.facts, self._database = folder, facts, database

    @classmethod
    @contextmanager
    def create(cls, folder: Path, facts: IndexFacts) -> Iterator["ArchiveIndex"]:
        """Make an empty index and hold it open; the database appears whole or not at all.

        Raises:
            OutputError: If the folder cannot be written.
        """
        unfinished = folder / f".{DATABASE}.new"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            unfinished.unlink(missing_ok=True)
            with closing(sqlite3.connect(unfinished)) as database, database:
                database.executescript(SCHEMA)
                database.execute("INSERT INTO facts VALUES ('index', ?)", (facts.to_json(),))
                database.execute("INSERT INTO facts VALUES ('rows', '0')")
            for name in (VECTORS, LABELS):
                (folder / name).write_bytes(b"")
            os.replace(unfinished, folder / DATABASE)
        except (OSError, sqlite3.Error) as error:
            raise OutputError(f"{folder}: cannot be written ({error}); check the folder and its disk.") from error
        with cls.open(folder, write=True) as made:
            yield made

    @classmethod
    @contextmanager
    def open(cls, folder: Path, *, write: bool = False) -> Iterator["ArchiveIndex"]:
        """Hold an index open.

        Raises:
            DataError: If there is none, it is damaged, or of another version.
        """
        path = folder / DATABASE
        if not path.is_file():
            raise DataError(f"{folder}: holds no index; make one with: vesalius archive index ARCHIVE --out {folder}")
        try:
            with closing(_connect(path, write)) as database:
                found = cls(folder, database, _read_facts(path, database))
                found._check_arrays()
                if write:
                    database.execute(WAITING)
                yield found
        except sqlite3.OperationalError as error:
            raise OutputError(f"{path}: cannot be used now ({error}); check its disk, then try again.") from error
        except sqlite3.DatabaseError as error:
            raise DataError(f"{path}: is damaged ({error}); delete the folder and index again.") from error

    @property
    def rows(self) -> int:
        """Rows of the arrays, those that nothing names included."""
        return int(self._database.execute("SELECT value FROM facts WHERE name = 'rows'").fetchone()[0])

    def vectors(self) -> Halves:
        """Unit vectors, [rows, width], read from disk as they are used."""
        return self._array(VECTORS, self.facts.width)

    def labels(self) -> Halves:
        """Probability of each label, [rows, labels], read from disk as they are used."""
        return self._array(LABELS, len(self.facts.labels))

    def holes(self) -> NDArray[np.int64]:
        """Rows that nothing names."""
        return _column(self._database.execute("SELECT row FROM holes"))

    def counts(self) -> dict[str, int]:
        """Numbers of slices, places, series, files of images, and files of other kinds."""
        queries = {name: f"SELECT count(*) FROM {name}" for name in ("slices", "places", "series")}
        queries["files"] = "SELECT count(*) FROM files WHERE series IS NOT NULL"
        queries["not_images"] = "SELECT count(*) FROM files WHERE series IS NULL"
        return {name: int(self._database.execute(query).fetchone()[0]) for name, query in queries.items()}

    def files(self) -> dict[str, tuple[FileState, int | None]]:
        """Every file that was read, and its series; None for those that are no images."""
        rows = self._database.execute("SELECT path, bytes, changed, series FROM files")
        return {path: (FileState(path, size, changed), series) for path, size, changed, series in _decoded(rows)}

    def waiting(self) -> dict[FileState, str]:
        """Files that `add_waiting` remembers, and their series."""
        rows = self._database.execute("SELECT path, bytes, changed, uid FROM waiting")
        return {FileState(path, size, changed): uid for path, size, changed, uid in _decoded(rows)}

    def series_files(self, series: int) -> list[str]:
        """All files of a series, in the order in which they were read."""
        rows = self._database.execute("SELECT path FROM files WHERE series = ? ORDER BY id", (series,))
        return [path for (path,) in _decoded(rows)]

    def series_of_uid(self, uid: str) -> list[int]:
        """Series with this hash of a UID."""
        return [number for (number,) in self._database.execute("SELECT id FROM series WHERE uid = ?", (uid,))]

    def rows_of_keys(self, keys: Iterable[bytes]) -> dict[bytes, int]:
        """The rows of those slices that are there."""
        return {
            key: found[0]
            for key in set(keys)
            if (found := self._database.execute("SELECT row FROM slices WHERE key = ?", (key,)).fetchone())
        }

    def rows_of_series(self, series: Collection[int]) -> NDArray[np.int64]:
        """Rows of all slices of some series, each once."""
        query = "SELECT DISTINCT row FROM places WHERE series IN (SELECT value FROM json_each(?))"
        return _column(self._database.execute(query, (json.dumps(sorted(series)),)))

    def headers(self) -> Iterator[tuple[int, str, dict[str, str]]]:
        """Number, first file and header of every series."""
        rows = self._database.execute(f"SELECT id, source, {', '.join(HEADER_FIELDS)} FROM series")
        for number, source, *values in rows:
            yield number, _decode(source), dict(zip(HEADER_FIELDS, values, strict=True))

    def places(self, row: int) -> list[FoundPlace]:
        """Where a slice lies, in the order of paths."""
        query = (
            f"SELECT series.id, stack, slice, path, {', '.join(HEADER_FIELDS)} FROM places "
            "JOIN files ON files.id = places.file JOIN series ON series.id = places.series "
            "WHERE row = ? ORDER BY path, stack, slice"
        )
        found = []
        for series, stack, number, path, *values in self._database.execute(query, (row,)):
            header = dict(zip(HEADER_FIELDS, values, strict=True))
            found.append(FoundPlace(SlicePlace(stack, number, row, _decode(path)), series, header))
        return found

    def append(self, keys: Sequence[bytes], vectors: Halves, labels: Halves, free: list[int]) -> dict[bytes, int]:
        """Write slices that are not there yet; call inside ``changing``.

        Args:
            keys: One a slice, all different.
            vectors: [N, width].
            labels: [N, labels].
            free: Rows that may be written over; those that are taken leave the list.

        Returns:
            The row of each slice.
        """
        taken = [free.pop() for _ in range(min(len(free), len(keys)))]
        first = self.rows
        rows = [*taken, *range(first, first + len(keys) - len(taken))]
        for name, values in ((VECTORS, vectors), (LABELS, labels)):
            _write_rows(self.folder / name, rows, values)
        self._database.executemany("DELETE FROM holes WHERE row = ?", [(row,) for row in taken])
        self._database.executemany("INSERT INTO slices VALUES (?, ?)", zip(rows, keys, strict=True))
        self._database.execute("UPDATE facts SET value = ? WHERE name = 'rows'", (str(first + len(keys) - len(taken)),))
        return dict(zip(keys, rows, strict=True))

    def add_series(self, series: IndexedSeries, places: Iterable[SlicePlace]) -> None:
        """Add a series whose slices are there; call inside ``changing``."""
        marks = ", ".join("?" * (2 + len(HEADER_FIELDS)))
        values = [escape_surrogates(series.header.get(name, "")) for name in HEADER_FIELDS]
        cursor = self._database.execute(
            f"INSERT INTO series (source, uid, {', '.join(HEADER_FIELDS)}) VALUES ({marks})",
            (_encode(series.files[0].path), series.uid, *values),
        )
        number = cursor.lastrowid
        self.add_files(series.files, number)
        files = dict(self._database.execute("SELECT path, id FROM files WHERE series = ?", (number,)))
        self._database.executemany(
            "INSERT INTO places VALUES (?, ?, ?, ?, ?)",
            [(number, each.stack, each.slice, each.row, files[_encode(each.file)]) for each in places],
        )

    def add_files(self, files: Iterable[FileState], series: int | None = None) -> None:
        """Remember files, as those of a series or as no images; call inside ``changing``."""
        files = list(files)
        self._database.executemany("DELETE FROM waiting WHERE path = ?", [(_encode(each.path),) for each in files])
        self._database.executemany(
            "INSERT INTO files (path, bytes, changed, series) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (path) DO UPDATE SET "
            "bytes = excluded.bytes, changed = excluded.changed, series = excluded.series",
            [(_encode(each.path), each.bytes, each.changed, series) for each in files],
        )

    def remove(self, series: Iterable[int], files: Iterable[str] = ()) -> None:
        """Forget series with their files and places, and single files; call inside ``changing``.

        Slices that lie nowhere any more stay until ``finish``, so that they need not be encoded again.
        """
        for number in series:
            for table in ("places", "files"):
                self._database.execute(f"DELETE FROM {table} WHERE series = ?", (number,))
            self._database.execute("DELETE FROM series WHERE id = ?", (number,))
        self._database.executemany("DELETE FROM files WHERE path = ?", [(_encode(path),) for path in files])

    def add_waiting(self, files: Mapping[FileState, str]) -> None:
        """Remember the series (hash of its UID) of files until they are indexed; call inside ``changing``."""
        rows = [(_encode(each.path), each.bytes, each.changed, uid) for each, uid in files.items()]
        self._database.executemany("INSERT OR REPLACE INTO waiting VALUES (?, ?, ?, ?)", rows)

    def finish(self) -> int:
        """Forget slices that lie nowhere and files that still wait; call inside ``changing``.

        Returns:
            How many slices there were.
        """
        self._database.execute("DELETE FROM waiting")
        query = "SELECT row FROM slices WHERE row NOT IN (SELECT row FROM places)"
        self._database.execute(f"INSERT OR IGNORE INTO holes {query}")
        return self._database.execute("DELETE FROM slices WHERE row IN (SELECT row FROM holes)").rowcount

    def move(self, root: str) -> None:
        """Note that the archive lies elsewhere; call inside ``changing``."""
        self.facts = replace(self.facts, root=root)
        self._database.execute("UPDATE facts SET value = ? WHERE name = 'index'", (self.facts.to_json(),))

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Make changes that take effect together, or not at all.

        Raises:
            OutputError: If they cannot be written.
        """
        try:
            self._database.execute("BEGIN IMMEDIATE")
            with self._database:
                yield
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be written ({error.strerror}); check its disk.") from error

    @contextmanager
    def unchanged(self) -> Iterator[int]:
        """Let nobody write until the block ends; yields a number that differs once another connection has written."""
        with self._database:
            self._database.execute("BEGIN")
            yield int(self._database.execute("PRAGMA data_version").fetchone()[0])

    def _array(self, name: str, columns: int) -> Halves:
        if not self.rows:
            return np.zeros((0, columns), np.float16)
        return np.memmap(self.folder / name, np.float16, "r", shape=(self.rows, columns))

    def _check_arrays(self) -> None:
        for name, columns in ((VECTORS, self.facts.width), (LABELS, len(self.facts.labels))):
            path, least = self.folder / name, self.rows * columns * np.dtype(np.float16).itemsize
            size = path.stat().st_size if path.is_file() else 0
            if size < least:
                raise DataError(f"{path}: has {size:,} bytes, expected {least:,}; delete the folder and index again.")


def _connect(path: Path, write: bool) -> sqlite3.Connection:
    """Open the database; what a killed run left half done is undone, even by readers if they may write."""
    mode = "rw" if write or os.access(path, os.W_OK) else "ro"
    address = f"{path.absolute().as_uri()}?mode={mode}"
    database = sqlite3.connect(address, timeout=BUSY_S, isolation_level=None, uri=True)
    database.execute(f"PRAGMA query_only = {'OFF' if write else 'ON'}")
    return database


def _read_facts(path: Path, database: sqlite3.Connection) -> IndexFacts:
    try:
        (text,) = database.execute("SELECT value FROM facts WHERE name = 'index'").fetchone()
    except (sqlite3.DatabaseError, TypeError) as error:
        raise DataError(f"{path}: is no index of ours, or damaged ({error}); name another folder.") from error
    return IndexFacts.from_json(text, path)


def _write_rows(path: Path, rows: Sequence[int], values: Halves) -> None:
    """Write rows of an array, and wait until the disk has them."""
    with path.open("r+b") as file:
        for row, value in zip(rows, values, strict=True):
            file.seek(row * value.nbytes)
            file.write(value.tobytes())
        file.flush()
        os.fsync(file.fileno())


def _column(rows: Iterable[tuple[int]]) -> NDArray[np.int64]:
    return np.fromiter((row for (row,) in rows), np.int64)


def _encode(path: str) -> str | bytes:
    """A path as SQLite takes it: as bytes if it is not UTF-8."""
    return path if escape_surrogates(path) == path else os.fsencode(path)


def _decode(path: str | bytes) -> str:
    return path if isinstance(path, str) else os.fsdecode(path)


def _decoded(rows: Iterable[tuple[object, ...]]) -> Iterator[tuple]:  # type: ignore[type-arg]  # rows of any table
    """Rows whose first value is a path."""
    for path, *rest in rows:
        yield (_decode(cast("str | bytes", path)), *rest)
