"""Which slices of a volume are taken: a few in each plane, spread evenly over what is not air."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vesalius.data.anatomy.settings import CutSettings
from vesalius.imaging import MedicalImage, Plane
from vesalius.imaging.intensity import CT_WINDOWS, percentile_range, to_shades, window_range
from vesalius.imaging.nifti import THICK_SLICES

PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
TISSUE_ABOVE = 0.06
"""Shades above it are tissue, below it air."""
LEAST_TISSUE = 0.04
"""Part of a slice that must be tissue for it to be taken."""


def tissue_of(image: MedicalImage, values: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Voxels that are no air: CT above about −135 HU, anything else above 6 % of its usual shades.

    Args:
        image: The volume.
        values: Its values in any order of axes.
    """
    shades = window_range(CT_WINDOWS["soft tissue"]) if image.modality == "CT" else percentile_range(image.pixels)
    return np.asarray(to_shades(values, shades) > TISSUE_ABOVE)


def usable_planes(image: MedicalImage) -> Sequence[Plane]:
    """All planes of a volume with voxels about as thick as wide, else only that in which it was taken.

    An oblique volume counts as its nearest plane.
    """
    own, spacing = image.nearest_plane, image.spacing
    if own is None or spacing is None:
        return ()
    if len(image.pixels) == 1 or spacing[0] > THICK_SLICES * max(spacing[1:]):
        return (own,)
    return PLANES


def choose_slices(tissue: NDArray[np.bool_], spacing_mm: float, settings: CutSettings) -> list[int]:
    """Indices along the first axis.

    Args:
        tissue: [n, a, b].
        spacing_mm: Distance between slices.
        settings: How many, how far apart.

    Returns:
        At most `per_plane` indices, at least `spacing_mm` apart, in the middle of equal parts of the range that holds
        tissue; [] where there is none.
    """
    shares = np.count_nonzero(tissue, axis=(1, 2)) / tissue[0].size
    inside = np.flatnonzero(shares >= LEAST_TISSUE)
    if not inside.size:
        return []
    first, length = int(inside[0]), int(inside[-1] - inside[0]) + 1
    step = max(1, int(np.ceil(settings.spacing_mm / spacing_mm - 1e-6)))
    count = max(1, min(settings.per_plane, length // step))
    return [first + int((number + 0.5) * length / count) for number in range(count)]
