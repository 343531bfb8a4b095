"""The way in: any file, folder or array becomes a `MedicalImage`; content decides, not names.

Files and folders of every kind first, then arrays and pictures in memory, then stacks of numbered pictures.
"""

import importlib
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.errors import ImageError, MissingPackageError
from vesalius.imaging.formats import (
    DICOM_SUFFIXES,
    IMAGE_SUFFIXES,
    RASTER_SUFFIXES,
    VOLUME_SUFFIXES,
    has_dicom_mark,
    is_picture,
    read_start,
    refuse_other_formats,
    visible_files,
)
from vesalius.imaging.image import MedicalImage
from vesalius.imaging.lazy import LazyPixels, Pixels, keep_small
from vesalius.imaging.raster import is_raster, on_black, read_pillow, read_raster
from vesalius.imaging.safeguards import FRAMES, Notice, quiet, warn_of

Choices = Mapping[str, int | str | None]
"""The caller's choices by name: series, stack, volume and frame; None for none."""

CHOSEN_AMONG = {
    "series": "a folder of several DICOM series",
    "stack": "a DICOM file or series of several stacks of slices",
    "volume": "a NIfTI file of several volumes",
    "frame": "a multi-frame DICOM file or a TIFF of several pages",
}
"""The files among whose parts each choice is made."""


def read_image(
    path: str | Path,
    *,
    series: str | int | None = None,
    stack: int | None = None,
    volume: int | None = None,
    frame: int | None = None,
) -> MedicalImage:
    """Read a picture, a DICOM file, a folder with one DICOM series or numbered pictures, or a NIfTI volume.

    Of several stacks of slices in a DICOM series (echoes, orientations of a localizer) the largest is taken, of several
    volumes in a NIfTI file the first. `MedicalImage.notices` lists whatever is left out or guessed, each with a warning
    of the category `ImageNotice`. `vesalius.imaging.dicom.read_stacks` gives all stacks.

    Args:
        path: File or folder. DICOM and pictures are recognised by content, NIfTI and MGZ by their suffix.
        series: Of a folder, the series by its SeriesInstanceUID, or its number from 1 as the message lists them.
        stack: Of a DICOM file or series, the stack by its number from 1 as the notice lists them, the largest first.
        volume: Of a NIfTI file with more than three dimensions, the volume by its number from 1.
        frame: Of a multi-frame DICOM file or a TIFF, one frame by its number from 1, in the order of the file.

    Returns:
        The image in display order.

    Raises:
        ImageError: If nothing is there, or nothing that Vesalius reads, or it is damaged, or has no such choice.
        MissingPackageError: If DICOM or NIfTI is asked for and pydicom or nibabel is not installed.

    Example:
        >>> from vesalius.imaging.read import read_image
        >>> read_image("knee/").slices("sagittal")  # doctest: +SKIP
    """
    image = load_image(Path(path), {"series": series, "stack": stack, "volume": volume, "frame": frame})
    warn_of(image.notices, image.source)
    return image


def load_image(path: Path, choices: Choices) -> MedicalImage:
    """Read as `read_image` does, without warnings, for callers that show the notices themselves.

    Args:
        path: File or folder.
        choices: Series, stack, volume and frame; absent ones are None.
    """
    if not os.path.exists(path):  # nor is there a name that is too long
        raise ImageError(f"{path}: no such file or folder; check the path.")
    return _read_folder(path, choices) if path.is_dir() else _read_file(path, choices)


def _read_file(path: Path, choices: Choices) -> MedicalImage:
    if path.stat().st_size == 0:
        raise ImageError(f"{path}: is empty; copy or export it again.")
    start = read_start(path)
    if has_dicom_mark(start):
        return _read_with("dicom", "read_dicom", path, _only(path, choices, "stack", "frame"))
    refuse_other_formats(path, start)
    if path.name.lower().endswith(VOLUME_SUFFIXES):
        return _read_with("nifti", "read_nifti", path, _only(path, choices, "volume"))
    if is_raster(path) or path.suffix.lower() in RASTER_SUFFIXES:
        return read_raster(path, **_only(path, choices, "frame"))  # type: ignore[arg-type]  # a number or None
    if _module("dicom_file", path).is_dicom(path):
        return _read_with("dicom", "read_dicom", path, _only(path, choices, "stack", "frame"))
    raise ImageError(
        f"{path}: is no image Vesalius reads; expected DICOM or one of {', '.join(IMAGE_SUFFIXES)}. Convert it first."
    )


def _read_folder(folder: Path, choices: Choices) -> MedicalImage:
    if not any(folder.iterdir()):
        raise ImageError(f"{folder}: is an empty folder; name a file or a folder with a DICOM series.")
    files = visible_files(folder)
    pictures = [file for file in files if is_picture(file)]
    stacks = [] if any(map(_is_marked, files)) else find_picture_stacks(pictures)
    if len(stacks) == 1 and len(stacks[0]) == len(pictures):
        _only(folder, choices)
        return read_picture_stack(stacks[0], folder)
    if files and len(pictures) == len(files):
        raise ImageError(
            f"{folder}: holds no DICOM image; name a folder with a series, or a single picture file (its "
            f"{len(pictures)} pictures are not numbered slices of one size and prefix)."
        )
    return _read_with("dicom", "read_series", folder, _only(folder, choices, "series", "stack"))


def _is_marked(path: Path) -> bool:
    """Whether a file that is no picture is named or marked as DICOM."""
    return not is_picture(path) and (path.suffix.lower() in DICOM_SUFFIXES or has_dicom_mark(read_start(path)))


def _only(path: Path, choices: Choices, *allowed: str) -> Choices:
    """The choices that a reader takes.

    Raises:
        ImageError: If another choice was made.
    """
    for name, value in choices.items():
        if value is not None and name not in allowed:
            raise ImageError(f"{path}: '{name}' chooses among {CHOSEN_AMONG[name]}, which this is not; leave it out.")
    return {name: choices.get(name) for name in allowed}


def _read_with(module: str, function: str, path: Path, choices: Choices) -> MedicalImage:
    image: MedicalImage = getattr(_module(module, path), function)(path, **choices)
    return image


def _module(name: str, path: Path) -> ModuleType:
    try:
        return importlib.import_module(f"vesalius.imaging.{name}")
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"{path}: reading it needs {error.name}, which is not installed; install it with: pip install {error.name}"
        ) from error


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
