"""One DICOM file: whether it is one, its header, its frames."""

import warnings
from collections.abc import Iterator
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
from vesalius.imaging.formats import has_dicom_mark, read_start

_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")
"""How a file without the mark begins: group 2 or 8, little endian."""


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Silence pydicom's remarks on files it reads well all the same.

    It warns of padded pixel data, odd value representations and a JPEG 2000 signedness it corrects. What matters,
    missing bytes, it raises; and a cut-off compressed file, of which it only warns, then has no pixels to decode.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\b")
        yield


@quiet_pydicom()
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


def open_dicom(path: Path, *, stop_before_pixels: bool) -> Dataset:
    """Parse a file.

    Args:
        path: The file, under any name.
        stop_before_pixels: Read the header alone.

    Raises:
        ImageError: If it is not DICOM or damaged.
    """
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


def is_image(header: Dataset, path: Path) -> bool:
    """Whether a file holds pixels.

    Args:
        header: Of the file.
        path: The file, for the message.

    Raises:
        ImageError: If it should and ends before it says how many.
    """
    if "Rows" in header:
        return True
    kind = UID(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "").name
    if "Image Storage" in kind:
        raise ImageError(f"{path}: ends before its image size; it is incomplete, so copy or export it again.")
    return False


def read_frames(path: Path) -> list[Frame]:
    """Read and decode all frames of a file.

    Raises:
        ImageError: If it is no DICOM image, damaged, or in a compression no installed plugin decodes.
    """
    dataset = open_dicom(path, stop_before_pixels=False)
    if not is_image(dataset, path):
        raise ImageError(f"{path}: is a DICOM object without pixels; name an image or a folder with a series.")
    try:
        return frames_of(dataset, _decode(dataset))
    except Exception as error:  # every decoding plugin raises its own kinds
        kind = UID(dataset.file_meta.TransferSyntaxUID).name
        raise ImageError(
            f"{path}: its pixels ({kind}) cannot be decoded ({_in_one_line(error)}); the file is damaged or "
            "incomplete, or no installed pydicom plugin knows this compression. Copy or export it again."
        ) from error


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
