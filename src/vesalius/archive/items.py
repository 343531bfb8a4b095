"""Work items, what identifies them, and sets of millions of such keys."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEY_BYTES = 16
NAME_BYTES = 12
"""Bytes of a key that come from the name; the rest comes from the state of the files."""
LOOSE = 65_536
"""Keys that are added before a set is sorted again."""
STATE_BITS, STATE_MASK = np.uint64(32), np.uint64(0xFFFFFFFF)
_HALF = np.dtype(">u8")


@dataclass(frozen=True)
class FileFact:
    """A file as a listing shows it."""

    name: str
    """Name in its folder."""
    size: int
    """Bytes."""
    version: str
    """Time of its last change in nanoseconds, or the store's tag; differs once the content was changed."""


@dataclass(frozen=True)
class WorkItem:
    """Files that are read together: a picture, a volume, or the DICOM files of a folder or series."""

    name: str
    """Path below the source, which identifies the item."""
    folder: str
    """Address of the folder, or of the DICOMweb service."""
    files: tuple[str, ...]
    """Names in the folder, sorted; of a series of a DICOMweb service its study and its own UID."""
    size: int
    """Bytes of all files; 0 if unknown."""
    key: str
    """Hexadecimal: 12 bytes of the name's hash, 4 of that of names, sizes and versions of the files."""
    dicom: bool = False
    """Whether the files are DICOM, which belong to series."""
    problem: str = ""
    """Why it cannot be read, if that showed when it was listed."""

    @staticmethod
    def make(name: str, folder: str, files: Sequence[FileFact], *, dicom: bool = False) -> "WorkItem":
        """An item of some files of one folder."""
        ordered = sorted(files, key=lambda each: each.name)
        facts = "\n".join(f"{each.name}\0{each.size}\0{each.version}" for each in ordered)
        key = _digest(name, NAME_BYTES) + _digest(facts, KEY_BYTES - NAME_BYTES)
        names = tuple(each.name for each in ordered)
        return WorkItem(name, folder, names, sum(each.size for each in ordered), key.hex(), dicom)

    def with_files(self, files: tuple[str, ...]) -> "WorkItem":
        """The same under other names of its files."""
        return replace(self, files=files)

    def with_problem(self, problem: str) -> "WorkItem":
        """The same, which cannot be read."""
        return replace(self, problem=problem)

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> "WorkItem":
        """The item of a ``to_dict``."""
        return WorkItem(**{**content, "files": tuple(content["files"])})


def _digest(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=size).digest()


class KeySet:
    """A set of keys of work items in 16 bytes each, in a few sorted arrays that double in size.

    >>> known = KeySet()
    >>> known.add(bytes(16)), known.add(bytes(16))
    (True, False)
    >>> bytes(16) in known, known.knows_name(bytes(12) + b"last"), known.knows_name(b"another name" + bytes(4))
    (True, True, False)
    """

    def __init__(self) -> None:
        self._levels: list[NDArray[np.uint64]] = []
        self._loose: dict[bytes, set[bytes]] = {}
        self._count = 0

    def __len__(self) -> int:
        return sum(map(len, self._levels)) + self._count

    def __contains__(self, key: object) -> bool:
        assert isinstance(key, bytes)
        return key[NAME_BYTES:] in self._states(key)

    def knows_name(self, key: bytes) -> bool:
        """Whether an item of the same name is there, in whatever state."""
        return bool(self._states(key))

    def add(self, key: bytes) -> bool:
        """Add a key; whether it was new."""
        if key in self:
            return False
        self._loose.setdefault(key[:NAME_BYTES], set()).add(key[NAME_BYTES:])
        self._count += 1
        if self._count >= LOOSE:
            raw = b"".join(name + state for name, states in self._loose.items() for state in states)
            self._loose, self._count = {}, 0
            self.add_many(raw)
        return True

    def add_many(self, raw: bytes) -> None:
        """Add keys that are not there yet, joined to one text of bytes."""
        new = np.frombuffer(raw, _HALF).astype(np.uint64).reshape(-1, 2)
        while self._levels and len(self._levels[-1]) < 2 * len(new):
            new = np.concatenate([self._levels.pop(), new])
        if len(new):
            self._levels.append(new[np.lexsort((new[:, 1], new[:, 0]))])

    def _states(self, key: bytes) -> set[bytes]:
        """The states in which an item of this name is there."""
        found = set(self._loose.get(key[:NAME_BYTES], ()))
        high, low = np.frombuffer(key, _HALF).astype(np.uint64)
        for level in self._levels:
            first, last = (int(np.searchsorted(level[:, 0], high, side)) for side in ("left", "right"))
            same = level[first:last, 1] >> STATE_BITS == low >> STATE_BITS
            found.update(int(each & STATE_MASK).to_bytes(4, "big") for each in level[first:last, 1][same])
        return found
