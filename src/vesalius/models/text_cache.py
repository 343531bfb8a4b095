"""Encode each distinct prompt once."""

from collections.abc import Sequence

import torch

from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.models.features import TextFeatures

PROMPTS_AT_ONCE = 64


class TextCache:
    """The text features of a model that does not change, remembered by prompt.

    Args:
        model: Its text encoder must stay as it is for as long as the cache is used.
    """

    def __init__(self, model: VisionLanguageEncoder) -> None:
        self.model = model
        self._known: dict[str, TextFeatures] = {}

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> TextFeatures:
        """Features of B prompts, computing only those not met before."""
        new = sorted(set(prompts) - self._known.keys())
        for start in range(0, len(new), PROMPTS_AT_ONCE):
            some = new[start : start + PROMPTS_AT_ONCE]
            features = self.model.encode_text(some)
            self._known |= {prompt: features.take(torch.tensor([row])) for row, prompt in enumerate(some)}
        return TextFeatures.join([self._known[prompt] for prompt in prompts])
