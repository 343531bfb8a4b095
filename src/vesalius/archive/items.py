"""Work items, what identifies them, and sets of millions of such keys."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

KEY_BYTES = 16
NAME_BYTES = 12
"""Bytes of a key that come from the name; the rest comes from the state of the files."""
LOOSE = 65_536
"""Keys that are added before a set is sorted again."""
STATE_BITS = np.uint64(32)
_HALF = np.dtype(">u8")


@dataclass(frozen=True)
class FileFact:
    """A file as a listing shows it."""

    name: str
    """Name in its folder."""
    size: int
    """Size in bytes."""
    version: str
    """Time of its last change in nanoseconds, or the store's tag; differs once the content was changed."""
    broken: bool = False
    """Whether it is a link to nothing, as git-annex has in the place of files that are elsewhere."""


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
    instances: int | None = None
    """How many files a DICOMweb service says that the series has; None if it does not, and elsewhere."""
    only: tuple[str, ...] = ()
    """What of it failed before and is to be tried again, as its failures name it; all of it if empty."""

    @staticmethod
    def make(name: str, folder: str, files: Sequence[FileFact], *, dicom: bool = False) -> "WorkItem":
        """An item of some files of one folder."""
        ordered = sorted(files, key=lambda each: each.name)
        facts = "\n".join(f"{each.name}\0{each.size}\0{each.version}" for each in ordered)
        key = digest(name, NAME_BYTES) + digest(facts, KEY_BYTES - NAME_BYTES)
        names = tuple(each.name for each in ordered)
        return WorkItem(name, folder, names, sum(each.size for each in ordered), key.hex(), dicom)

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> "WorkItem":
        """The item of a ``to_dict``."""
        return WorkItem(**{**content, "files": tuple(content["files"]), "only": tuple(content["only"])})


def digest(text: str, size: int) -> bytes:
    """A hash of a text, in so many bytes."""
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=size).digest()


class KeyState(NamedTuple):
    """What a set held of a key."""

    named: bool
    """Whether an item of the same name was there, in whatever state."""
    known: bool
    """Whether the key itself was there."""


class KeySet:
    """A set of keys of work items in 16 bytes each, in a few sorted arrays that double in size.

    >>> known = KeySet()
    >>> [each.known for each in known.add_all([bytes(16), bytes(16)])]
    [False, True]
    >>> [tuple(each) for each in known.find([bytes(16), bytes(12) + b"last", b"another name" + bytes(4)])]
    [(True, True), (True, False), (False, False)]
    """

    def __init__(self) -> None:
        self._levels: list[tuple[NDArray[np.uint64], NDArray[np.uint64]]] = []
        self._loose: dict[bytes, set[bytes]] = {}
        self._count = 0

    def __len__(self) -> int:
        return sum(len(high) for high, _ in self._levels) + self._count

    def find(self, keys: Sequence[bytes]) -> list[KeyState]:
        """What is there of each key."""
        return [self._with_loose(key, state) for key, state in zip(keys, self._sorted(keys), strict=True)]

    def add_all(self, keys: Sequence[bytes]) -> list[KeyState]:
        """Add keys one after the other; what was there of each before."""
        found = []
        for key, state in zip(keys, self._sorted(keys), strict=True):
            before = self._with_loose(key, state)
            found.append(before)
            if not before.known:
                self._loose.setdefault(key[:NAME_BYTES], set()).add(key[NAME_BYTES:])
                self._count += 1
        if self._count >= LOOSE:
            raw = b"".join(name + state for name, states in self._loose.items() for state in states)
            self._loose, self._count = {}, 0
            self.add_many(raw)
        return found

    def add_many(self, raw: bytes) -> None:
        """Add keys that are not there yet, joined to one text of bytes."""
        high, low = _halves(raw)
        while self._levels and len(self._levels[-1][0]) < 2 * len(high):
            high, low = (np.concatenate(pair) for pair in zip(self._levels.pop(), (high, low), strict=True))
        if len(high):
            order = np.lexsort((low, high))
            self._levels.append((high[order], low[order]))

    def _with_loose(self, key: bytes, state: KeyState) -> KeyState:
        states = self._loose.get(key[:NAME_BYTES], ())
        return KeyState(state.named or bool(states), state.known or key[NAME_BYTES:] in states)

    def _sorted(self, keys: Sequence[bytes]) -> Iterator[KeyState]:
        """What the sorted arrays hold of each key."""
        high, low = _halves(b"".join(keys))
        named, known = np.zeros(len(keys), np.bool_), np.zeros(len(keys), np.bool_)
        for level_high, level_low in self._levels:
            first, last = (np.searchsorted(level_high, high, side) for side in ("left", "right"))
            for further in range(int((last - first).max(initial=0))):  # of one name there may be several states
                place = first + further
                there = level_low[np.minimum(place, len(level_low) - 1)]
                named |= (place < last) & (there >> STATE_BITS == low >> STATE_BITS)
                known |= (place < last) & (there == low)
        return map(KeyState, named.tolist(), known.tolist())


def _halves(raw: bytes) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The first and the last eight bytes of each key."""
    pairs = np.frombuffer(raw, _HALF).astype(np.uint64).reshape(-1, 2)
    return pairs[:, 0].copy(), pairs[:, 1].copy()
