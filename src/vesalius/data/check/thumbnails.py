"""Small pictures that a page carries within itself."""

import base64
import io
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.data.check.image_facts import to_levels
from vesalius.errors import ImageError, MissingPackageError
from vesalius.imaging import overlay, read_image, read_mask
from vesalius.imaging.display import shrink

SIDE = 200
"""Pixels of the longer side."""
QUALITY = 78
"""Of JPEG, 1 to 95."""
FILL = 0.12
"""How strongly the inside of a mask is painted; what lies under it should stay visible."""
KEPT = 512
"""Thumbnails kept for pictures that occur in several findings."""


@lru_cache(maxsize=KEPT)
def thumbnail(image: Path, mask: Path | None) -> str | None:
    """A picture as a ``data:`` address, its mask outlined where there is one of its size; None if it cannot be read."""
    shade = _read_mask(mask) if mask else None
    try:
        levels = to_levels(read_image(image))
    except (ImageError, MissingPackageError):
        return None if shade is None else _encode(shade.astype(np.uint8) * 255)
    rgb = np.asarray(Image.fromarray(levels).convert("RGB"))
    small = shrink(rgb, SIDE, Image.Resampling.BOX)
    if shade is not None and shade.shape == rgb.shape[:2]:
        small = overlay(small, shrink(shade.astype(np.uint8), SIDE, Image.Resampling.NEAREST) > 0, alpha=FILL)
    return _encode(small)


def _read_mask(path: Path) -> NDArray[np.bool_] | None:
    try:
        return read_mask(path)
    except ImageError:
        return None


def _encode(levels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
