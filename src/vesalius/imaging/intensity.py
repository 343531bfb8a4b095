"""From stored values to display values in [0, 1]: windows for CT, percentiles for MR, the full range for pictures.

Windows, then ranges by default and on request, then the guess whether values are HU.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import ImageError, unknown_name
from vesalius.imaging.lazy import LazyPixels

WindowFunction = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
"""Functions that apply a window (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""

MR_PERCENTILES = (0.5, 99.5)
"""Percentiles of the voxels outside the background that are shown as black and white."""

BACKGROUND_SHARE = 0.02
"""Share of all voxels from which the smallest value counts as background."""

MISSING_FROM = 1e30
"""Magnitude from which numbers count as missing: they mark missing values, or come from a damaged file."""

MIN_EXTENT = 1e-30
"""Extent from which a range is a ramp; smaller ones are a step, as float32 cannot be divided by them."""

MAX_SAMPLE = 2**24
"""Values from which a range is estimated; of larger images, values of evenly spread slices are taken."""


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


class DisplayRange(NamedTuple):
    """The stored values shown as black (`low` and below) and as white (`high` and above)."""

    low: float
    high: float


class SigmoidRange(DisplayRange):
    """Center ∓ half the width of a sigmoid window, where it gives 0.12 and 0.88."""

    __slots__ = ()


def window_range(window: tuple[float, float], function: WindowFunction = "LINEAR") -> DisplayRange:
    """The display range of a DICOM window (PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Args:
        window: Center and width in stored values; the width is at least 1, for other functions than LINEAR above 0.
        function: Function that applies the window.

    Returns:
        LINEAR: center − 0.5 ∓ (width − 1) / 2; LINEAR_EXACT: center ∓ width / 2; SIGMOID: the same as a `SigmoidRange`.

    Raises:
        ImageError: If these are not two numbers, one is not finite, or the width smaller than the standard allows.
    """
    try:
        center, width = map(float, window)
    except (TypeError, ValueError) as error:
        raise ImageError(f"Window {window!r}: expected (center, width), or of CT a name such as 'lung'.") from error
    if not (abs(center) < MISSING_FROM and abs(width) < MISSING_FROM):
        raise ImageError(f"Window ({center:g}, {width:g}): expected two finite numbers, (center, width).")
    if function != "LINEAR":
        if not width > 0:
            raise ImageError(f"Window ({center:g}, {width:g}): the width must be above 0; give (center, width).")
        kind = SigmoidRange if function == "SIGMOID" else DisplayRange
        return kind(center - width / 2, center + width / 2)
    if not width >= 1:
        raise ImageError(f"Window ({center:g}, {width:g}): the width must be 1 or more; give (center, width).")
    return DisplayRange(center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2)


def named_window(name: str) -> Window:
    """The CT window of that name, in HU.

    Raises:
        ImageError: If there is none; the message lists all.
    """
    if name not in CT_WINDOWS:
        raise ImageError(unknown_name("window", name, CT_WINDOWS))
    return CT_WINDOWS[name]


def to_display_values(values: NDArray[np.generic], display_range: DisplayRange) -> NDArray[np.float32]:
    """Map a display range to [0, 1] and clip; a range without extent becomes a step just above `low`.

    A `SigmoidRange` gives 1 / (1 + exp(−4 (x − center) / width)) instead.
    """
    numbers = values.astype(np.float32)
    low, high = display_range
    if high - low < MIN_EXTENT:
        return (numbers > low).astype(np.float32)
    if isinstance(display_range, SigmoidRange):
        exponent = np.clip(-4 * (numbers - np.float32((low + high) / 2)) / np.float32(high - low), -80, 80)
        return np.asarray(1 / (1 + np.exp(exponent)), np.float32)
    scaled: NDArray[np.float32] = np.clip((numbers - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    return scaled


def zero_missing(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Set NaN, infinities and numbers of magnitude `MISSING_FROM` to 0, in place."""
    values[~(values < MISSING_FROM)] = 0
    values[values <= -MISSING_FROM] = 0
    return values


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
    return to_display_values(values, window_range(chosen))


def percentile_range(values: NDArray[np.generic] | LazyPixels) -> DisplayRange:
    """The `MR_PERCENTILES` of voxels outside the background; (0, 1) if all are 0.

    Background is 0, and the smallest value if at least `BACKGROUND_SHARE` of all voxels have it, as where rescaling
    moves 0, unless only one other value is left. Of large volumes a sample is used.
    """
    seen = sample(values)
    tissue = seen[seen != 0]
    if not tissue.size:
        return DisplayRange(0.0, 1.0)
    lowest = seen.min()
    above = tissue[tissue > lowest] if lowest != 0 else tissue
    if seen.size - above.size >= BACKGROUND_SHARE * seen.size and above.size and above.min() < above.max():
        tissue = above
    low, high = np.percentile(tissue, MR_PERCENTILES)
    return DisplayRange(float(low), float(high))


def sample(values: NDArray[np.generic] | LazyPixels) -> NDArray[np.generic]:
    """At most `MAX_SAMPLE` values of an image, from evenly spread slices; all of them if there are no more.

    Args:
        values: Image of any shape; the first axis runs along the slices.
    """
    if values.size <= MAX_SAMPLE:
        return np.asarray(values)
    each = values.size // len(values)
    count = min(len(values), max(1, MAX_SAMPLE // each))
    chosen = np.linspace(0, len(values) - 1, count).round().astype(int).tolist()
    stride = -(-each // MAX_SAMPLE)
    return np.stack([values[index][::stride] for index in chosen])


def default_range(
    pixels: NDArray[np.generic] | LazyPixels,
    *,
    modality: str | None,
    window: tuple[float, float] | None,
    placed: bool,
    hounsfield: bool | None = None,
    function: WindowFunction = "LINEAR",
) -> DisplayRange:
    """The display range where none is asked for, by the first line that applies.

    1. colour: the full range of the pixel type;
    2. CT: the file's window, else soft tissue if in HU, else 0 to 255 for 8 bit and `percentile_range` for others;
    3. MR, and volumes of unknown modality: `percentile_range` of the whole (the file's window is not trusted);
    4. the file's window;
    5. 8 bit: 0 to 255;
    6. 16 bit and real numbers: the image's own smallest to largest value.

    Args:
        pixels: Whole image [D, H, W] or [D, H, W, 3].
        modality: DICOM code, None if unknown.
        window: Center and width from the file, if it has them.
        placed: Whether the image has a place in the patient, i.e. an affine.
        hounsfield: Whether values are HU; None counts as such for CT.
        function: Function that applies the file's window.
    """
    if pixels.ndim == 4:
        return _type_range(pixels.dtype)
    if modality == "MR" or (modality is None and placed):
        return percentile_range(pixels)
    if window:
        return window_range(window, function)
    if modality == "CT" and hounsfield is not False:
        return window_range(CT_WINDOWS["soft tissue"])
    if pixels.dtype == np.uint8:
        return _type_range(pixels.dtype)
    if modality == "CT":
        return percentile_range(pixels)
    seen = sample(pixels) if isinstance(pixels, LazyPixels) else pixels
    return DisplayRange(float(seen.min()), float(seen.max()))


def asked_range(
    window: tuple[float, float] | str,
    *,
    modality: str | None,
    colour: bool,
    source: Path,
    hounsfield: bool | None = None,
) -> DisplayRange:
    """The display range of a window that the caller chose.

    Raises:
        ImageError: If a named window, which is in HU, is asked of something else than CT in HU, or any window of a
            colour picture.
    """
    if colour:
        raise ImageError(f"{source}: a window does not apply to a colour picture; leave it out.")
    if not isinstance(window, str):
        return window_range(window)
    if modality not in ("CT", None):
        raise ImageError(
            f"{source}: window '{window}' is in HU and the modality is {modality}; give a (center, width) instead."
        )
    if modality is None and not hounsfield:
        raise ImageError(
            f"{source}: window '{window}' is in HU, and nothing says that these values are; give a (center, width) in "
            "stored values instead."
        )
    if modality == "CT" and hounsfield is False:
        raise ImageError(
            f"{source}: window '{window}' is in HU, and the file does not say how its values become HU (no rescaling); "
            "give a (center, width) in stored values instead."
        )
    return window_range(named_window(window))


def _type_range(dtype: np.dtype[np.generic]) -> DisplayRange:
    return DisplayRange(0.0, float(np.iinfo(dtype.name).max) if dtype.kind == "u" else 1.0)


REACHES_AIR = -500.0
"""HU that every CT with air falls below."""
AIR = (-1100.0, -900.0)
"""HU of air, with its noise."""
LUNG = (-950.0, -600.0)
SOFT = (-150.0, 150.0)
"""HU of water, fat, muscle and organs, roughly."""
MIN_AIR, MIN_LUNG, MIN_SOFT = 0.01, 0.05, 0.1
"""Shares of all voxels from which these count as present."""
MAX_STRAY = 0.01
"""Share of voxels below air that counts as noise, beside one value for what lies outside the field of view."""


def looks_like_hounsfield(values: NDArray[np.floating]) -> tuple[bool, str]:
    """Guess from values alone whether they are HU, whole or not.

    They count as HU if they reach −500, either a peak lies at air, near −1000, or lung and soft tissue both show, and
    hardly anything lies below air but one value for what is outside the field of view. MR and phase images that reach
    so low have other distributions.

    Args:
        values: A sample of the image.

    Returns:
        The guess, and its reason as a phrase.
    """
    lowest = float(values.min())
    if lowest > REACHES_AIR:
        return False, f"no value is below {REACHES_AIR:g}"
    air, lung, soft = (_share(values, low, high) for low, high in (AIR, LUNG, SOFT))
    dark = _share(values, AIR[0], REACHES_AIR)
    stray = _share(values, np.nextafter(lowest, np.inf), AIR[0])
    if stray > MAX_STRAY:
        return False, f"{100 * stray:.0f} % of the values are spread below {AIR[0]:g}, where a CT has none"
    if air >= max(MIN_AIR, dark / 2):
        return True, f"{100 * air:.0f} % of the values lie near -1000, as air does in a CT"
    if lung >= MIN_LUNG and soft >= MIN_SOFT:
        return (
            True,
            f"{100 * lung:.0f} % of the values lie where lungs do in a CT and {100 * soft:.0f} % at soft tissue",
        )
    return False, f"values reach {lowest:g}, but have no peak near -1000, where air lies in a CT"


def _share(values: NDArray[np.floating], low: float, high: float) -> float:
    return float(np.mean((values >= low) & (values <= high)))
