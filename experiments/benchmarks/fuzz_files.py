# ruff: noqa: E501
"""Tiny image files with odd headers and damaged bytes, drawn from whatever chooses: `random`, or hypothesis in tests."""

import gzip
import io
import random
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import nibabel as nib
import numpy as np
import pydicom
from PIL import Image
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

T = TypeVar("T")
NUMBER_FORMATS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
LONG_LENGTH = {"OB", "OW", "SQ", "UN", "UT"}
"""Value representations whose length takes four bytes."""
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"

HOSTILE_TEXT = (
    "", "\x1b[31mred\x1b[0m", "[/b] [link=x]", "../../etc/passwd", "a\\b\\\\c", "é\u0130ß", "<script>", "%s{0}", "\0\0",
    "T2" * 40, "nan", " ",
)  # fmt: skip
NUMBERS = ("1", "0", "-1", "nan", "inf", "-inf", "", "\\", "1\\2", "1e300", "-1e300", "1e-300", "x", "0.5", "1,5")

ODD_VALUES: Mapping[str, Sequence[object]] = {
    "SOPClassUID": ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7", "", "1.2\\3.4", "x" * 70, "1.2.840.10008.5.1.4.1.1.66.4"),
    "SOPInstanceUID": ("1.2.3.4", "", "\\", "é"),
    "SeriesInstanceUID": ("1.2.3", "", "1\\2", "../x"),
    "Modality": ("MR", "CT", "DX", "US", "PT", "OT", *HOSTILE_TEXT),
    "ImageType": ("ORIGINAL\\PRIMARY\\M", "ORIGINAL\\PRIMARY\\MOSAIC", "LOCALIZER", "\\\\\\", *HOSTILE_TEXT),
    "Rows": ([4], [1], [0], [5], [65535], [], [4, 6], b"\x04", b"4 "),
    "Columns": ([6], [1], [0], [7], [65535], [], [4, 6], b"\x06", b"6 "),
    "BitsAllocated": ([16], [8], [1], [32], [64], [12], [0], [65535], []),
    "BitsStored": ([16], [8], [12], [1], [0], [17], [65535], []),
    "HighBit": ([15], [7], [11], [0], [65535], []),
    "PixelRepresentation": ([0], [1], [2], [65535], []),
    "SamplesPerPixel": ([1], [3], [0], [2], [4], [65535], []),
    "PlanarConfiguration": ([0], [1], [2], []),
    "PhotometricInterpretation": (
        "MONOCHROME2", "MONOCHROME1", "RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "ARGB",
        "", "MONOCHROME2\\RGB",
    ),
    "NumberOfFrames": ("1", "2", "3", "0", "-1", "20001", "2000000000", "", "2\\3", "nan", "x", "1.5"),
    "RescaleSlope": NUMBERS,
    "RescaleIntercept": ("-1024", *NUMBERS),
    "RescaleType": ("HU", "US", *HOSTILE_TEXT),
    "WindowCenter": ("40", "40\\600", *NUMBERS),
    "WindowWidth": ("400", "400\\1500", "0.5", *NUMBERS),
    "VOILUTFunction": ("LINEAR", "LINEAR_EXACT", "SIGMOID", *HOSTILE_TEXT),
    "PixelSpacing": ("1\\1", "0\\0", "-1\\1", "nan\\1", "1", "1\\1\\1", "1e-12\\1", "1e30\\1e30", "1\\200", "", "x\\y", "1e300\\1e300"),
    "ImagerPixelSpacing": ("1\\1", "0\\0", "inf\\1", ""),
    "SliceThickness": NUMBERS,
    "SpacingBetweenSlices": NUMBERS,
    "ImagePositionPatient": ("0\\0\\0", "1e30\\0\\0", "nan\\0\\0", "inf\\0\\0", "0\\0", "", "x\\y\\z", "0\\0\\0\\0", "1e300\\1e300\\1e300"),
    "ImageOrientationPatient": (
        "1\\0\\0\\0\\1\\0", "0\\1\\0\\0\\0\\-1", "0\\0\\0\\0\\0\\0", "1\\0\\0\\1\\0\\0", "2\\0\\0\\0\\3\\0", "1\\1\\0\\0\\1\\0",
        "nan\\0\\0\\0\\1\\0", "inf\\0\\0\\0\\1\\0", "1e300\\0\\0\\0\\1e300\\0", "1\\0\\0", "", "0.8\\0.6\\0\\-0.6\\0.8\\0",
        "1\\0\\0\\0\\0.6\\0.8", "0.5774\\0.5774\\0.5774\\0.7071\\-0.7071\\0", "1e-9\\0\\0\\0\\1e-9\\0",
    ),
    "InstanceNumber": ("1", "", "-5", "1\\2", "99999999999999999999", "nan", "1.5", "x"),
    "PixelPaddingValue": ([0], [65535], [], [0, 1], b"\x00", b"\xff"),
    "PixelPaddingRangeLimit": ([10], [], [0, 1], b"\x00"),
    "RedPaletteColorLookupTableDescriptor": ([4, 0, 8], [4, 0, 16], [0, 0, 16], [4, 0], [4, 65535, 8], [65535, 0, 8], [4, 0, 99], []),
    "EchoTime": NUMBERS,
    "DiffusionBValue": ([1000.0], [float("nan")], [float("inf")], [], b"\0\0\0"),
    "TemporalPositionIndex": ([1], [], [1, 2], b"\0"),
    "RepetitionTime": NUMBERS,
    "SeriesDescription": HOSTILE_TEXT,
    "ProtocolName": HOSTILE_TEXT,
    "BodyPartExamined": HOSTILE_TEXT,
    "SpecificCharacterSet": ("ISO_IR 100", "ISO_IR 192", "NO SUCH SET", "\\ISO 2022 IR 87", "ISO_IR 192\\ISO 2022 IR 87"),
    "PatientOrientation": ("L\\P", "", "L", "\\"),
}  # fmt: skip
"""What attributes may hold, the first being usual; lists are binary numbers, bytes the raw value."""

USUAL = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "Rows", "Columns", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "SamplesPerPixel", "PhotometricInterpretation", "PixelSpacing",
    "ImagePositionPatient", "ImageOrientationPatient", "InstanceNumber",
)  # fmt: skip
"""Attributes that a sound file has."""

NESTED: Mapping[str, Sequence[str]] = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction"),
    "MRDiffusionSequence": ("DiffusionBValue",),
}
"""Functional groups and what they hold."""


class Pick(Protocol):
    """Chooses one of several."""

    def __call__(self, options: Sequence[T], /) -> T:
        """The first is the usual one."""


# DICOM


def encode_element(keyword: str | int, value: object, *, explicit: bool = True, representation: str = "") -> bytes:
    """One data element, little endian.

    Args:
        keyword: Keyword, or tag of a private attribute.
        value: Text, a list of binary numbers, or bytes.
        explicit: Whether the value representation is written.
        representation: By default what the dictionary says.
    """
    tag = keyword if isinstance(keyword, int) else int(tag_for_keyword(keyword) or 0)
    known = representation or ("UN" if isinstance(keyword, int) else dictionary_VR(tag))
    real = {"US or SS": "US", "US or SS or OW": "US", "OB or OW": "OW", "US or OW": "OW"}.get(known, known)
    raw = _encode_value(real, value)
    start = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if not explicit:
        return start + struct.pack("<I", len(raw)) + raw
    if real in LONG_LENGTH:
        return start + real.encode() + struct.pack("<HI", 0, len(raw)) + raw
    return start + real.encode() + struct.pack("<H", min(len(raw), 65535)) + raw


def _encode_value(representation: str, value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, list):
        real = any(isinstance(each, float) for each in value)
        usual = NUMBER_FORMATS.get(representation, "H")
        return struct.pack(f"<{len(value)}{'f' if real and usual not in 'fd' else usual}", *value)
    raw = str(value).encode("utf-8")
    return raw + (b"\0" if representation == "UI" else b" ") * (len(raw) % 2)


def dicom_with_odd_header(pick: Pick) -> bytes:
    """A small DICOM file of which up to five attributes are odd, absent or of another representation."""
    values = {keyword: ODD_VALUES[keyword][0] for keyword in USUAL}
    representations: dict[str, str] = {}
    for _ in range(pick(range(6))):
        keyword = pick(tuple(ODD_VALUES))
        values[keyword] = pick(ODD_VALUES[keyword])
        change = pick(("", "", "", "absent", "UN", "LO", "US", "DS", "SQ", "OB"))
        if change == "absent":
            del values[keyword]
        elif change:
            representations[keyword] = change
    explicit = pick((True, False))
    elements = {
        int(tag_for_keyword(keyword) or 0): encode_element(
            keyword, value, explicit=explicit, representation=representations.get(keyword, "")
        )
        for keyword, value in values.items()
    }
    elements |= _extras(pick, explicit)
    elements[0x7FE00010] = _pixels(pick, values, explicit)
    body = b"".join(elements[tag] for tag in sorted(elements))
    return (_part_10(EXPLICIT if explicit else IMPLICIT) if pick((True, True, False)) else b"") + body


def _part_10(syntax: str) -> bytes:
    meta = encode_element("FileMetaInformationVersion", b"\0\1") + encode_element("TransferSyntaxUID", syntax)
    return bytes(128) + b"DICM" + encode_element("FileMetaInformationGroupLength", [len(meta)]) + meta


def _first(value: object, usual: int) -> int:
    return value[0] if isinstance(value, list) and value else usual


def _pixels(pick: Pick, values: Mapping[str, object], explicit: bool) -> bytes:
    numbers = [_first(values.get(keyword), 1) for keyword in ("Rows", "Columns", "SamplesPerPixel")]
    bits = _first(values.get("BitsAllocated"), 16)
    frames = values.get("NumberOfFrames", "1")
    count = int(frames) if isinstance(frames, str) and frames.isdecimal() else 1
    size = min(4096, -(-int(np.prod([*numbers, count])) * bits // 8))
    fill = pick(("ramp", "zero", "ones", "alternating"))
    content = {
        "ramp": bytes(range(256)) * 16, "zero": bytes(4096), "ones": b"\xff" * 4096, "alternating": b"\0\x80" * 2048,
    }[fill]  # fmt: skip
    length = max(0, size + pick((0, 0, 0, 1, -1, 100, -size)))
    return encode_element("PixelData", content[:length], explicit=explicit, representation="OW")


def _extras(pick: Pick, explicit: bool) -> dict[int, bytes]:
    """Tables, functional groups, palettes and private attributes, mostly none."""
    kind = pick(("", "", "frames", "voi", "modality", "palette", "private", "mosaic"))
    if kind == "frames":
        shared, frames = _groups(pick, explicit), [_groups(pick, explicit) for _ in range(pick(range(4)))]
        return {
            0x00280008: encode_element("NumberOfFrames", pick(ODD_VALUES["NumberOfFrames"][1:]), explicit=explicit),
            0x52009229: _sequence("SharedFunctionalGroupsSequence", [shared], explicit),
            0x52009230: _sequence("PerFrameFunctionalGroupsSequence", frames, explicit),
        }
    if kind in ("voi", "modality"):
        keyword = {"voi": "VOILUTSequence", "modality": "ModalityLUTSequence"}[kind]
        descriptor = pick(([4, 0, 16], [4, 0, 8], [0, 0, 16], [4, 65535, 16], [4, 0, 99], [4], [], [9, 0, 16]))
        data = pick(([0, 1, 2, 3], [65535] * 4, [], [1]))
        item = encode_element("LUTDescriptor", descriptor, explicit=explicit) + encode_element(
            "LUTData", data, explicit=explicit, representation="US"
        )
        items = pick(([item], [], [b""], [item, item]))
        return {int(tag_for_keyword(keyword) or 0): _sequence(keyword, items, explicit)}
    if kind == "palette":
        found = {0x00280004: encode_element("PhotometricInterpretation", "PALETTE COLOR", explicit=explicit)}
        for colour in ("Red", "Green", "Blue"):
            keyword = f"{colour}PaletteColorLookupTableDescriptor"
            layout = pick(ODD_VALUES["RedPaletteColorLookupTableDescriptor"])
            found[int(tag_for_keyword(keyword) or 0)] = encode_element(keyword, layout, explicit=explicit)
            keyword = f"{colour}PaletteColorLookupTableData"
            table = pick((b"\0\1\2\3", b"", b"\0\xff" * 4, b"\1"))
            found[int(tag_for_keyword(keyword) or 0)] = encode_element(keyword, table, explicit=explicit)
        return found
    if kind == "private":
        value = pick((b"", b"1000\\", b"\0\0\0\0", b"nan ", b"\xff" * 9, b"1000000005"))
        creator = pick(("SIEMENS MR HEADER", "GEMS_PARM_01", "Philips Imaging DD 001", "\x1b"))
        group, element = pick(((0x0019, 0x0C), (0x0043, 0x39), (0x2001, 0x03)))
        return {
            group << 16 | 0x10: encode_element(group << 16 | 0x10, creator, explicit=explicit, representation="LO"),
            group << 16 | 0x1000 | element: encode_element(group << 16 | 0x1000 | element, value, explicit=explicit),
        }
    if kind == "mosaic":
        header = pick((b"", b"SV10", b"SV10\4\3\2\1" + struct.pack("<2i", 5000, 77), _csa(pick)))
        return {
            0x00080008: encode_element("ImageType", "ORIGINAL\\PRIMARY\\MOSAIC", explicit=explicit),
            0x00290010: encode_element(0x00290010, "SIEMENS CSA HEADER", explicit=explicit, representation="LO"),
            0x00291010: encode_element(0x00291010, header, explicit=explicit, representation="OB"),
        }
    return {}


def _groups(pick: Pick, explicit: bool) -> bytes:
    found = b""
    for keyword in NESTED:
        if pick((True, False)):
            inner = b"".join(
                encode_element(each, pick(ODD_VALUES[each]), explicit=explicit) for each in sorted(NESTED[keyword])
            )
            found += _sequence(keyword, pick(([inner], [], [b""])), explicit)
    return found


def _sequence(keyword: str, items: Sequence[bytes], explicit: bool) -> bytes:
    content = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    return encode_element(keyword, content, explicit=explicit, representation="SQ")


def _csa(pick: Pick) -> bytes:
    count = pick(("4", "1", "0", "-3", "nan", "99999999", "x", ""))
    normal = pick((("0", "0", "1"), ("0", "0", "0"), ("nan", "0", "1"), ("0", "0"), ("1e300", "1e300", "1e300")))
    elements = {"NumberOfImagesInMosaic": (count,), "SliceNormalVector": normal}
    packed = b"SV10\4\3\2\1" + struct.pack("<2i", len(elements), 77)
    for name, values in elements.items():
        packed += struct.pack("<64si4s3i", name.encode(), len(values), b"IS\0\0", 6, len(values), 77)
        for value in values:
            text = value.encode() + b"\0"
            packed += struct.pack("<4i", 0, len(text), 77, 0) + text + bytes(-len(text) % 4)
    return packed


# NIfTI


def nifti_with_odd_header(pick: Pick) -> bytes:
    """A small NIfTI-1 or NIfTI-2 file of which up to five fields are odd."""
    second, order = pick((False, False, True)), pick(("<", ">"))
    layout = (nib.nifti2.header_dtype if second else nib.nifti1.header_dtype).newbyteorder(order)
    header = np.zeros((), layout)
    size = 540 if second else 348
    header["sizeof_hdr"], header["magic"] = size, b"n+2" if second else b"n+1"
    header["dim"], header["pixdim"] = [3, 4, 5, 6, 1, 1, 1, 1], 1
    header["datatype"], header["bitpix"], header["vox_offset"], header["scl_slope"] = 4, 16, size + 4, 1
    header["sform_code"], header["srow_x"][0], header["srow_y"][1], header["srow_z"][2] = 1, 1, 1, 1
    for _ in range(pick(range(6))):
        _spoil_nifti(pick, header, size)
    content = pick((bytes(range(256)) * 8, bytes(2048), b"\xff" * 2048, b"\0\x80\xff\x7f" * 512, b""))
    extension = pick(
        (bytes(4), b"\1\0\0\0" + struct.pack("<ii", 16, 6) + bytes(8), b"\1\0\0\0", b"\1\0\0\0" + b"\xff" * 12)
    )
    return header.tobytes() + extension + content


def _spoil_nifti(pick: Pick, header: np.ndarray, size: int) -> None:
    numbers = (0.0, -1.0, float("nan"), float("inf"), 1e-30, 1e30, 2.0, 0.1)
    options: Mapping[str, Sequence[object]] = {
        "dim": (
            [2, 4, 5, 1, 1, 1, 1, 1], [1, 4, 1, 1, 1, 1, 1, 1], [4, 4, 5, 6, 3, 1, 1, 1], [5, 4, 5, 6, 1, 3, 1, 1],
            [7, 2, 2, 2, 2, 2, 2, 2], [0] * 8, [8] * 8, [3, -4, 5, 6, 1, 1, 1, 1], [3, 0, 5, 6, 1, 1, 1, 1],
            [3, 32767, 32767, 32767, 1, 1, 1, 1], [3, 4, 1, 6, 1, 1, 1, 1], [3, 1, 1, 1, 1, 1, 1, 1], [-1] * 8,
            [4, 4, 5, 6, 0, 0, 0, 0], [4, 4, 5, 6, -1, 1, 1, 1], [7] + [32767] * 7,
        ),
        "qform_code": (1, 0, 2, 4, 5, -1, 32767),
        "sform_code": (0, 1, 2, 4, 5, -1, 32767),
        "scl_slope": numbers, "scl_inter": numbers, "quatern_b": numbers, "quatern_c": numbers, "quatern_d": numbers,
        "qoffset_x": numbers, "cal_max": numbers, "cal_min": numbers,
        "datatype": (2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1, 0, 1024, 1280, 1536, 1792, 2304, 3, -1, 32767),
        "bitpix": (8, 16, 32, 64, 24, 1, 0, -1),
        "vox_offset": (0, size, size + 4, size + 20, -1, 2**30, 100),
        "magic": (b"ni1", b"n+1", b"n+2", b"", b"n+1\0"),
        "sizeof_hdr": (348, 540, 0, -1), "xyzt_units": (2, 0, 10, 255), "intent_code": (0, 1005, 2003, 3000, -1),
        "descrip": (b"[/b]\x1b[31m", b"\xff" * 80), "dim_info": (0, 255), "slice_code": (0, 99),
    }  # fmt: skip
    field = pick(("dim", "pixdim", "srow_x", "srow_y", "srow_z", *(name for name in options if name != "dim")))
    if field == "pixdim" or field.startswith("srow"):
        header[field][pick(range(4))] = pick(numbers)
    else:
        value = pick(options[field])
        kind = header.dtype[field]
        header[field] = (
            value.ljust(kind.itemsize, b"\0")[: kind.itemsize] if isinstance(value, bytes) else _fit(value, kind)
        )


def _fit(value: object, kind: np.dtype) -> np.ndarray:
    wide = np.asarray(value, np.float64)
    if kind.base.kind not in "iu":
        return wide
    limits = np.iinfo(kind.base)
    return np.clip(wide, limits.min, limits.max)


# Sound files, and damage


def sound_files() -> dict[str, bytes]:
    """Small sound files of every format, by names with their usual suffix; those of a folder are called folder/*."""
    values = np.random.default_rng(0).integers(0, 256, (9, 7), np.uint8)
    colours = np.random.default_rng(1).integers(0, 256, (9, 7, 3), np.uint8)
    deep = Image.fromarray(values.astype(np.uint16) * 200)
    grey, colour = Image.fromarray(values), Image.fromarray(colours)
    files = {
        "grey.png": _saved(grey, "PNG"),
        "colour.png": _saved(colour, "PNG"),
        "palette.png": _saved(colour.quantize(9), "PNG", transparency=3),
        "deep.png": _saved(deep, "PNG"),
        "grey.jpg": _saved(grey, "JPEG"),
        "turned.jpg": _saved(colour, "JPEG", exif=_turned()),
        "plain.tif": _saved(deep, "TIFF"),
        "packed.tif": _saved(colour, "TIFF", compression="tiff_lzw"),
        "pages.tif": _saved(grey, "TIFF", save_all=True, append_images=[grey, deep, grey]),
        "fax.tif": _saved(grey.convert("1"), "TIFF", compression="group4"),
        "grey.bmp": _saved(grey, "BMP"),
        "colour.bmp": _saved(colour, "BMP"),
    }
    return files | dict(_sound_volumes()) | dict(_sound_dicom())


def _saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def _sound_volumes() -> Iterator[tuple[str, bytes]]:
    values = np.random.default_rng(2).integers(-1000, 1000, (6, 5, 4, 2)).astype(np.int16)
    affine = np.diag([1.0, 2, 3, 1])
    plain = nib.Nifti1Image(values[..., 0], affine).to_bytes()
    yield "plain.nii", plain
    yield "packed.nii.gz", gzip.compress(plain, mtime=0)
    yield "several.nii", nib.Nifti1Image(values, affine).to_bytes()
    yield "second.nii", nib.Nifti2Image(values[..., 0].astype(np.float32), affine).to_bytes()
    surface = nib.MGHImage(values[..., 0], affine).to_bytes()
    yield "plain.mgz", gzip.compress(surface, mtime=0)


def _sound_dicom() -> Iterator[tuple[str, bytes]]:
    yield "explicit.dcm", _dicom()
    yield "implicit.dcm", _dicom(explicit=False)
    yield "unmarked.dcm", _dicom(marked=False)
    yield "frames.dcm", _dicom(frames=3)
    for name, syntax in (("rle.dcm", RLELossless), ("jpeg2000.dcm", JPEG2000Lossless)):
        dataset = pydicom.dcmread(io.BytesIO(_dicom(frames=2, side=(32, 32))))
        dataset.compress(syntax, generate_instance_uid=False)
        yield name, _written(dataset)
    dataset = pydicom.dcmread(io.BytesIO(_dicom()))
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    picture = Image.fromarray(np.random.default_rng(3).integers(0, 256, (4, 6), np.uint8))
    dataset.PixelData = encapsulate([_saved(picture, "JPEG")])
    dataset["PixelData"].VR = "OB"
    yield "jpeg.dcm", _written(dataset)
    for number in range(4):
        yield f"folder/{number}", _dicom(number=number)


def _written(dataset: pydicom.Dataset) -> bytes:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=False)
    return file.getvalue()


def _dicom(
    *, explicit: bool = True, marked: bool = True, frames: int = 0, number: int = 0, side: tuple[int, int] = (4, 6)
) -> bytes:
    values = {keyword: ODD_VALUES[keyword][0] for keyword in USUAL}
    values |= {"ImagePositionPatient": f"0\\0\\{2 * number}", "InstanceNumber": str(number + 1)}
    values |= {"Rows": [side[0]], "Columns": [side[1]]}
    values |= {"SOPInstanceUID": f"1.2.3.4.{number}", "WindowCenter": "40", "WindowWidth": "400"}
    elements = {
        int(tag_for_keyword(keyword) or 0): encode_element(keyword, value, explicit=explicit)
        for keyword, value in values.items()
    }
    if frames:
        elements[0x00280008] = encode_element("NumberOfFrames", str(frames), explicit=explicit)
        places = [
            _sequence(
                "PlanePositionSequence",
                [encode_element("ImagePositionPatient", f"0\\0\\{height}", explicit=explicit)],
                explicit,
            )
            for height in range(frames)
        ]
        elements[0x52009230] = _sequence("PerFrameFunctionalGroupsSequence", places, explicit)
    size = 2 * side[0] * side[1] * max(1, frames)
    content = (bytes(range(256)) * (size // 256 + 1))[:size]
    elements[0x7FE00010] = encode_element("PixelData", content, explicit=explicit, representation="OW")
    start = _part_10(EXPLICIT if explicit else IMPLICIT) if marked else b""
    return start + b"".join(elements[tag] for tag in sorted(elements))


def damage(pick: Pick, content: bytes) -> bytes:
    """Change up to four places: bits, bytes, lengths; cut the end off, take a part out, put one in."""
    packed = content[:2] == b"\x1f\x8b" and pick((True, False))
    spoiled = bytearray(gzip.decompress(content) if packed else content)
    for _ in range(pick((1, 2, 3, 4))):
        if not spoiled:
            break
        _damage_once(pick, spoiled)
    return gzip.compress(bytes(spoiled), compresslevel=1, mtime=0) if packed else bytes(spoiled)


def _damage_once(pick: Pick, spoiled: bytearray) -> None:
    # Most fields that matter stand at the beginning.
    near = pick((len(spoiled), min(len(spoiled), 400), min(len(spoiled), 64)))
    at = pick(range(near))
    kind = pick(("bit", "byte", "length", "cut", "out", "in", "copy"))
    if kind == "bit":
        spoiled[at] ^= 1 << pick(range(8))
    elif kind == "byte":
        spoiled[at] = pick((0, 255, 127, 128, *range(256)))
    elif kind == "length":
        width, order = pick((2, 4)), pick(("little", "big"))
        value = pick((0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 60_000, 100, 20_001)) % 256**width
        spoiled[at : at + width] = value.to_bytes(width, order)
    elif kind == "cut":
        del spoiled[at:]
    elif kind == "out":
        del spoiled[at : at + pick(range(1, 16))]
    elif kind == "in":
        spoiled[at:at] = bytes(pick((0, 255, *range(256))) for _ in range(pick(range(1, 9))))
    else:
        other = pick(range(len(spoiled)))
        spoiled[at : at + 8] = spoiled[other : other + 8]


def seeded(seed: int) -> Pick:
    """What chooses by chance, the same way each time."""
    return random.Random(seed).choice


def write_case(folder: Path, kind: str, pick: Pick, sound: Mapping[str, bytes]) -> Path:
    """Write one input.

    Args:
        folder: Empty folder.
        kind: "dicom header", "nifti header", "folder", or the name of a sound file, which is damaged.
        pick: What chooses.
        sound: See ``sound_files``.

    Returns:
        What a reader is to read: a file, or a folder.
    """
    if kind == "folder":
        return _write_folder(folder / "series", pick, sound)
    if kind == "dicom header":
        path, content = folder / "odd.dcm", dicom_with_odd_header(pick)
    elif kind == "nifti header":
        path, content = folder / pick(("odd.nii", "odd.nii.gz")), nifti_with_odd_header(pick)
        content = gzip.compress(content, 1, mtime=0) if path.suffix == ".gz" else content
    else:
        path, content = folder / kind, damage(pick, sound[kind])
    path.write_bytes(content)
    return path


def _write_folder(series: Path, pick: Pick, sound: Mapping[str, bytes]) -> Path:
    series.mkdir()
    for name, content in sound.items():
        if name.startswith("folder/"):
            change = pick(("", "", "damage", "odd"))
            changed = (
                damage(pick, content) if change == "damage" else dicom_with_odd_header(pick) if change else content
            )
            (series / Path(name).name).write_bytes(changed)
    return series


def kinds(sound: Mapping[str, bytes]) -> list[str]:
    """Every kind of input, those most often that vary most."""
    return [
        *["dicom header"] * 5,
        *["nifti header"] * 3,
        *["folder"] * 2,
        *(name for name in sound if not name.startswith("folder/")),
    ]
