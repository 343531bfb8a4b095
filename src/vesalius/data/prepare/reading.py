"""Reads pictures and label maps so that damage is found now, not while training."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vesalius.data.check.mask_facts import ValueKind, judge_values
from vesalius.data.prepare.items import Picture
from vesalius.data.prepare.report import Problem
from vesalius.errors import DataError, ImageError
from vesalius.imaging import MedicalImage, read_image
from vesalius.imaging.formats import read_start

COPIED = {b"\x89PNG\r\n\x1a\n": (".png",), b"\xff\xd8\xff": (".jpg", ".jpeg")}
"""How files begin that are copied byte for byte, and their suffixes; everything else becomes PNG."""

_SHOWN = 5
"""Known labels that a message names."""


def read_picture(path: Path) -> Picture:
    """Read all of a picture.

    Args:
        path: A PNG or JPEG file, to be copied; or anything else `read_image` reads, to become PNG.

    Raises:
        ImageError: If it is damaged, or holds several slices.
    """
    image = _read_single(path)
    height, width = image.pixels.shape[1:3]
    start = b"" if path.is_dir() else read_start(path)
    for mark, suffixes in COPIED.items():
        if start.startswith(mark):
            suffix = path.suffix.lower()
            return Picture((height, width), suffix if suffix in suffixes else suffixes[0], file=path)
    return Picture((height, width), ".png", pixels=_to_levels(image))


def read_label_map(path: Path) -> NDArray[np.int64]:
    """A single label map, [H, W].

    Raises:
        ImageError: If it is damaged, in colour, or holds several slices.
    """
    image = _read_single(path)
    if image.is_colour:
        raise ImageError(f"{path}: is in colour; expected a label map of one channel, so convert it.")
    values: NDArray[np.int64] = np.rint(image.pixels[0]).astype(np.int64)
    return values


def read_outline(path: Path, threshold: float | None = None) -> NDArray[np.bool_]:
    """A mask of one object, [H, W], of which it is certain what is inside.

    Where two values occur, 0 and another, the other is inside, whatever it is. Black and white with values around them,
    as JPEG leaves, and pure colours on black are parted at half of the range.

    Args:
        path: A single picture; of colours, the brightest channel counts.
        threshold: What is above it is inside, whatever the values are.

    Raises:
        ImageError: If it is damaged, or holds several slices.
        DataError: If its values leave open which of them are inside.
    """
    stored = _read_single(path).pixels[0]
    grey = stored.max(axis=2) if stored.ndim == 3 else stored
    found = part_values(grey, threshold)
    if found is not None:
        return found
    kind, values, _ = judge_values(stored)
    if kind in (ValueKind.ARTEFACTS, ValueKind.COLOUR):
        return np.asarray(grey.astype(np.float64) > (32767 if grey.dtype == np.uint16 else 127))
    raise DataError(f"{path}: {ask_inside(values)}")


def part_values(values: NDArray[np.generic], threshold: float | None) -> NDArray[np.bool_] | None:
    """What is inside, where the values of a mask leave no doubt; None where they do.

    Args:
        values: Of any shape.
        threshold: What is above it is inside, if somebody says so.
    """
    if threshold is not None:
        return np.asarray(values.astype(np.float64) > threshold)
    background, highest = values == 0, values.max()
    return ~background if bool((background | (values == highest)).all()) else None


def ask_inside(values: NDArray[np.generic]) -> str:
    """The rest of a message about a mask whose values leave open what is inside."""
    shown = [f"{value:g}" for value in values[:_SHOWN].tolist()]
    more = f" … {float(values[-1]):g}" if len(values) > _SHOWN else ""
    remedy = "say which are inside with --threshold N (values above it), or what each stands for with --labels FILE"
    return f"holds the values {', '.join(shown)}{more}, where a mask has 0 and one other; {remedy}."


def to_bytes(rgb: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Shades in [0, 1] as 0–255; a single channel where all three are equal.

    Args:
        rgb: [H, W, 3].
    """
    levels: NDArray[np.uint8] = np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    return levels[..., 0] if (levels == levels[..., :1]).all() else levels


def unknown_labels(values: NDArray[np.int64], names: Mapping[int, str], place: str) -> list[Problem]:
    """A problem if a map holds labels that nobody has named; 0 is background."""
    unknown = [value for value in np.unique(values).tolist() if value not in names and value != 0]
    if not unknown:
        return []
    some = [f"{number} {name}" for number, name in sorted(names.items())[:_SHOWN]]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    message = f"unknown label {', '.join(map(str, unknown))}; known are {', '.join(some)}{more}."
    return [Problem(place, f"{message} Unknown ones are left out.")]


def _read_single(path: Path) -> MedicalImage:
    image = read_image(path)
    if len(image.pixels) != 1:
        raise ImageError(f"{path}: holds {len(image.pixels)} slices; expected one picture.")
    return image


def _to_levels(image: MedicalImage) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Whole numbers from 0 to 255 and 16-bit pictures as they are; anything else in its usual shades."""
    stored = image.pixels[0]
    plain = image.modality is None and not image.inverted
    if plain and image.affine is None and stored.ndim == 2 and stored.dtype == np.uint16:
        deep: NDArray[np.uint16] = stored.astype(np.uint16)
        return deep
    levels: NDArray[np.uint8] = np.clip(stored, 0, 255).astype(np.uint8)
    if plain and np.array_equal(levels, stored):
        return levels
    return to_bytes(image.slices()[0].rgb)
