"""The way in: any file or folder becomes a `MedicalImage`; content decides, not names."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from vesalius.errors import ImageError, MissingPackageError
from vesalius.imaging.formats import (
    DICOM_SUFFIXES,
    IMAGE_SUFFIXES,
    RASTER_SUFFIXES,
    has_dicom_mark,
    is_picture,
    is_volume_file,
    missing,
    read_start,
    refuse_other_formats,
    visible_files,
)
from vesalius.imaging.image import MedicalImage
from vesalius.imaging.picture_stacks import find_picture_stacks, read_picture_stack
from vesalius.imaging.raster import is_raster, read_raster
from vesalius.imaging.safeguards import warn_of

CHOSEN_AMONG = {
    "series": "a folder of several DICOM series",
    "stack": "a DICOM file or series of several stacks of slices",
    "volume": "a NIfTI file of several volumes",
    "frame": "a multi-frame DICOM file or a TIFF of several pages",
}
"""The files among whose parts each choice is made."""


@dataclass(frozen=True)
class Choices:
    """What the caller chose of a file or folder that holds several images; see `read_image`."""

    series: str | int | None = None
    """SeriesInstanceUID or number of a DICOM series."""
    stack: int | None = None
    """Number of a stack of slices."""
    volume: int | None = None
    """Number of a volume."""
    frame: int | None = None
    """Number of a frame."""

    def __bool__(self) -> bool:
        return bool(self.to_dict())

    def to_dict(self) -> dict[str, int | str]:
        """The choices that were made, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


NO_CHOICES = Choices()


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
    image = load_image(Path(path), Choices(series, stack, volume, frame))
    warn_of(image.notices, image.source)
    return image


def load_image(path: Path, choices: Choices = NO_CHOICES) -> MedicalImage:
    """Read as `read_image` does, without warnings, for callers that show the notices themselves."""
    if not os.path.exists(path):  # nor is there a name that is too long
        raise missing(path)
    try:
        return _read_folder(path, choices) if path.is_dir() else _read_file(path, choices)
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"{path}: reading it needs {error.name}, which is not installed; install it with: pip install {error.name}"
        ) from error


def _read_file(path: Path, choices: Choices) -> MedicalImage:
    if not path.is_file():
        raise ImageError(f"{path}: is a pipe or a device, which cannot be read twice; write it into a file first.")
    if path.stat().st_size == 0:
        raise ImageError(f"{path}: is empty; copy or export it again.")
    start = read_start(path)
    if has_dicom_mark(start):
        return _read_dicom(path, choices)
    refuse_other_formats(path, start)
    if is_volume_file(path):
        from vesalius.imaging.nifti import read_nifti  # nibabel loads slowly

        _allow(path, choices, "volume")
        return read_nifti(path, volume=choices.volume)
    if is_raster(path) or path.suffix.lower() in RASTER_SUFFIXES:
        _allow(path, choices, "frame")
        return read_raster(path, frame=choices.frame)
    from vesalius.imaging.dicom_file import is_dicom  # pydicom loads slowly

    if is_dicom(path):
        return _read_dicom(path, choices)
    raise ImageError(
        f"{path}: is no image Vesalius reads; expected DICOM or one of {', '.join(IMAGE_SUFFIXES)}. Convert it first."
    )


def _read_dicom(path: Path, choices: Choices) -> MedicalImage:
    from vesalius.imaging.dicom import read_dicom

    _allow(path, choices, "stack", "frame")
    return read_dicom(path, stack=choices.stack, frame=choices.frame)


def _read_folder(folder: Path, choices: Choices) -> MedicalImage:
    if not any(folder.iterdir()):
        raise ImageError(f"{folder}: is an empty folder; name a file or a folder with a DICOM series.")
    files = visible_files(folder)
    pictures = [file for file in files if is_picture(file)]
    stacks = [] if any(map(_is_marked, files)) else find_picture_stacks(pictures)
    if len(stacks) == 1 and len(stacks[0]) == len(pictures):
        _allow(folder, choices)
        return read_picture_stack(stacks[0], folder)
    if files and len(pictures) == len(files):
        raise ImageError(
            f"{folder}: holds no DICOM image; name a folder with a series, or a single picture file (its "
            f"{len(pictures)} pictures are not numbered slices of one size and prefix)."
        )
    from vesalius.imaging.dicom import read_series

    _allow(folder, choices, "series", "stack")
    return read_series(folder, series=choices.series, stack=choices.stack)


def _is_marked(path: Path) -> bool:
    """Whether a file that is no picture is named or marked as DICOM."""
    return not is_picture(path) and (path.suffix.lower() in DICOM_SUFFIXES or has_dicom_mark(read_start(path)))


def _allow(path: Path, choices: Choices, *allowed: str) -> None:
    """Refuse choices that a reader does not take.

    Raises:
        ImageError: If one was made.
    """
    for name in choices.to_dict():
        if name not in allowed:
            raise ImageError(
                f"{path}: '{name}' (on the command line --{name}) chooses among {CHOSEN_AMONG[name]}, which this is "
                "not; leave it out."
            )
