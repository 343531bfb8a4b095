"""BERT encoder (Devlin et al., 2019), as sentence encoders such as MiniLM-L6 use it: post-norm, absolute positions.

Layers carry short names of ours; ``foreign`` renames the published ones. Equal to ``transformers.BertModel``
in eval mode (tested), without the second or so that importing it takes.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.models.transformer import LayerConfig, TransformerLayer


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


class BertEncoder(nn.Module):
    """Token ids to contextual token vectors."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Embedding(config.positions, config.width)
        # Sentence pairs are never used, so the one segment vector is a bias.
        self.segment = nn.Parameter(torch.zeros(config.width))
        self.norm = nn.LayerNorm(config.width, eps=config.epsilon)
        layer = LayerConfig(config.width, config.heads, config.hidden, "gelu", norm_first=False, epsilon=config.epsilon)
        self.layers = nn.ModuleList(TransformerLayer(layer) for _ in range(config.layers))

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
