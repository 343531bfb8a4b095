"""Feature-wise linear modulation (FiLM, Perez et al., AAAI 2018) of maps."""

from torch import Tensor, nn


class FiLM(nn.Module):
    """Scale and shift channels by a condition; starts as the identity, nearly.

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
