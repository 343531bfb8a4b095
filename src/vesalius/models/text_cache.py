"""Encode each distinct prompt once."""

from collections.abc import Sequence

import torch

from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.models.features import TextFeatures


class TextCache:
    """The text features of a model that does not change, remembered by prompt.

    Args:
        model: Its text encoder must stay as it is for as long as the cache is used.
        at_once: New prompts that are encoded together. With 1, a prompt's features do not depend on its company, not
            even in the last bit.
    """

    def __init__(self, model: VisionLanguageEncoder, at_once: int = 64) -> None:
        self.model = model
        self.at_once = at_once
        self._known: dict[str, TextFeatures] = {}

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> TextFeatures:
        """Features of B prompts, computing only those not met before."""
        new = sorted(set(prompts) - self._known.keys())
        for start in range(0, len(new), self.at_once):
            some = new[start : start + self.at_once]
            features = self.model.encode_text(some)
            self._known |= {prompt: features.take(torch.tensor([row])) for row, prompt in enumerate(some)}
        return TextFeatures.join([self._known[prompt] for prompt in prompts])
