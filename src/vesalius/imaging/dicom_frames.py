"""One DICOM file as frames: values, each with its own place, spacing and window."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from vesalius.imaging.dicom_attributes import FrameAttributes
from vesalius.imaging.dicom_values import colour_values, grey_values
from vesalius.imaging.image import Pixels


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame and all that decides its place among the others. Directions and positions are DICOM's LPS mm."""

    pixels: Pixels
    """[H, W] or [H, W, 3]."""
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
    contrast: tuple[str, ...]
    """Echo, b-value, time point and the like; equal within a stack."""
    window: tuple[float, float] | None
    inverted: bool
    modality: str | None
    header: Mapping[str, str]

    @property
    def height(self) -> float | None:
        """Position along the slice normal, mm; None without geometry."""
        if self.orientation is None or self.position is None:
            return None
        return float(np.cross(self.orientation[:3], self.orientation[3:]) @ self.position)


def frames_of(dataset: Dataset, stored: NDArray[np.generic]) -> list[Frame]:
    """Take a file apart.

    Args:
        dataset: All attributes of the file.
        stored: Decoded pixels [H, W], [H, W, 3], [F, H, W] or [F, H, W, 3].
    """
    header = FrameAttributes(dataset, 0).header
    frames = stored if stored.ndim == 3 + _is_colour(dataset) else stored[None]
    return [_frame(FrameAttributes(dataset, number), pixels, header) for number, pixels in enumerate(frames)]


def _frame(attributes: FrameAttributes, stored: NDArray[np.generic], header: Mapping[str, str]) -> Frame:
    pixels, window = (colour_values(stored), None) if stored.ndim == 3 else grey_values(stored, attributes)
    return Frame(
        pixels=pixels,
        orientation=attributes.orientation,
        position=attributes.position,
        spacing=attributes.spacing,
        thickness=attributes.thickness,
        order=(int(attributes.number("InstanceNumber") or 0), attributes.index),
        contrast=attributes.contrast,
        window=window,
        inverted=attributes.inverted,
        modality=attributes.modality,
        header=header,
    )


def _is_colour(dataset: Dataset) -> bool:
    palette = dataset.get("PhotometricInterpretation") == "PALETTE COLOR"
    return palette or int(dataset.get("SamplesPerPixel") or 1) > 1
