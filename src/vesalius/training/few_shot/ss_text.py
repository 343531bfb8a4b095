"""SS-Text (Silva-Rodríguez et al., 2025, arXiv 2506.17500): label vectors from a few images, without any training.

Each label's text vector is moved towards the images that show it, in closed form, and the further the more there are.
There is no step size and no validation set. An image that shows several organs counts once for each of them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.errors import ConfigError, DataError
from vesalius.training.few_shot.support import Support

MOST_IMAGES = 1000
"""A label pulls as if it had no more, as in the released code."""


def ss_text(support: Support, texts: Tensor, scale: float, *, repel: bool = False) -> Tensor:
    """Label vectors adapted to a few labelled images.

    v_c = n_c / N · scale · sum_{i shows c} x_i + t_c, scaled to length 1, where n_c of N (image, label) pairs are of
    label c; with one label an image, N is the number of images, as published. A label without images keeps its text
    vector.

    Args:
        support: N images and which of C labels they show; what is not known counts as not shown.
        texts: Unit text vectors of the labels [C, E].
        scale: The encoder's factor from cosine to logit, exp(log_scale), above 0.
        repel: The last step of the released code's "SStext+", for labels that have images: v_c - d_c, where d_c is
            2 v_c - mean(v) scaled to length 1.

    Returns:
        Unit vectors [C, E].

    Raises:
        ConfigError: If the scale is not above 0.
        DataError: If images, labels and text vectors do not fit together.

    >>> present = torch.tensor([[True, False]])
    >>> support = Support(torch.tensor([[0.0, 1.0]]), present, torch.ones_like(present))
    >>> ss_text(support, torch.eye(2), scale=1.0)
    tensor([[0.7071, 0.7071],
            [0.0000, 1.0000]])
    """
    if scale <= 0:
        raise ConfigError(f"scale must be above 0, got {scale}; it is exp(log_scale) of the encoder.")
    if texts.shape != (support.present.shape[1], support.images.shape[1]):
        expected = [support.present.shape[1], support.images.shape[1]]
        raise DataError(f"text vectors are {list(texts.shape)}, but labels and images ask for {expected}.")
    counts = support.present.sum(0)
    weights = scale * counts.clamp(max=MOST_IMAGES) / counts.sum().clamp(min=1)
    vectors = weights[:, None] * (support.present.to(texts.dtype).T @ support.images) + texts
    if repel:
        away = F.normalize(2 * vectors - vectors.mean(0), dim=-1)
        vectors = torch.where(counts[:, None] > 0, vectors - away, vectors)
    return F.normalize(vectors, dim=-1)
