"""Overlap of binary masks. Two empty masks agree, 1; an empty mask and another have nothing in common, 0."""

import torch
from torch import Tensor


def dice(prediction: Tensor, target: Tensor) -> Tensor:
    """Overlap of two binary masks, 2·|P∩T| / (|P|+|T|).

    Args:
        prediction: Mask [B, H, W]; any number but 0 is inside.
        target: Mask of the same shape.

    Returns:
        One score an image, [B]; 1.0 where both masks are empty.

    >>> dice(torch.tensor([[[True, True]]]), torch.tensor([[[True, False]]]))
    tensor([0.6667])
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
    overlap, predicted, true = (mask.sum(1).float() for mask in (prediction & target, prediction, target))
    return overlap, predicted, true


def _share(part: Tensor, whole: Tensor, inside: Tensor) -> Tensor:
    """Part of the whole, 0 of nothing; 1 where nothing is inside either mask."""
    return torch.where(inside > 0, part / whole.clamp(min=1), 1.0)
