"""Convolution, batch norm, activation: the brick of convolutional trunks."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


class ConvNorm(nn.Sequential):
    """A convolution that keeps the size (or divides it by its stride), batch norm and activation.

    Args:
        in_channels: C.
        channels: C'.
        kernel: Odd.
        stride: Of the convolution.
        groups: Of the convolution; C is depthwise.
        activation: ReLU by default; ``nn.Identity()`` where a residual branch ends.
        epsilon: Of the norm.
        start: Untrained weight of the norm.
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
