"""Folders of results and images, on a local disk or in an object store, behind one small set of verbs.

What is written is whole or not there, and `ArchiveStore.create` never takes the place of anything: the commit log
stands on it. Object stores are fsspec's; their credentials come from the environment, as their packages read it.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from vesalius.errors import EMPTY_PATH, ConfigError, OutputError, require
from vesalius.files import UNFINISHED, unfinished_name, writing
from vesalius.imaging.formats import in_one_line

LOCAL = ("file://", "local://")


def is_remote(address: str) -> bool:
    """Whether an address is a URL of something else than local files, such as s3://bucket/folder."""
    return "://" in address and not address.startswith(LOCAL)


def local_path(address: str) -> str:
    """The absolute path of local files.

    >>> local_path("file:///data/in/")
    '/data/in'

    Raises:
        ConfigError: If the address is empty, as where a variable is not set; Python takes that for the current folder.
    """
    for start in LOCAL:
        address = address.removeprefix(start)
    if not address:
        raise ConfigError(f"SOURCE or --out: {EMPTY_PATH}")
    return os.path.abspath(address)


def hide_password(address: str) -> str:
    """An address as messages and results may show it.

    >>> hide_password("sftp://me:secret@host/a"), hide_password("abfs://box@account/a")
    ('sftp://…@host/a', 'abfs://box@account/a')
    """
    if not _has_password(address):
        return address
    protocol, _, rest = address.partition("://")
    authority, mark, path = rest.partition("/")
    return f"{protocol}://…@{authority.rpartition('@')[2]}{mark}{path}"


def _has_password(address: str) -> bool:
    """Whether an address holds more than a name before its host; of a web service that is a secret, too."""
    protocol, mark, rest = address.partition("://")
    user, at, _ = rest.partition("/")[0].rpartition("@")
    return bool(mark and at) and (":" in user or protocol in ("http", "https"))


def open_filesystem(address: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it.

    Raises:
        ConfigError: If the URL carries a password, or fsspec does not know its protocol or lacks its package.
        MissingPackageError: If fsspec is not installed.
    """
    if _has_password(address):
        raise ConfigError(f"{hide_password(address)}: credentials belong in the environment, not in an address.")
    fsspec = require("fsspec", extra="archive")
    try:
        # Listings are asked for once each; a cache of them would only grow.
        system, path = fsspec.core.url_to_fs(address, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{address}: cannot be opened ({error}).") from error
    return system, str(path)


def tell_error(error: Exception) -> str:
    """What an error of whatever file system says, in one line."""
    return getattr(error, "strerror", None) or in_one_line(error)


class ArchiveStore:
    """A folder of results.

    Args:
        address: A path, or a URL that fsspec knows (s3://bucket/folder).

    Raises:
        ConfigError, MissingPackageError: As `local_path` and `open_filesystem`.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/") or address
        self._system: Any = None
        if is_remote(address):
            self._system, self._root = open_filesystem(self.address)
        else:
            self._root = local_path(address)

    @property
    def folder(self) -> Path | None:
        """The folder, if it is a local one."""
        return Path(self._root) if self._system is None else None

    @property
    def place(self) -> str:
        """The same folder from whatever folder of this machine: an absolute path, or the URL."""
        return self._root if self._system is None else self.address

    def check_create(self, folder: str) -> None:
        """Make sure that `create` takes the place of nothing, which not every object store can promise.

        Args:
            folder: Where a file is made for this, and removed.

        Raises:
            OutputError: If the store cannot, or nothing can be written.
        """
        name = f"{folder}/{uuid4().hex}.probe"
        first, second = [self.create(name, content) for content in (b"first", b"second")]
        kept = self.read(name) == b"first"
        self.remove(name)
        if not first or second or not kept:
            raise OutputError(
                f"{self.address}: this store replaces a file that is to be new (no conditional writes), so two runs "
                "could both count; name a folder of a disk as --out, or a store that can, as S3 does."
            )

    def read(self, name: str) -> bytes:
        """All bytes of a file.

        Raises:
            OutputError: If it cannot be read.
        """
        with self._telling(name, "read"):
            return (
                self._path(name).read_bytes() if self._system is None else bytes(self._system.cat_file(self._at(name)))
            )

    def read_all(self, names: Sequence[str]) -> Iterator[bytes]:
        """The bytes of several files in their order; from an object store many at once."""
        if self._system is None:
            yield from map(self.read, names)
            return
        for start in range(0, len(names), 256):
            part = names[start : start + 256]
            with self._telling(part[0], "read"):
                found = self._system.cat([self._at(name) for name in part])
            yield from (found[self._at(name)] for name in part)

    def write(self, name: str, content: bytes) -> None:
        """Write a whole file, in the place of one of that name.

        Raises:
            OutputError: If it cannot be written.
        """
        if self._system is None:
            with writing(self._path(name)) as unfinished:
                _write_through(unfinished, content)
            return
        with self._telling(name, "written"):
            self._system.pipe_file(self._at(name), content)

    def create(self, name: str, content: bytes) -> bool:
        """Write a whole file unless one of that name is there; of several writers exactly one succeeds.

        Returns:
            Whether this content is there now by this call.

        Raises:
            OutputError: If it cannot be written.
        """
        with self._telling(name, "written"):
            return self._create_local(name, content) if self._system is None else self._create_remote(name, content)

    def names(self, folder: str) -> list[str]:
        """Names of what is in a folder, sorted, hidden ones left out; none if there is no such folder."""
        with self._telling(folder, "listed"):
            if self._system is None:
                home = self._path(folder)
                found = [each.name for each in home.iterdir()] if home.is_dir() else []
            else:
                try:
                    rows = self._system.ls(self._at(folder), detail=True)
                except FileNotFoundError:
                    rows = []
                here, paths = self._at(folder).strip("/"), (str(row["name"]).strip("/") for row in rows)
                found = [path.rpartition("/")[2] for path in paths if path != here]  # that marks the folder itself
        return sorted(each for each in found if each and not each.startswith("."))

    def exists(self, name: str) -> bool:
        """Whether a file is there.

        Raises:
            OutputError: If that cannot be found out.
        """
        with self._telling(name, "looked for"):
            return self._path(name).exists() if self._system is None else bool(self._system.exists(self._at(name)))

    def move(self, name: str, target: str) -> None:
        """Give a file another name, in the place of a file of that name; object stores copy and delete.

        Raises:
            OutputError: If it cannot be done.
        """
        with self._telling(name, "moved"):
            if self._system is None:
                self._path(target).parent.mkdir(parents=True, exist_ok=True)
                os.replace(self._path(name), self._path(target))
                return
            self._system.cp_file(self._at(name), self._at(target))
            self._system.rm_file(self._at(name))

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        with self._telling(name, "removed"):
            if self._system is None:
                self._path(name).unlink(missing_ok=True)
            elif self._system.exists(self._at(name)):
                self._system.rm_file(self._at(name))

    def remove_unfinished(self, folder: str) -> None:
        """Delete what killed writers left half-written in a folder of a disk; object stores have no such files."""
        if self._system is None:
            for path in self._path(folder).glob(".*"):
                if UNFINISHED.fullmatch(path.name):
                    path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return Path(self._root) / name

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _create_local(self, name: str, content: bytes) -> bool:
        target = self._path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = unfinished_name(target)
        try:
            _write_through(unfinished, content)
            os.link(unfinished, target)  # unlike a renaming, fails if the name is taken
        except FileExistsError:
            return False
        finally:
            unfinished.unlink(missing_ok=True)
        return True

    def _create_remote(self, name: str, content: bytes) -> bool:
        place = self._at(name)
        try:
            self._system.pipe_file(place, content, mode="create")
        except Exception:  # of every kind, also for an answer that was lost on the way
            if not self._system.exists(place):
                raise
            return bool(self._system.cat_file(place) == content)
        return True

    @contextmanager
    def _telling(self, name: str, done: str) -> Iterator[None]:
        """What goes wrong as one error that names the file; packages of object stores raise all kinds of exceptions."""
        try:
            yield
        except OutputError:
            raise
        except Exception as error:
            remedy = "check the address, its access rights and room"
            raise OutputError(f"{self.address}/{name}: cannot be {done} ({tell_error(error)}); {remedy}.") from error


def _write_through(path: Path, content: bytes) -> None:
    """Write a file so that it survives a loss of power once this returns."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
