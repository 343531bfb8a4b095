"""Numbered pictures of one folder as the slices of one stack."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.errors import ImageError
from vesalius.imaging.formats import is_picture
from vesalius.imaging.image import MedicalImage
from vesalius.imaging.lazy import LazyPixels, keep_small
from vesalius.imaging.raster import read_raster
from vesalius.imaging.safeguards import FRAMES, Notice, quiet

MIN_PICTURES = 3
"""Pictures from which numbers count as those of slices."""

MIN_DENSITY = 0.5
"""Share of the numbers from the first to the last that must be present; patients' identifiers are sparser."""

MIN_READABLE = 0.5
"""Share of the pictures that must open; the rest is left out."""

_NUMBERED = re.compile(r"(?P<prefix>.*?)(?P<number>\d+)(?P<rest>\D*)")
"""A name; its last run of digits is the number."""


def find_picture_stacks(paths: Iterable[Path]) -> list[list[Path]]:
    """Find pictures that are slices of one stack: same folder, prefix, suffix and size, and numbers close together.

    Args:
        paths: Files of any kind; of those whose names make a stack, sizes are read too.

    Returns:
        The files of each stack, in the order of their numbers.
    """
    groups: dict[tuple[Path, str, str, str], list[tuple[int, Path]]] = defaultdict(list)
    for path in paths:
        found = _NUMBERED.fullmatch(path.stem)
        if found and is_picture(path):
            key = path.parent, found["prefix"], found["rest"], path.suffix.lower()
            groups[key].append((int(found["number"]), path))
    dense = [sorted(group) for group in groups.values() if _is_dense([number for number, _ in group])]
    stacks = [[path for _, path in group] for group in dense]
    return [stack for stack in stacks if _is_one_size(stack)]


def read_picture_stack(paths: Sequence[Path], source: Path) -> MedicalImage:
    """Read numbered pictures as slices, in the order given.

    Args:
        paths: Pictures of one size, see `find_picture_stacks`; those that cannot be read are left out, with a notice.
        source: What the image names as its origin.

    Returns:
        Image [D, H, W] or [D, H, W, 3] without an affine.

    Raises:
        ImageError: If no picture can be read, or there are too many.
    """
    FRAMES.check(len(paths), source)
    readable = [path for path in paths if _size(path) is not None]
    if not readable:
        raise ImageError(f"{source}: none of its {len(paths)} numbered pictures can be read; export them again.")
    first = readable[0].name, readable[-1].name
    why = f"{first[0]} to {first[1]} are numbered and of one size and prefix"
    remedy = "Name one file to read it alone; --each takes all one by one"
    notices = [Notice("pictures are taken for the slices of one stack", why, remedy)]
    try:
        pixels = keep_small(_lazy(readable, source))
    except ImageError:
        readable = [path for path in readable if _decodes(path)]
        if not readable:
            raise
        pixels = keep_small(_lazy(readable, source))
    if len(readable) < len(paths):
        lost = next(path for path in paths if path not in set(readable))
        why = f"they are damaged ({lost.name} is the first)"
        notices.append(Notice("pictures left out", why, "Export them again", len(paths) - len(readable), len(paths)))
    return MedicalImage(pixels=pixels, source=source, notices=tuple(notices))


def _lazy(paths: Sequence[Path], source: Path) -> LazyPixels:
    example = read_raster(paths[0]).pixels[0]

    def read(index: int) -> NDArray[np.generic]:
        values = read_raster(paths[index], frame=1).pixels[0]
        if values.shape != example.shape:
            raise ImageError(f"{paths[index]}: is {list(values.shape)}, its neighbours {list(example.shape)}.")
        return values

    return LazyPixels(len(paths), read, example.shape, example.dtype, source)


def _is_dense(numbers: Sequence[int]) -> bool:
    if len(numbers) < MIN_PICTURES or len(set(numbers)) < len(numbers):
        return False
    ordered = sorted(numbers)
    step = math.gcd(*(later - number for number, later in pairwise(ordered)))
    return len(numbers) >= MIN_DENSITY * ((ordered[-1] - ordered[0]) // step + 1)


def _is_one_size(stack: Sequence[Path]) -> bool:
    first = None
    opened = 0
    for path in stack:
        size = _size(path)
        if size is None:
            continue
        first = first or size
        if size != first or size[-1] != 1:
            return False
        opened += 1
    return opened >= max(1, MIN_READABLE * len(stack))


def _size(path: Path) -> tuple[int, int, str, int] | None:
    """Width, height, mode and pages; None if Pillow cannot open it."""
    try:
        with quiet("PIL"), Image.open(path) as picture:
            return picture.width, picture.height, picture.mode, int(getattr(picture, "n_frames", 1))
    except Exception:  # of any kind, from any of Pillow's readers
        return None


def _decodes(path: Path) -> bool:
    try:
        read_raster(path)
    except ImageError:
        return False
    return True
