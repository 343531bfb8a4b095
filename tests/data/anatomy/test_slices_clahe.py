from functools import cache

import pytest
import torch

from vesalius.data.augment import LEVELS, clahe


def brute_force(grey: torch.Tensor, limit: float, tiles: int) -> torch.Tensor:
    """One pixel after the other, by the definition; sides must be divisible."""
    height, width = grey.shape
    tall, wide = height // tiles, width // tiles
    levels = (grey * (LEVELS - 1)).round().long()

    @cache
    def histogram(row: int, column: int) -> list[int]:
        part = levels[row * tall : (row + 1) * tall, column * wide : (column + 1) * wide]
        return [int((part == each).sum()) for each in range(LEVELS)]

    def shade(row: int, column: int, level: int) -> float:
        counts = histogram(row, column)
        most = max(1.0, limit * tall * wide / LEVELS)
        spread = sum(max(0.0, count - most) for count in counts) / LEVELS
        return sum(min(count, most) + spread for count in counts[: level + 1]) / (tall * wide)

    def between(place: int, step: int) -> list[tuple[int, float]]:
        centre = (place + 0.5) / step - 0.5
        first = int(centre // 1)
        both = ((first, 1 - (centre - first)), (first + 1, centre - first))
        return [(min(max(tile, 0), tiles - 1), share) for tile, share in both]

    result = torch.zeros(height, width)
    for y in range(height):
        for x in range(width):
            result[y, x] = sum(
                down * across * shade(row, column, int(levels[y, x]))
                for row, down in between(y, tall)
                for column, across in between(x, wide)
            )
    return result


@pytest.mark.parametrize("limit", [1.0, 3.0, 40.0])
def test_it_is_what_the_definition_says(limit):
    grey = torch.rand(8, 12, generator=torch.Generator().manual_seed(0)) ** 3
    torch.testing.assert_close(clahe(grey, limit, tiles=2), brute_force(grey, limit, 2), rtol=0, atol=1e-5)


def test_sides_that_tiles_do_not_divide_keep_their_length():
    grey = torch.rand(37, 50)
    result = clahe(grey, 2.0)
    assert result.shape == grey.shape
    assert result.min() >= 0
    assert result.max() <= 1 + 1e-6


def test_a_faint_part_gains_contrast():
    grey = 0.4 + 0.02 * torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    assert clahe(grey, 4.0).std() > 2 * grey.std()


def test_in_one_tile_a_brighter_pixel_stays_brighter():
    ramp = torch.linspace(0, 1, 64)[None].repeat(64, 1)
    assert (clahe(ramp, 2.0, tiles=1).diff(dim=1) >= 0).all()
