"""Planes of numbers at another size: bilinear, and antialiased when shrinking, as PyTorch's ``interpolate``."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
_Real = TypeVar("_Real", bound=np.floating)


def resize_plane(plane: Floats, size: tuple[int, int], rows: slice | None = None) -> Floats:
    """Resample real numbers.

    Args:
        plane: [h, w].
        size: H and W to have.
        rows: The only ones of H that are wanted, all by default.

    Returns:
        [H, W], or as many rows as are wanted.
    """
    height, width = plane.shape
    if (height, width) == size:
        return plane if rows is None else plane[rows]
    first, last = (0, size[0]) if rows is None else (rows.start, rows.stop)
    scale = height / size[0]
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    box = (0, first * scale, width, last * scale)
    return np.asarray(image.resize((size[1], last - first), Image.Resampling.BILINEAR, box=box))


def resize_rgb(rgb: Floats, side: int) -> Floats:
    """[H, W, 3] -> [side, side, 3]."""
    if rgb.shape[:2] == (side, side):
        return rgb
    return np.stack([resize_plane(rgb[..., channel], (side, side)) for channel in range(3)], axis=-1)


def sigmoid(logits: NDArray[_Real]) -> NDArray[_Real]:
    """Log-odds to probabilities, whatever their size."""
    found: NDArray[_Real] = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
    return found
