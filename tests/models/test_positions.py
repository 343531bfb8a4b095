import math

import pytest
import torch
import torch.nn.functional as F

from vesalius.models.layers import sine_positions, sine_positions_2d, stretch_positions


def test_embeddings_of_the_same_grid_are_not_touched():
    positions = torch.rand(1 + 9, 4)
    assert stretch_positions(positions, 3, 3) is positions


def test_the_first_embedding_stays_and_the_others_are_stretched_as_a_picture():
    positions = torch.rand(1 + 9, 4)
    stretched = stretch_positions(positions, 5, 7)
    picture = F.interpolate(positions[1:].reshape(3, 3, 4).permute(2, 0, 1)[None], (5, 7), mode="bicubic")
    assert torch.equal(stretched[0], positions[0])
    torch.testing.assert_close(stretched[1:].reshape(5, 7, 4), picture[0].permute(1, 2, 0))


def test_rows_follow_one_another():
    down = torch.arange(3.0).repeat_interleave(3)[:, None]
    stretched = stretch_positions(torch.cat([torch.zeros(1, 1), down]), 3, 6)[1:].reshape(3, 6)
    torch.testing.assert_close(stretched, torch.arange(3.0)[:, None].expand(3, 6))


def test_sines_and_cosines_alternate_and_slow_down():
    expected = [
        [function(place / 10000 ** (pair / 3)) for pair in range(3) for function in (math.sin, math.cos)]
        for place in range(5)
    ]
    torch.testing.assert_close(sine_positions(5, 6), torch.tensor(expected))


@pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 0), (0, 3), (2, 1)])
def test_in_a_picture_the_first_half_tells_the_column_and_the_second_the_row(row, column):
    positions = sine_positions_2d(3, 4, 8).reshape(3, 4, 8)
    torch.testing.assert_close(positions[row, column, :4], sine_positions(4, 4)[column])
    torch.testing.assert_close(positions[row, column, 4:], sine_positions(3, 4)[row])
