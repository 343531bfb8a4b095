"""Name an image without a classifier: compare its vector with those of phrases (CLIP, Radford et al., 2021)."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.models.contrastive import ContrastiveEncoder
from vesalius.models.encoder import VisionLanguageEncoder

SCALE = 20.0
"""Factor from cosine similarity to log-odds of models without one of their own; ``fit_naming`` trains with it."""


def phrase_vectors(model: VisionLanguageEncoder, labels: Mapping[str, Sequence[str]]) -> Tensor:
    """One unit vector a label, the mean of its phrases' vectors.

    Args:
        model: One whose image and text embeddings share a space.
        labels: L labels and the phrases for each.

    Returns:
        [L, E].
    """
    with torch.no_grad():
        means = [model.encode_text(phrases).embedding.mean(0) for phrases in labels.values()]
    return F.normalize(torch.stack(means), dim=-1)


def label_logits(images: Tensor, labels: Tensor, scale: float = SCALE) -> Tensor:
    """Log-odds among labels.

    Args:
        images: Unit image vectors [B, E].
        labels: Unit label vectors [L, E].
        scale: Factor from cosine similarity to log-odds, see ``logit_scale``.

    Returns:
        [B, L]; a softmax over L gives probabilities.
    """
    return scale * images @ labels.T


def logit_scale(model: VisionLanguageEncoder) -> float:
    """Factor from cosine similarity to log-odds: the temperature a model has learned, else ``SCALE``."""
    return model.log_scale.exp().item() if isinstance(model, ContrastiveEncoder) else SCALE
