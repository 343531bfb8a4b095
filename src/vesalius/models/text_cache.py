"""Encode each distinct prompt once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vesalius.models.features import TextFeatures
from vesalius.models.segmenter import Segmenter

PROMPTS_AT_ONCE = 64


class TextCache:
    """The text features of a model that does not change, remembered by prompt.

    Args:
        model: Its text encoder must stay as it is for as long as the cache is used.
    """

    def __init__(self, model: Segmenter) -> None:
        self.model = model
        self._embeddings: dict[str, Tensor] = {}

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> TextFeatures:
        """Features of B prompts, computing only those not met before."""
        new = sorted(set(prompts) - self._embeddings.keys())
        for start in range(0, len(new), PROMPTS_AT_ONCE):
            some = new[start : start + PROMPTS_AT_ONCE]
            self._embeddings |= zip(some, self.model.encode_text(some).embedding, strict=True)
        return TextFeatures(torch.stack([self._embeddings[prompt] for prompt in prompts]))
