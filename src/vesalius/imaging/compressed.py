"""What compressed pixels say of their own size, read before a decoder makes room for it."""

import os
from dataclasses import dataclass
from typing import BinaryIO

_HUFFMAN = {0xC0: 512, 0xC1: 512, 0xC2: 512, 0xC3: 8}
"""JPEG's markers of frames in Huffman codes, and how many pixels a byte can give at most: each block of 64, or in
lossless frames each pixel, takes a bit or more."""
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""All markers of frames; the last is JPEG-LS's."""
_ALONE = {0x01, *range(0xD0, 0xD9)}
"""Markers without a length."""
_CODESTREAM = b"\xff\x4f\xff\x51"
"""How JPEG 2000 begins, alone or after a few boxes."""
_BOXES = 4096
"""Bytes that these take at most."""

DENSEST_RUN = 64
"""Bytes that a byte of run-length coding gives at most."""


@dataclass(frozen=True)
class StatedSize:
    """What the header of a JPEG or JPEG 2000 picture says."""

    rows: int
    columns: int
    samples: int
    """Values a pixel."""
    densest: int | None = None
    """Pixels that a byte can give at most; None where nothing limits that."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and values a pixel."""
        return self.rows, self.columns, self.samples

    def fits_in(self, size: int) -> bool:
        """Whether a stream of so many bytes may hold all pixels."""
        return self.densest is None or self.rows * self.columns <= self.densest * size


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
    """From one marker to the next, as far as the first frame."""
    while byte := stream.read(1):
        if byte != b"\xff":
            continue  # decoders pass over what lies between
        while (kind := stream.read(1)) == b"\xff":
            pass
        marker = int.from_bytes(kind, "big")
        if marker in _FRAMES:
            return _read_frame(stream.read(8), _HUFFMAN.get(marker))
        if marker and marker not in _ALONE:
            length = int.from_bytes(stream.read(2), "big")
            stream.seek(max(0, length - 2), os.SEEK_CUR)
    return None


def _read_frame(header: bytes, densest: int | None) -> StatedSize | None:
    if len(header) < 8:
        return None
    rows, columns = int.from_bytes(header[3:5], "big"), int.from_bytes(header[5:7], "big")
    return StatedSize(rows, columns, header[7], densest) if rows else None
