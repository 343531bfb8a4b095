"""Masks as COCO writes them: run lengths down the columns, plain or packed into text."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.errors import DataError


def decode_rle(counts: str | Sequence[int], size: Sequence[int]) -> NDArray[np.bool_]:
    """Unpack a mask.

    Args:
        counts: Lengths of runs of 0 and 1 in turn, beginning with 0, down the first column, then the second …; a list,
            or text in which each number takes as many characters as it needs, five bits each, low bits first, from
            the third on as the difference to the number two before.
        size: Rows and columns.

    Returns:
        Mask [H, W].

    Raises:
        DataError: If the runs do not fill the size.

    Example:
        >>> decode_rle([1, 2, 1], [2, 2]).tolist()
        [[False, True], [True, False]]
    """
    height, width = _check_size(size)
    runs = _unpack(counts) if isinstance(counts, str) else [int(run) for run in counts]
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise DataError(f"run lengths sum up to {sum(runs)}, expected {height} × {width} = {height * width}.")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape((height, width), order="F")


def _check_size(size: Sequence[int]) -> tuple[int, int]:
    whole = len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)
    if not whole or size[0] * size[1] > (Image.MAX_IMAGE_PIXELS or 2**31):
        raise DataError(f"expected the size [height, width] of a picture, got {list(size)}.")
    return size[0], size[1]


def _unpack(text: str) -> list[int]:
    runs: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise DataError(f"run lengths hold {character!r}, which COCO's packed text cannot.")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        signed = number - (1 << shift) if bits & 16 else number
        runs.append(signed + (runs[-2] if len(runs) > 2 else 0))
        number = shift = 0
    return runs
