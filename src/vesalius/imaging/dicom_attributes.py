"""The attributes of one DICOM frame, wherever the file keeps them, and the slices of Siemens mosaics.

In a multi-frame file they stand in functional groups (PS3.3 C.7.6.16), per frame or shared by all frames; in a
single-frame file at the top. `FrameAttributes.get` looks in that order.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from vesalius.errors import ImageError
from vesalius.imaging.header import HEADER_KEYWORDS, modality_code
from vesalius.imaging.intensity import MISSING_FROM
from vesalius.imaging.orientation import MAX_MM, MIN_SPACING_MM

CONTRAST_NUMBERS = (
    "DiffusionBValue",
    "EchoTime",
    "EffectiveEchoTime",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
)
"""Attributes in which the frames of one stack agree: b-value, echo and time point."""

SAME_CONTRAST = 0.01
"""Relative difference up to which two such numbers count as equal."""

CONTRAST_WORDS = {
    "ADC", "CBF", "CBV", "DIFFUSION", "EADC", "FA", "FAT", "FRACTIONAL_ANISOTROPY", "IMAGINARY", "IN_PHASE",
    "LOCALIZER", "MAGNITUDE", "MAXIMUM", "MINIMUM", "MIP", "MOSAIC", "MPR", "MTT", "OPP_PHASE", "OUT_OF_PHASE",
    "PHASE", "PHASE_MAP", "PROJECTION_IMAGE", "REAL", "SCOUT", "SCREEN_SAVE", "SECONDARY", "SUBTRACTION", "SUB",
    "T1_MAP", "T2_MAP", "T2_STAR_MAP", "TRACE", "TRACEW", "TTP", "VELOCITY", "VELOCITY_MAP", "WATER",
}  # fmt: skip
"""Words of an image type (blanks as underscores) that tell contrasts apart; vendors write many others, such as ADD,
NORM and DIS2D."""

CONTRAST_LETTERS = {"M": "MAGNITUDE", "P": "PHASE", "R": "REAL", "I": "IMAGINARY"}
"""Letters by which MR scanners abbreviate words, alone or before an underscore as in M_FFE."""


def _same_number(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=SAME_CONTRAST, abs_tol=1e-6)


@dataclass(frozen=True)
class Contrast:
    """What distinguishes frames of the same place and size."""

    numbers: tuple[float | None, ...]
    """Values of `CONTRAST_NUMBERS`."""
    words: frozenset[str]
    """Words of the image type and frame type that are among `CONTRAST_WORDS`."""

    def equals(self, other: "Contrast") -> bool:
        """Whether both are the same contrast, up to rounding."""
        pairs = zip(self.numbers, other.numbers, strict=True)
        return self.words == other.words and all(_same_number(one, two) for one, two in pairs)

    def __str__(self) -> str:
        """The contrast in words; "" if nothing is known."""
        names = ("b", "echo", "echo", "time point", "time point")
        told = [f"{name} {value:g}" for name, value in zip(names, self.numbers, strict=True) if value is not None]
        return ", ".join(dict.fromkeys([*told, *(word.lower() for word in sorted(self.words))]))


VENDOR_B_VALUES = (
    ("SIEMENS MR HEADER", 0x0019, 0x0C),
    ("GEMS_PARM_01", 0x0043, 0x39),
    ("Philips Imaging DD 001", 0x2001, 0x03),
)
"""Private creator, group and element of b-values."""

GE_OFFSET = 1_000_000_000
"""GE adds this, or a multiple, to the b-values of some series."""

SPACING_KEYWORDS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
"""Attributes with a pixel's size, the one in the patient before the one on the detector."""


def _values_in(groups: Sequence[Dataset]) -> dict[str, object]:
    """Attributes in the sequences of functional groups by keyword, the first of each."""
    found: dict[str, object] = {}
    macros = [element.value[0] for group in groups for element in group if element.VR == "SQ" and element.value]
    for macro in macros:
        for element in macro:
            found.setdefault(element.keyword, element.value)
    return found


def _word_of_contrast(word: str) -> str | None:
    tidy = "_".join(word.upper().split())
    if tidy in CONTRAST_WORDS:
        return tidy
    return CONTRAST_LETTERS.get(tidy.split("_")[0])


class FileAttributes:
    """Attributes that all frames of a file share; each is looked up once, however many frames there are.

    Args:
        dataset: Header of the file.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.per_frame: Sequence[Dataset] = dataset.get("PerFrameFunctionalGroupsSequence") or []
        self.shared = _values_in(dataset.get("SharedFunctionalGroupsSequence") or [])
        self.frames = int(dataset.get("NumberOfFrames") or 1)
        self._found: dict[str, object] = {}

    def get(self, keyword: str) -> object:
        """Value of an attribute; None if it is absent."""
        if keyword in self.shared:
            return self.shared[keyword]
        if keyword not in self._found:
            self._found[keyword] = self.dataset.get(keyword)
        return self._found[keyword]

    @cached_property
    def vendor_b_value(self) -> float | None:
        """b-value in s/mm² from a private attribute; None if there is none, or none that is a number."""
        for creator, group, element in VENDOR_B_VALUES:
            try:
                value = self.dataset.private_block(group, creator)[element].value
                number = float(value if isinstance(value, str | int | float) else value[0])
                if number >= 0:
                    return number % GE_OFFSET
            except (KeyError, TypeError, ValueError, IndexError):
                continue
        return None


@dataclass(frozen=True)
class FrameAttributes:
    """Typed access to the attributes of one frame."""

    file: FileAttributes
    index: int
    """Frame, from 0."""

    @property
    def dataset(self) -> Dataset:
        """Header of the file."""
        return self.file.dataset

    def get(self, keyword: str) -> object:
        """Value of an attribute; None if it is absent."""
        return self._own[keyword] if keyword in self._own else self.file.get(keyword)

    def text(self, keyword: str) -> str:
        """Value as text, several joined by DICOM's backslash; "" if absent or empty."""
        value = self.get(keyword)
        if isinstance(value, MultiValue):
            return "\\".join(str(each) for each in value)
        return "" if value is None else str(value)

    def numbers(self, keyword: str) -> list[float]:
        """All values of a numeric attribute; [] if absent or empty."""
        value = self.get(keyword)
        if value is None or value == "":
            return []
        return [float(each) for each in np.atleast_1d(np.asarray(value, dtype=np.float64))]

    def number(self, keyword: str) -> float | None:
        """First value of a numeric attribute."""
        return next(iter(self.numbers(keyword)), None)

    @property
    def modality(self) -> str | None:
        """DICOM code of the modality."""
        return modality_code(self.text("Modality")) or None

    @property
    def inverted(self) -> bool:
        """Whether large values are dark."""
        return self.text("PhotometricInterpretation") == "MONOCHROME1"

    @property
    def orientation(self) -> NDArray[np.float64] | None:
        """Direction (LPS) of growing column index, then of growing row index, [6]; None if absent or degenerate."""
        cosines = self._placement("ImageOrientationPatient", 6)
        if cosines is None or np.linalg.norm(np.cross(cosines[:3], cosines[3:])) < 0.5:
            return None
        return cosines

    @property
    def position(self) -> NDArray[np.float64] | None:
        """Centre of the first pixel, LPS mm, [3]."""
        return self._placement("ImagePositionPatient", 3)

    @property
    def spacing(self) -> tuple[float, float] | None:
        """Row and column distance, mm."""
        for keyword in SPACING_KEYWORDS:
            distances = self.numbers(keyword)
            if len(distances) == 2 and all(MIN_SPACING_MM < distance < MAX_MM for distance in distances):
                return distances[0], distances[1]
        return None

    @property
    def instance(self) -> str:
        """SOPInstanceUID of the file; "" if absent."""
        return self.text("SOPInstanceUID")

    @property
    def thickness(self) -> float:
        """Distance to the next slice, mm, by this frame's header alone; 1 if that has none."""
        found = (abs(self.number(keyword) or 0.0) for keyword in ("SpacingBetweenSlices", "SliceThickness"))
        return next((distance for distance in found if MIN_SPACING_MM < distance < MAX_MM), 1.0)

    @property
    def window(self) -> tuple[float, float] | None:
        """Center and width of the first window; None if absent or not valid."""
        center, width = self.number("WindowCenter"), self.number("WindowWidth")
        if center is None or width is None or not (abs(center) < MISSING_FROM and width < MISSING_FROM):
            return None
        exact = self.text("VOILUTFunction").upper() in ("LINEAR_EXACT", "SIGMOID")
        return (center, width) if (width > 0 if exact else width >= 1) else None

    @property
    def contrast(self) -> Contrast:
        """What distinguishes the frame from others of the same place; the b-value may be a private attribute."""
        b_value, *others = (self.number(keyword) for keyword in CONTRAST_NUMBERS)
        if b_value is None:
            b_value = self.file.vendor_b_value
        words = [*self.text("ImageType").split("\\")[1:], *self.text("FrameType").split("\\")[1:]]
        return Contrast((b_value, *others), frozenset(found for word in words if (found := _word_of_contrast(word))))

    @property
    def header(self) -> dict[str, str]:
        """Values of `HEADER_KEYWORDS`, absent ones left out; the b-value may be a private attribute."""
        texts = {keyword: self.text(keyword) for keyword in HEADER_KEYWORDS} | {"Modality": self.modality or ""}
        found = {keyword: text for keyword, text in texts.items() if text}
        if "DiffusionBValue" not in found and (b_value := self.file.vendor_b_value) is not None:
            found["DiffusionBValue"] = f"{b_value:g}"
        return found

    @cached_property
    def _own(self) -> dict[str, object]:
        """Attributes in the frame's own functional groups."""
        return _values_in(self.file.per_frame[self.index : self.index + 1])

    def _placement(self, keyword: str, length: int) -> NDArray[np.float64] | None:
        if self.file.frames > 1 and not self._own and not self.file.shared:
            return None  # one place for many frames is no frame's place
        values = np.array(self.numbers(keyword))
        return values if values.shape == (length,) and (np.abs(values) < MAX_MM).all() else None


_CSA_CREATOR = "SIEMENS CSA HEADER"
_CSA_TAG = struct.Struct("<64si4s3i")
_CSA_ITEM = struct.Struct("<4i")
_MAX_CSA_TAGS = 4096
"""A header holds about a hundred."""


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Layout of a mosaic; directions and positions are DICOM's LPS mm."""

    count: int
    """Number of slices; the last tiles of the square may be empty."""
    per_side: int
    """Number of tiles in a row, and of rows of tiles."""
    shape: tuple[int, int]
    """Rows and columns of a tile."""
    position: NDArray[np.float64]
    """Centre of the first pixel of the first tile, [3]."""
    step: NDArray[np.float64]
    """Vector from a slice to the next, [3]."""

    def corner(self, index: int) -> tuple[int, int]:
        """First row and column of a tile."""
        return index // self.per_side * self.shape[0], index % self.per_side * self.shape[1]


def find_mosaic(frame: FrameAttributes, path: object) -> Mosaic | None:
    """Read the layout of a mosaic from its headers.

    Args:
        frame: The one frame of a file.
        path: The file, for the message.

    Returns:
        None if the image type names no mosaic.

    Raises:
        ImageError: If the private header does not give the number of slices and their direction.
    """
    if "MOSAIC" not in frame.text("ImageType").upper().split("\\"):
        return None
    csa = read_csa(frame.dataset)
    count, normal = int(next(iter(_numbers(csa, "NumberOfImagesInMosaic")), 0)), _numbers(csa, "SliceNormalVector")
    size, spacing = (int(frame.number("Rows") or 0), int(frame.number("Columns") or 0)), frame.spacing
    direction = len(normal) == 3 and 0.5 < math.hypot(*normal) < 2
    if count < 1 or not direction or frame.orientation is None or frame.position is None or spacing is None:
        raise ImageError(
            f"{path}: is a mosaic of slices, and the private header (CSA) that says how many and where is missing or "
            "incomplete. Export it with its private attributes, or convert it to NIfTI."
        )
    per_side = math.ceil(math.sqrt(count))
    if size[0] % per_side or size[1] % per_side:
        raise ImageError(f"{path}: is a mosaic of {count} slices, which its {size[0]}×{size[1]} pixels do not divide.")
    rows, columns = size[0] // per_side, size[1] // per_side
    # The header gives the corner of a single slice as large as the mosaic, with the same centre.
    along_columns, along_rows = frame.orientation[:3], frame.orientation[3:]
    position = frame.position + along_rows * spacing[0] * (size[0] - rows) / 2
    position = position + along_columns * spacing[1] * (size[1] - columns) / 2
    step = np.array(normal) / np.linalg.norm(normal) * frame.thickness
    return Mosaic(count, per_side, (rows, columns), position, step)


def read_csa(dataset: Dataset) -> dict[str, list[str]]:
    """Read the private image header of Siemens scanners, in either of its two layouts.

    Args:
        dataset: Header of a file.

    Returns:
        Values by name, those of absent elements left out; {} if there is no such header, or it is damaged.
    """
    try:
        content = bytes(dataset.private_block(0x0029, _CSA_CREATOR)[0x10].value)
        return dict(_csa_elements(content))
    except (KeyError, TypeError, ValueError, struct.error):
        return {}


def _csa_elements(content: bytes) -> list[tuple[str, list[str]]]:
    second = content[:4] == b"SV10"
    at = 8 if second else 0
    (count,) = struct.unpack_from("<i", content, at)
    if not 0 < count <= _MAX_CSA_TAGS:
        raise ValueError(f"{count} elements")
    at, first_items, elements = at + 8, None, []
    for _ in range(count):
        name, multiplicity, _, _, items, _ = _CSA_TAG.unpack_from(content, at)
        at += _CSA_TAG.size
        first_items = items if first_items is None else first_items
        values: list[str] = []
        for _ in range(items):
            lengths = _CSA_ITEM.unpack_from(content, at)
            length = lengths[1] if second else lengths[0] - first_items
            at += _CSA_ITEM.size
            if not second and not 0 <= length <= len(content) - at:
                break  # the first layout has items without a value
            if at + length > len(content):
                raise ValueError("a value beyond the end")
            values.append(_text(content[at : at + length]))
            at += -(-length // 4) * 4
        elements.append((_text(name), [value for value in values if value][: multiplicity or None]))
    return elements


def _text(content: bytes) -> str:
    return content.split(b"\0")[0].decode("latin-1").strip()


def _numbers(csa: dict[str, list[str]], name: str) -> Sequence[float]:
    try:
        numbers = [float(value) for value in csa.get(name, [])]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []
