"""Contrast-limited adaptive histogram equalisation (CLAHE; Zuiderveld, Graphics Gems IV, 1994)."""

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 256
TILES = 8
"""Parts of either side, each equalised by its own histogram."""


def clahe(grey: Tensor, limit: float, tiles: int = TILES) -> Tensor:
    """Spread the shades of each part of a picture, between parts by interpolation.

    Histograms are cut where they exceed ``limit`` times the mean height, what is cut off is given to all shades alike;
    a limit of 1 leaves shades nearly as they are, a high one equalises fully.

    Args:
        grey: Shades in [0, 1], [H, W]; rounded to 256 levels. Sides that the tiles do not divide are continued by
            reflection.
        limit: 1 or more.
        tiles: Parts of either side.

    Returns:
        [H, W], in [0, 1].
    """
    height, width = grey.shape
    tall, wide = (-(-side // tiles) for side in (height, width))
    padding = (0, wide * tiles - width, 0, tall * tiles - height)
    levels = F.pad((grey.clamp(0, 1) * (LEVELS - 1)).round()[None, None], padding, mode="reflect")[0, 0].long()
    tables = _tables(levels, (tall, wide), limit, tiles)
    rows, columns = _neighbours(height, tall, tiles), _neighbours(width, wide, tiles)
    shown, result = levels[:height, :width], torch.zeros(height, width)
    for row, share_down in rows:
        for column, share_across in columns:
            result += share_down[:, None] * share_across * tables[row[:, None], column, shown]
    return result


def _tables(levels: Tensor, size: tuple[int, int], limit: float, tiles: int) -> Tensor:
    """New shade of every level in every tile, [T, T, 256]."""
    tall, wide = size
    parts = levels.view(tiles, tall, tiles, wide).transpose(1, 2).reshape(tiles * tiles, tall * wide)
    counts = torch.zeros(tiles * tiles, LEVELS).scatter_add_(1, parts, torch.ones(parts.shape))
    kept = counts.clamp(max=max(1.0, limit * tall * wide / LEVELS))
    kept += (counts - kept).sum(1, keepdim=True) / LEVELS
    return (kept.cumsum(1) / (tall * wide)).view(tiles, tiles, LEVELS)


def _neighbours(length: int, step: int, tiles: int) -> list[tuple[Tensor, Tensor]]:
    """For every pixel of a side the two tiles whose centres lie around it, and how much each counts."""
    places = (torch.arange(length) + 0.5) / step - 0.5
    first = places.floor()
    share = places - first
    return [(tile.long().clamp(0, tiles - 1), weight) for tile, weight in ((first, 1 - share), (first + 1, share))]
