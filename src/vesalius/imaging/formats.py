"""What files look like from outside: suffixes, first bytes, formats that are not read, and what readers raise.

Suffixes are only a hint; content decides.
"""

import errno
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vesalius.errors import ImageError, ImageNotice, VesaliusError
from vesalius.imaging.safeguards import quiet

RASTER_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
LOSSLESS_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
VOLUME_SUFFIXES = (".nii", ".nii.gz", ".mgz")

IMAGE_SUFFIXES = (*RASTER_SUFFIXES, *DICOM_SUFFIXES, *VOLUME_SUFFIXES)
"""Every suffix `read_image` expects; DICOM is also recognised without any."""

RASTER_MARKS = (
    *(b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM", b"GIF8", b"RIFF"),
    *(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"P4\n", b"P5\n", b"P6\n"),
)
"""First bytes of PNG, JPEG, TIFF, BMP, GIF and WebP; of JPEG 2000 and of portable maps (.ppm)."""

OTHER_FORMATS = {
    b"\x89HDF\r\n\x1a\n": ("HDF5, as MINC 2 (.mnc) is", "mnc2nii of the MINC tools"),
    b"CDF": ("NetCDF, as MINC 1 (.mnc) is", "mnc2nii of the MINC tools"),
    b"NRRD000": ("NRRD", "SimpleITK or 3D Slicer"),
    b"ObjectType": ("MetaImage (.mha, .mhd)", "SimpleITK or 3D Slicer"),
    b"%PDF": ("PDF", "pdfimages, which writes its pictures as PNG"),
}
"""First bytes of formats that are not read -> what they are, and what converts them."""

_ADDRESS = re.compile(r"(^|/)(https?|ftp|s3|gs|az):/", re.IGNORECASE)
_PREAMBLE = 128
_DICOM_MARK = b"DICM"


def missing(path: Path) -> ImageError:
    """The error for a path where nothing is."""
    if _ADDRESS.search(str(path)):  # of which a path keeps one slash
        return ImageError(f"{path}: is an address, and only files and folders are read; download it first.")
    return ImageError(f"{path}: no such file or folder; check the path.")


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
    """Whether a file's suffix is that of a picture."""
    return path.suffix.lower() in RASTER_SUFFIXES


def is_volume_file(path: Path) -> bool:
    """Whether a file's name is that of a volume."""
    return path.name.lower().endswith(VOLUME_SUFFIXES)


def is_gzip(start: bytes) -> bool:
    """Whether a file that starts so is compressed by gzip."""
    return start.startswith(b"\x1f\x8b")


def is_jpeg(path: Path) -> bool:
    """Whether a path is a JPEG file by its content, so that its values are not quite what was drawn."""
    return path.is_file() and read_start(path).startswith(b"\xff\xd8\xff")


def has_raster_mark(start: bytes) -> bool:
    """Whether a file that starts so is a picture, however damaged behind its first bytes."""
    return start.startswith(RASTER_MARKS)


def refuse_other_formats(path: Path, start: bytes) -> None:
    """Refuse a sound file of a format that is not read.

    Args:
        path: The file.
        start: Its first bytes, see `read_start`.

    Raises:
        ImageError: If it is of one of `OTHER_FORMATS`; the message says what converts it.
    """
    for mark, (name, converter) in OTHER_FORMATS.items():
        if start.startswith(mark):
            raise ImageError(f"{path}: is {name}, which is not read; convert it to NIfTI or PNG first ({converter}).")


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a library raises on a damaged or strange file into an error that names it.

    Readers fail with exceptions of every kind: their own, those of decompressors, and any of Python's where a damaged
    header misleads them. What they only warn of is read well, so warnings are silenced.

    Args:
        path: The file.
        what: What it is read as, with its article.

    Raises:
        ImageError: In place of any exception of a library or of Python.
    """
    try:
        with quiet("PIL"), quiet("nibabel"):
            yield
    except VesaliusError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file; check the path.") from error
    except MemoryError as error:
        raise ImageError(
            f"{path}: does not fit into memory as {what}; it is too large, or its header is damaged."
        ) from error
    except Exception as error:
        raise ImageError(
            f"{path}: cannot be read as {what} ({in_one_line(error)}); it is damaged, incomplete or something else. "
            "Export or copy it again."
        ) from error


def in_one_line(error: BaseException) -> str:
    """An exception's message, shortened to 200 characters; its class where it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def file_stem(name: str) -> str:
    """A file's name without the suffix of its format; other dots belong to the name.

    >>> file_stem("scan.nii.gz"), file_stem("case.001.png"), file_stem("1.2.840.10008.1")
    ('scan', 'case.001', '1.2.840.10008.1')
    """
    lower = name.lower()
    suffix = max((each for each in IMAGE_SUFFIXES if lower.endswith(each)), key=len, default="")
    return name[: len(name) - len(suffix)] or name


def path_stem(path: Path) -> str:
    """What a file or folder is called: of a file without the suffix of its format, of a folder the whole name."""
    return path.name if path.is_dir() else file_stem(path.name)


def visible_files(
    folder: Path, unlisted: dict[Path, str] | None = None, broken_links: list[Path] | None = None
) -> list[Path]:
    """All files of a folder and its subfolders, in the order of their paths; hidden files and folders left out.

    Args:
        folder: Where they lie.
        unlisted: Takes every folder that cannot be listed, with a message that says why; without it, each is told as
            an `ImageNotice`.
        broken_links: Takes every link to nothing.
    """
    found = []
    errors: list[OSError] = []
    for home, folders, names in os.walk(folder, onerror=errors.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(home) / name for name in names if not name.startswith(".")]
        try:
            found += [path for path in paths if path.is_file()]
            if broken_links is not None:
                broken_links += [path for path in paths if path.is_symlink() and not path.exists()]
        except OSError as error:  # a folder whose names can be read, and nothing in it
            errors.append(OSError(error.errno, error.strerror, home))
    lost = {Path(each.filename): str(each.strerror) for each in errors if each.errno != errno.ENOENT}  # left meanwhile
    told = {home: f"{home}: cannot be listed ({reason}); check its access." for home, reason in lost.items()}
    if unlisted is not None:
        unlisted |= told
    else:
        for each in told.values():
            warnings.warn(f"{each} Its files are left out.", ImageNotice, stacklevel=2)
    return sorted(found, key=lambda path: path.parts)
