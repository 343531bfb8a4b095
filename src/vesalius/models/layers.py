"""Layers that models share: convolution with norm, FiLM, position embeddings and the transformer layer.

CLIP, BERT, ViT and the decoders have one transformer layer; they differ in where its norms stand, in the activation and
in whether a token may look ahead.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from vesalius.errors import ModelError


class ConvNorm(nn.Sequential):
    """A convolution that keeps the size (or divides it by its stride), batch norm and activation.

    Args:
        in_channels: C.
        channels: C'.
        kernel: Odd.
        stride: Stride of the convolution.
        groups: Groups of the convolution; C makes it depthwise.
        activation: ReLU by default; ``nn.Identity()`` where a residual branch ends.
        epsilon: Epsilon of the norm.
        start: Initial weight of the norm.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: nn.Module | None = None,
        epsilon: float = 1e-5,
        start: float = 1.0,
    ) -> None:
        norm = nn.BatchNorm2d(channels, eps=epsilon)
        nn.init.constant_(norm.weight, start)
        super().__init__(
            nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False),
            norm,
            nn.ReLU() if activation is None else activation,
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / stride, W / stride]."""
        convolution, norm, activation = self
        if self.training or not torch.is_inference_mode_enabled():
            normed = norm(convolution(x))
        else:
            # By itself the norm takes some 30 % of the time of a trunk of depthwise convolutions on a CPU.
            normed = _convolve_and_norm(x, convolution, norm)
        out: Tensor = activation(normed)
        return out


def _convolve_and_norm(x: Tensor, convolution: nn.Module, norm: nn.Module) -> Tensor:
    """Both in one pass over the map."""
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        convolution.weight, None, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    stride, padding, groups = convolution.stride, convolution.padding, convolution.groups
    return F.conv2d(x, weight, bias, stride=stride, padding=padding, groups=groups)


def resize_like(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear, without antialiasing: [B, C, h, w] -> [B, C, H, W] of ``like``."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


class FiLM(nn.Module):
    """Scale and shift channels by a condition (FiLM, Perez et al., 2018); starts as the identity, nearly.

    Args:
        condition: E, its width.
        channels: C.
    """

    def __init__(self, condition: int, channels: int) -> None:
        super().__init__()
        self.to_scale_shift = nn.Linear(condition, 2 * channels)
        nn.init.normal_(self.to_scale_shift.weight, std=0.01)
        nn.init.zeros_(self.to_scale_shift.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map x [B, C, H, W], condition [B, E] -> [B, C, H, W]."""
        scale, shift = self.to_scale_shift(condition)[:, :, None, None].chunk(2, dim=1)
        return x * (1 + scale) + shift


def stretch_positions(positions: Tensor, rows: int, columns: int) -> Tensor:
    """Fit embeddings learned on a square grid to another one, bicubically.

    Args:
        positions: [1 + N, D], N a square number; the first belongs to no place and stays as it is.
        rows: Of the other grid.
        columns: Of the other grid.

    Returns:
        [1 + rows * columns, D], row by row.
    """
    grid = math.isqrt(len(positions) - 1)
    if (rows, columns) == (grid, grid):
        return positions
    square = positions[1:].T.reshape(1, -1, grid, grid)
    stretched = F.interpolate(square, (rows, columns), mode="bicubic", align_corners=False)
    return torch.cat([positions[:1], stretched[0].flatten(1).T])


def sine_positions(length: int, width: int) -> Tensor:
    """Sine and cosine of each place in turn, at wavelengths from 2π to 10000 · 2π: [length, width], width even."""
    rates = 10000 ** (-torch.arange(0, width, 2) / width)
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def sine_positions_2d(rows: int, columns: int, width: int) -> Tensor:
    """The column's sines in the first half, the row's in the second: [rows * columns, width], width a multiple of 4."""
    across = sine_positions(columns, width // 2).expand(rows, -1, -1)
    down = sine_positions(rows, width // 2)[:, None].expand(-1, columns, -1)
    return torch.cat([across, down], dim=-1).flatten(0, 1)


Activation = Literal["gelu", "quick_gelu", "relu"]


def quick_gelu(x: Tensor) -> Tensor:
    """CLIP's cheaper GELU (Radford et al., 2021): x · sigmoid(1.702 x)."""
    return x * torch.sigmoid(1.702 * x)


_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "quick_gelu": quick_gelu, "relu": F.relu}


@dataclass(frozen=True)
class LayerConfig:
    """Sizes and variant of one transformer layer."""

    width: int
    heads: int
    hidden: int
    """Width of the MLP."""
    activation: Activation = "quick_gelu"
    norm_first: bool = True
    """Norms before attention and MLP (CLIP, ViT), or after their residual sums (BERT, the CLIPSeg decoder)."""
    epsilon: float = 1e-5
    """Layer-norm epsilon."""

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
        """Attention and MLP over tokens.

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
