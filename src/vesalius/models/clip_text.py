"""CLIP's text tower (Radford et al., 2021): a transformer that never looks ahead, read at the end token."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vesalius.models.tokenizers import CLIP_END
from vesalius.models.transformer import LayerConfig, TransformerLayer


@dataclass(frozen=True)
class ClipTextConfig:
    """Sizes of a CLIP text tower; the defaults are those beside ViT-B."""

    width: int = 512
    layers: int = 12
    heads: int = 8
    embedding: int = 512
    """Width of the space shared with images."""
    context_length: int = 77


class ClipTextEncoder(nn.Module):
    """Token ids to token vectors, and to one vector a prompt."""

    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(CLIP_END + 1, config.width)
        nn.init.normal_(self.tokens.weight, std=0.02)
        self.positions = nn.Parameter(torch.randn(config.context_length, config.width) * 0.01)
        layer = LayerConfig(config.width, config.heads, 4 * config.width)
        self.layers = nn.ModuleList(TransformerLayer(layer) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.projection = nn.Linear(config.width, config.embedding, bias=False)

    def encode_tokens(self, input_ids: Tensor) -> Tensor:
        """Ids [B, L] to vectors [B, L, D] after the final norm; what follows a token does not change it."""
        x = self.tokens(input_ids) + self.positions[: input_ids.shape[1]]
        for layer in self.layers:
            x = layer(x, causal=True)
        return self.norm(x)

    def project_end(self, tokens: Tensor, input_ids: Tensor) -> Tensor:
        """The vectors at the first end token (the highest id there is), projected: [B, L, D] -> [B, E]."""
        return self.projection(tokens[torch.arange(len(tokens), device=tokens.device), input_ids.argmax(dim=1)])

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids and mask [B, L] -> one vector a prompt, [B, E]."""
        # Padding follows the end token, so nothing that is read depends on it; an exported graph cannot look at values.
        length = input_ids.shape[1] if torch.compiler.is_exporting() else int(attention_mask.sum(dim=1).max())
        real = input_ids[:, :length]
        return self.project_end(self.encode_tokens(real), real)
