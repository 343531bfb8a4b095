import numpy as np
import pytest
import torch

from vesalius.models.encoder import resize
from vesalius.runtime.contract import resize_plane, resize_rgb, sigmoid


@pytest.mark.parametrize("size", [(37, 53), (20, 20), (11, 160), (200, 31), (331, 257)])
def test_planes_are_resampled_as_in_pytorch(size):
    plane = np.random.default_rng(0).normal(size=(37, 53)).astype(np.float32)
    wanted = resize(torch.from_numpy(plane)[None, None], size)[0, 0].numpy()
    np.testing.assert_allclose(resize_plane(plane, size), wanted, atol=2e-5)


@pytest.mark.parametrize("step", [1, 7, 100])
def test_bands_of_rows_are_rows_of_the_whole(step):
    plane = np.random.default_rng(0).normal(size=(16, 12)).astype(np.float32)
    bands = [resize_plane(plane, (101, 40), slice(row, min(row + step, 101))) for row in range(0, 101, step)]
    np.testing.assert_allclose(np.concatenate(bands), resize_plane(plane, (101, 40)), atol=1e-5)


def test_pictures_are_resampled_as_in_pytorch():
    rgb = np.random.default_rng(0).random((90, 70, 3)).astype(np.float32)
    wanted = resize(torch.from_numpy(rgb).permute(2, 0, 1)[None], (32, 32))[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(resize_rgb(rgb, 32), wanted, atol=1e-5)


def test_log_odds_of_any_size_become_probabilities():
    found = sigmoid(np.array([-1e30, -1.0, 0.0, 1.0, 1e30], np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [0, 0.2689414, 0.5, 0.7310586, 1], atol=1e-6)
