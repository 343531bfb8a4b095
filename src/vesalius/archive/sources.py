"""The images of a source, listed folder by folder while others are worked on.

Memory is that of the largest folder. What is listed once is an item: a picture, a volume, the DICOM files of one folder
(or each of them), or a series of a DICOMweb service.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vesalius.addresses import check_url
from vesalius.archive.items import KEY_BYTES, FileFact, KeySet, WorkItem, digest
from vesalius.archive.listing import MAGIC, Files, LocalFiles, PathPattern, RemoteFiles
from vesalius.archive.store import hide_password, is_remote, local_path, open_filesystem, tell_error
from vesalius.errors import ConfigError, DataError, ImageError, require
from vesalius.imaging.formats import DICOM_SUFFIXES, RASTER_SUFFIXES, VOLUME_SUFFIXES
from vesalius.imaging.safeguards import FRAMES
from vesalius.pacs.rules import NOT_IMAGES

if TYPE_CHECKING:
    from vesalius.pacs.dicomweb import DicomWeb, RemoteSeries

WEB = ("http://", "https://")
OTHER_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9_]{0,7}$")
"""Endings that are not DICOM's: what has one is DICOM only if it begins so. Numbers are parts of UIDs."""
BROKEN_LINK, NO_PATH, TWICE = "broken link", "no path", "listed twice"
"""What is left out of a folder, and of a table; see `ArchiveSource.left_out`."""
PAGE = 500
"""Series that a DICOMweb service is asked for at a time; many give fewer."""
INSTANCE_BYTES = 2**19
"""Assumed size of an instance of a DICOMweb service, which tells none."""


class ArchiveSource:
    """The images of a folder, file, pattern, manifest or DICOMweb service.

    Args:
        address: See `vesalius.archive.request.ArchiveRequest.source`.
        each: Whether every DICOM file is an image of its own.
        out: Folder of the results, which is not looked into.

    Raises:
        ConfigError: If the address is none, is that of the results, or cannot be opened.
        ImageError: If nothing is there.
    """

    def __init__(self, address: str, *, each: bool = False, out: str = "") -> None:
        self.each = each
        self.left_out: Counter[str] = Counter()
        """Ending of files, or modality of series, that are no images, or why others are left out -> number."""
        self.alone = 0
        """DICOM files that a table lists one by one, so that each is an image of its own."""
        self._known: KeySet | None = None
        """Files of a table that were listed before, by their places, however they are written."""
        self._web = address.startswith(WEB)
        if self._web:
            require("dicomweb_client", extra="pacs")
            check_url(address)
            if each:
                raise ConfigError("--each: takes files one by one; a DICOMweb service gives series, so leave it out.")
        self.place = to_place(address)
        """The address, the same from whatever folder of this machine it was given."""
        self._out = to_place(out) if out else ""
        if self.place == self._out:
            raise ConfigError(f"{self.place}: is both the source and --out; name another folder for the results.")
        self._opened: dict[str, Files] = {}
        self._pattern = None
        if not self._web:
            literal = not MAGIC.search(self.place) or (not is_remote(self.place) and os.path.exists(self.place))
            self._pattern = None if literal else PathPattern(self.place)
            self._there(self.place if self._pattern is None else self._pattern.root)

    def items(self) -> Iterator[WorkItem]:
        """All items, in the order of their folders; those that cannot be listed say so in ``problem``.

        Raises:
            DataError: If a manifest is none.
            ImageError: If there is nothing at all.
            OutputError: If a DICOMweb service does not answer.
        """
        number = 0
        for number, item in enumerate(self._items(), start=1):  # noqa: B007 - the last is counted
            yield item
        if not number:
            told = ", ".join(f"{count} {name}" for name, count in sorted(self.left_out.items()))
            remedy = "check the path, and that it has DICOM, NIfTI or pictures"
            raise ImageError(f"{self.place}: holds no image{told and f' (left out: {told})'}; {remedy}.")

    def _items(self) -> Iterator[WorkItem]:
        if self._web:
            yield from self._series()
        elif self._pattern is not None:
            yield from self._below(self._pattern.root, self._pattern)
        elif self.place.lower().endswith(".parquet"):
            yield from self._of_manifest()
        elif (fact := self._there(self.place)) is not None:
            home, _, name = self.place.rpartition("/")
            yield from self._one(name, home, fact)
        else:
            yield from self._below(self.place)

    def _files_of(self, place: str) -> Files:
        """What reads a place: a disk, or the object store of its URL."""
        store = "/".join(place.split("/", 3)[:3]) if is_remote(place) else ""
        if store not in self._opened:
            self._opened[store] = RemoteFiles(place) if store else LocalFiles()
        return self._opened[store]

    def _there(self, place: str) -> FileFact | None:
        try:
            return self._files_of(place).fact(place)
        except Exception as error:  # object stores raise exceptions of every kind
            raise ImageError(
                f"{place}: no such file or folder, or no access ({tell_error(error)}); check it."
            ) from error

    def _below(self, root: str, pattern: PathPattern | None = None, name: str = "") -> Iterator[WorkItem]:
        """The items of a folder and those in it; its own name stands before theirs."""
        waiting = [root]
        while waiting:
            folder = waiting.pop()
            home = folder.rstrip("/")
            if home == self._out:
                continue
            here = "/".join(filter(None, (name, folder[len(root) :].strip("/"))))
            try:
                folders, files = self._files_of(folder).list(folder)
            except Exception as error:
                yield _broken(f"{here or '.'}/", folder, f"{folder}: cannot be listed ({tell_error(error)}).")
                continue
            waiting += (each for each in reversed(folders) if pattern is None or pattern.leads_to(each))
            kept = [each for each in files if pattern is None or pattern.takes(f"{home}/{each.name}")]
            yield from self._group(here, folder, kept)

    def _group(self, name: str, folder: str, files: Sequence[FileFact]) -> Iterator[WorkItem]:
        """The items of one folder."""
        dicom = []
        for each in self._listed_once(folder, files):
            if each.broken:
                self.left_out[BROKEN_LINK] += 1
            elif each.name.lower().endswith((*RASTER_SUFFIXES, *VOLUME_SUFFIXES)):
                yield WorkItem.make(_join(name, each.name), folder, [each])
            elif self._may_be_dicom(f"{folder.rstrip('/')}/{each.name}"):
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

    def _listed_once(self, folder: str, files: Sequence[FileFact]) -> list[FileFact]:
        """Those of a table's files that were not listed before; elsewhere all."""
        if self._known is None:
            return list(files)
        states = self._known.add_all([digest(f"{folder.rstrip('/')}/{each.name}", KEY_BYTES) for each in files])
        found = [each for each, state in zip(files, states, strict=True) if not state.known]
        self.left_out += Counter({TWICE: len(files) - len(found)})
        return found

    def _may_be_dicom(self, place: str) -> bool:
        """Whether a file is to be read as DICOM; its reader decides."""
        own = place.lower().endswith(DICOM_SUFFIXES) or not OTHER_SUFFIX.search(place)
        return own or self._files_of(place).begins_as_dicom(place)

    def _one(self, name: str, folder: str, fact: FileFact) -> Iterator[WorkItem]:
        """The item of a file that was named itself; in an object store it is tried whatever its ending."""
        picture = fact.name.lower().endswith((*RASTER_SUFFIXES, *VOLUME_SUFFIXES))
        if picture or is_remote(folder) or self._may_be_dicom(f"{folder}/{fact.name}"):
            yield WorkItem.make(name, folder, [fact], dicom=not picture)
        else:
            self.left_out[Path(fact.name).suffix.lower()] += 1

    def _of_manifest(self) -> Iterator[WorkItem]:
        """Files and folders that a table's column "path" names, as URLs, absolute, or from the table's own folder."""
        home = self.place.rpartition("/")[0]
        self._known = KeySet()
        for path in self._paths():
            place = path if "://" in path or path.startswith("/") else f"{home}/{path}"
            shown = hide_password(path) if "://" in path else path
            try:
                yield from self._named(shown, place.rstrip("/") if is_remote(place) else local_path(place))
            except Exception as error:
                yield _broken(shown, home, f"{shown}: no such file or folder, or no access ({tell_error(error)}).")

    def _named(self, name: str, place: str) -> Iterator[WorkItem]:
        """What a path of a manifest names: a file, or a folder with all below it."""
        if place.startswith(WEB):
            raise ConfigError("web addresses are not read; expected a path, or the URL of an object store")
        files = self._files_of(place)
        fact = files.fact(place)
        if fact is None:
            yield from self._below(place, name="" if os.path.normpath(name) == "." else name.rstrip("/"))
        elif self._listed_once(folder := place.rpartition("/")[0], [fact]):
            for item in self._one(name, folder, fact):
                self.alone += item.dicom and not self.each
                yield item

    def _paths(self) -> Iterator[str]:
        import pyarrow.parquet as pq

        try:
            system, place = open_filesystem(self.place)
            with system.open(place, "rb") as file:
                table = pq.ParquetFile(file)
                if "path" not in table.schema_arrow.names:
                    raise DataError(f'{self.place}: expected a column "path", got {table.schema_arrow.names}.')
                for batch in table.iter_batches(batch_size=4096, columns=["path"]):
                    paths = [str(each) for each in batch.column(0).to_pylist() if each]
                    self.left_out += Counter({NO_PATH: len(batch) - len(paths)})
                    yield from paths
        except (OSError, ValueError) as error:
            raise DataError(f"{self.place}: cannot be read as a Parquet table ({tell_error(error)}).") from error

    def _series(self) -> Iterator[WorkItem]:
        from vesalius.pacs.dicomweb import DicomWeb

        service, offset, known = DicomWeb(self.place), 0, KeySet()
        while found := service.find({}, PAGE, offset):
            offset += len(found)
            items = [self._of_series(each) for each in found]
            before = known.add_all([bytes.fromhex(each.key) for each in items])
            if all(each.known for each in before):
                if _has_more(service, len(found)):
                    reason = f"gives no more than its first {len(known)} series, though asked for the next"
                    yield _broken(".", self.place, f"{self.place}: {reason}; others cannot be listed.")
                return
            for series, item, state in zip(found, items, before, strict=True):
                if series.modality in NOT_IMAGES:
                    self.left_out[series.modality] += not state.known
                elif not state.known:
                    yield item

    def _of_series(self, series: "RemoteSeries") -> WorkItem:
        fact = FileFact(series.series, (series.instances or 1) * INSTANCE_BYTES, str(series.instances))
        item = WorkItem.make(_join(series.study, series.series), self.place, [fact], dicom=True)
        return replace(item, files=(series.study, series.series), instances=series.instances)


def _has_more(service: "DicomWeb", number: int) -> bool:
    """Whether a service that gives the same series again may have others; one that ignores limits gave all it has."""
    return len(service.find({}, 1)) < number


def to_place(address: str) -> str:
    """An address as an absolute path or URL, in the one way in which listings write it."""
    if not is_remote(address):
        return local_path(address)
    if not address.startswith(WEB):
        open_filesystem(address)
    return address.rstrip("/")


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _broken(name: str, folder: str, problem: str) -> WorkItem:
    return replace(WorkItem.make(name, folder, [FileFact("", 0, problem)]), problem=problem)
