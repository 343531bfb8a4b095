"""From stored values to shades in [0, 1]: windows for CT, percentiles for MR, the full range for pictures."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import ImageError, unknown_name

MR_PERCENTILES = (0.5, 99.5)
"""Percentiles of the non-zero voxels of the whole volume shown as black and white."""


class Window(NamedTuple):
    """A linear window: the stored values around `center`, `width` wide, spread from black to white."""

    center: float
    width: float


CT_WINDOWS: Mapping[str, Window] = MappingProxyType(
    {
        "abdomen": Window(50, 400),
        "bone": Window(400, 1800),
        "brain": Window(40, 80),
        "liver": Window(30, 150),
        "lung": Window(-600, 1500),
        "mediastinum": Window(40, 400),
        "soft tissue": Window(40, 400),
        "spine": Window(50, 250),
        "subdural": Window(75, 200),
        "wide": Window(0, 2000),
    }
)
"""Windows in HU by name."""


class ShadeRange(NamedTuple):
    """The stored values shown as black (`low` and below) and as white (`high` and above)."""

    low: float
    high: float


def window_range(window: tuple[float, float]) -> ShadeRange:
    """Ends of a DICOM linear window (PS3.3 C.11.2.1.2.1).

    Args:
        window: Center and width in stored values; the width is at least 1.

    Returns:
        center − 0.5 ∓ (width − 1) / 2.

    Raises:
        ImageError: If the width is below 1, which the standard forbids.
    """
    center, width = window
    if not width >= 1:
        raise ImageError(f"Window ({center:g}, {width:g}): the width must be 1 or more; give (center, width).")
    return ShadeRange(center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2)


def named_window(name: str) -> Window:
    """The CT window of that name, in HU.

    Raises:
        ImageError: If there is none; the message lists all.
    """
    if name not in CT_WINDOWS:
        raise ImageError(unknown_name("window", name, CT_WINDOWS))
    return CT_WINDOWS[name]


def to_shades(values: NDArray[np.generic], shades: ShadeRange) -> NDArray[np.float32]:
    """Spread `shades` over [0, 1] and clip; a range without extent becomes a step just above `low`."""
    numbers = values.astype(np.float32)
    if shades.high <= shades.low:
        return (numbers > shades.low).astype(np.float32)
    scale = np.float32(1 / (shades.high - shades.low))
    shaded: NDArray[np.float32] = np.clip((numbers - np.float32(shades.low)) * scale, 0, 1)
    return shaded


def apply_window(values: NDArray[np.generic], window: tuple[float, float] | str) -> NDArray[np.float32]:
    """DICOM's linear window function (PS3.3 C.11.2.1.2.1), to [0, 1].

    Args:
        values: Stored values of any shape, e.g. HU.
        window: Center and width, or the name of a row of `CT_WINDOWS`.

    Returns:
        0 for x ≤ c − 0.5 − (w − 1)/2, 1 for x > c − 0.5 + (w − 1)/2, else (x − (c − 0.5)) / (w − 1) + 0.5.

    Raises:
        ImageError: If the name is unknown or the width below 1.

    Example:
        >>> apply_window(np.array([-160.0, 239.0]), "soft tissue").tolist()
        [0.0, 1.0]
    """
    chosen = named_window(window) if isinstance(window, str) else window
    return to_shades(values, window_range(chosen))


def percentile_range(values: NDArray[np.generic]) -> ShadeRange:
    """The `MR_PERCENTILES` of the non-zero values; (0, 1) if all are zero."""
    tissue = values[values != 0]
    if not tissue.size:
        return ShadeRange(0.0, 1.0)
    low, high = np.percentile(tissue, MR_PERCENTILES)
    return ShadeRange(float(low), float(high))


def default_range(
    pixels: NDArray[np.generic], *, modality: str | None, window: tuple[float, float] | None, placed: bool
) -> ShadeRange:
    """What is shown as black and white when nobody says otherwise; the first line that applies.

    1. colour: the full range of the pixel type;
    2. CT: the file's window, else soft tissue;
    3. MR, and volumes of unknown modality: `percentile_range` of all of it (the file's window is not trusted);
    4. the file's window;
    5. 8 bit: 0 to 255;
    6. 16 bit and real numbers: the image's own smallest to largest value.

    Args:
        pixels: Whole image [D, H, W] or [D, H, W, 3].
        modality: DICOM code, None if unknown.
        window: Center and width from the file, if it has them.
        placed: Whether the image has a place in the patient, i.e. an affine.
    """
    if pixels.ndim == 4:
        return _type_range(pixels)
    if modality == "CT":
        return window_range(window or CT_WINDOWS["soft tissue"])
    if modality == "MR" or (modality is None and placed):
        return percentile_range(pixels)
    if window:
        return window_range(window)
    return _type_range(pixels) if pixels.dtype == np.uint8 else ShadeRange(float(pixels.min()), float(pixels.max()))


def asked_range(window: tuple[float, float] | str, *, modality: str | None, colour: bool, source: Path) -> ShadeRange:
    """The range of a window somebody asked for.

    Raises:
        ImageError: If a named window, which is in HU, is asked of something else than CT, or any of a colour picture.
    """
    if colour:
        raise ImageError(f"{source}: a window does not apply to a colour picture; leave it out.")
    if isinstance(window, tuple):
        return window_range(window)
    if modality not in ("CT", None):
        raise ImageError(
            f"{source}: window '{window}' is in HU and the modality is {modality}; give a (center, width) instead."
        )
    return window_range(named_window(window))


def _type_range(pixels: NDArray[np.generic]) -> ShadeRange:
    return ShadeRange(0.0, float(np.iinfo(pixels.dtype.name).max) if pixels.dtype.kind == "u" else 1.0)
