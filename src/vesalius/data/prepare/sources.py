"""The files of a download, unpacked or not, and which of them an expression of the catalog describes."""

import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from vesalius.errors import DataError, VesaliusError

LARGEST_MEMBER = 4 * 2**30
"""Bytes to which one file of a zip archive may unpack; more is damage or malice."""
LARGEST_TEXT = 512 * 2**20
"""Bytes of a table or JSON file that is read as a whole."""


@dataclass(frozen=True)
class _File:
    """A file on disk, or a member of a zip archive on disk."""

    path: Path
    member: zipfile.ZipInfo | None = None

    def __str__(self) -> str:
        return f"{self.path}/{self.member.filename}" if self.member else str(self.path)


class Source:
    """A folder, a zip archive, or a folder with zip archives in it, all seen as if unpacked; nothing in it is changed.

    Archives stay open from the first file that is read of them until ``close``, or the end of a ``with`` block.

    Args:
        root: The folder or archive.

    Raises:
        DataError: If there is none, or an archive is damaged.
    """

    def __init__(self, root: Path) -> None:
        if not root.exists():
            raise DataError(f"{root}: no such folder or zip archive; check the path.")
        self.root = root
        self._files = dict(sorted(_list(root)))
        self._archives: dict[Path, zipfile.ZipFile] = {}

    @classmethod
    def of(cls, root: Path, paths: Iterable[Path]) -> "Source":
        """Single files, or folders with one DICOM series each, wherever they lie; their names are their paths.

        Args:
            root: What to name as the whole.
            paths: The files.
        """
        source = cls.__new__(cls)
        source.root, source._archives = root, {}
        source._files = {str(path): _File(path) for path in paths}
        return source

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every archive; reading on opens them again."""
        while self._archives:
            self._archives.popitem()[1].close()

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file, relative and with forward slashes, the root's own name first; sorted."""
        return tuple(self._files)

    def describe(self, path: str) -> str:
        """Where a file lies, for people."""
        return str(self._files[path])

    def stamp(self, path: str) -> str:
        """Changes when the file does: size and time, or size and checksum within an archive."""
        file = self._files[path]
        if file.member:
            return f"{file.member.file_size}:{file.member.CRC}"
        states = [each.stat() for each in (sorted(file.path.rglob("*")) if file.path.is_dir() else [file.path])]
        return f"{sum(each.st_size for each in states)}:{max((each.st_mtime_ns for each in states), default=0)}"

    @contextmanager
    def open(self, path: str) -> Iterator[Path]:
        """A file on disk for as long as the block runs; what goes wrong inside it is told of the original.

        Raises:
            DataError: If an archive's member cannot be unpacked.
        """
        file = self._files[path]
        if file.member is None:
            yield file.path
            return
        with tempfile.TemporaryDirectory(prefix="vesalius-") as folder:
            # The suffix matters to readers; nothing else of a member's name reaches the file system.
            unpacked = Path(folder) / ("member" + "".join(PurePosixPath(path).suffixes[-2:]))
            self._unpack(file, unpacked)
            try:
                yield unpacked
            except VesaliusError as error:
                raise type(error)(str(error).replace(str(unpacked), str(file))) from error

    def read_text(self, path: str) -> str:
        """A whole text file; a byte-order mark is dropped.

        Raises:
            DataError: If it is too large or not UTF-8.
        """
        with self.open(path) as file:
            if file.stat().st_size > LARGEST_TEXT:
                raise DataError(f"{file}: is larger than {LARGEST_TEXT // 2**20} MiB, which no annotation file is.")
            try:
                return file.read_text(encoding="utf-8-sig")
            except UnicodeDecodeError as error:
                raise DataError(f"{file}: is not UTF-8 text ({error}); save it as UTF-8.") from error

    def _unpack(self, file: _File, unpacked: Path) -> None:
        assert file.member is not None
        if file.member.file_size > LARGEST_MEMBER:
            raise DataError(f"{file}: unpacks to more than {LARGEST_MEMBER // 2**30} GiB; unpack it by hand if it may.")
        if file.path not in self._archives:
            self._archives[file.path] = _open_archive(file.path)
        try:
            with self._archives[file.path].open(file.member) as packed, unpacked.open("wb") as plain:
                shutil.copyfileobj(packed, plain)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError) as error:
            raise DataError(f"{file}: cannot be unpacked ({error}); download the archive again.") from error


def _list(root: Path) -> Iterator[tuple[str, _File]]:
    if root.is_file():
        yield from _members(root, PurePosixPath(root.stem))
        return
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        for name in names:
            path = Path(folder) / name
            place = PurePosixPath(root.resolve().name, path.relative_to(root).as_posix())
            if not _is_hidden(name):
                yield str(place), _File(path)
                if path.suffix.lower() == ".zip":
                    yield from _members(path, place.with_suffix(""))


def _members(path: Path, place: PurePosixPath) -> Iterator[tuple[str, _File]]:
    with _open_archive(path) as archive:
        for member in archive.infolist():
            parts = PurePosixPath(member.filename).parts
            if not member.is_dir() and not any(_is_hidden(part) for part in parts):
                yield str(place / member.filename), _File(path, member)


def _open_archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path}: is no zip archive, or a damaged one ({error}); download it again.") from error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


PICTURE = r"(?:png|jpe?g|tiff?|bmp|PNG|JPE?G|TIFF?|BMP)"


@dataclass(frozen=True)
class Match:
    """A file that an expression describes."""

    path: str
    words: Mapping[str, str]
    """What the expression's groups matched."""


def match_files(pattern: str, source: Source) -> list[Match]:
    """All files whose path ends as an expression of the catalog says."""
    compiled = expression(pattern)
    found = ((path, compiled.fullmatch(path)) for path in source.paths)
    return [Match(path, match.groupdict()) for path, match in found if match]


def expression(pattern: str) -> re.Pattern[str]:
    """An expression of the catalog, made to fit whole paths."""
    return re.compile("(?:.*/)?" + pattern.replace("{picture}", PICTURE))
