"""BERT encoder (Devlin et al., 2019), as sentence encoders such as MiniLM-L6 use it: post-norm, absolute positions.

Layers carry short names of ours; ``from_transformers`` renames the published ones. Equal to ``transformers.BertModel``
in eval mode (tested), without the second or so that importing it takes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class BertConfig:
    """Sizes of a BERT encoder; the defaults are all-MiniLM-L6-v2's."""

    vocabulary: int = 30522
    width: int = 384
    layers: int = 6
    heads: int = 12
    hidden: int = 1536
    positions: int = 512
    epsilon: float = 1e-12
    """Of the layer norms."""


class BertLayer(nn.Module):
    """Self-attention and MLP, each followed by a residual sum and a layer norm."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.attention_norm = nn.LayerNorm(config.width, eps=config.epsilon)
        self.up = nn.Linear(config.width, config.hidden)
        self.down = nn.Linear(config.hidden, config.width)
        self.mlp_norm = nn.LayerNorm(config.width, eps=config.epsilon)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x [B, L, E], mask [B, 1, 1, L] (True = look at) -> [B, L, E]."""
        x = self.attention_norm(x + self.out(self._attend(x, mask)))
        return self.mlp_norm(x + self.down(F.gelu(self.up(x))))

    def _attend(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return mixed.transpose(1, 2).reshape(batch, length, width)


class BertEncoder(nn.Module):
    """Token ids to contextual token vectors."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Embedding(config.positions, config.width)
        # Sentence pairs are never used, so the one segment vector is a bias.
        self.segment = nn.Parameter(torch.zeros(config.width))
        self.norm = nn.LayerNorm(config.width, eps=config.epsilon)
        self.layers = nn.ModuleList(BertLayer(config) for _ in range(config.layers))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids and mask [B, L] -> [B, L, E]."""
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.norm(self.tokens(input_ids) + self.positions(positions) + self.segment)
        mask = attention_mask.bool()[:, None, None, :]
        for layer in self.layers:
            x = layer(x, mask)
        return x


def mean_pool(tokens: Tensor, attention_mask: Tensor) -> Tensor:
    """Mean over the real tokens, scaled to length 1 (sentence-transformers' pooling): [B, L, E], [B, L] -> [B, E]."""
    mask = attention_mask[..., None].to(tokens.dtype)
    return F.normalize((tokens * mask).sum(1) / mask.sum(1).clamp(min=1), dim=-1)


def from_transformers(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of ``transformers.BertModel`` to ``BertEncoder``'s, joining query, key and value.

    Args:
        published: Its state dict; the pooler, which sentence encoders do not use, and position ids are dropped.
    """
    renamed = {
        "tokens.weight": published["embeddings.word_embeddings.weight"],
        "positions.weight": published["embeddings.position_embeddings.weight"],
        "segment": published["embeddings.token_type_embeddings.weight"][0],
    }
    for kind in ("weight", "bias"):
        renamed[f"norm.{kind}"] = published[f"embeddings.LayerNorm.{kind}"]
    layers = {int(key.split(".")[2]) for key in published if key.startswith("encoder.layer.")}
    for index in sorted(layers):
        renamed |= _rename_layer(published, f"encoder.layer.{index}", f"layers.{index}")
    return renamed


def _rename_layer(published: Mapping[str, Tensor], source: str, target: str) -> dict[str, Tensor]:
    places = {
        "out": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "mlp_norm": "output.LayerNorm",
    }
    renamed = {}
    for kind in ("weight", "bias"):
        parts = [published[f"{source}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
        renamed[f"{target}.qkv.{kind}"] = torch.cat(parts)
        for ours, theirs in places.items():
            renamed[f"{target}.{ours}.{kind}"] = published[f"{source}.{theirs}.{kind}"]
    return renamed
