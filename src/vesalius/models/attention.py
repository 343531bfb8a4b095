"""Efficient channel attention (Wang et al., CVPR 2020)."""

import math

import torch
from torch import Tensor, nn


class EfficientChannelAttention(nn.Module):
    """Scale every channel by a weight computed from its own mean and its neighbours'.

    The 1-D kernel grows with the channel count C: the odd number at or above |(log2 C + 1) / 2|, rounded down first.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        size = int(abs((math.log2(channels) + 1) / 2))
        kernel = size if size % 2 else size + 1
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        means = x.mean(dim=(2, 3))[:, None]
        return x * torch.sigmoid(self.conv(means)).squeeze(1)[:, :, None, None]
