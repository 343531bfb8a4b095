"""The page's pictures: enlarged, outlined and written beside it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.files import writing
from vesalius.imaging import overlay
from vesalius.imaging.display import AMBER, outline

SIDE = 512
"""Pixels of a picture's shorter side."""
THICKNESS = 4
"""Of outlines, in those pixels; the page shows them at about a third of that."""
TRUTH = (86, 180, 233)
"""Sky blue, told from amber by colour-blind readers too."""
QUALITY = 88

Rgb = NDArray[np.uint8]
Mask = NDArray[np.bool_]


class Album:
    """Writes pictures into a folder and remembers where, seen from the page.

    Args:
        page: The HTML file; pictures of an earlier page are removed.
    """

    def __init__(self, page: Path) -> None:
        self.folder = page.parent / "pictures"
        for old in self.folder.glob("*.jpg"):
            old.unlink()

    def add(self, name: str, rgb: Rgb) -> str:
        """Write a picture; its path relative to the page."""
        path = self.folder / f"{name}.jpg"
        with writing(path) as unfinished:
            Image.fromarray(rgb).save(unfinished, quality=QUALITY, subsampling=0)
        return f"{self.folder.name}/{path.name}"


def enlarge(rgb: NDArray[np.floating]) -> Rgb:
    """Scale RGB [H, W, 3] in [0, 1] until the shorter side has 512 pixels."""
    picture = Image.fromarray(np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8))
    return np.array(picture.resize(_size(rgb.shape), Image.Resampling.BICUBIC))


def draw(rgb: NDArray[np.floating], found: Mask, truth: Mask | None = None) -> Rgb:
    """What was found in amber over the truth's outline in blue, enlarged.

    Args:
        rgb: Picture [H, W, 3] in [0, 1].
        found: [H, W].
        truth: [H, W], if there is any to compare with.
    """
    canvas = enlarge(rgb)
    if truth is not None:
        canvas[outline(_enlarge_mask(truth), THICKNESS)] = TRUTH
    marked = _enlarge_mask(found)
    canvas = overlay(canvas, marked)
    canvas[outline(marked, THICKNESS)] = AMBER
    return canvas


def _enlarge_mask(mask: Mask) -> Mask:
    shades = Image.fromarray(mask.astype(np.uint8) * 255).resize(_size(mask.shape), Image.Resampling.BILINEAR)
    return np.asarray(shades) > 127


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Width and height at which the shorter side has 512 pixels."""
    height, width = shape[:2]
    factor = SIDE / min(height, width)
    return round(width * factor), round(height * factor)
