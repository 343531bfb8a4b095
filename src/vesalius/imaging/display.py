"""A mask drawn over a picture."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.errors import ImageError

AMBER = (255, 176, 0)
"""Visible on grey and on mucosa, and to colour-blind readers."""

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Colours that colour-blind readers tell apart (Okabe and Ito)."""

THICK_FROM = 512
"""Pictures whose shorter side has this many pixels get an outline of 2 pixels, smaller ones of 1."""


def overlay(
    rgb: NDArray[np.floating] | NDArray[np.uint8],
    mask: NDArray[np.bool_],
    colour: tuple[int, int, int] = AMBER,
    alpha: float = 0.25,
) -> NDArray[np.uint8]:
    """Draw the mask's outline strongly and fill it faintly.

    Args:
        rgb: Picture [H, W, 3], in [0, 1] if real numbers, 0–255 if bytes.
        mask: Object [H, W]; empty gives the picture back.
        colour: Red, green and blue of outline and fill, 0–255.
        alpha: Weight of the colour inside, 0 (outline only) to 1 (opaque).

    Returns:
        Picture [H, W, 3], 0–255.

    Raises:
        ImageError: If mask and picture differ in size.
    """
    if mask.shape != rgb.shape[:2]:
        raise ImageError(
            f"The mask is {list(mask.shape)}, the picture {list(rgb.shape[:2])}; resize one of them first."
        )
    scale = 1.0 if rgb.dtype == np.uint8 else 255.0
    canvas = rgb.astype(np.float32) * scale
    paint = np.array(colour, np.float32)
    canvas[mask] = canvas[mask] * (1 - alpha) + paint * alpha
    canvas[outline(mask, thickness=1 + (min(mask.shape) >= THICK_FROM))] = paint
    drawn: NDArray[np.uint8] = np.rint(np.clip(canvas, 0, 255)).astype(np.uint8)
    return drawn


def shrink(levels: NDArray[np.uint8], side: int, how: Image.Resampling) -> NDArray[np.uint8]:
    """Make a picture [H, W] or [H, W, 3] small enough for its longer side to have ``side`` pixels; never larger."""
    height, width = levels.shape[:2]
    factor = min(1.0, side / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(levels).resize(size, how))


def outline(mask: NDArray[np.bool_], thickness: int = 1) -> NDArray[np.bool_]:
    """The object's outermost pixels [H, W]; the edge of the picture is no outline."""
    core = mask.astype(bool)
    for _ in range(thickness):
        padded = np.pad(core, 1, mode="edge")
        core = core & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    edge: NDArray[np.bool_] = mask.astype(bool) & ~core
    return edge
