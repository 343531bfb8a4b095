import numpy as np
import pytest
import torch

from vesalius.models.unet import EfficientChannelAttention


@pytest.mark.parametrize(("channels", "kernel"), [(16, 3), (64, 3), (128, 5), (256, 5), (1240, 5), (2048, 7)])
def test_the_kernel_grows_with_the_channels(channels, kernel):
    # |(log2 C + 1) / 2| = 2.5, 3.5, 4, 4.5, 5.6, 6, each rounded down and then up to an odd number.
    assert EfficientChannelAttention(channels).conv.kernel_size == (kernel,)


@torch.no_grad()
def test_channels_are_scaled_by_their_neighbours_means():
    torch.manual_seed(0)
    attention, x = EfficientChannelAttention(16), torch.randn(2, 16, 3, 4)
    values, (left, middle, right) = x.numpy().astype(np.float64), attention.conv.weight.numpy().ravel()
    means = np.pad(values.mean(axis=(2, 3)), ((0, 0), (1, 1)))
    scores = left * means[:, :-2] + middle * means[:, 1:-1] + right * means[:, 2:]
    expected = values / (1 + np.exp(-scores))[:, :, None, None]
    np.testing.assert_allclose(attention(x).numpy(), expected, atol=1e-6)
