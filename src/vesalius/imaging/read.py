"""The way in: any file or folder becomes a `MedicalImage`; content decides, not names."""

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from vesalius.errors import ImageError, MissingPackageError
from vesalius.imaging.formats import (
    DICOM_SUFFIXES,
    IMAGE_SUFFIXES,
    RASTER_SUFFIXES,
    VOLUME_SUFFIXES,
    has_dicom_mark,
    is_picture,
    missing,
    read_start,
    refuse_other_formats,
    visible_files,
)
from vesalius.imaging.image import MedicalImage
from vesalius.imaging.picture_stacks import find_picture_stacks, read_picture_stack
from vesalius.imaging.raster import is_raster, read_raster
from vesalius.imaging.safeguards import warn_of

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
        raise missing(path)
    return _read_folder(path, choices) if path.is_dir() else _read_file(path, choices)


def _read_file(path: Path, choices: Choices) -> MedicalImage:
    if not path.is_file():
        raise ImageError(f"{path}: is a pipe or a device, which cannot be read twice; write it into a file first.")
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
            raise ImageError(
                f"{path}: '{name}' (on the command line --{name}) chooses among {CHOSEN_AMONG[name]}, which this is "
                "not; leave it out."
            )
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
