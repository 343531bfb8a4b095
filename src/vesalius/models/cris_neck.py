"""CRIS's neck: three maps of CLIP's ResNet become one, gated by the prompt."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.errors import ModelError
from vesalius.models.conv_norm import ConvNorm
from vesalius.models.resnet import ResNetConfig


class PromptGate(nn.Module):
    """One weight a channel, at least 0, from the prompt's vector."""

    def __init__(self, embedding: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(embedding, channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, state: Tensor) -> Tensor:
        """Prompts' vectors [B, E] to weights [B, C, 1, 1].

        Raises:
            ModelError: If a single prompt is trained on, which a batch norm can compare with nothing.
        """
        if self.norm.training and len(state) == 1:
            raise ModelError(
                "cris needs 2 or more images a training step, got 1: its batch norm compares their prompts."
            )
        return F.relu(self.norm(self.linear(state)[..., None, None]))


class Neck(nn.Module):
    """Fuse from coarse to fine, then gather all three scales at stride 16.

    It also completes C5, the sum of the attention pool's map and ``connect`` of the map the pool was given. CRIS adds
    that shortcut, no CLIP archive holds it, so it trains with the neck whatever is frozen: untrained and frozen it
    would be noise on CLIP's features for good. (The benchmark, which starts from CRIS's own weights, freezes it.)

    Args:
        trunk: Sizes of the trunk.
        width: D, of the fused map.
    """

    def __init__(self, trunk: ResNetConfig, width: int) -> None:
        super().__init__()
        _, c3, c4, deepest = trunk.channels
        self.connect = ConvNorm(deepest, trunk.embedding, activation=nn.Identity())
        self.gate = PromptGate(trunk.embedding, 2 * width)
        self.from_c5 = ConvNorm(trunk.embedding, 2 * width)
        self.gated_norm = nn.BatchNorm2d(2 * width)
        self.from_c4 = ConvNorm(c4, width, 3)
        self.fuse_c4 = ConvNorm(3 * width, width)
        self.from_c3 = ConvNorm(c3, width // 2, 3)
        self.fuse_c3 = ConvNorm(width // 2 + width, width)
        self.to_gather = nn.ModuleList(ConvNorm(channels, width, 3) for channels in (width, width, 2 * width))
        self.gather = ConvNorm(3 * width, width)
        self.locate = ConvNorm(width + 2, width, 3)
        self.refine = ConvNorm(width, width, 3)

    def forward(self, taps: tuple[Tensor, ...], state: Tensor) -> Tensor:
        """Fuse the maps with the prompt.

        Args:
            taps: Maps at strides 8, 16 and 32, and the last one after the attention pool.
            state: The prompts' vectors [B, E].

        Returns:
            [B, D, H / 16, W / 16].
        """
        c3, c4, deepest, attended = taps
        c5 = F.relu(attended + self.connect(deepest))
        coarse = F.relu(self.gated_norm(self.from_c5(c5) * self.gate(state)))
        middle = self.fuse_c4(torch.cat([self.from_c4(c4), _resized(coarse, c4)], dim=1))
        fine = self.fuse_c3(torch.cat([F.avg_pool2d(self.from_c3(c3), 2), middle], dim=1))
        scales = [layer(x) for layer, x in zip(self.to_gather, (fine, middle, coarse), strict=True)]
        gathered = self.gather(torch.cat([_resized(scale, c4) for scale in scales], dim=1))
        return self.refine(self.locate(add_coordinates(gathered)))


def add_coordinates(x: Tensor) -> Tensor:
    """Append column and row, each from -1 to 1 (CoordConv, Liu et al., 2018): [B, C, H, W] -> [B, C + 2, H, W]."""
    batch, _, height, width = x.shape
    rows, columns = (torch.linspace(-1, 1, side, dtype=x.dtype, device=x.device) for side in (height, width))
    across = columns.expand(batch, 1, height, width)
    down = rows[:, None].expand(batch, 1, height, width)
    return torch.cat([x, across, down], dim=1)


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
