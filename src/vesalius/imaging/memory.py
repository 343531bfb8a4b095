"""Arrays and pictures in memory as `MedicalImage`; whatever stands for an image in Python."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.errors import ImageError
from vesalius.imaging.image import MedicalImage
from vesalius.imaging.lazy import Pixels
from vesalius.imaging.raster import on_black, read_pillow
from vesalius.imaging.read import read_image
from vesalius.imaging.safeguards import Notice, warn_of

ImageLike = str | Path | MedicalImage | NDArray[np.generic] | Image.Image
"""Everything that stands for an image in Python."""

SOURCE = Path("array")
UNIT = (0.5, 1.0)
"""Window from 0 to 1, by which grey real numbers are shown as they are."""
EXPECTED = "Expected numbers as uint8 (0 to 255), uint16 (0 to 65535) or real numbers from 0 to 1"
PICTURE = "Expected grey [H, W], RGB [H, W, 3] or RGBA [H, W, 4]"
VOLUME = "Expected slices [D, H, W] or [D, H, W, 3]"
TRANSPARENT = Notice("transparent pixels shown on black", "a model sees no transparency", "Give RGB to choose")


def as_image(image: ImageLike, *, volume: bool = False) -> MedicalImage:
    """Read a file or folder, or take what is in memory.

    Arrays hold what a picture file would: uint8 is shown from 0 to 255; grey uint16 from its smallest to its largest
    value, as 16-bit pictures are, and in colour from 0 to 65535; real numbers from 0 to 1. RGBA of uint8 is composited
    on black, with a notice unless it is opaque. Make a `MedicalImage` of stored values such as HU, so that their
    meaning is known: ``MedicalImage(values.astype("float32"), source=Path("ct"), modality="CT", affine=affine)``.

    Args:
        image: File or folder, an image, an array, or a picture of Pillow of any mode.
        volume: Whether an array of three dimensions holds slices [D, H, W], not a picture [H, W, C].

    Raises:
        ImageError: If it cannot be read, or an array holds other numbers or has another shape.

    Example:
        >>> as_image(np.zeros((4, 6), np.uint8))
        MedicalImage('array': 1×4×6 uint8)
    """
    if isinstance(image, MedicalImage):
        return image
    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, Image.Image):
        picture = read_pillow(image)
        warn_of(picture.notices, picture.source)
        return picture
    if isinstance(image, np.ma.MaskedArray):
        raise ImageError("Expected an array without a mask, got a masked one; fill it first: image.filled(0).")
    if not isinstance(image, np.ndarray):
        raise ImageError(f"Expected a path, a MedicalImage, an array or a Pillow picture, got {type(image).__name__}.")
    pixels, notices = _check_slices(image) if volume else _check_picture(image)
    warn_of(notices, SOURCE)
    grey_reals = pixels.ndim == 3 and pixels.dtype.kind == "f"
    window = UNIT if grey_reals else None
    return MedicalImage(pixels, SOURCE, window=window, window_function="LINEAR_EXACT", notices=notices)


def _check_picture(image: NDArray[np.generic]) -> tuple[Pixels, tuple[Notice, ...]]:
    """One slice, [1, H, W] or [1, H, W, 3]."""
    grey = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    if 0 in image.shape or not (grey.ndim == 2 or (grey.ndim == 3 and grey.shape[2] in (3, 4))):
        raise ImageError(f"{PICTURE}, got an array of shape {list(image.shape)}.{_hint(image.shape)}")
    values = _check_numbers(grey.copy())  # the next picture may come in the same memory
    if values.ndim == 2 or values.shape[2] == 3:
        return values[None], ()
    if values.dtype != np.uint8:
        raise ImageError(f"RGBA is taken as uint8 only, got {values.dtype}; leave transparency out: image[..., :3].")
    levels = values.astype(np.uint8, copy=False)
    return on_black(levels)[None], () if (levels[..., 3] == 255).all() else (TRANSPARENT,)


def _check_slices(image: NDArray[np.generic]) -> tuple[Pixels, tuple[Notice, ...]]:
    """Slices, [D, H, W] or [D, H, W, 3]."""
    if 0 in image.shape or not (image.ndim == 3 or (image.ndim == 4 and image.shape[3] == 3)):
        raise ImageError(f"{VOLUME}, got an array of shape {list(image.shape)}.")
    return _check_numbers(image), ()


def _hint(shape: tuple[int, ...]) -> str:
    channels = " Put its channels last: image.transpose(1, 2, 0)." if shape[0] in (1, 3, 4) else ""
    volume = " For a volume, use segment_volume or predict_volume; to name one, make a MedicalImage of it."
    return f"{channels}{volume}" if len(shape) == 3 else ""


def _check_numbers(image: NDArray[np.generic]) -> Pixels:
    """An array as uint8, uint16 or float32, of the caller's memory where it is so already.

    Raises:
        ImageError: If it holds other numbers.
    """
    if image.dtype.kind == "u" and image.dtype.itemsize <= 2:  # of either byte order
        return image.astype(np.uint8 if image.dtype.itemsize == 1 else np.uint16, copy=False)
    if image.dtype.kind != "f":
        raise ImageError(
            f"{EXPECTED}, got {image.dtype}; convert it, for example with image.astype(np.uint8). Stored values such "
            "as HU belong in a MedicalImage, which says what they are."
        )
    values = image.astype(np.float32, copy=False)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ImageError(f"{EXPECTED}, got NaN or infinite values; replace them first.")
    if low < 0 or high > 1:
        raise ImageError(f"{EXPECTED}, got values from {low:g} to {high:g}; scale or clip them first.")
    return values
