"""What keeps reading safe and honest: size limits, sizes that compressed pixels state, notices, and quiet libraries."""

import logging
import os
import threading
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, cast

from vesalius.errors import ConfigError, ImageError, ImageNotice

BYTES_PER_MEGABYTE = 2**20


@dataclass(frozen=True)
class Limit:
    """A limit that an environment variable can raise or lower."""

    variable: str
    """Environment variable; a positive whole number."""
    default: int
    """The limit where the variable is not set."""
    unit: str
    """Name of what is counted."""

    @property
    def value(self) -> int:
        """The limit in force.

        Raises:
            ConfigError: If the variable holds no positive whole number.
        """
        text = os.environ.get(self.variable, "").strip()
        if not text:
            return self.default
        if not text.isdecimal() or int(text) == 0:
            raise ConfigError(f"{self.variable}: expected a positive whole number ({self.unit}), got '{text}'.")
        return int(text)

    def check(self, count: int, source: Path) -> None:
        """Refuse what exceeds the limit.

        Args:
            count: How many there are.
            source: What the message names.

        Raises:
            ImageError: If there are more than the limit; the message says how to raise it.
        """
        if count > self.value:
            raise ImageError(
                f"{source}: has {count:,} {self.unit}, more than the limit of {self.value:,}. Make it smaller, or "
                f"raise the limit: set the environment variable {self.variable} to {count} or more."
            )


PIXELS = Limit("VESALIUS_MAX_PIXELS", 100_000_000, "pixels in one picture")
"""Rows times columns of one picture or slice."""

FRAMES = Limit("VESALIUS_MAX_FRAMES", 20_000, "frames or slices")
"""Frames of one file, or slices of one series."""

MEGABYTES = Limit("VESALIUS_MAX_MEGABYTES", 1024, "megabytes of pixels to hold in memory at once")
"""Decoded pixels that are held in memory at once; more are read slice by slice where that is possible."""

KEPT_MEGABYTES = Limit("VESALIUS_KEPT_MEGABYTES", 128, "megabytes of pixels to keep in memory")
"""Images whose pixels take up to this much are decoded once and kept; larger ones are decoded slice by slice."""


def megabytes(size: int) -> int:
    """Bytes as megabytes, rounded up."""
    return -(-size // BYTES_PER_MEGABYTE)


_HUFFMAN = {0xC0: 512, 0xC1: 512, 0xC2: 512, 0xC3: 8}
"""JPEG's markers of Huffman-coded frames, and the largest number of pixels that a byte can encode: each block of 64, or
in lossless frames each pixel, takes a bit or more."""
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""All markers of frames; the last is JPEG-LS's."""
_ALONE = {0x01, *range(0xD0, 0xD9)}
"""Markers without a length."""
_CODESTREAM = b"\xff\x4f\xff\x51"
"""First bytes of JPEG 2000, alone or after a few boxes."""
_BOXES = 4096
"""Bytes that these boxes take at most."""

MAX_RUN = 64
"""Largest number of bytes that a byte of run-length coding gives."""


@dataclass(frozen=True)
class StatedSize:
    """The size in the header of a JPEG or JPEG 2000 picture."""

    rows: int
    columns: int
    samples: int
    """Number of values a pixel."""
    pixels_a_byte: int | None = None
    """Largest number of pixels that a byte can encode; None without a limit."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and values a pixel."""
        return self.rows, self.columns, self.samples

    def fits_in(self, size: int) -> bool:
        """Whether a stream of so many bytes may hold all pixels."""
        return self.pixels_a_byte is None or self.rows * self.columns <= self.pixels_a_byte * size


def read_stated_size(stream: BinaryIO) -> StatedSize | None:
    """Look for the header of a JPEG, JPEG-LS or JPEG 2000 picture.

    Args:
        stream: At its beginning; it may be left anywhere.

    Returns:
        None if it is something else, damaged, or leaves its height to the end, as JPEG may.
    """
    start = stream.read(_BOXES)
    at = start.find(_CODESTREAM)
    if at >= 0:
        return _read_codestream(start[at + len(_CODESTREAM) :])
    stream.seek(2 - len(start), os.SEEK_CUR)
    return _read_jpeg(stream) if start[:2] == b"\xff\xd8" else None


def _read_codestream(header: bytes) -> StatedSize | None:
    if len(header) < 38:
        return None
    right, bottom, left, top = (int.from_bytes(header[at : at + 4], "big") for at in (4, 8, 12, 16))
    return StatedSize(bottom - top, right - left, int.from_bytes(header[36:38], "big"))


def _read_jpeg(stream: BinaryIO) -> StatedSize | None:
    """Read markers as far as the first frame."""
    while byte := stream.read(1):
        if byte != b"\xff":
            continue  # decoders skip what lies between
        while (kind := stream.read(1)) == b"\xff":
            pass
        marker = int.from_bytes(kind, "big")
        if marker in _FRAMES:
            return _read_frame(stream.read(8), _HUFFMAN.get(marker))
        if marker and marker not in _ALONE:
            length = int.from_bytes(stream.read(2), "big")
            stream.seek(max(0, length - 2), os.SEEK_CUR)
    return None


def _read_frame(header: bytes, pixels_a_byte: int | None) -> StatedSize | None:
    if len(header) < 8:
        return None
    rows, columns = int.from_bytes(header[3:5], "big"), int.from_bytes(header[5:7], "big")
    return StatedSize(rows, columns, header[7], pixels_a_byte) if rows else None


@dataclass(frozen=True)
class Notice:
    """One thing that was left out of an image or guessed.

    Example:
        >>> str(Notice("slices left out", "they form another stack", "Choose it with stack 2", count=4, total=6))
        '4 of 6 slices left out: they form another stack. Choose it with stack 2.'
    """

    what: str
    """What was left out or guessed, such as "slices left out"."""
    why: str
    """The reason, as a phrase without a full stop."""
    remedy: str = ""
    """How to choose otherwise, as a sentence without a full stop; "" if that is impossible."""
    count: int | None = None
    """Number of items concerned; None if nothing was counted."""
    total: int | None = None
    """Number of all items."""

    def __str__(self) -> str:
        counted = "" if self.count is None else f"{self.count} of {self.total} "
        return f"{counted}{self.what}: {self.why}." + (f" {self.remedy}." if self.remedy else "")

    def to_dict(self) -> dict[str, object]:
        """The notice as JSON's types, with the whole line as ``message``."""
        return {**asdict(self), "message": str(self)}


FILES_LEFT_OUT = "DICOM files left out"
"""What the notice says of files of a series that cannot be read."""


def warn_of(notices: Iterable[Notice], source: Path) -> None:
    """Issue one warning of the category `ImageNotice` for each notice; filters are left as they are.

    Args:
        notices: Of an image.
        source: File or folder it came from.
    """
    for notice in notices:
        warnings.warn(f"{source}: {notice}", ImageNotice, stacklevel=3)


_LOCK = threading.Lock()
_DEPTH: Counter[str] = Counter()
_PLACED: dict[str, tuple[list[object], object]] = {}
_MARK = "(?#vesalius)"
"""Tells the package's filter from those of others, so that only it is removed."""


@contextmanager
def quiet(package: str) -> Iterator[None]:
    """Silence all warnings that a package issues, until the last thread inside has left.

    ``warnings.catch_warnings`` saves and restores all filters; where threads overlap, the last to leave restores what
    another had set for a moment. Here the first to enter places one filter and the last to leave removes that one.

    Args:
        package: Name of the package whose modules are silenced.
    """
    with _LOCK:
        if not _DEPTH[package]:
            warnings.filterwarnings("ignore", category=Warning, module=rf"{package}\b{_MARK}")
            filters = cast("list[object]", warnings.filters)  # a list in every Python
            _PLACED[package] = filters, filters[0]
        _DEPTH[package] += 1
    try:
        yield
    finally:
        with _LOCK:
            _DEPTH[package] -= 1
            if not _DEPTH[package]:
                filters, placed = _PLACED.pop(package)
                for each in (filters, cast("list[object]", warnings.filters)):
                    if placed in each:
                        each.remove(placed)


class _Overhearing(logging.Filter, threading.local):
    """Takes the records of a thread that listens, and lets those of others pass."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        if self.heard is not None and record.getMessage() not in self.heard:
            self.heard.append(record.getMessage())
        return self.heard is None


_OVERHEARING: dict[str, _Overhearing] = {}


@contextmanager
def overheard(logger: str) -> Iterator[list[str]]:
    """Collect what a library logs on this thread instead of letting its handler write it to the terminal.

    Args:
        logger: Name of the library's logger.

    Yields:
        The messages so far, each once.
    """
    with _LOCK:
        if logger not in _OVERHEARING:
            _OVERHEARING[logger] = _Overhearing()
            logging.getLogger(logger).addFilter(_OVERHEARING[logger])
    ear, before = _OVERHEARING[logger], _OVERHEARING[logger].heard
    ear.heard = []
    try:
        yield ear.heard
    finally:
        ear.heard = before
