"""The transformer layer that every tower here is made of: CLIP's, BiomedCLIP's, BERT's and the CLIPSeg decoder's.

They differ in where the layer norms stand, in the activation and in whether a token may look ahead; all else is one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.errors import ModelError

Activation = Literal["gelu", "quick_gelu", "relu"]


def quick_gelu(x: Tensor) -> Tensor:
    """CLIP's cheaper GELU (Radford et al., 2021): x · sigmoid(1.702 x)."""
    return x * torch.sigmoid(1.702 * x)


_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "quick_gelu": quick_gelu, "relu": F.relu}


@dataclass(frozen=True)
class LayerConfig:
    """Sizes and habits of one transformer layer."""

    width: int
    heads: int
    hidden: int
    """Width of the MLP."""
    activation: Activation = "quick_gelu"
    norm_first: bool = True
    """Norms before attention and MLP (CLIP, ViT), or after their residual sums (BERT, the CLIPSeg decoder)."""
    epsilon: float = 1e-5
    """Of the layer norms."""

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ModelError(f"a width of {self.width} cannot be shared by {self.heads} heads; take a multiple.")


class TransformerLayer(nn.Module):
    """Self-attention and MLP, each with a residual sum and a layer norm."""

    def __init__(self, config: LayerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm_first = config.norm_first
        self.activation = _ACTIVATIONS[config.activation]
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.attention_norm = nn.LayerNorm(config.width, eps=config.epsilon)
        self.up = nn.Linear(config.width, config.hidden)
        self.down = nn.Linear(config.hidden, config.width)
        self.mlp_norm = nn.LayerNorm(config.width, eps=config.epsilon)

    def forward(self, x: Tensor, mask: Tensor | None = None, *, causal: bool = False) -> Tensor:
        """Pass tokens on.

        Args:
            x: [B, L, D].
            mask: [B, 1, 1, L], True where a token may be looked at; None for everywhere.
            causal: Look at no later token.

        Returns:
            [B, L, D].
        """
        if self.norm_first:
            x = x + self._attend(self.attention_norm(x), mask, causal)
            return x + self._mlp(self.mlp_norm(x))
        x = self.attention_norm(x + self._attend(x, mask, causal))
        return self.mlp_norm(x + self._mlp(x))

    def _mlp(self, x: Tensor) -> Tensor:
        if self.up.weight.requires_grad and torch.is_grad_enabled() and x.device.type == "cpu":
            # A batch's hidden values, which are kept for the way back, are too many for a processor's cache.
            return torch.cat([self.down(self.activation(self.up(one))) for one in x.split(1)])
        return self.down(self.activation(self.up(x)))

    def _attend(self, x: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))
