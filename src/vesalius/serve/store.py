"""Uploads on disk: handles that nobody can guess, what is known of each, and their end.

``STORE/uploads/ID/`` holds ``upload.json``, ``source/`` with the files as they came, and ``results/``. The time of
``upload.json`` is that of the last request, so that uploads expire after a restart, too. Nothing but folders that are
named by a handle is ever removed, under another name first, so that an upload goes all at once.
"""

import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from vesalius.errors import ConfigError, OutputError, PromptError
from vesalius.files import read_json, write_json
from vesalius.imaging.safeguards import BYTES_PER_MEGABYTE
from vesalius.imaging.search import FoundSeries
from vesalius.serve.refusals import Refusal, ServiceError

HANDLE = re.compile(r"[0-9a-f]{32}")
INCOMING = re.compile(r"\.[0-9a-f]{32}")
RECORD = "upload.json"
SOURCE = "source"
RESULTS = "results"


@dataclass(frozen=True)
class Upload:
    """What is known of an upload."""

    id: str
    kind: str
    """"picture", or "volume" for series, clips and volume files."""
    name: str
    """Name of the file as it was sent, or of the folder or archive of a series."""
    width: int
    height: int
    depth: int
    """Columns and rows of a slice as displayed, and number of slices."""
    spacing_mm: list[float] | None
    """Distance of columns, of rows and, in volumes, of slices; None if unknown."""
    modality: str | None
    plane: str | None
    dicom: bool
    """Whether results can be had as DICOM objects."""
    slice_axis: int | None
    """Axis of the volume file along which slices lie, from 0; None for pictures."""
    slice_reversed: bool
    """Whether the first slice as displayed is the last along that axis."""
    notices: list[str]
    source: str
    """File or folder of the image, within the upload's own."""
    files: list[str] = field(default_factory=list)
    """DICOM files of the series, or numbered pictures."""
    pictures: bool = False
    """Whether the files are numbered pictures."""
    series_uid: str = ""
    """SeriesInstanceUID of a DICOM series."""
    alias: str = ""
    """Name by which a client of MONAI Label's protocol calls it."""
    placed: bool = True
    """Whether the file says where the image lies in the patient."""
    arrived: float = 0.0
    """When it was sent or fetched, in seconds since 1970; requests do not change it."""

    @property
    def suffix(self) -> str:
        """Of its masks and of its image."""
        return ".png" if self.kind == "picture" else ".nii.gz"

    def found(self, folder: Path) -> FoundSeries:
        """The image to read."""
        return FoundSeries(folder / self.source, tuple(folder / each for each in self.files), self.pictures)

    def to_dict(self) -> dict[str, object]:
        """What callers are told."""
        hidden = ("source", "files", "pictures", "series_uid", "alias", "arrived")
        return {name: value for name, value in asdict(self).items() if name not in hidden}


class UploadStore:
    """The folder of all uploads.

    Args:
        root: Folder of the service.
        keep_seconds: How long an upload that nobody asks for is kept.
        megabytes: Most that all uploads may take.
    """

    def __init__(self, root: Path, keep_seconds: float, megabytes: int) -> None:
        self.root, self.keep_seconds, self.most_bytes = root, keep_seconds, megabytes * BYTES_PER_MEGABYTE
        self.uploads = root / "uploads"
        self._sizes: dict[str, int] = {}
        self._sources: dict[str, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make the folder for this user alone, and keep other services out while it is in use.

        Raises:
            OutputError: If another service uses it, or it cannot be made.
        """
        try:
            self.uploads.mkdir(parents=True, exist_ok=True)
            os.chmod(self.uploads, 0o700)
            lock = FileLock(self.root / ".serve.lock", timeout=0)
            lock.acquire()
        except Timeout as error:
            raise OutputError(f"{self.root}: another vesalius serve uses it; name another --store.") from error
        except OSError as error:
            raise OutputError(
                f"{self.root}: cannot be made or written ({error.strerror or error}); name another --store."
            ) from error
        try:
            for path in self._folders(INCOMING):
                shutil.rmtree(path, ignore_errors=True)
            self.remove_expired()
            yield
        finally:
            lock.release()

    def folder(self, handle: str) -> Path:
        """The folder of an upload, whose life begins anew.

        Raises:
            ServiceError: If there is none, or it has expired.
        """
        path = self.uploads / handle
        record = path / RECORD
        try:
            known = HANDLE.fullmatch(handle) is not None and self._age(record) <= self.keep_seconds
            if known:
                os.utime(record)
                return path
        except OSError:
            pass
        shown = handle[:64]
        raise ServiceError(
            404, Refusal("No such upload; it may have expired", "id", "the id of an upload", shown, "Upload it again.")
        )

    def read(self, handle: str) -> Upload:
        """What is known of an upload.

        Raises:
            ServiceError: If there is none, or it has expired.
        """
        return read_record(self.folder(handle))

    def find(self, name: str, *, by_series: bool = False) -> str:
        """The handle of the upload with a handle or alias, of several the one that arrived last.

        Args:
            name: One of them.
            by_series: Whether a SeriesInstanceUID names uploads, too, whoever sent them. What was fetched from an
                archive has it as its alias and comes first, then the upload with most slices, as others may be parts.

        Raises:
            ServiceError: If there is none.
        """
        uploads = self.list_uploads()
        called = [each for each in uploads if name and name in (each.id, each.alias)]
        parts = [each for each in uploads if name and by_series and name == each.series_uid]
        known = called or sorted(parts, key=lambda each: -each.depth)
        return self.folder(known[0].id if known else name).name

    def list_uploads(self) -> list[Upload]:
        """All uploads that have not expired, the last to arrive first; records that are none of ours are left out."""
        found = []
        for path in self._folders(HANDLE):
            with suppress(OSError, ServiceError):  # removed in the meantime, or damaged
                if self._age(path / RECORD) <= self.keep_seconds:
                    found.append(read_record(path))
        return sorted(found, key=lambda each: -each.arrived)

    def expires_at(self, handle: str) -> str:
        """When it ends unless somebody asks for it."""
        changed = (self.uploads / handle / RECORD).stat().st_mtime
        return datetime.fromtimestamp(changed + self.keep_seconds, UTC).isoformat(timespec="seconds")

    def receive(self, size: int) -> Path:
        """A new folder for files that arrive.

        Args:
            size: Bytes that are expected.

        Raises:
            ServiceError: If there is no room.
        """
        path = self.uploads / f".{secrets.token_hex(16)}"
        self.check_room(size)
        with self._lock:
            if not self._has_room(size):  # others came first
                raise no_room()
            self._sizes[path.name] = size
        (path / SOURCE).mkdir(parents=True)
        return path

    def check_room(self, size: int = 0) -> None:
        """Refuse what would not fit, before anything is written.

        Args:
            size: Bytes that are expected; 0 asks whether the store is full.

        Raises:
            ServiceError: If there is no room, even without what has expired.
        """
        if not self._has_room(size):
            self.remove_expired()
            if not self._has_room(size):
                raise no_room()

    def _has_room(self, size: int) -> bool:
        return self.used_bytes + size <= self.most_bytes and shutil.disk_usage(self.uploads).free >= size

    def measure(self, handle: str) -> None:
        """Count what an upload takes after a job that may have written something."""
        folder = self.uploads / handle
        if handle not in self._sources:
            self._sources[handle] = size_of(folder / SOURCE)
        with self._lock:
            self._sizes[handle] = self._sources[handle] + size_of(folder, but=SOURCE)

    @contextmanager
    def scratch(self, handle: str) -> Iterator[Path]:
        """A new folder within an upload's own, for files that are made to be sent once; removed where that fails.

        Raises:
            ServiceError: If there is no such upload.
        """
        path = self.folder(handle) / f"scratch.{secrets.token_hex(8)}"
        path.mkdir()
        try:
            yield path
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise

    def remove(self, handle: str) -> None:
        """Delete an upload with all its results.

        Raises:
            ServiceError: If there is none.
        """
        self.discard(self.folder(handle))

    def discard(self, path: Path) -> None:
        """Delete a folder of the store at once, whatever is being written in it."""
        gone = path.with_name(f".{secrets.token_hex(16)}")
        with suppress(FileNotFoundError):  # somebody else was faster
            path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        with self._lock:
            self._sizes.pop(path.name, None)
        self._sources.pop(path.name, None)

    def remove_expired(self) -> list[str]:
        """Delete what has expired, and measure the rest.

        Returns:
            The handles of what was deleted.
        """
        gone = []
        for path in self._folders(HANDLE):
            try:
                expired = self._age(path / RECORD) > self.keep_seconds
            except OSError:  # without a record: a removal that was interrupted
                expired = True
            if expired:
                self.discard(path)
                gone.append(path.name)
        measured = {path.name: size_of(path) for path in (*self._folders(HANDLE), *self._folders(INCOMING))}
        with self._lock:  # what arrives has room for all that is to come
            self._sizes = {
                name: size if HANDLE.fullmatch(name) else max(size, self._sizes.get(name, 0))
                for name, size in measured.items()
            }
        return gone

    def count(self) -> int:
        """Number of uploads."""
        return sum(1 for _ in self._folders(HANDLE))

    @property
    def used_bytes(self) -> int:
        """Bytes that uploads and results took when they were last measured, and that arrived since."""
        return sum(list(self._sizes.values()))

    def _folders(self, name: re.Pattern[str]) -> list[Path]:
        return [path for path in self.uploads.iterdir() if name.fullmatch(path.name)]

    @staticmethod
    def _age(record: Path) -> float:
        return time.time() - record.stat().st_mtime


def size_of(folder: Path, but: str = "") -> int:
    """Bytes of all files below a folder; what is removed in the meantime counts nothing.

    Args:
        folder: May be missing.
        but: Name of a folder within it that is not counted.
    """
    total = 0
    for home, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if not (each == but and home == str(folder))]
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(home, name)).st_size
    return total


def no_room() -> ServiceError:
    """The answer where the store is full."""
    refusal = Refusal("There is no room in the store", remedy="Delete uploads, or wait until some have expired.")
    return ServiceError(429, refusal, retry_after=60)


def new_handle(worker: int, workers: int) -> str:
    """A handle that nobody can guess, of an upload that this worker is to see to."""
    while worker_of(handle := secrets.token_hex(16), workers) != worker:
        pass
    return handle


def worker_of(handle: str, workers: int) -> int:
    """The worker that sees to an upload, and that has its features."""
    return int(handle, 16) % workers


def read_record(folder: Path) -> Upload:
    """Read what is known of an upload from its folder.

    Raises:
        ServiceError: If the record is damaged, or of another version.
        FileNotFoundError: If it was deleted in the meantime.
    """
    try:
        upload = Upload(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        refusal = Refusal("What is known of this upload cannot be read", "id", remedy="Upload it again.")
        raise ServiceError(404, refusal) from error
    return upload


def write_record(folder: Path, upload: Upload) -> None:
    """Write what is known of an upload; it exists from then on."""
    write_json(folder / RECORD, asdict(upload))


def read_result(folder: Path, number: int) -> dict[str, object]:
    """What was found for one phrase.

    Raises:
        ServiceError: If there is no such result.
    """
    path = folder / RESULTS / f"{number}.json"
    if not path.is_file():
        raise ServiceError(404, Refusal("No such result", "number", "the number of a result", str(number)))
    content = read_json(path)
    assert isinstance(content, dict)
    return content


def list_results(folder: Path, numbers: Sequence[int] = ()) -> list[dict[str, object]]:
    """Results of an upload by their numbers, each once; all of them, in their order, where none is named.

    Raises:
        ServiceError: If there is none of a number.
    """
    found = sorted(int(path.stem) for path in (folder / RESULTS).glob("*.json") if path.stem.isdecimal())
    return [read_result(folder, number) for number in dict.fromkeys(numbers or found)]


def asked_in(folder: Path, numbers: Sequence[int]) -> tuple[list[str], float]:
    """The phrases of results, each once, and their threshold.

    Raises:
        ConfigError: If they have several.
        PromptError: If there are none.
    """
    results = list_results(folder, numbers)
    if not results:
        raise PromptError("results: there are none yet; segment something first.")
    thresholds = {float(str(each["threshold"])) for each in results}
    if len(thresholds) > 1:
        raise ConfigError("numbers: expected results of one threshold, got several; name the results to take.")
    return list(dict.fromkeys(str(each["phrase"]) for each in results)), thresholds.pop()
