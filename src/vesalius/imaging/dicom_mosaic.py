"""Siemens mosaics: the slices of a volume side by side in one picture, and the private header that takes them apart."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from vesalius.errors import ImageError
from vesalius.imaging.dicom_attributes import FrameAttributes

_CREATOR = "SIEMENS CSA HEADER"
_TAG = struct.Struct("<64si4s3i")
_ITEM = struct.Struct("<4i")
_MOST_TAGS = 4096
"""A header holds about a hundred."""


@dataclass(frozen=True, eq=False)
class Mosaic:
    """How a mosaic is laid out; directions and positions are DICOM's LPS mm."""

    count: int
    """Slices; the last tiles of the square may be empty."""
    per_side: int
    """Tiles in a row, and rows of tiles."""
    shape: tuple[int, int]
    """Rows and columns of a tile."""
    position: NDArray[np.float64]
    """Centre of the first pixel of the first tile, [3]."""
    step: NDArray[np.float64]
    """From a slice to the next, [3]."""

    def corner(self, index: int) -> tuple[int, int]:
        """First row and column of a tile."""
        return index // self.per_side * self.shape[0], index % self.per_side * self.shape[1]


def find_mosaic(frame: FrameAttributes, path: object) -> Mosaic | None:
    """Lay out a mosaic.

    Args:
        frame: The one frame of a file.
        path: The file, for the message.

    Returns:
        None if the image type names no mosaic.

    Raises:
        ImageError: If the private header does not say how many slices there are and where.
    """
    if "MOSAIC" not in frame.text("ImageType").upper().split("\\"):
        return None
    told = read_csa(frame.dataset)
    count, normal = int(next(iter(_numbers(told, "NumberOfImagesInMosaic")), 0)), _numbers(told, "SliceNormalVector")
    size, spacing = (int(frame.number("Rows") or 0), int(frame.number("Columns") or 0)), frame.spacing
    if count < 1 or not _is_direction(normal) or frame.orientation is None or frame.position is None or spacing is None:
        raise ImageError(
            f"{path}: is a mosaic of slices, and the private header (CSA) that says how many and where is missing or "
            "incomplete. Export it with its private attributes, or convert it to NIfTI."
        )
    per_side = math.ceil(math.sqrt(count))
    if size[0] % per_side or size[1] % per_side:
        raise ImageError(f"{path}: is a mosaic of {count} slices, which its {size[0]}×{size[1]} pixels do not divide.")
    rows, columns = size[0] // per_side, size[1] // per_side
    # The header gives the corner of a single slice as large as the mosaic, with the same centre.
    along_columns, along_rows = frame.orientation[:3], frame.orientation[3:]
    position = frame.position + along_rows * spacing[0] * (size[0] - rows) / 2
    position = position + along_columns * spacing[1] * (size[1] - columns) / 2
    step = np.array(normal) / np.linalg.norm(normal) * frame.thickness
    return Mosaic(count, per_side, (rows, columns), position, step)


def read_csa(dataset: Dataset) -> dict[str, list[str]]:
    """Read the private image header of Siemens scanners, in either of its two layouts.

    Args:
        dataset: Header of a file.

    Returns:
        Values by name, those of absent elements left out; {} if there is no such header, or it is damaged.
    """
    try:
        content = bytes(dataset.private_block(0x0029, _CREATOR)[0x10].value)
        return dict(_csa_elements(content))
    except (KeyError, TypeError, ValueError, struct.error):
        return {}


def _csa_elements(content: bytes) -> list[tuple[str, list[str]]]:
    second = content[:4] == b"SV10"
    at = 8 if second else 0
    (count,) = struct.unpack_from("<i", content, at)
    if not 0 < count <= _MOST_TAGS:
        raise ValueError(f"{count} elements")
    at, first_items, elements = at + 8, None, []
    for _ in range(count):
        name, multiplicity, _, _, items, _ = _TAG.unpack_from(content, at)
        at += _TAG.size
        first_items = items if first_items is None else first_items
        values: list[str] = []
        for _ in range(items):
            lengths = _ITEM.unpack_from(content, at)
            length = lengths[1] if second else lengths[0] - first_items
            at += _ITEM.size
            if not second and not 0 <= length <= len(content) - at:
                break  # the first layout has items without a value
            if at + length > len(content):
                raise ValueError("a value beyond the end")
            values.append(_text(content[at : at + length]))
            at += -(-length // 4) * 4
        elements.append((_text(name), [value for value in values if value][: multiplicity or None]))
    return elements


def _text(content: bytes) -> str:
    return content.split(b"\0")[0].decode("latin-1").strip()


def _numbers(told: dict[str, list[str]], name: str) -> Sequence[float]:
    try:
        numbers = [float(value) for value in told.get(name, [])]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


def _is_direction(vector: Sequence[float]) -> bool:
    return len(vector) == 3 and 0.5 < math.hypot(*vector) < 2
