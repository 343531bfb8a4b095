"""Losses of masks (Dice, cross-entropy, existence) and contrastive losses of images and captions.

Contrastive losses work on logits [B, M], ``similarity_logits`` of B images and M captions, and on two tables of the
same shape: ``true``, caption j is true of image i, and ``known``, whether that is known at all. Captions made from
labels repeat and imply each other, so there are true pairs beside the diagonal, which the paper's loss ignores.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.errors import ConfigError, check_at_least, unknown_name
from vesalius.models import MaskPrediction


@dataclass(frozen=True)
class LossWeights:
    """Weights of the loss's terms; those of Dice and BCE are the benchmark's (Poudel et al., MIDL 2024) by default."""

    dice: float = 1.0
    """Weight of the soft Dice loss."""
    bce: float = 0.2
    """Weight of the binary cross-entropy over pixels."""
    existence: float = 0.1
    """Weight of the binary cross-entropy of the existence score, for models that give one."""

    def __post_init__(self) -> None:
        check_at_least(self, 0, "dice", "bce", "existence")
        if not self.dice + self.bce + self.existence:
            raise ConfigError("dice, bce and existence, the weights of the loss, are all 0: nothing would be learnt.")


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
        weights: Weights of the terms.
    """
    loss = weights.dice * soft_dice_loss(prediction.logits, masks)
    loss = loss + weights.bce * F.binary_cross_entropy_with_logits(prediction.logits, masks)
    if prediction.existence is not None:
        present = masks.flatten(1).amax(dim=1)
        loss = loss + weights.existence * F.binary_cross_entropy_with_logits(prediction.existence, present)
    return loss


ContrastiveKind = Literal["paper", "unicl", "siglip"]
KINDS: tuple[ContrastiveKind, ...] = ("paper", "unicl", "siglip")
MAX_LOG_SCALE = math.log(100)
"""CLIP's bound (Radford et al., 2021): beyond it training is unstable."""


@dataclass(frozen=True)
class ContrastiveLoss:
    """Which loss trains a contrastive encoder, and what is added to it."""

    kind: ContrastiveKind = "unicl"
    """"paper": one true caption an image; "unicl": several, sharing a softmax; "siglip": every pair judged alone."""
    organs: float = 0.0
    """Weight of ``organ_loss``, for images whose organs are labelled."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(unknown_name("contrastive loss", self.kind, KINDS))
        check_at_least(self, 0, "organs")

    def __call__(self, logits: Tensor, true: Tensor, known: Tensor) -> Tensor:
        """The loss of ``kind``, without the organs' term.

        Args:
            logits: Of B images and M captions, [B, M]; M = B and caption i is image i's own for "paper".
            true: Caption j is true of image i, [B, M], bool; False where not known.
            known: Whether it is known, [B, M], bool.
        """
        if self.kind == "paper":
            return paper_loss(logits)
        return unicl_loss(logits, true, known) if self.kind == "unicl" else siglip_loss(logits, true, known)


def similarity_logits(images: Tensor, captions: Tensor, log_scale: Tensor, bias: Tensor | float = 0.0) -> Tensor:
    """Scaled cosines, in float32 whatever the arithmetic around, as 16 bits round logits of 100 to a tenth.

    Args:
        images: Unit vectors [B, E].
        captions: Unit vectors [M, E].
        log_scale: Logarithm of the factor, a scalar; see ``bound_scale``.
        bias: Added to every logit, a scalar; or one a caption, [M].

    Returns:
        [B, M].
    """
    with torch.autocast(images.device.type, enabled=False):
        return log_scale.float().exp() * images.float() @ captions.float().T + bias


@torch.no_grad()
def bound_scale(log_scale: Tensor) -> None:
    """Keep the factor at 100 or less, in place, after a step of the optimiser.

    Inside ``similarity_logits`` a bound would stop the gradient of a scale beyond it, and CLIP's checkpoints have 100.

    Args:
        log_scale: The parameter.
    """
    log_scale.clamp_(max=MAX_LOG_SCALE)


def paper_loss(logits: Tensor) -> Tensor:
    """Symmetric cross-entropy with the diagonal as truth (CLIP, Radford et al., 2021; equation 1 of arXiv 2405.20735).

    ½ mean_i -log softmax_j(s_ij)[i] + ½ mean_j -log softmax_i(s_ij)[j]. An image whose caption stands m times in the
    batch cannot cost less than log m, and captions that are true of it without being its own are pushed away.

    Args:
        logits: [B, B]; caption i is image i's own.
    """
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def unicl_loss(logits: Tensor, true: Tensor, known: Tensor) -> Tensor:
    """``paper_loss`` with every true caption as truth (UniCL, Yang et al., CVPR 2022), in both directions.

    Arguments as for ``ContrastiveLoss``. The mean of ``share_loss`` over rows and over columns; equal to the paper's
    loss where ``true`` is the diagonal and all is known.
    """
    return (share_loss(logits, true, known) + share_loss(logits.T, true.T, known.T)) / 2


def share_loss(logits: Tensor, true: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy of a softmax that several true captions share, less the entropy of their shares.

    mean_i [-1/|P_i| sum_{j in P_i} log softmax_j(s_ij) - log |P_i|], P_i the captions that are true of image i. UniCL
    has no last term: it is constant, so gradients are the same, and 0 is perfect however many captions repeat.
    Pairs that are not known are left out of sum and softmax, images without a true caption out of the mean.

    Args:
        logits: [B, M].
        true: [B, M], bool; False where not known.
        known: [B, M], bool.
    """
    counts = true.sum(1)
    rows = counts > 0
    if not rows.any():
        return logits.sum() * 0
    shares = logits.float().masked_fill(~known, -torch.inf)[rows].log_softmax(1)
    mean = shares.masked_fill(~true[rows], 0).sum(1) / counts[rows]
    return -(mean + counts[rows].log()).mean()


def siglip_loss(logits: Tensor, true: Tensor, known: Tensor) -> Tensor:
    """Binary cross-entropy of every known pair by itself, summed over captions (SigLIP, Zhai et al., ICCV 2023).

    1/B sum_ij -log sigmoid(z_ij s_ij), z = 1 where true and -1 elsewhere. Nothing is normalised across the batch, so
    any number of captions can be true of an image, and sigmoid(s) is a probability.

    Args:
        logits: With a bias, see ``start_bias``, [B, M].
        true: [B, M], bool.
        known: [B, M], bool.
    """
    each = F.binary_cross_entropy_with_logits(logits.float(), true.float(), reduction="none")
    return each.masked_fill(~known, 0).sum() / len(logits)


def organ_loss(logits: Tensor, present: Tensor, known: Tensor) -> Tensor:
    """Binary cross-entropy of each image against each organ's prompt, averaged over what is known.

    Args:
        logits: Of B images and the prompts of O organs, [B, O].
        present: The image shows the organ, [B, O], bool.
        known: Whether that is known, [B, O], bool.
    """
    each = F.binary_cross_entropy_with_logits(logits.float(), present.float(), reduction="none")
    return each.masked_fill(~known, 0).sum() / known.sum().clamp(min=1)


def start_bias(logits: Tensor, true: Tensor, known: Tensor) -> float:
    """The bias at which the mean probability of known pairs is the share of them that is true.

    SigLIP's own start, -10 for a batch of tens of thousands, is far off for a small one in which captions repeat.

    Args:
        logits: Without a bias, of a first batch, [B, M].
        true: [B, M], bool.
        known: [B, M], bool.

    Returns:
        A finite number, also where all pairs or none are true: at most one pair in doubt is assumed.
    """
    values = logits.detach()[known].double()
    if not len(values):
        return 0.0
    rate = true[known].double().mean().clamp(0.5 / len(values), 1 - 0.5 / len(values))
    low, high = -values.max() - 40, -values.min() + 40
    for _ in range(60):  # halvings: to the last digit
        middle = (low + high) / 2
        low, high = (middle, high) if torch.sigmoid(values + middle).mean() < rate else (low, middle)
    return float((low + high) / 2)
