"""One answer as four small pictures: the image, the truth, the prediction, and where the two differ."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.imaging.display import AMBER, overlay, shrink

SIDE = 320
"""Pixels of the longer side."""
QUALITIES = (80, 60, 40, 20, 5)
"""Of JPEG; lower ones only for pictures that would be too large."""
LARGEST_TILE = 22_000
"""Bytes of a JPEG file; keeps the fullest page below 3 MB."""
TILES = ("image", "truth", "prediction", "errors")

SKY = (86, 180, 233)
VERMILION = (213, 94, 0)
YELLOW = (240, 228, 66)
"""Of Okabe and Ito's palette: apart for colour-blind readers, and by lightness on a grey print."""
ERROR_COLOURS = {"both": SKY, "only predicted": VERMILION, "missed": YELLOW}
DIMMED = 0.4
"""Brightness of the grey picture behind the errors."""
OPAQUE = 0.8
"""How much the colours of errors cover."""

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def draw_tiles(rgb: NDArray[np.float32], truth: Mask, found: Mask) -> dict[str, bytes]:
    """Draw an answer.

    Args:
        rgb: The image [H, W, 3] in [0, 1].
        truth: What is there, [H, W].
        found: What was marked, [H, W].

    Returns:
        A JPEG file for each of ``TILES``.
    """
    small = shrink(np.rint(rgb.clip(0, 1) * 255).astype(np.uint8), SIDE, Image.Resampling.BOX)
    true, marked = (shrink(mask.astype(np.uint8), SIDE, Image.Resampling.NEAREST) > 0 for mask in (truth, found))
    drawn = (small, overlay(small, true, SKY), overlay(small, marked, AMBER), _draw_errors(small, true, marked))
    return {name: _encode(tile) for name, tile in zip(TILES, drawn, strict=True)}


def _draw_errors(rgb: Picture, truth: Mask, found: Mask) -> Picture:
    grey = np.repeat(np.asarray(Image.fromarray(rgb).convert("L"), np.float32)[..., None] * DIMMED, 3, axis=2)
    for mask, colour in zip((truth & found, found & ~truth, truth & ~found), ERROR_COLOURS.values(), strict=True):
        grey[mask] = grey[mask] * (1 - OPAQUE) + np.array(colour, np.float32) * OPAQUE
    return np.rint(grey).astype(np.uint8)


def _encode(levels: Picture) -> bytes:
    picture = Image.fromarray(levels)
    for quality in QUALITIES:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= LARGEST_TILE:
            break
    return buffer.getvalue()
