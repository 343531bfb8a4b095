"""Losses on logits."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.errors import ConfigError
from vesalius.models import MaskPrediction


@dataclass(frozen=True)
class LossWeights:
    """How much each term counts. The benchmark's (Poudel et al., MIDL 2024) are the defaults of the first two."""

    dice: float = 1.0
    """Soft Dice loss."""
    bce: float = 0.2
    """Binary cross-entropy over pixels."""
    existence: float = 0.1
    """Binary cross-entropy of the existence score, for models that give one."""

    def __post_init__(self) -> None:
        if min(self.dice, self.bce, self.existence) < 0:
            raise ConfigError(f"weights of the loss must be at least 0, got {self}.")


def soft_dice_loss(logits: Tensor, masks: Tensor, smooth: float = 1.0) -> Tensor:
    """1 - Dice on probabilities (Milletari et al., 2016), averaged over images.

    Args:
        logits: [B, 1, H, W].
        masks: 0 or 1, same shape.
        smooth: Pixels added above and below, so that an empty mask has a gradient and no division by zero.
    """
    probabilities = torch.sigmoid(logits.float())  # sums over pixels overflow 16 bits
    overlap = (probabilities * masks).sum(dim=(1, 2, 3))
    total = probabilities.sum(dim=(1, 2, 3)) + masks.sum(dim=(1, 2, 3))
    return (1 - (2 * overlap + smooth) / (total + smooth)).mean()


def segmentation_loss(prediction: MaskPrediction, masks: Tensor, weights: LossWeights) -> Tensor:
    """Weighted sum of the terms; a mask with any pixel in it counts as "exists".

    Args:
        prediction: Logits at the masks' size.
        masks: 0 or 1, [B, 1, H, W].
        weights: Of the terms.
    """
    loss = weights.dice * soft_dice_loss(prediction.logits, masks)
    loss = loss + weights.bce * F.binary_cross_entropy_with_logits(prediction.logits, masks)
    if prediction.existence is not None:
        present = masks.flatten(1).amax(dim=1)
        loss = loss + weights.existence * F.binary_cross_entropy_with_logits(prediction.existence, present)
    return loss
