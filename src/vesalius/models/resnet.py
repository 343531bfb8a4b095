"""CLIP's ResNet (Radford et al., 2021): three stem convolutions, pooling in place of strides, attention at the end."""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.models.conv_norm import ConvNorm
from vesalius.models.positions import stretch_positions

BRANCH_START = 0.2
"""Untrained weight of each residual branch. CLIP starts at 0, which withholds a gradient from the branch's own weights;
at 1 the sixteen branches of RN50 amplify rounding errors tens of times."""


@dataclass(frozen=True)
class ResNetConfig:
    """Sizes of a CLIP ResNet; the defaults are RN50's."""

    image_size: int = 224
    """Side of the images that the attention pool's position embeddings were made for, pixels."""
    width: int = 64
    """Channels of the stem; the stages give 4, 8, 16 and 32 times as many."""
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    """Bottlenecks of each stage."""
    embedding: int = 1024
    """Width of the space shared with text."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Widths of the four stages' maps."""
        return tuple(self.width * times for times in (4, 8, 16, 32))


class Bottleneck(nn.Module):
    """Narrow, filter, widen fourfold, and add the input; a stride is an average pooling in both branches."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(in_channels, width)
        self.conv2 = ConvNorm(width, width, 3)
        self.conv3 = ConvNorm(width, 4 * width, activation=nn.Identity(), start=BRANCH_START)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        same = stride == 1 and in_channels == 4 * width
        self.shortcut = nn.Identity() if same else ConvNorm(in_channels, 4 * width, activation=nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, 4 * width, H / stride, W / stride]."""
        branch = self.conv3(self.pool(self.conv2(self.conv1(x))))
        return F.relu(branch + self.shortcut(self.pool(x)))


class ResNet(nn.Module):
    """The convolutional trunk, returning the map of every stage."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        half = config.width // 2
        self.conv1 = ConvNorm(3, half, 3, stride=2)
        self.conv2 = ConvNorm(half, half, 3)
        self.conv3 = ConvNorm(half, config.width, 3)
        self.pool = nn.AvgPool2d(2)
        widths = (config.width, *config.channels)
        self.stages = nn.ModuleList(
            self._stage(before, after // 4, blocks, stride=1 if index == 0 else 2)
            for index, ((before, after), blocks) in enumerate(zip(pairwise(widths), config.blocks, strict=True))
        )

    @staticmethod
    def _stage(in_channels: int, width: int, blocks: int, *, stride: int) -> nn.Sequential:
        others = (Bottleneck(4 * width, width, 1) for _ in range(blocks - 1))
        return nn.Sequential(Bottleneck(in_channels, width, stride), *others)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """Map normalised pixels [B, 3, H, W] to maps at strides 4, 8, 16 and 32."""
        x = self.pool(self.conv3(self.conv2(self.conv1(pixel_values))))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)


class AttentionPool(nn.Module):
    """One layer of attention that ends CLIP's ResNet: over the whole map (CLIP), or keeping it a map (CRIS).

    Args:
        config: Sizes of the trunk it ends; a head is 64 wide.
    """

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        width = config.channels[-1]
        self.heads = width // 64
        self.positions = nn.Parameter(torch.randn(1 + (config.image_size // 32) ** 2, width) * width**-0.5)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, config.embedding)

    def forward(self, x: Tensor) -> Tensor:
        """The map's mean asks, it and all places answer: [B, C, H, W] -> [B, E]."""
        places = x.flatten(2).mT
        tokens = torch.cat([places.mean(dim=1, keepdim=True), places], dim=1)
        tokens = tokens + stretch_positions(self.positions, *x.shape[-2:])
        return self._attend(tokens[:, :1], tokens)[:, 0]

    def keep_map(self, x: Tensor) -> Tensor:
        """Every place asks, all places answer, and there is no mean: [B, C, H, W] -> [B, E, H, W]."""
        tokens = x.flatten(2).mT + stretch_positions(self.positions, *x.shape[-2:])[1:]
        return self._attend(tokens, tokens).mT.unflatten(2, x.shape[-2:])

    def _attend(self, asking: Tensor, tokens: Tensor) -> Tensor:
        sides = (self.query(asking), self.key(tokens), self.value(tokens))
        query, key, value = (side.unflatten(2, (self.heads, -1)).transpose(1, 2) for side in sides)
        return self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
