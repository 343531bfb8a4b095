"""Decoded DICOM pixels → the values Vesalius keeps: rescaled, padding filled, palettes and tables looked up."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from vesalius.imaging.dicom_attributes import FrameAttributes
from vesalius.imaging.image import Pixels
from vesalius.imaging.intensity import LARGEST, WindowFunction, finite

LARGEST_SCALE = 1e20
"""Slopes from here on come from a damaged header."""

AIR_HU = -1024.0
"""Padding outside a CT's field of view, and the least value a CT keeps."""


@dataclass(frozen=True, eq=False)
class GreyRules:
    """What becomes of the stored values of a grey frame.

    Rescaling applies to every modality. Padding becomes −1024 HU in CT, elsewhere the darkest value of the rest. A
    radiograph with a VOI table and no window is passed through the table, whose full range becomes its window.
    """

    slope: float
    intercept: float
    padding: tuple[float, float] | None
    """Smallest and largest stored value that is padding."""
    hounsfield: bool
    """Whether the result is in HU."""
    inverted: bool
    """Whether large values are dark."""
    bytes_stay: bool
    """Whether unscaled bytes stay bytes; everything else becomes float32."""
    modality_table: Dataset | None
    """The header, where a table replaces slope and intercept."""
    voi_table: Dataset | None
    """The header, where a table says how the values are shown."""

    def apply(self, stored: NDArray[np.generic]) -> Pixels:
        """Values of stored ones, both [H, W]."""
        values = self._fill_padding(self._rescale(stored), stored)
        if self.voi_table is None:
            return values
        return np.asarray(apply_voi_lut(np.rint(values).astype(np.int32), self.voi_table), np.float32)

    @property
    def dtype(self) -> type[np.uint8] | type[np.float32]:
        """Of the result."""
        return np.uint8 if self.bytes_stay else np.float32

    @property
    def table_window(self) -> tuple[float, float] | None:
        """Center and width of all that a VOI table gives; None without one."""
        if self.voi_table is None:
            return None
        whole = float(2 ** int(self.voi_table.VOILUTSequence[0].LUTDescriptor[2]))
        return whole / 2, whole

    def _rescale(self, stored: NDArray[np.generic]) -> Pixels:
        if self.modality_table is not None:
            return np.asarray(apply_modality_lut(stored, self.modality_table), np.float32)
        if self.bytes_stay and stored.dtype == np.uint8:
            return stored.astype(np.uint8)
        with np.errstate(over="ignore", invalid="ignore"):  # stored real numbers may be anything
            return finite((stored.astype(np.float64) * self.slope + self.intercept).astype(np.float32))

    def _fill_padding(self, values: Pixels, stored: NDArray[np.generic]) -> Pixels:
        padding = self._find_padding(stored)
        if self.hounsfield:
            return np.maximum(np.where(padding, np.float32(AIR_HU), values), np.float32(AIR_HU))
        if not padding.any() or padding.all():
            return values
        darkest = values[~padding].max() if self.inverted else values[~padding].min()
        return np.where(padding, darkest, values)

    def _find_padding(self, stored: NDArray[np.generic]) -> NDArray[np.bool_]:
        if self.padding is None:
            return np.zeros(stored.shape, np.bool_)
        low, high = self.padding
        numbers = stored.astype(np.float64)
        return np.asarray((numbers >= low) & (numbers <= high))


def grey_rules(frame: FrameAttributes) -> GreyRules:
    """What a header says of the values of one of its grey frames."""
    slope, intercept = frame.number("RescaleSlope"), frame.number("RescaleIntercept")
    scale, shift = 1.0 if slope is None else slope, intercept or 0.0
    if not (abs(scale) < LARGEST_SCALE and abs(shift) < LARGEST):
        raise ValueError(f"RescaleSlope {scale:g} and RescaleIntercept {shift:g} scale nothing a scanner measures")
    table = bool(frame.get("ModalityLUTSequence"))
    hounsfield = is_hounsfield(frame)
    plain_bytes = frame.number("BitsAllocated") in (1, 8) and not frame.number("PixelRepresentation")
    to_voi = frame.window is None and frame.modality not in ("CT", "MR") and bool(frame.get("VOILUTSequence"))
    return GreyRules(
        slope=scale,
        intercept=shift,
        padding=_padding(frame),
        hounsfield=hounsfield,
        inverted=frame.inverted,
        bytes_stay=plain_bytes and scale == 1 and shift == 0 and not (table or hounsfield or to_voi),
        modality_table=frame.dataset if table else None,
        voi_table=frame.dataset if to_voi else None,
    )


def is_hounsfield(frame: FrameAttributes) -> bool:
    """Whether the rescaled values of a frame are HU: a CT that says how to rescale, and not into something else."""
    if frame.modality != "CT":
        return False
    kind = frame.text("RescaleType").upper()
    if kind:
        return kind == "HU"
    if frame.get("ModalityLUTSequence"):
        return True
    slope, intercept = frame.number("RescaleSlope"), frame.number("RescaleIntercept")
    plain_bytes = frame.number("BitsAllocated") == 8 and slope in (None, 1) and not intercept
    return intercept is not None and not plain_bytes


def colour_values(stored: NDArray[np.generic], dtype: type[np.uint8] | type[np.uint16]) -> Pixels:
    """RGB of 8 or 16 bit; of deeper colour than asked for, the upper bits are kept.

    Args:
        stored: Decoded values [H, W, 3].
        dtype: Of the result.
    """
    surplus = 8 * (stored.dtype.itemsize - np.dtype(dtype).itemsize)
    if surplus > 0:
        return (stored.astype(np.uint32) >> surplus).astype(dtype)
    return stored.astype(dtype)


def window_function(frame: FrameAttributes) -> WindowFunction:
    """How the window of a frame is to be applied (PS3.3 C.11.2.1.3)."""
    name = frame.text("VOILUTFunction").upper()
    if name == "SIGMOID":
        return "SIGMOID"
    return "LINEAR_EXACT" if name == "LINEAR_EXACT" else "LINEAR"


def _padding(frame: FrameAttributes) -> tuple[float, float] | None:
    first = frame.number("PixelPaddingValue")
    if first is None:
        return None
    last = frame.number("PixelPaddingRangeLimit")
    low, high = sorted((first, first if last is None else last))
    return low, high
