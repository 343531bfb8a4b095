"""DICOM files and series as images; needs pydicom, and its pylibjpeg plugins for compressed files."""

import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from vesalius.errors import ImageError
from vesalius.imaging.dicom_frames import Frame, frames_of
from vesalius.imaging.dicom_stacks import build_stacks
from vesalius.imaging.formats import DICOM_SUFFIXES, has_dicom_mark, read_start
from vesalius.imaging.image import MedicalImage

_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")
"""How a file without the mark begins: group 2 or 8, little endian."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence pydicom's remarks on files it reads well all the same.

    It warns of padded pixel data, odd value representations and a JPEG 2000 signedness it corrects. What matters,
    missing bytes, it raises; and a cut-off compressed file, of which it only warns, then has no pixels to decode.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\b")
        yield


@_quiet()
def read_dicom(path: Path) -> MedicalImage:
    """Read one DICOM file: a slice, a picture, a clip or an enhanced multi-frame volume.

    Args:
        path: The file, under any name.

    Returns:
        The file's largest stack of parallel slices.

    Raises:
        ImageError: If the file is no DICOM image, damaged, or in a compression no installed plugin decodes.
    """
    return build_stacks(_read_frames(path), path)[0]


@_quiet()
def read_series(folder: Path, *, series_uid: str | None = None) -> MedicalImage:
    """Read the one series in a folder and its subfolders.

    Args:
        folder: Folder of DICOM files; hidden files and files of other kinds are passed over.
        series_uid: SeriesInstanceUID, needed where the folder holds several.

    Returns:
        The series' largest stack of parallel slices; `read_stacks` gives all, e.g. of a localizer.

    Raises:
        ImageError: If there is no image, a damaged one, or several series to choose from.
    """
    series = _find_series(folder)
    if series_uid is None and len(series) > 1:
        listed = "; ".join(f"{uid} ({len(paths)} files, {paths[0].parent.name})" for uid, paths in series.items())
        raise ImageError(f"{folder}: holds {len(series)} series: {listed}. Name one folder, or choose with series_uid.")
    return build_stacks(_read_all(folder, series, series_uid), folder)[0]


@_quiet()
def read_stacks(path: Path, *, series_uid: str | None = None) -> list[MedicalImage]:
    """Read every stack of parallel slices: each orientation, echo, b-value and time point of each series.

    Args:
        path: DICOM file, or folder searched with its subfolders.
        series_uid: Only the series of that SeriesInstanceUID.

    Returns:
        Images, the one with most slices first.

    Raises:
        ImageError: If there is no image, or a damaged one.
    """
    if path.is_file():
        return build_stacks(_read_frames(path), path)
    return build_stacks(_read_all(path, _find_series(path), series_uid), path)


@_quiet()
def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM: it has the DICM mark or, written without, names its SOP class.

    Raises:
        ImageError: If the file cannot be opened.
    """
    start = read_start(path)
    if has_dicom_mark(start):
        return True
    if start[:2] not in _FIRST_GROUPS:
        return False
    try:
        return "SOPClassUID" in pydicom.dcmread(path, stop_before_pixels=True, force=True)
    except Exception:  # pydicom raises whatever the bytes lead it to
        return False


def _find_series(folder: Path) -> dict[str, list[Path]]:
    if not folder.is_dir():
        raise ImageError(f"{folder}: no such folder; check the path.")
    series: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(path for path in folder.rglob("[!.]*") if path.is_file()):
        if path.suffix.lower() in DICOM_SUFFIXES or is_dicom(path):
            header = _open(path, stop_before_pixels=True)
            if _is_image(header, path):
                series[str(header.get("SeriesInstanceUID", ""))].append(path)
    if not series:
        raise ImageError(f"{folder}: holds no DICOM image; name a folder with a series, or a single picture file.")
    return dict(series)


def _is_image(header: Dataset, path: Path) -> bool:
    if "Rows" in header:
        return True
    kind = UID(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "").name
    if "Image Storage" in kind:
        raise ImageError(f"{path}: ends before its image size; it is incomplete, so copy or export it again.")
    return False


def _read_all(folder: Path, series: dict[str, list[Path]], series_uid: str | None) -> list[Frame]:
    if series_uid is not None and series_uid not in series:
        raise ImageError(f"{folder}: has no series {series_uid}; available: {', '.join(series)}.")
    chosen: Sequence[list[Path]] = list(series.values()) if series_uid is None else [series[series_uid]]
    return [frame for paths in chosen for path in paths for frame in _read_frames(path)]


def _read_frames(path: Path) -> list[Frame]:
    dataset = _open(path, stop_before_pixels=False)
    if not _is_image(dataset, path):
        raise ImageError(f"{path}: is a DICOM object without pixels; name an image or a folder with a series.")
    try:
        return frames_of(dataset, _decode(dataset))
    except Exception as error:  # every decoding plugin raises its own kinds
        kind = UID(dataset.file_meta.TransferSyntaxUID).name
        raise ImageError(
            f"{path}: its pixels ({kind}) cannot be decoded ({_in_one_line(error)}); the file is damaged or "
            "incomplete, or no installed pydicom plugin knows this compression. Copy or export it again."
        ) from error


def _open(path: Path, *, stop_before_pixels: bool) -> Dataset:
    if not is_dicom(path):
        raise ImageError(f"{path}: is not DICOM, or empty; name a DICOM file, or take this one out of the folder.")
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=stop_before_pixels, force=True)
    except Exception as error:  # pydicom raises whatever the bytes lead it to
        raise ImageError(
            f"{path}: cannot be read as DICOM ({_in_one_line(error)}); copy or export it again."
        ) from error
    _name_transfer_syntax(dataset)
    return dataset


def _name_transfer_syntax(dataset: Dataset) -> None:
    """Files without preamble do not say how they are encoded; how pydicom parsed them does."""
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit


def _decode(dataset: Dataset) -> NDArray[np.generic]:
    stored: NDArray[np.generic] = pixel_array(dataset)
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
    return stored.astype(stored.dtype.newbyteorder("="))


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
