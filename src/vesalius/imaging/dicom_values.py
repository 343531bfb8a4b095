"""Decoded DICOM pixels → the values Vesalius keeps: rescaled, padding filled, palettes and tables looked up."""

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from vesalius.imaging.dicom_attributes import FrameAttributes
from vesalius.imaging.image import Pixels

AIR_HU = -1024.0
"""Padding outside a CT's field of view, and the least value a CT keeps."""


def grey_values(stored: NDArray[np.generic], frame: FrameAttributes) -> tuple[Pixels, tuple[float, float] | None]:
    """Values of a grey frame and the window that shows them.

    Rescaling applies to every modality. Padding becomes −1024 HU in CT, elsewhere the darkest value of the rest. A
    radiograph with a VOI table and no window is passed through the table, whose full range becomes its window.

    Args:
        stored: Decoded pixels [H, W].
        frame: What the file says of them.

    Returns:
        Values [H, W], bytes where the file holds unscaled bytes, else float32; and (center, width) or None.
    """
    values = _fill_padding(_rescale(stored, frame), stored, frame)
    if frame.window is None and frame.modality not in ("CT", "MR") and frame.dataset.get("VOILUTSequence"):
        return _look_up(values, frame.dataset)
    return values, frame.window


def colour_values(stored: NDArray[np.generic]) -> Pixels:
    """RGB of 8 or 16 bit; of 32 bit the upper 16 are kept."""
    if stored.dtype == np.uint8:
        return stored.astype(np.uint8)
    if stored.dtype.itemsize > 2:
        return (stored.astype(np.uint32) >> 16).astype(np.uint16)
    return stored.astype(np.uint16)


def _rescale(stored: NDArray[np.generic], frame: FrameAttributes) -> Pixels:
    if frame.dataset.get("ModalityLUTSequence"):
        return np.asarray(apply_modality_lut(stored, frame.dataset), np.float32)
    slope, intercept = frame.number("RescaleSlope"), frame.number("RescaleIntercept")
    scale = 1.0 if slope is None else slope
    if stored.dtype == np.uint8 and scale == 1 and not intercept:
        return stored.astype(np.uint8)
    return (stored.astype(np.float64) * scale + (intercept or 0.0)).astype(np.float32)


def _fill_padding(values: Pixels, stored: NDArray[np.generic], frame: FrameAttributes) -> Pixels:
    padding = _padding(stored, frame)
    if frame.modality == "CT":
        return np.maximum(np.where(padding, np.float32(AIR_HU), values), np.float32(AIR_HU))
    if not padding.any() or padding.all():
        return values
    darkest = values[~padding].max() if frame.inverted else values[~padding].min()
    return np.where(padding, darkest, values)


def _padding(stored: NDArray[np.generic], frame: FrameAttributes) -> NDArray[np.bool_]:
    first = frame.number("PixelPaddingValue")
    if first is None:
        return np.zeros(stored.shape, np.bool_)
    last = frame.number("PixelPaddingRangeLimit")
    low, high = sorted((first, first if last is None else last))
    numbers = stored.astype(np.float64)
    return np.asarray((numbers >= low) & (numbers <= high))


def _look_up(values: Pixels, dataset: Dataset) -> tuple[Pixels, tuple[float, float]]:
    looked_up = np.asarray(apply_voi_lut(np.rint(values).astype(np.int32), dataset), np.float32)
    whole = float(2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]))
    return looked_up, (whole / 2, whole)
