"""Position embeddings: learned ones stretched to another grid, and fixed sines (Vaswani et al., 2017)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


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
