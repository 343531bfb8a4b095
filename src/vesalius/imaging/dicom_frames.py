"""One DICOM file as frames, each with its own place, spacing and window; pixels are decoded when asked for."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import ImageError
from vesalius.imaging.dicom_attributes import Contrast, FileAttributes, FrameAttributes
from vesalius.imaging.dicom_file import DicomFile, StoredPixels, reading
from vesalius.imaging.dicom_mosaic import Mosaic, find_mosaic
from vesalius.imaging.dicom_values import GreyRules, colour_values, grey_rules, window_function
from vesalius.imaging.image import Pixels
from vesalius.imaging.intensity import WindowFunction


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
    """How stored values become values; None in colour."""
    corner: tuple[int, int] | None = None
    """First row and column, where the frame is a tile of a mosaic."""

    def read(self) -> Pixels:
        """Decode, values [H, W] or RGB [H, W, 3].

        Raises:
            ImageError: If they are damaged, or in a compression no installed plugin decodes.
        """
        stored = self.stored.read(self.index) if self.corner is None else self._read_tile(self.corner)
        if stored.shape != self.shape:
            raise ImageError(
                f"{self.stored.path}: its pixels have the shape {list(stored.shape)} where the header says "
                f"{list(self.shape)}; it is damaged, so copy or export it again."
            )
        with reading(self.stored.path):
            if self.rules is not None:
                return self.rules.apply(stored)
            return colour_values(stored, np.uint8 if self.dtype is np.uint8 else np.uint16)

    def _read_tile(self, corner: tuple[int, int]) -> NDArray[np.generic]:
        (row, column), (rows, columns) = corner, self.shape[:2]
        return _whole_mosaic(self.stored, self.index)[row : row + rows, column : column + columns]


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame and all that decides its place among the others. Directions and positions are DICOM's LPS mm."""

    pixels: FramePixels
    orientation: NDArray[np.float64] | None
    """Direction of growing column index, then of growing row index, [6]."""
    position: NDArray[np.float64] | None
    """Centre of the first pixel, [3]."""
    spacing: tuple[float, float] | None
    """Row and column distance, mm."""
    thickness: float
    """Distance to the next slice, mm, as far as one frame can tell."""
    order: tuple[int, int]
    """InstanceNumber and frame number."""
    contrast: Contrast
    """Echo, b-value, time point and the like; equal within a stack."""
    window: tuple[float, float] | None
    inverted: bool
    modality: str | None
    header: Mapping[str, str]
    instance: str = ""
    """SOPInstanceUID."""
    window_function: WindowFunction = "LINEAR"
    """How the window is to be applied."""
    hounsfield: bool = field(default=False)
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
    """Take a file apart; a mosaic into its tiles.

    Raises:
        ImageError: If its header is damaged, or a mosaic cannot be taken apart.
    """
    with reading(file.path):
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
        rules = grey_rules(attributes)
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
    """The mosaic that a thread decoded last: its tiles are asked for one after the other."""

    origin: tuple[StoredPixels, int] | None = None
    stored: NDArray[np.generic] | None = None


_LAST = _LastMosaic()


def _whole_mosaic(pixels: StoredPixels, index: int) -> NDArray[np.generic]:
    if _LAST.stored is None or _LAST.origin is None or _LAST.origin[0] is not pixels or _LAST.origin[1] != index:
        _LAST.stored, _LAST.origin = pixels.read(index), (pixels, index)
    return _LAST.stored
