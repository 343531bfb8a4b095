"""What the stored values of a mask say, and what is left of them when it is read as inside and outside."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vesalius.imaging import read_image, read_mask

COLOURED = 64
"""A mask whose channels differ by more anywhere is in colour; less is what JPEG does to grey."""
NEAR = 0.125
"""Values so close to black or white, as a share of the range, are what JPEG makes of black and white …"""
BLURRED = 0.05
"""… as long as no larger share of the pixels lies between, where scaling has blurred the outline."""
MIXED = 0.25
"""A file in colour in which more of the pixels lie between is a photograph; JPEG blurs colours further than grey."""
LABELS = 32
"""A grey file with so many levels or fewer holds labels, one with more is a picture."""
LISTED = 256


class ValueKind(StrEnum):
    """What the values of a mask are."""

    BINARY = "binary"
    """0 and 1, 0 and 255, or 0 and 65535; or one of them alone."""
    ARTEFACTS = "artefacts"
    """Black and white with values around them, as JPEG and smooth scaling leave."""
    LABELS = "labels"
    """A few levels, one a class."""
    COLOUR = "colour"
    """Pure colours, such as red and green, one a class."""
    PICTURE = "picture"
    """Many shades or mixed colours: a photograph or a probability."""


@dataclass(frozen=True)
class MaskFacts:
    """A mask that could be read."""

    size: tuple[int, int]
    """Height and width."""
    share: float
    """Pixels inside, of all."""
    kind: ValueKind
    values: tuple[float, ...]
    """The distinct stored values, ascending, the first 256; of colour masks, those of the brightest channel."""
    between: float
    """Pixels whose value is not near black or white (in colour: in any channel), of all."""


def examine_mask(path: Path) -> MaskFacts:
    """Read a mask as training does, and look at the values it was made from.

    Raises:
        ImageError: If it cannot be read.
    """
    stored = read_image(path).pixels[0]
    mask = read_mask(path)
    kind, values, between = judge_values(stored)
    return MaskFacts(
        size=(mask.shape[0], mask.shape[1]),
        share=float(mask.mean()),
        kind=kind,
        values=tuple(values[:LISTED].tolist()),
        between=between,
    )


def judge_values(stored: NDArray[np.generic]) -> tuple[ValueKind, NDArray[np.generic], float]:
    """What the values of a mask are.

    Args:
        stored: [H, W] or [H, W, 3], as in the file.

    Returns:
        The kind; the distinct values, ascending, in colour those of the brightest channel; the share of pixels between
        black and white.
    """
    grey = stored.max(axis=2) if stored.ndim == 3 else stored
    values, between = np.unique(grey), _between(stored)
    kind = _judge_colour(between) if _is_coloured(stored) else _judge_grey(values, _white(grey), between)
    return kind, values, between


def _white(values: NDArray[np.generic]) -> float:
    """The value that stands for inside."""
    if values.max() <= 1:
        return 1.0
    return 65535.0 if values.dtype == np.uint16 else 255.0


def _between(stored: NDArray[np.generic]) -> float:
    parts = stored.astype(np.float32) / _white(stored)
    middle = (parts > NEAR) & (parts < 1 - NEAR)
    return float((middle.any(axis=2) if middle.ndim == 3 else middle).mean())


def _is_coloured(stored: NDArray[np.generic]) -> bool:
    return stored.ndim == 3 and bool((stored.max(axis=2).astype(int) - stored.min(axis=2)).max() > COLOURED)


def _judge_colour(between: float) -> ValueKind:
    return ValueKind.COLOUR if between <= MIXED else ValueKind.PICTURE


def _judge_grey(values: NDArray[np.generic], white: float, between: float) -> ValueKind:
    if set(values.tolist()) <= {0, white}:
        return ValueKind.BINARY
    if between <= BLURRED and values.min() <= NEAR * white and values.max() >= (1 - NEAR) * white:
        return ValueKind.ARTEFACTS
    return ValueKind.LABELS if len(values) <= LABELS else ValueKind.PICTURE
