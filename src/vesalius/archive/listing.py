"""Files of disks and object stores, and patterns of the paths to choose."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from vesalius.archive.items import FileFact
from vesalius.archive.store import open_filesystem
from vesalius.errors import ConfigError, ImageError
from vesalius.imaging.formats import has_dicom_mark, read_start

MAGIC = re.compile(r"[*?[]")
TAGS = ("ETag", "etag", "md5Hash", "LastModified", "mtime", "created")
"""What object stores call that by which a content is told from a former one, the best first."""


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

    def begins_as_dicom(self, place: str) -> bool:
        """Whether a file has the mark of DICOM; False where it would take too long to find out."""
        ...


class LocalFiles:
    """Files of a disk."""

    def list(self, folder: str) -> tuple[list[str], list[FileFact]]:
        """See `Files`."""
        with os.scandir(folder) as found:
            entries = sorted((each for each in found if not each.name.startswith(".")), key=lambda each: each.name)
        folders = [each.path for each in entries if each.is_dir(follow_symlinks=False)]
        links = [each for each in entries if each.is_symlink() and not os.path.exists(each.path)]
        broken = [FileFact(each.name, 0, "", broken=True) for each in links]
        return folders, [_fact(each.name, each.stat()) for each in entries if each.is_file()] + broken

    def fact(self, place: str) -> FileFact | None:
        """See `Files`."""
        return None if os.path.isdir(place) else _fact(os.path.basename(place), os.stat(place))

    def begins_as_dicom(self, place: str) -> bool:
        """See `Files`."""
        try:
            return has_dicom_mark(read_start(Path(place)))
        except ImageError:
            return False


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
        home = folder.rstrip("/")
        here = str(self._system._strip_protocol(home)).strip("/")
        rows: Sequence[dict[str, Any]] = self._system.ls(home, detail=True)
        folders, files = [], []
        for row in sorted(rows, key=lambda each: str(each["name"])):
            path = str(row["name"]).strip("/")
            name = path.rpartition("/")[2]
            marker = path == here or (row["type"] != "directory" and row["name"].endswith("/"))
            if marker and row["type"] == "directory":
                raise OSError("it has a folder without a name, which cannot be listed; rename its objects")
            if marker or not name or name.startswith("."):  # markers are empty objects in the place of folders
                continue
            if row["type"] == "directory":
                folders.append(f"{home}/{name}")
            else:
                files.append(_remote_fact(name, row))
        return folders, files

    def fact(self, place: str) -> FileFact | None:
        """See `Files`."""
        row = self._system.info(place)
        return None if row["type"] == "directory" else _remote_fact(place.rpartition("/")[2], row)

    def begins_as_dicom(self, place: str) -> bool:
        """See `Files`; one request for every file would cost more than the listing."""
        return False


def _remote_fact(name: str, row: dict[str, Any]) -> FileFact:
    tag = next((row[each] for each in TAGS if row.get(each)), "")
    return FileFact(name, int(row.get("size") or 0), str(tag))


class PathPattern:
    """A pattern of paths: * is any letters of a name, ** any folders, ? a letter, [0-9] one of some.

    >>> found = PathPattern("/a/*/x.png")
    >>> found.takes("/a/b/x.png"), found.takes("/a/b/c/x.png"), found.leads_to("/a/b"), found.leads_to("/a/b/c")
    (True, False, True, False)

    Args:
        pattern: Such as "/a/**/*.png".

    Raises:
        ConfigError: If it is none.
    """

    def __init__(self, pattern: str) -> None:
        parts = pattern.split("/")
        fixed = next((number for number, part in enumerate(parts) if "**" in part), len(parts) - 1)
        try:
            self._whole = _to_expression(pattern)
            self._folders = [_to_expression("/".join(parts[: number + 1])) for number in range(fixed)]
        except re.error as error:
            raise ConfigError(
                f"{pattern}: is no pattern ({error}); expected *, **, ? and letters in brackets, such as [0-9]."
            ) from error
        self._deep = "**" in pattern
        self.root = "/".join(parts[: next(number for number, part in enumerate(parts) if MAGIC.search(part))]) or "/"
        """The folder below which everything lies that matches."""

    def takes(self, path: str) -> bool:
        """Whether a file matches."""
        return self._whole.fullmatch(path) is not None

    def leads_to(self, folder: str) -> bool:
        """Whether anything below a folder can match."""
        depth = folder.count("/")
        return self._folders[depth].fullmatch(folder) is not None if depth < len(self._folders) else self._deep


def _to_expression(pattern: str) -> re.Pattern[str]:
    """A pattern of a path as a regular expression.

    >>> bool(_to_expression("/a/**/*.png").fullmatch("/a/b.png")), bool(_to_expression("/a/*").fullmatch("/a/b/c"))
    (True, False)
    """
    told = ""
    for part in re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]*\])", pattern):
        known = {"**/": "(?:.+/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
        told += known.get(part) or (_to_class(part[1:-1]) if part.startswith("[") and part[1:] else re.escape(part))
    return re.compile(told, re.DOTALL)


def _to_class(letters: str) -> str:
    """Letters in brackets as a regular expression; "!" in front takes all others."""
    others = letters.startswith("!")
    inner = re.sub(r"([\\\[^&~|])", r"\\\1", letters.removeprefix("!"))
    if not inner:
        raise re.error("brackets without a letter")
    return f"[{'^' if others else ''}{inner}]"
