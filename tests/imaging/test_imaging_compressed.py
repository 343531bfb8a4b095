"""Sizes that compressed pixels state themselves."""

import io
import struct

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from vesalius.errors import ImageError
from vesalius.imaging.dicom import read_dicom
from vesalius.imaging.safeguards import StatedSize, read_stated_size

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)


def picture(kind: str, values: np.ndarray = PIXELS, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (picture("JPEG"), StatedSize(48, 64, 1, 512)),
        (picture("JPEG", np.stack([PIXELS] * 3, -1), progressive=True), StatedSize(48, 64, 3, 512)),
        (picture("JPEG", exif=b"Exif\0\0" + bytes(60_000)), StatedSize(48, 64, 1, 512)),
        (picture("JPEG2000"), StatedSize(48, 64, 1)),
        (picture("JPEG2000", no_jp2=True), StatedSize(48, 64, 1)),
        (b"\xff\xd8\xff\xf7\0\x0b\x08\0\x30\0\x40\x01\x01\x11\0", StatedSize(48, 64, 1)),
        (b"\xff\xd8\xff\xc0\0\x0b\x08\0\0\0\x18\x01\x01\x11\0", None),
        (picture("PNG"), None),
        (picture("JPEG")[:80], None),
        (b"\xff\x4f\xff\x51\0", None),
        (b"\xff\xd8\xff\xc0\0", None),
        (b"", None),
    ],
)
def test_are_found_in_the_header(content, expected):
    assert read_stated_size(io.BytesIO(content)) == expected


def test_that_need_more_bytes_than_there_are_do_not_fit():
    assert StatedSize(64, 64, 1, 512).fits_in(8)
    assert not StatedSize(64, 65, 1, 512).fits_in(8)
    assert StatedSize(60_000, 60_000, 1).fits_in(1)


def write_jpeg(write_dicom, *pictures: bytes):
    path = write_dicom("a.dcm", np.stack([PIXELS] * len(pictures)), Modality="OT")
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = encapsulate(list(pictures))
    dataset.save_as(path)
    return path


def test_that_agree_with_the_header_are_read(write_dicom):
    assert read_dicom(write_jpeg(write_dicom, picture("JPEG"), picture("JPEG"))).pixels.shape == (2, 48, 64)


def test_of_any_frame_that_differ_from_the_header_are_refused(write_dicom):
    large = picture("JPEG").replace(struct.pack(">HH", 48, 64), struct.pack(">HH", 60_000, 60_000), 1)
    path = write_jpeg(write_dicom, picture("JPEG"), large)
    with pytest.raises(ImageError, match=r"a\.dcm: its pixels say they are 60000×60000×1 .* header says 48×64×1"):
        read_dicom(path)


@pytest.mark.parametrize(
    ("syntax", "message"),
    [
        (RLELossless, "bytes cannot hold its 9000×9000 pixels"),
        (JPEG2000Lossless, "they are 48×64×1 .* says 9000×9000×1"),
    ],
)
def test_of_a_header_that_promises_more_are_refused(write_dicom, syntax, message):
    path = write_dicom("a.dcm", PIXELS, compress=syntax, Modality="OT")
    dataset = pydicom.dcmread(path)
    dataset.Rows = dataset.Columns = 9000
    dataset.save_as(path)
    with pytest.raises(ImageError, match=message):
        read_dicom(path)


def test_damaged_run_lengths_are_refused_and_nothing_else_is_printed(write_dicom, capfd):
    path = write_dicom("a.dcm", PIXELS, compress=RLELossless, Modality="OT")
    path.write_bytes(path.read_bytes()[:-3000] + b"\x81\0" * 4 + b"\x80" * 2992)  # four runs, and nothing after them
    with pytest.raises(ImageError, match=r"a\.dcm: its pixels \(RLE Lossless\) cannot be decoded"):
        read_dicom(path)
    assert capfd.readouterr() == ("", "")
