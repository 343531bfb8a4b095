"""One DICOM file: whether it is one, its header, and its pixels, checked before they are decoded frame by frame."""

import io
import itertools
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import generate_frames, get_frame
from pydicom.multival import MultiValue
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import as_pixel_options, pixel_array
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from vesalius.errors import ImageError
from vesalius.imaging import formats
from vesalius.imaging.formats import has_dicom_mark, in_one_line, read_start
from vesalius.imaging.header import refusal_of
from vesalius.imaging.safeguards import FRAMES, MAX_RUN, MEGABYTES, PIXELS, megabytes, quiet, read_stated_size

_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")
"""First bytes of files without the mark: group 2 or 8, little endian."""

_PIXEL_KEYWORDS = {0x0008: "FloatPixelData", 0x0009: "DoubleFloatPixelData", 0x0010: "PixelData"}
"""Elements of group 7FE0 that hold pixels."""

_ITEM = b"\xfe\xff\x00\xe0"
"""First bytes of a piece of compressed pixels."""

_PIECE = 2**20
"""Bytes that are inflated at once."""

_PLUGINS = {
    "1.2.840.10008.1.2.4.51": "python-gdcm",
    "1.2.840.10008.1.2.4.57": "python-gdcm",
    "1.2.840.10008.1.2.4.70": "python-gdcm",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
}
"""Package to install for a transfer syntax that the plugins of Vesalius cannot always decode."""

_VIDEO = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))
"""Transfer syntaxes of MPEG2, MPEG-4 and HEVC."""


@contextmanager
def reading_dicom(path: Path) -> Iterator[None]:
    """Turn whatever pydicom raises on a damaged or strange file into an error that names it; silence its warnings.

    It warns of padded pixel data, odd value representations and a JPEG 2000 signedness it corrects.

    Args:
        path: The file that the message names.

    Raises:
        ImageError: For any exception of a library or of Python.
    """
    with formats.reading(path, "DICOM"), quiet("pydicom"):
        yield


class DicomStream(io.BufferedReader):
    """A file for `pydicom.dcmread` that refuses to be inflated to more than may be held in memory.

    pydicom inflates a whole deflated file before it reads the first element, and it reads without a size only then.

    Args:
        path: The file.

    Raises:
        ImageError: While it is read, if it would take more.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._path = path

    def read(self, size: int | None = -1, /) -> bytes:
        """As every file does."""
        content = super().read(size)
        if size is None or size < 0:
            self._check(content)
        return content

    def _check(self, content: bytes) -> None:
        inflater, length = zlib.decompressobj(-zlib.MAX_WBITS), 0
        try:
            while piece := inflater.decompress(content, _PIECE):
                length += len(piece)
                MEGABYTES.check(megabytes(length), self._path)
                content = inflater.unconsumed_tail
        except zlib.error:
            pass  # pydicom says what is wrong


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
        with reading_dicom(path), DicomStream(path) as file:
            return "SOPClassUID" in pydicom.dcmread(file, stop_before_pixels=True, force=True)
    except ImageError:
        return False


@dataclass(frozen=True, eq=False)
class StoredPixels:
    """The place and encoding of a file's pixels."""

    path: Path
    offset: int | None
    """Byte at which the value of the pixel element begins; None where the whole file is deflated."""
    options: Mapping[str, object]
    """Options of pydicom's decoders."""
    palette: Dataset | None
    """The header, where its colour tables are needed."""

    def read(self, index: int) -> NDArray[np.generic]:
        """Decode one frame.

        Args:
            index: Frame, from 0.

        Returns:
            Stored values [H, W] or [H, W, 3].

        Raises:
            ImageError: If it is damaged, or in a compression no installed plugin decodes.
        """
        with self._decoding():
            stored = self._decode(index)
            if self.palette is not None:
                stored = apply_color_lut(stored, self.palette)
            return stored.astype(stored.dtype.newbyteorder("="))

    def decompress(self, dataset: Dataset) -> None:
        """Replace the compressed pixels of the file's dataset by plain ones, as many frames as its header says.

        Args:
            dataset: The whole file, with its meta information.

        Raises:
            ImageError: If a frame is damaged, of another size than the header's, or in a compression no installed
                plugin decodes.
        """
        with self._decoding():
            with self.path.open("rb") as file:
                file.seek(self.offset or 0)
                frames = _number(self.options, "number_of_frames")
                contents = generate_frames(file, **self._frames)  # type: ignore[arg-type]
                for content in itertools.islice(contents, frames):
                    self._check_frame(content)
                excess = next(contents, None) is not None
            only = range(frames) if excess else None  # the way to all of them is shorter
            dataset.decompress(decoding_plugin=self._plugin, generate_instance_uid=False, indices=only)

    @contextmanager
    def _decoding(self) -> Iterator[None]:
        """Turn whatever decoders raise into an error that names the file.

        Raises:
            ImageError: For all but interruptions.
        """
        try:
            with quiet("pydicom"):
                yield
        except (KeyboardInterrupt, SystemExit, ImageError):
            raise
        except BaseException as error:  # every decoding plugin raises its own kinds, those in Rust even this one
            raise ImageError(self._refusal(error)) from error

    def _decode(self, index: int) -> NDArray[np.generic]:
        if self.offset is None:
            whole: NDArray[np.generic] = pixel_array(pydicom.dcmread(self.path, force=True), index=index)
            return whole
        with self.path.open("rb") as file:
            file.seek(self.offset)
            if self._syntax.is_compressed:
                self._check_frame(get_frame(file, index, **self._frames))  # type: ignore[arg-type]
                file.seek(self.offset)
            decoder = get_decoder(self._syntax)
            return decoder.as_array(file, index=index, decoding_plugin=self._plugin, **self.options)[0]  # type: ignore[arg-type]

    @property
    def _frames(self) -> dict[str, object]:
        """Where frames begin, as pydicom takes it."""
        offsets = self.options.get("extended_offsets")
        return {"number_of_frames": _number(self.options, "number_of_frames"), "extended_offsets": offsets}

    @property
    def _plugin(self) -> str:
        """Of two decoders of run-length coding, the one that writes nothing to the terminal when it fails."""
        return "pydicom" if self._syntax == RLELossless else ""

    def _check_frame(self, content: bytes) -> None:
        """Refuse compressed pixels of another size than the header's, before a decoder makes room for them.

        Raises:
            ImageError: If there are too few bytes, or the stream itself states another size.
        """
        size = tuple(_number(self.options, key) for key in ("rows", "columns", "samples_per_pixel"))
        if self._syntax == RLELossless:
            stated = None
            fits = math.prod(size) * _number(self.options, "bits_allocated") // 8 <= MAX_RUN * len(content)
        else:
            stated = read_stated_size(io.BytesIO(content))
            fits = stated is None or stated.fits_in(len(content))
        if stated is not None and stated.shape != size:
            raise ImageError(
                f"{self.path}: its pixels say they are {'×'.join(map(str, stated.shape))} (rows, columns, values a "
                f"pixel) where the header says {'×'.join(map(str, size))}; it is damaged, so copy or export it again."
            )
        if not fits:
            raise ImageError(
                f"{self.path}: {len(content):,} bytes cannot hold its {size[0]}×{size[1]} pixels; it is damaged or "
                "incomplete, so copy or export it again."
            )

    @property
    def _syntax(self) -> UID:
        return UID(str(self.options["transfer_syntax_uid"]))

    def _refusal(self, error: BaseException) -> str:
        reason = f"{self.path}: its pixels ({self._syntax.name}) cannot be decoded ({in_one_line(error)})"
        if self._syntax in _VIDEO:
            return f"{reason}; it is a video, which Vesalius does not read. Export its frames as pictures."
        plugin = _PLUGINS.get(self._syntax)
        hint = f" If it opens elsewhere, install a plugin that knows this kind: pip install {plugin}." if plugin else ""
        return f"{reason}; it is damaged or incomplete, or no installed pydicom plugin knows this compression.{hint}"


def _number(options: Mapping[str, object], name: str) -> int:
    return int(str(options.get(name, 1)))


@dataclass(frozen=True, eq=False)
class DicomFile:
    """An image file whose pixels are not decoded yet."""

    path: Path
    header: Dataset
    """All attributes before the pixels."""
    pixels: StoredPixels
    frames: int
    """Number of frames."""


def check_is_dicom(path: Path) -> None:
    """Refuse what is not DICOM, by an ImageError."""
    if not is_dicom(path):
        raise ImageError(f"{path}: is not DICOM, or empty; name a DICOM file, or take this one out of the folder.")


def open_dicom(path: Path) -> DicomFile:
    """Parse the header of an image file and find its pixels.

    Args:
        path: The file, under any name.

    Raises:
        ImageError: If it is not DICOM, damaged, cut off, too large, or of a kind that is no image (segmentation,
            report, whole-slide image).
    """
    check_is_dicom(path)
    with reading_dicom(path), DicomStream(path) as file:
        header = pydicom.dcmread(file, stop_before_pixels=True, force=True)
        _name_transfer_syntax(header)
        check_is_image(header, path)
        return _find_pixels(header, path, file)


def check_is_image(header: Dataset, path: Path) -> None:
    """Refuse what holds no pixels, or none that are an image of a patient.

    Args:
        header: At least SOPClassUID and Rows of the file.
        path: The file, for the message.

    Raises:
        ImageError: If it is no image, or ends before its image size.
    """
    kind = sop_class(header)
    refusal = refusal_of(kind)
    if refusal is not None:
        raise ImageError(f"{path}: {refusal}.")
    if header.get("Rows") and header.get("Columns"):
        return
    if "Image Storage" in UID(kind).name:
        raise ImageError(f"{path}: ends before its image size; it is incomplete, so copy or export it again.")
    raise ImageError(f"{path}: is a DICOM object without pixels; name an image or a folder with a series.")


def sop_class(header: Dataset) -> str:
    """SOP class of a file; "" if it names none."""
    for found in (header.get("SOPClassUID"), getattr(header, "file_meta", {}).get("MediaStorageSOPClassUID")):
        first = next(iter(found), "") if isinstance(found, MultiValue | list) else found
        if first:
            return str(first)
    return ""


def _name_transfer_syntax(header: Dataset) -> None:
    """Set the transfer syntax of a file without preamble, which names none, to the encoding that pydicom found."""
    if not hasattr(header, "file_meta"):
        header.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in header.file_meta:
        implicit, little = header.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit


def _find_pixels(header: Dataset, path: Path, file: BinaryIO) -> DicomFile:
    syntax = UID(header.file_meta.TransferSyntaxUID)
    options = as_pixel_options(header, transfer_syntax_uid=syntax)
    frames = int(options["number_of_frames"])
    PIXELS.check(int(header.Rows) * int(header.Columns), path)
    if frames < 1:
        raise ImageError(f"{path}: says it has {frames} frames; it is damaged, so copy or export it again.")
    FRAMES.check(frames, path)
    palette = header if header.get("PhotometricInterpretation") == "PALETTE COLOR" else None
    if syntax == DeflatedExplicitVRLittleEndian:
        return DicomFile(path, header, StoredPixels(path, None, options, palette), frames)
    options.update(_read_pixel_tag(file, header, path))
    offset = file.tell()
    if syntax.is_compressed:
        _check_fragments(file, path)
    else:
        _check_length(options, path, path.stat().st_size - offset)
    return DicomFile(path, header, StoredPixels(path, offset, options, palette), frames)


def _read_pixel_tag(file: BinaryIO, header: Dataset, path: Path) -> dict[str, object]:
    """Step over tag, value representation and length of the pixel element, at which the file stands."""
    implicit, little = header.original_encoding
    start = file.read(8)
    explicit = not implicit and start[4:6].isalpha()  # some files belie their transfer syntax
    file.seek(4 if explicit else 0, os.SEEK_CUR)
    element = int.from_bytes(start[2:4], "little" if little else "big")
    if len(start) < 8 or element not in _PIXEL_KEYWORDS:
        raise ImageError(f"{path}: its pixels are missing; it is incomplete, so copy or export it again.")
    representation = start[4:6].decode("ascii") if explicit else "OW"
    return {"pixel_keyword": _PIXEL_KEYWORDS[element], "pixel_vr": representation}


def _check_fragments(file: BinaryIO, path: Path) -> None:
    """Step from one piece of compressed pixels to the next, which must all lie in the file."""
    size = path.stat().st_size
    while len(start := file.read(8)) == 8 and start[:4] == _ITEM:
        end = file.tell() + int.from_bytes(start[4:], "little")
        if end > size:
            raise ImageError(f"{path}: its pixels are cut off; it is incomplete, so copy or export it again.")
        file.seek(end)


def pixel_bytes(options: Mapping[str, object]) -> int:
    """Bytes that the pixels of all frames take without compression.

    Args:
        options: Of a file's `StoredPixels`.
    """
    names = ("rows", "columns", "samples_per_pixel", "number_of_frames", "bits_allocated")
    bits = math.prod(_number(options, name) for name in names)
    if options.get("photometric_interpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3
    return -(-bits // 8)


def _check_length(options: Mapping[str, object], path: Path, found: int) -> None:
    expected = pixel_bytes(options)
    if found < expected:
        raise ImageError(
            f"{path}: its pixels are cut off (expected {expected:,} bytes, got {found:,}); it is incomplete, so copy "
            "or export it again."
        )
