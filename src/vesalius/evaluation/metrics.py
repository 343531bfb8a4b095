"""Overlap of binary masks, and how far apart their outlines run.

An outline is made of the pixels of a mask that touch, by a side, a pixel outside of it; beyond the image's edge is
outside. Distances are between the centres of pixels. This is how MONAI and Metrics Reloaded draw outlines in 2-D.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

EMPTY_AREA = 0.01
"""Share of an image: a mask with a smaller area counts as empty where nothing is to be marked."""


def dice(prediction: Tensor, target: Tensor) -> Tensor:
    """Overlap of two binary masks, 2·|P∩T| / (|P|+|T|).

    Args:
        prediction: Mask [B, H, W]; any number but 0 is inside.
        target: Mask of the same shape.

    Returns:
        One score an image, [B]; 1.0 where both masks are empty.

    >>> dice(torch.tensor([[[True, True]]]), torch.tensor([[[True, False]]]))
    tensor([0.6667], dtype=torch.float64)
    """
    overlap, predicted, true = _counts(prediction, target)
    return _share(2 * overlap, predicted + true, predicted + true)


def iou(prediction: Tensor, target: Tensor) -> Tensor:
    """Intersection over union (Jaccard index), |P∩T| / |P∪T|; arguments and empty rule as for ``dice``."""
    overlap, predicted, true = _counts(prediction, target)
    return _share(overlap, predicted + true - overlap, predicted + true)


def precision(prediction: Tensor, target: Tensor) -> Tensor:
    """How much of the prediction is right, |P∩T| / |P|; arguments as for ``dice``.

    Returns:
        One score an image, [B]; 1.0 where both masks are empty, 0.0 where just the prediction is.
    """
    overlap, predicted, true = _counts(prediction, target)
    return _share(overlap, predicted, predicted + true)


def recall(prediction: Tensor, target: Tensor) -> Tensor:
    """How much of the target is found (sensitivity), |P∩T| / |T|; arguments as for ``dice``.

    Returns:
        One score an image, [B]; 1.0 where both masks are empty, 0.0 where just the target is.
    """
    overlap, predicted, true = _counts(prediction, target)
    return _share(overlap, true, predicted + true)


def _counts(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """|P∩T|, |P| and |T| of each image, [B]."""
    if prediction.shape != target.shape:
        raise ValueError(f"masks of different shapes: {tuple(prediction.shape)} and {tuple(target.shape)}")
    prediction, target = prediction.bool().flatten(1), target.bool().flatten(1)
    overlap, predicted, true = (mask.sum(1).double() for mask in (prediction & target, prediction, target))
    return overlap, predicted, true


def _share(part: Tensor, whole: Tensor, inside: Tensor) -> Tensor:
    """Part of the whole, 0 of nothing; 1 where nothing is inside either mask."""
    return torch.where(inside > 0, part / whole.clamp(min=1), 1.0)


PERCENT = 95
ROUNDING = 1e-9
"""Part of the tolerance that is added to it: five pixels of 0.4 mm are 2 mm, whatever the last digit says."""


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances from each outline to the nearest pixel of the other; infinite where the other mask is empty."""

    from_prediction: NDArray[np.float64]
    """One distance for each outline pixel of the prediction, [P]."""
    from_target: NDArray[np.float64]
    """One distance for each outline pixel of the target, [T]."""

    def hd95(self) -> float:
        """Hausdorff distance at 95 % (HD95): the larger of both outlines' 95th percentiles, linearly interpolated.

        Returns:
            0.0 if both masks are empty, infinity if just one is.
        """
        outlines = [each for each in (self.from_prediction, self.from_target) if each.size]
        if any(np.isinf(each).any() for each in outlines):
            return float("inf")
        return max((float(np.percentile(each, PERCENT)) for each in outlines), default=0.0)

    def nsd(self, tolerance: float) -> float:
        """Normalised surface distance (NSD; Nikolov et al., 2021): share of both outlines near the other one.

        Args:
            tolerance: Largest distance that counts as near, in the unit of the distances.

        Returns:
            1.0 if both masks are empty, 0.0 if just one is.
        """
        distances = np.concatenate([self.from_prediction, self.from_target])
        return float((distances <= tolerance * (1 + ROUNDING)).mean()) if distances.size else 1.0


def surface_distances(
    prediction: NDArray[np.bool_], target: NDArray[np.bool_], spacing: tuple[float, float] = (1.0, 1.0)
) -> SurfaceDistances:
    """Measure from the outline of each mask to that of the other.

    Args:
        prediction: Mask [H, W].
        target: Mask of the same shape.
        spacing: Distance between rows and between columns; its unit, mm say, is that of the result.

    Example:
        >>> square = np.zeros((8, 8), bool)
        >>> square[2:6, 1:3] = True
        >>> distances = surface_distances(np.roll(square, 3, axis=1), square)
        >>> distances.hd95(), distances.nsd(tolerance=2)
        (3.0, 0.5)
    """
    if prediction.shape != target.shape:
        raise ValueError(f"masks of different shapes: {prediction.shape} and {target.shape}")
    ours, theirs = (np.argwhere(boundary_pixels(mask)) * np.asarray(spacing) for mask in (prediction, target))
    return SurfaceDistances(KDTree(theirs).query(ours)[0], KDTree(ours).query(theirs)[0])


def boundary_pixels(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of a mask [H, W] that have a pixel outside of it above, below, left or right."""
    around = np.pad(mask, 1)
    within = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return mask & ~within
