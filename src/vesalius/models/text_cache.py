"""Encode each distinct prompt once."""

from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor

from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.models.features import TextFeatures

LIMIT_BYTES = 256 * 2**20
"""Memory of remembered features: 100,000 prompts of pocket, 1,600 of CRIS, which keeps every word."""
ENTRY_BYTES = 1024
"""What Python needs for an entry beside the numbers."""


class TextCache:
    """The text features of a model that does not change, remembered by prompt; the least recently asked go first.

    Args:
        model: Its text encoder must stay as it is for as long as the cache is used.
        at_once: New prompts that are encoded together. With 1, a prompt's features do not depend on its company, not
            even in the last bit.
        limit_bytes: Of all that is remembered between two calls.
    """

    def __init__(self, model: VisionLanguageEncoder, at_once: int = 64, limit_bytes: int = LIMIT_BYTES) -> None:
        self.model = model
        self.at_once = at_once
        self.limit_bytes = limit_bytes
        self._known: dict[str, TextFeatures] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._known)

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> TextFeatures:
        """Features of B prompts, computing only those not remembered."""
        asked = dict.fromkeys(prompts)
        found = {prompt: self._known[prompt] for prompt in asked if prompt in self._known}
        new = sorted(asked.keys() - found.keys())
        for start in range(0, len(new), self.at_once):
            some = new[start : start + self.at_once]
            features = self.model.encode_text(some)
            rows = torch.arange(len(some), device=features.embedding.device).split(1)
            found |= {prompt: features.take(row) for prompt, row in zip(some, rows, strict=True)}
        for prompt in asked:
            self._remember(prompt, found[prompt])
        self._forget()
        return TextFeatures.join([found[prompt] for prompt in prompts])

    def _remember(self, prompt: str, features: TextFeatures) -> None:
        """Put it last in line to be forgotten."""
        if self._known.pop(prompt, None) is None:
            self._bytes += count_bytes(features)
        self._known[prompt] = features

    def _forget(self) -> None:
        while self._bytes > self.limit_bytes:
            self._bytes -= count_bytes(self._known.pop(next(iter(self._known))))


def count_bytes(features: TextFeatures) -> int:
    """Of all tensors, those of parts included, and of what holds them."""
    values = [getattr(features, each.name) for each in fields(features)]
    own = sum(value.nbytes for value in values if isinstance(value, Tensor))
    return ENTRY_BYTES + own + sum(count_bytes(part) for part in features.parts)
