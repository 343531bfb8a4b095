"""The images of a source, listed folder by folder while others are worked on.

Memory is that of the largest folder. What is listed once is an item: a picture, a volume, the DICOM files of one folder
(or each of them), or a series of a DICOMweb service.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from vesalius.archive.items import FileFact, WorkItem
from vesalius.archive.store import is_remote, open_filesystem
from vesalius.errors import ConfigError, DataError, ImageError, VesaliusError, require
from vesalius.imaging.formats import DICOM_SUFFIXES, RASTER_SUFFIXES, VOLUME_SUFFIXES
from vesalius.imaging.safeguards import FRAMES

OTHER_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9_]{0,7}$")
"""Endings that say a file is no DICOM, unless they are DICOM's own; numbers are parts of UIDs."""
MAGIC = re.compile(r"[*?[]")
TAGS = ("ETag", "etag", "md5Hash", "LastModified", "mtime", "created")
"""What object stores call that by which a content is told from a former one, the best first."""
PAGE = 500
"""Series that a DICOMweb service is asked for at a time."""
INSTANCE_BYTES = 2**19
"""Assumed size of an instance of a DICOMweb service, which tells none."""
NO_IMAGES = frozenset(
    "AU DOC ECG HD KO PLAN PR REG RTDOSE RTPLAN RTRECORD RTSTRUCT SEG SR".split()  # noqa: SIM905 - shorter so
)
"""Modalities of DICOMweb series that hold no image of a patient."""


class Files(Protocol):
    """Files of a disk or an object store."""

    def list(self, folder: str) -> tuple[list[str], list[FileFact]]:
        """Addresses of the folders in a folder, and its files, both sorted by name; hidden ones left out."""
        ...

    def fact(self, place: str) -> FileFact | None:
        """A single file; None if it is a folder.

        Raises:
            FileNotFoundError: If nothing is there.
        """
        ...


class LocalFiles:
    """Files of a disk."""

    def list(self, folder: str) -> tuple[list[str], list[FileFact]]:
        """See `Files`."""
        with os.scandir(folder) as found:
            entries = sorted((each for each in found if not each.name.startswith(".")), key=lambda each: each.name)
        folders = [each.path for each in entries if each.is_dir(follow_symlinks=False)]
        return folders, [_fact(each.name, each.stat()) for each in entries if each.is_file()]

    def fact(self, place: str) -> FileFact | None:
        """See `Files`."""
        return None if os.path.isdir(place) else _fact(os.path.basename(place), os.stat(place))


def _fact(name: str, stat: os.stat_result) -> FileFact:
    return FileFact(name, stat.st_size, str(stat.st_mtime_ns))


class RemoteFiles:
    """Files of an object store.

    Args:
        address: A URL in it.
    """

    def __init__(self, address: str) -> None:
        self._system, _ = open_filesystem(address)

    def list(self, folder: str) -> tuple[list[str], list[FileFact]]:
        """See `Files`."""
        rows: Sequence[dict[str, Any]] = self._system.ls(folder, detail=True)
        folders, files = [], []
        for row in sorted(rows, key=lambda each: str(each["name"])):
            name = row["name"].rstrip("/").rpartition("/")[2]
            if not name or name.startswith("."):
                continue
            if row["type"] == "directory":
                folders.append(str(self._system.unstrip_protocol(row["name"])))
            else:
                files.append(_remote_fact(name, row))
        return folders, files

    def fact(self, place: str) -> FileFact | None:
        """See `Files`."""
        row = self._system.info(place)
        return None if row["type"] == "directory" else _remote_fact(place.rpartition("/")[2], row)


def _remote_fact(name: str, row: dict[str, Any]) -> FileFact:
    tag = next(
        (row[each] for each in ("ETag", "etag", "md5Hash", "LastModified", "mtime", "created") if row.get(each)), ""
    )
    return FileFact(name, int(row.get("size") or 0), str(tag))


class ArchiveSource:
    """The images of a folder, file, pattern, manifest or DICOMweb service.

    Args:
        address: See `vesalius.archive.request.ArchiveRequest.source`.
        each: Whether every DICOM file is an image of its own.
        out: Folder of the results, which is not looked into.

    Raises:
        ConfigError: If the address is none, or cannot be opened.
        ImageError: If nothing is there.
    """

    def __init__(self, address: str, *, each: bool = False, out: str = "") -> None:
        self.address, self.each = address, each
        self.left_out: Counter[str] = Counter()
        """Ending of files, or modality of series, that are no images -> number."""
        self._out = _to_place(out or os.devnull)
        self._web = address.startswith(("http://", "https://"))
        if self._web and each:
            raise ConfigError("--each: takes files one by one; a DICOMweb service gives series, so leave it out.")
        if self._web:
            require("dicomweb_client", extra="pacs")
            return
        remote = is_remote(address)
        self._files: Files = RemoteFiles(address) if remote else LocalFiles()
        self._place = _to_place(address)
        self._pattern = MAGIC.search(self._place) if remote or not os.path.exists(self._place) else None
        if self._pattern is None:
            self._there(self._place)

    def items(self) -> Iterator[WorkItem]:
        """All items, in the order of their folders; those that cannot be listed say so in ``problem``.

        Raises:
            ConfigError: If a manifest is none.
        """
        if self._web:
            yield from self._series()
        elif self._pattern is not None:
            yield from self._matching()
        elif self._place.lower().endswith(".parquet"):
            yield from self._of_manifest()
        elif (fact := self._there(self._place)) is not None:
            home, _, name = self._place.rpartition("/")
            yield self._one(name, home, fact)
        else:
            yield from self._below(self._place)

    def _there(self, place: str) -> FileFact | None:
        try:
            return self._files.fact(place)
        except Exception as error:  # object stores raise exceptions of every kind
            raise ImageError(f"{place}: no such file or folder, or no access ({_told(error)}); check it.") from error

    def _below(self, root: str, pattern: re.Pattern[str] | None = None) -> Iterator[WorkItem]:
        waiting = [root]
        while waiting:
            folder = waiting.pop()
            if folder.rstrip("/") == self._out:
                continue
            name = folder[len(root) :].strip("/")
            try:
                folders, files = self._files.list(folder)
            except Exception as error:
                yield _broken(name or ".", folder, f"{folder}: cannot be listed ({_told(error)}).")
                continue
            waiting += reversed(folders)
            kept = [each for each in files if pattern is None or pattern.fullmatch(f"{folder}/{each.name}")]
            yield from self._group(name, folder, kept)

    def _matching(self) -> Iterator[WorkItem]:
        """Files that match a pattern, with * for any letters of a name and ** for any folders."""
        assert self._pattern is not None
        root = self._place[: self._pattern.start()].rpartition("/")[0]
        yield from self._below(root, _to_expression(self._place))

    def _group(self, name: str, folder: str, files: Sequence[FileFact]) -> Iterator[WorkItem]:
        """The items of one folder."""
        dicom = []
        for each in files:
            if each.name.lower().endswith((*RASTER_SUFFIXES, *VOLUME_SUFFIXES)):
                yield WorkItem.make(_join(name, each.name), folder, [each])
            elif each.name.lower().endswith(DICOM_SUFFIXES) or not OTHER_SUFFIX.search(each.name):
                dicom.append(each)
            else:
                self.left_out[Path(each.name).suffix.lower()] += 1
        if self.each:
            yield from (WorkItem.make(_join(name, each.name), folder, [each], dicom=True) for each in dicom)
        elif len(dicom) > FRAMES.value:
            reason = f"{folder}: has {len(dicom)} DICOM files, expected {FRAMES.value} at most ({FRAMES.variable}); "
            yield _broken(name or ".", folder, f"{reason}sort them into a folder a series, or take --each.")
        elif dicom:
            yield WorkItem.make(name or ".", folder, dicom, dicom=True)

    def _one(self, name: str, folder: str, fact: FileFact) -> WorkItem:
        picture = fact.name.lower().endswith((*RASTER_SUFFIXES, *VOLUME_SUFFIXES))
        return WorkItem.make(name, folder, [fact], dicom=not picture)

    def _of_manifest(self) -> Iterator[WorkItem]:
        """Files and folders that a table's column "path" names, as URLs, absolute, or from the table's own folder."""
        home = self._place.rpartition("/")[0]
        for path in self._paths():
            place = path if is_remote(path) or path.startswith("/") else f"{home}/{path}"
            place = place.rstrip("/")
            folder, _, name = place.rpartition("/")
            try:
                fact = self._files.fact(place)
                if fact is not None:
                    yield self._one(path, folder, fact)
                else:
                    yield from self._group(path.rstrip("/"), place, self._files.list(place)[1])
            except Exception as error:
                yield _broken(path, folder, f"{path}: no such file or folder, or no access ({_told(error)}).")

    def _paths(self) -> Iterator[str]:
        import pyarrow.parquet as pq

        try:
            system, place = open_filesystem(self._place)
            with system.open(place, "rb") as file:
                table = pq.ParquetFile(file)
                if "path" not in table.schema_arrow.names:
                    raise DataError(f'{self._place}: expected a column "path", got {table.schema_arrow.names}.')
                for batch in table.iter_batches(batch_size=4096, columns=["path"]):
                    yield from (str(each) for each in batch.column(0).to_pylist() if each)
        except (OSError, ValueError) as error:
            raise DataError(f"{self._place}: cannot be read as a Parquet table ({_told(error)}).") from error

    def _series(self) -> Iterator[WorkItem]:
        from vesalius.pacs.sending import DicomWeb

        service, offset = DicomWeb(self.address), 0
        while found := service.find({}, PAGE, offset):
            offset += len(found)
            for each in found:
                if each.modality in NO_IMAGES:
                    self.left_out[each.modality] += 1
                    continue
                fact = FileFact(each.series, (each.instances or 1) * INSTANCE_BYTES, str(each.instances))
                item = WorkItem.make(_join(each.study, each.series), self.address, [fact], dicom=True)
                yield item.with_files((each.study, each.series))
            if len(found) < PAGE:
                return


def _to_place(address: str) -> str:
    """An address in the one way that listings write it."""
    if not is_remote(address):
        return os.path.abspath(address)
    system, path = open_filesystem(address)
    return str(system.unstrip_protocol(path)).rstrip("/")


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _told(error: Exception) -> str:
    if isinstance(error, VesaliusError):
        return str(error)
    return getattr(error, "strerror", None) or " ".join(str(error).split())[:200] or type(error).__name__


def _broken(name: str, folder: str, problem: str) -> WorkItem:
    return WorkItem.make(name, folder, [FileFact("", 0, problem)]).with_problem(problem)


def _to_expression(pattern: str) -> re.Pattern[str]:
    """A pattern of a path as a regular expression.

    >>> bool(_to_expression("/a/**/*.png").fullmatch("/a/b.png")), bool(_to_expression("/a/*").fullmatch("/a/b/c"))
    (True, False)
    """
    told = ""
    for part in re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]*\])", pattern):
        known = {"**/": "(?:.+/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
        told += known.get(part) or (part.replace("[!", "[^") if part.startswith("[") else re.escape(part))
    return re.compile(told, re.DOTALL)
