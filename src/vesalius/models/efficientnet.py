"""EfficientNet-Lite (Tan & Le, 2019; the Lite variants of 2020): small convolutional image encoders.

Lite means ReLU6 instead of swish and no squeeze-and-excitation, so that it runs fast on a plain CPU.
The ImageNet head is left out. Parameter names are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn

from vesalius.models.layers import ConvNorm

BATCH_NORM_EPSILON = 1e-3
"""The value the published weights were trained with."""


@dataclass(frozen=True)
class Stage:
    """Blocks of one width."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
"""Stages of Lite0."""
SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
"""Lite number -> factors of width and depth."""
WIDTH_STEP = 8
"""Widths are multiples of it."""
TAP_STAGES = (0, 1, 2, 4, 6)
"""The last stage of each resolution: strides 2, 4, 8, 16 and 32."""


def scaled_stages(variant: int) -> tuple[Stage, ...]:
    """The stages of Lite ``variant``: depth grows in all but the first and the last, width in all.

    Raises:
        ValueError: If there is no such variant.
    """
    if variant not in SCALES:
        raise ValueError(f"trunk must be one of {', '.join(map(str, SCALES))}, got {variant!r}")
    width, depth = SCALES[variant]
    last = len(STAGES) - 1
    return tuple(
        Stage(
            stage.blocks if index in (0, last) else ceil(stage.blocks * depth),
            stage.kernel,
            stage.stride,
            stage.expansion,
            _round_width(stage.channels * width),
        )
        for index, stage in enumerate(STAGES)
    )


def lite_conv_norm(
    in_channels: int, channels: int, kernel: int, *, stride: int = 1, groups: int = 1, activation: bool = True
) -> ConvNorm:
    """``ConvNorm`` with the activation and epsilon of the published weights."""
    last = nn.ReLU6(inplace=True) if activation else nn.Identity()
    return ConvNorm(
        in_channels, channels, kernel, stride=stride, groups=groups, activation=last, epsilon=BATCH_NORM_EPSILON
    )


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; with a shortcut where shapes agree (MobileNetV2)."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers = [lite_conv_norm(in_channels, hidden, 1)] if expansion > 1 else []
        layers.append(lite_conv_norm(hidden, hidden, kernel, stride=stride, groups=hidden))
        layers.append(lite_conv_norm(hidden, out_channels, 1, activation=False))
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / stride, W / stride]."""
        out: Tensor = self.layers(x)
        return x + out if self.shortcut else out


class EfficientNetLite(nn.Module):
    """The convolutional trunk, returning one feature map per resolution.

    Args:
        variant: Number of the Lite variant, a key of ``SCALES``.
    """

    channels: tuple[int, ...]
    """Widths of the returned maps; 16, 24, 40, 112, 320 of Lite0."""

    def __init__(self, variant: int = 0) -> None:
        super().__init__()
        self.stem = lite_conv_norm(3, 32, 3, stride=2)
        described = scaled_stages(variant)
        self.channels = tuple(described[index].channels for index in TAP_STAGES)
        stages, width = [], 32
        for stage in described:
            layers = []
            for block in range(stage.blocks):
                step = stage.stride if block == 0 else 1
                layers.append(
                    InvertedResidual(width, stage.channels, kernel=stage.kernel, stride=step, expansion=stage.expansion)
                )
                width = stage.channels
            stages.append(nn.Sequential(*layers))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Normalised images [B, 3, H, W] -> maps at strides 2, 4, 8, 16, 32."""
        x = self.stem(x)
        maps = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in TAP_STAGES:
                maps.append(x)
        return tuple(maps)


def global_averages(maps: Sequence[Tensor]) -> Tensor:
    """Maps [B, C, H, W] of any sizes -> means of all their channels, [B, sum of C]."""
    return torch.cat([each.mean(dim=(2, 3)) for each in maps], dim=1)


def global_deviations(maps: Sequence[Tensor]) -> Tensor:
    """Maps [B, C, H, W] of any sizes -> standard deviations over their pixels of all channels, [B, sum of C]."""
    variances = [(each - each.mean(dim=(2, 3), keepdim=True)).square().mean(dim=(2, 3)) for each in maps]
    return torch.cat(variances, dim=1).sqrt()


def _round_width(channels: float) -> int:
    """The nearest multiple of ``WIDTH_STEP``, never less than 90 %."""
    rounded = max(WIDTH_STEP, int(channels + WIDTH_STEP / 2) // WIDTH_STEP * WIDTH_STEP)
    return rounded if rounded >= 0.9 * channels else rounded + WIDTH_STEP
