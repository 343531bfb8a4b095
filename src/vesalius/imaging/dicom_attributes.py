"""The attributes of one DICOM frame, wherever the file keeps them.

In a multi-frame file they stand in functional groups (PS3.3 C.7.6.16), per frame or shared by all frames; in a
single-frame file at the top. `FrameAttributes.get` looks in that order.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from vesalius.imaging.diffusion import vendor_b_value
from vesalius.imaging.header import HEADER_KEYWORDS

SPACING_KEYWORDS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
"""Where a pixel's size may stand, the one in the patient before the one on the detector."""

CONTRAST_KEYWORDS = (
    "DiffusionBValue",
    "EchoTime",
    "EffectiveEchoTime",
    "FrameType",
    "ImageType",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
)
"""Attributes in which the frames of one stack agree: b-value, echo, magnitude or phase, and time point."""


@dataclass(frozen=True)
class FrameAttributes:
    """Typed access to what a file says of one of its frames."""

    dataset: Dataset
    index: int
    """Frame, from 0."""

    def get(self, keyword: str) -> object:
        """Value of an attribute; None if it is absent."""
        for macro in self._macros:
            if keyword in macro:
                return macro[keyword].value
        value: object = self.dataset.get(keyword)
        return value

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
        """DICOM code."""
        return self.text("Modality") or None

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
            if len(distances) == 2 and min(distances) > 0:
                return distances[0], distances[1]
        return None

    @property
    def thickness(self) -> float:
        """Distance to the next slice, mm, as far as one frame can tell; 1 if it does not."""
        return abs(self.number("SpacingBetweenSlices") or self.number("SliceThickness") or 1.0)

    @property
    def window(self) -> tuple[float, float] | None:
        """Center and width of the first linear window; None if absent or not valid."""
        center, width = self.number("WindowCenter"), self.number("WindowWidth")
        return None if center is None or width is None or width < 1 else (center, width)

    @property
    def contrast(self) -> tuple[str, ...]:
        """Values of `CONTRAST_KEYWORDS`."""
        return tuple(self.text(keyword) for keyword in CONTRAST_KEYWORDS)

    @property
    def header(self) -> dict[str, str]:
        """Those of `HEADER_KEYWORDS` that are there; the b-value may come from a private attribute."""
        found = {keyword: text for keyword in HEADER_KEYWORDS if (text := self.text(keyword))}
        if "DiffusionBValue" not in found and (b_value := vendor_b_value(self.dataset)) is not None:
            found["DiffusionBValue"] = f"{b_value:g}"
        return found

    @cached_property
    def _macros(self) -> list[Dataset]:
        per_frame = self.dataset.get("PerFrameFunctionalGroupsSequence") or []
        shared = self.dataset.get("SharedFunctionalGroupsSequence") or []
        groups = [*per_frame[self.index : self.index + 1], *shared]
        return [element.value[0] for group in groups for element in group if element.VR == "SQ" and element.value]

    def _placement(self, keyword: str, length: int) -> NDArray[np.float64] | None:
        if int(self.dataset.get("NumberOfFrames") or 1) > 1 and not self._macros:
            return None  # one place for many frames is the place of none
        values = np.array(self.numbers(keyword))
        return values if values.shape == (length,) else None
