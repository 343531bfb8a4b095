"""A short description of what a picture shows, in which copies agree and other pictures differ.

The picture in grey is scaled to 64 × 64, and every pixel becomes its difference from its neighbourhood's mean in units
of the neighbourhood's standard deviation. This leaves structure and takes out brightness, contrast and the bright and
dark regions that all pictures of one kind share (the round field of an endoscope, the fan of an ultrasound probe). The
low frequencies of its cosine transform, scaled to length 1, are the signature; the product of two signatures is the
correlation of the two pictures. Mirroring a picture only changes signs in it and turning it by 90° transposes it, so
one signature serves all eight orientations.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Signature = NDArray[np.float32]
"""Cosine coefficients [KEPT, KEPT], of length 1; all zero for a picture of one shade."""

SIDE = 64
"""Pixels a side of the picture that is compared."""
KEPT = 24
"""Frequencies kept along each axis."""
RADIUS = 5
"""A neighbourhood reaches so many pixels in each direction."""
FLOOR = 3.0
"""Added to a neighbourhood's standard deviation (of 0–255), so that noise in flat regions stays small."""


def signature(levels: NDArray[np.uint8]) -> Signature:
    """The signature of a picture.

    Args:
        levels: Picture [H, W] or [H, W, 3], 0–255.
    """
    small = np.asarray(Image.fromarray(levels).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
    if small.min() == small.max():
        return np.zeros((KEPT, KEPT), np.float32)
    coefficients = _cosines() @ _local_contrast(small) @ _cosines().T
    return np.divide(coefficients, np.linalg.norm(coefficients), dtype=np.float32)


def _local_contrast(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    mean = _neighbourhood()
    difference = grey - mean @ grey @ mean.T
    spread = np.sqrt(mean @ difference**2 @ mean.T)
    return np.divide(difference, spread + FLOOR, dtype=np.float32)


@cache
def _neighbourhood() -> NDArray[np.float32]:
    """Takes the mean over a neighbourhood along one axis, the picture mirrored at its edges; [SIDE, SIDE]."""
    matrix = np.zeros((SIDE, SIDE), np.float32)
    for centre in range(SIDE):
        for place in range(centre - RADIUS, centre + RADIUS + 1):
            matrix[centre, min(abs(place), 2 * (SIDE - 1) - place)] += 1 / (2 * RADIUS + 1)
    return matrix


@cache
def _cosines() -> NDArray[np.float32]:
    """The first rows of the orthonormal cosine transform (DCT-II), [KEPT, SIDE]."""
    frequency, position = np.arange(KEPT)[:, None], np.arange(SIDE)[None]
    basis = np.cos(np.pi * (2 * position + 1) * frequency / (2 * SIDE)) * np.sqrt(2 / SIDE)
    basis[0] /= np.sqrt(2)
    small: NDArray[np.float32] = basis.astype(np.float32)
    return small
