"""Features as named tensors and back: graphs in other formats know tensors by name, and no classes of ours.

An image's are ``image_embedding``, ``image_tap0`` …, those of a model's first part ``image_part0_tap0`` …; a prompt's
are ``text_embedding``, ``text_tokens``, ``text_token_mask``. Embeddings of width 0 have no tensor.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from vesalius.models.features import ImageFeatures, TextFeatures


def flatten_image(features: ImageFeatures, prefix: str = "image") -> dict[str, Tensor]:
    """Tensors by name, each [B, …]."""
    tensors = _embedding(features, prefix)
    tensors |= {f"{prefix}_tap{index}": tap for index, tap in enumerate(features.taps)}
    for index, part in enumerate(features.parts):
        tensors |= flatten_image(part, f"{prefix}_part{index}")
    return tensors


def flatten_text(features: TextFeatures, prefix: str = "text") -> dict[str, Tensor]:
    """Tensors by name, each [B, …]."""
    tensors = _embedding(features, prefix)
    if features.tokens is not None:
        tensors[f"{prefix}_tokens"] = features.tokens
    if features.token_mask is not None:
        tensors[f"{prefix}_token_mask"] = features.token_mask
    for index, part in enumerate(features.parts):
        tensors |= flatten_text(part, f"{prefix}_part{index}")
    return tensors


def restore_image(tensors: Mapping[str, Tensor], batch: int, prefix: str = "image") -> ImageFeatures:
    """Undo ``flatten_image`` for B images."""
    taps = tuple(tensors[name] for name in _numbered(tensors, f"{prefix}_tap"))
    parts = tuple(restore_image(tensors, batch, part) for part in _numbered(tensors, f"{prefix}_part"))
    return ImageFeatures(_restore_embedding(tensors, batch, prefix), taps, parts)


def restore_text(tensors: Mapping[str, Tensor], batch: int, prefix: str = "text") -> TextFeatures:
    """Undo ``flatten_text`` for B prompts."""
    tokens, mask = tensors.get(f"{prefix}_tokens"), tensors.get(f"{prefix}_token_mask")
    parts = tuple(restore_text(tensors, batch, part) for part in _numbered(tensors, f"{prefix}_part"))
    return TextFeatures(_restore_embedding(tensors, batch, prefix), tokens, mask, parts)


def _embedding(features: ImageFeatures | TextFeatures, prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}_embedding": features.embedding} if features.embedding.shape[-1] else {}


def _restore_embedding(tensors: Mapping[str, Tensor], batch: int, prefix: str) -> Tensor:
    return tensors.get(f"{prefix}_embedding", torch.zeros(batch, 0))


def _numbered(tensors: Mapping[str, Tensor], start: str) -> Iterator[str]:
    """``start0``, ``start1`` … for as long as tensors have such a name, or one that goes on after it."""
    index = 0
    while any(name == f"{start}{index}" or name.startswith(f"{start}{index}_") for name in tensors):
        yield f"{start}{index}"
        index += 1
