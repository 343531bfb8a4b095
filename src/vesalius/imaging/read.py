"""One function for every file: what it holds decides, not what it is called."""

import importlib
from pathlib import Path
from types import ModuleType

from vesalius.errors import ImageError, MissingPackageError
from vesalius.imaging.formats import IMAGE_SUFFIXES, RASTER_SUFFIXES, VOLUME_SUFFIXES, has_dicom_mark, read_start
from vesalius.imaging.image import MedicalImage
from vesalius.imaging.raster import is_raster, read_raster


def read_image(path: str | Path) -> MedicalImage:
    """Read a picture, a DICOM file, a folder with one DICOM series, or a NIfTI volume.

    Of several stacks of slices in a DICOM series (echoes, orientations of a localizer) the largest is taken;
    `vesalius.imaging.dicom.read_stacks` gives all.

    Args:
        path: File or folder. DICOM is known by its content, pictures by theirs, NIfTI and MGZ by their suffix.

    Returns:
        The image in display order.

    Raises:
        ImageError: If nothing is there, or nothing that Vesalius reads, or it is damaged.
        MissingPackageError: If DICOM or NIfTI is asked for and pydicom or nibabel is not installed.

    Example:
        >>> from vesalius.imaging.read import read_image
        >>> read_image("knee/").slices("sagittal")  # doctest: +SKIP
    """
    path = Path(path)
    if not path.exists():
        raise ImageError(f"{path}: no such file or folder; check the path.")
    if path.is_dir():
        return _read_folder(path)
    if path.stat().st_size == 0:
        raise ImageError(f"{path}: is empty; copy or export it again.")
    return _read_file(path)


def _read_file(path: Path) -> MedicalImage:
    if has_dicom_mark(read_start(path)):
        return _read_with("dicom", "read_dicom", path)
    if path.name.lower().endswith(VOLUME_SUFFIXES):
        return _read_with("nifti", "read_nifti", path)
    if is_raster(path) or path.suffix.lower() in RASTER_SUFFIXES:
        return read_raster(path)
    if _module("dicom", path).is_dicom(path):
        return _read_with("dicom", "read_dicom", path)
    raise ImageError(
        f"{path}: is no image Vesalius reads; expected DICOM or one of {', '.join(IMAGE_SUFFIXES)}. Convert it first."
    )


def _read_folder(folder: Path) -> MedicalImage:
    if not any(folder.iterdir()):
        raise ImageError(f"{folder}: is an empty folder; name a file or a folder with a DICOM series.")
    return _read_with("dicom", "read_series", folder)


def _read_with(module: str, function: str, path: Path) -> MedicalImage:
    image: MedicalImage = getattr(_module(module, path), function)(path)
    return image


def _module(name: str, path: Path) -> ModuleType:
    try:
        return importlib.import_module(f"vesalius.imaging.{name}")
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"{path}: reading it needs {error.name}, which is not installed; install it with: pip install {error.name}"
        ) from error
