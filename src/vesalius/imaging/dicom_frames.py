"""One DICOM file as frames: what decoded values mean, and each frame's own place, spacing, contrast and window."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from vesalius.errors import ImageError
from vesalius.imaging.dicom_attributes import Contrast, FileAttributes, FrameAttributes, Mosaic, find_mosaic
from vesalius.imaging.dicom_file import DicomFile, StoredPixels, reading_dicom
from vesalius.imaging.image import Pixels
from vesalius.imaging.intensity import MISSING_FROM, WindowFunction, zero_missing

LARGEST_SCALE = 1e20
"""Slopes and intercepts beyond come from a damaged header."""

AIR_HU = -1024.0
"""Value of padding outside a CT's field of view, and the lowest value of a CT."""


@dataclass(frozen=True, eq=False)
class GreyRules:
    """How stored values of a grey frame become values of the image.

    Rescaling applies to every modality. Padding becomes −1024 HU in CT, elsewhere the darkest value of the rest. A
    radiograph with a VOI table and no window is passed through the table, whose full range becomes its window.
    """

    slope: float
    intercept: float
    padding: tuple[float, float] | None
    """Smallest and largest stored value that count as padding."""
    hounsfield: bool
    """Whether the result is in HU."""
    inverted: bool
    """Whether large values are dark."""
    bytes_stay: bool
    """Whether unscaled bytes stay bytes; everything else becomes float32."""
    modality_table: Dataset | None
    """The header, where a table replaces slope and intercept."""
    voi_table: Dataset | None
    """The header, where a table maps values to display values."""

    def apply(self, stored: NDArray[np.generic]) -> Pixels:
        """Convert stored values [H, W] to values [H, W]."""
        values = self._fill_padding(self._rescale(stored), stored)
        if self.voi_table is None:
            return values
        return np.asarray(apply_voi_lut(np.rint(values).astype(np.int32), self.voi_table), np.float32)

    @property
    def dtype(self) -> type[np.uint8] | type[np.float32]:
        """Type of the result."""
        return np.uint8 if self.bytes_stay else np.float32

    @property
    def table_window(self) -> tuple[float, float] | None:
        """Center and width of the full range of a VOI table; None without one."""
        if self.voi_table is None:
            return None
        levels = float(2 ** int(self.voi_table.VOILUTSequence[0].LUTDescriptor[2]))
        return levels / 2, levels

    def _rescale(self, stored: NDArray[np.generic]) -> Pixels:
        if self.modality_table is not None:
            return np.asarray(apply_modality_lut(stored, self.modality_table), np.float32)
        if self.bytes_stay and stored.dtype == np.uint8:
            return stored.astype(np.uint8)
        with np.errstate(over="ignore", invalid="ignore"):  # stored real numbers may be anything
            return zero_missing((stored.astype(np.float64) * self.slope + self.intercept).astype(np.float32))

    def _fill_padding(self, values: Pixels, stored: NDArray[np.generic]) -> Pixels:
        padding = np.zeros(stored.shape, np.bool_)
        if self.padding is not None:
            numbers = stored.astype(np.float64)
            padding = (numbers >= self.padding[0]) & (numbers <= self.padding[1])
        if self.hounsfield:
            return np.maximum(np.where(padding, np.float32(AIR_HU), values), np.float32(AIR_HU))
        if not padding.any() or padding.all():
            return values
        darkest = values[~padding].max() if self.inverted else values[~padding].min()
        return np.where(padding, darkest, values)


def _grey_rules(frame: FrameAttributes) -> GreyRules:
    """Read the rules for a grey frame from its header.

    Raises:
        ValueError: If slope or intercept come from a damaged header.
    """
    slope, intercept = frame.number("RescaleSlope"), frame.number("RescaleIntercept")
    scale, shift = 1.0 if slope is None else slope, intercept or 0.0
    if not (0 < abs(scale) < LARGEST_SCALE and abs(shift) < MISSING_FROM):
        raise ValueError(f"RescaleSlope {scale:g} and RescaleIntercept {shift:g} scale nothing a scanner measures")
    table = bool(frame.get("ModalityLUTSequence"))
    hounsfield = _is_hounsfield(frame)
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


def _is_hounsfield(frame: FrameAttributes) -> bool:
    """Whether the rescaled values of a frame are HU: a CT with a rescaling, to no other unit."""
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


def _colour_values(stored: NDArray[np.generic], dtype: type[np.uint8] | type[np.uint16]) -> Pixels:
    """Convert RGB to 8 or 16 bit; deeper colour keeps its upper bits.

    Args:
        stored: Decoded values [H, W, 3].
        dtype: Type of the result.
    """
    surplus = 8 * (stored.dtype.itemsize - np.dtype(dtype).itemsize)
    if surplus > 0:
        return (stored.astype(np.uint32) >> surplus).astype(dtype)
    return stored.astype(dtype)


def window_function(frame: FrameAttributes) -> WindowFunction:
    """The function that applies the window of a frame (PS3.3 C.11.2.1.3)."""
    match frame.text("VOILUTFunction").upper():
        case "SIGMOID" | "LINEAR_EXACT" as function:
            return function
        case _:
            return "LINEAR"


def _padding(frame: FrameAttributes) -> tuple[float, float] | None:
    first = frame.number("PixelPaddingValue")
    if first is None:
        return None
    last = frame.number("PixelPaddingRangeLimit")
    low, high = sorted((first, first if last is None else last))
    return low, high


@dataclass(frozen=True, eq=False)
class FramePixels:
    """The pixels of one frame, still in the file."""

    stored: StoredPixels
    index: int
    """Frame of the file, from 0."""
    shape: tuple[int, ...]
    """[H, W] or [H, W, 3]."""
    dtype: type[np.uint8] | type[np.uint16] | type[np.float32]
    rules: GreyRules | None
    """Conversion of stored values; None in colour."""
    corner: tuple[int, int] | None = None
    """First row and column of the tile, where the frame is one of a mosaic; None otherwise."""

    def read(self) -> Pixels:
        """Decode the frame: values [H, W] or RGB [H, W, 3].

        Raises:
            ImageError: If pixels are damaged, or in a compression no installed plugin decodes.
        """
        if self.corner is None:
            stored = self.stored.read(self.index)
        else:
            (row, column), (rows, columns) = self.corner, self.shape[:2]
            stored = _read_mosaic(self.stored, self.index)[row : row + rows, column : column + columns]
        if stored.shape != self.shape:
            raise ImageError(
                f"{self.stored.path}: its pixels have the shape {list(stored.shape)} where the header says "
                f"{list(self.shape)}; it is damaged, so copy or export it again."
            )
        with reading_dicom(self.stored.path):
            if self.rules is not None:
                return self.rules.apply(stored)
            return _colour_values(stored, np.uint8 if self.dtype is np.uint8 else np.uint16)


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame and what decides its place among the others. Directions and positions are DICOM's LPS mm."""

    pixels: FramePixels
    orientation: NDArray[np.float64] | None
    """Direction of growing column index, then of growing row index, [6]."""
    position: NDArray[np.float64] | None
    """Centre of the first pixel, [3]."""
    spacing: tuple[float, float] | None
    """Row and column distance, mm."""
    thickness: float
    """Distance to the next slice, mm, by the frame's header alone."""
    order: tuple[int, int]
    """InstanceNumber and frame number."""
    contrast: Contrast
    """Echo, b-value, time point and image type; equal within a stack."""
    window: tuple[float, float] | None
    inverted: bool
    modality: str | None
    header: Mapping[str, str]
    instance: str = ""
    """SOPInstanceUID of its file."""
    window_function: WindowFunction = "LINEAR"
    """Function that applies the window."""
    hounsfield: bool = False
    """Whether values are HU."""

    @property
    def shape(self) -> tuple[int, ...]:
        """[H, W] or [H, W, 3]."""
        return self.pixels.shape

    @cached_property
    def height(self) -> float | None:
        """Position along the slice normal, mm; None without geometry."""
        if self.orientation is None or self.position is None:
            return None
        return float(np.cross(self.orientation[:3], self.orientation[3:]) @ self.position)


def frames_of(file: DicomFile) -> list[Frame]:
    """Split a file into frames, a mosaic into its tiles.

    Raises:
        ImageError: If its header is damaged, or does not lay out its mosaic.
    """
    with reading_dicom(file.path):
        whole = FileAttributes(file.header)
        first = FrameAttributes(whole, 0)
        header = first.header
        mosaic = find_mosaic(first, file.path) if file.frames == 1 else None
        if mosaic is not None:
            return _tiles(_frame(file, first, header), mosaic)
        return [_frame(file, FrameAttributes(whole, number), header) for number in range(file.frames)]


def _frame(file: DicomFile, attributes: FrameAttributes, header: Mapping[str, str]) -> Frame:
    pixels = _pixels(file, attributes)
    grey = pixels.rules
    return Frame(
        pixels=pixels,
        orientation=attributes.orientation,
        position=attributes.position,
        spacing=attributes.spacing,
        thickness=attributes.thickness,
        order=(int(attributes.number("InstanceNumber") or 0), attributes.index),
        contrast=attributes.contrast,
        window=None if grey is None else grey.table_window or attributes.window,
        inverted=attributes.inverted,
        modality=attributes.modality,
        header=header,
        instance=attributes.instance,
        window_function=window_function(attributes),
        hounsfield=grey is not None and grey.hounsfield,
    )


def _pixels(file: DicomFile, attributes: FrameAttributes) -> FramePixels:
    size = int(file.header.Rows), int(file.header.Columns)
    palette, samples = file.pixels.palette, int(file.header.get("SamplesPerPixel") or 1)
    if palette is None and samples == 1:
        rules = _grey_rules(attributes)
        return FramePixels(file.pixels, attributes.index, size, rules.dtype, rules)
    if samples not in (1, 3):
        raise ImageError(f"{file.path}: has {samples} values a pixel; expected 1 (grey) or 3 (colour). Convert it.")
    bits = int(file.header.BitsAllocated if palette is None else palette.RedPaletteColorLookupTableDescriptor[2])
    return FramePixels(file.pixels, attributes.index, (*size, 3), np.uint8 if bits <= 8 else np.uint16, None)


def _tiles(whole: Frame, mosaic: Mosaic) -> list[Frame]:
    return [
        replace(
            whole,
            pixels=replace(whole.pixels, shape=mosaic.shape, corner=mosaic.corner(index)),
            position=mosaic.position + index * mosaic.step,
            order=(whole.order[0], index),
        )
        for index in range(mosaic.count)
    ]


class _LastMosaic(threading.local):
    """The mosaic that a thread decoded last: its tiles are read one after the other."""

    origin: tuple[StoredPixels, int] | None = None
    stored: NDArray[np.generic] | None = None


_LAST = _LastMosaic()


def _read_mosaic(pixels: StoredPixels, index: int) -> NDArray[np.generic]:
    if _LAST.stored is None or _LAST.origin is None or _LAST.origin[0] is not pixels or _LAST.origin[1] != index:
        _LAST.stored, _LAST.origin = pixels.read(index), (pixels, index)
    return _LAST.stored
