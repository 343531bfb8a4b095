"""Overlap of binary masks."""

import torch
from torch import Tensor


def dice(prediction: Tensor, target: Tensor) -> Tensor:
    """Overlap of two binary masks, 2·|P∩T| / (|P|+|T|).

    Args:
        prediction: Boolean mask [B, H, W].
        target: Boolean mask of the same shape.

    Returns:
        One score an image, [B]; 1.0 where both masks are empty.

    >>> dice(torch.tensor([[[True, True]]]), torch.tensor([[[True, False]]]))
    tensor([0.6667])
    """
    overlap, total = _counts(prediction, target)
    return torch.where(total > 0, 2 * overlap / total.clamp(min=1), 1.0)


def iou(prediction: Tensor, target: Tensor) -> Tensor:
    """Intersection over union (Jaccard index), |P∩T| / |P∪T|; arguments and empty rule as for ``dice``."""
    overlap, total = _counts(prediction, target)
    return torch.where(total > 0, overlap / (total - overlap).clamp(min=1), 1.0)


def _counts(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """|P∩T| and |P|+|T| of each image, [B]."""
    if prediction.shape != target.shape:
        raise ValueError(f"masks of different shapes: {tuple(prediction.shape)} and {tuple(target.shape)}")
    prediction, target = prediction.bool().flatten(1), target.bool().flatten(1)
    overlap = (prediction & target).sum(1).float()
    return overlap, prediction.sum(1).float() + target.sum(1).float()
