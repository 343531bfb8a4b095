"""How image files usually end, and how they begin; what they hold decides."""

import os
from pathlib import Path

from vesalius.errors import ImageError

RASTER_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
LOSSLESS_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
VOLUME_SUFFIXES = (".nii", ".nii.gz", ".mgz")

IMAGE_SUFFIXES = (*RASTER_SUFFIXES, *DICOM_SUFFIXES, *VOLUME_SUFFIXES)
"""Every suffix `read_image` expects; DICOM is also recognised without any."""

_PREAMBLE = 128
_DICOM_MARK = b"DICM"


def read_start(path: Path) -> bytes:
    """The first 132 bytes of a file, or all if it is shorter.

    Raises:
        ImageError: If it cannot be opened.
    """
    try:
        with path.open("rb") as file:
            return file.read(_PREAMBLE + len(_DICOM_MARK))
    except OSError as error:
        raise ImageError(f"{path}: cannot be opened ({error.strerror}); check the path and the permissions.") from error


def has_dicom_mark(start: bytes) -> bool:
    """Whether a file that starts so carries the mark of DICOM part 10."""
    return start[_PREAMBLE:] == _DICOM_MARK


def is_picture(path: Path) -> bool:
    """Whether a name ends as pictures of everyday formats do."""
    return path.suffix.lower() in RASTER_SUFFIXES


def visible_files(folder: Path) -> list[Path]:
    """All files of a folder and its subfolders, in the order of their paths; hidden files and folders left out."""
    found = []
    for home, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        here = Path(home)
        found += [path for name in names if not name.startswith(".") and (path := here / name).is_file()]
    return sorted(found, key=lambda path: path.parts)
