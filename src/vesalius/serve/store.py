"""All uploads on disk: how they are found again, what room they have, and their end.

``STORE/uploads/ID/`` is the folder of an upload, see `vesalius.serve.uploads`. The time of its ``upload.json`` is that
of the last request, so that uploads expire after a restart, too. Nothing but folders that are named by a handle is ever
removed, under another name first, so that an upload goes all at once.
"""

import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from vesalius.errors import OutputError
from vesalius.imaging.safeguards import BYTES_PER_MEGABYTE
from vesalius.serve.refusals import Refusal, ServiceError
from vesalius.serve.uploads import HANDLE, RECORD, SOURCE, Upload, read_upload

INCOMING = re.compile(r"\.[0-9a-f]{32}")


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
        return read_upload(self.folder(handle))

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
                    found.append(read_upload(path))
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
