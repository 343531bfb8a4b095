"""What a check needs to know of an image and of a mask, so that each file is read once."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vesalius.data.check.signatures import Signature, signature
from vesalius.imaging import MedicalImage, read_image


@dataclass(frozen=True, eq=False)
class ImageFacts:
    """An image that could be read."""

    size: tuple[int, int]
    """Height and width."""
    slices: int
    digest: str
    """Equal only where size and every stored value are."""
    blank: bool
    """Whether all values are the same."""
    signature: Signature


def examine_image(path: Path) -> ImageFacts:
    """Read an image; of several slices, the first counts.

    Raises:
        ImageError: If it cannot be read.
    """
    image = read_image(path)
    pixels = image.pixels[0]
    return ImageFacts(
        size=(pixels.shape[0], pixels.shape[1]),
        slices=len(image.pixels),
        digest=_digest(pixels),
        blank=bool(pixels.min() == pixels.max()),
        signature=signature(to_levels(image)),
    )


def to_levels(image: MedicalImage) -> NDArray[np.uint8]:
    """The first slice as it is shown, 0–255, [H, W] or [H, W, 3]."""
    pixels = image.pixels[0]
    if pixels.dtype == np.uint8 and image.modality is None:
        return pixels.astype(np.uint8)
    shown: NDArray[np.uint8] = np.rint(image.slices()[0].rgb * 255).astype(np.uint8)
    return shown


def _digest(pixels: NDArray[np.generic]) -> str:
    kind = f"{pixels.dtype.str}{pixels.shape}".encode()
    return hashlib.blake2b(kind + np.ascontiguousarray(pixels).tobytes(), digest_size=16).hexdigest()
