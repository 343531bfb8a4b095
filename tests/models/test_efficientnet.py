import pytest
import torch

from vesalius.models.efficientnet import (
    EfficientNetLite,
    InvertedResidual,
    global_averages,
)


@pytest.fixture
def trunk() -> EfficientNetLite:
    torch.manual_seed(0)
    return EfficientNetLite().eval()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 32), (65, 47)])
@torch.no_grad()
def test_maps_have_strides_2_to_32(trunk, height, width):
    maps = trunk(torch.rand(1, 3, height, width))
    for stride, channels, tap in zip((2, 4, 8, 16, 32), (16, 24, 40, 112, 320), maps, strict=True):
        assert tap.shape == (1, channels, -(-height // stride), -(-width // stride))
    assert trunk.channels == (16, 24, 40, 112, 320)


@pytest.mark.parametrize(("variant", "published"), [(0, 4_652_008), (1, 5_416_680), (2, 6_092_072)])
def test_trunks_have_the_published_numbers_of_parameters(variant, published):
    # TensorFlow's model cards: 4.7 M, 5.4 M and 6.1 M; the head is a convolution to 1280 with its batch norm and a
    # linear layer to 1000 classes.
    trunk = EfficientNetLite(variant)
    head = trunk.channels[-1] * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    assert sum(parameter.numel() for parameter in trunk.parameters()) + head == published


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="trunk must be one of 0, 1, 2, got 4"):
        EfficientNetLite(4)


def test_only_blocks_of_equal_shape_have_a_shortcut():
    def has_shortcut(channels: int, stride: int) -> bool:
        return InvertedResidual(8, channels, kernel=3, stride=stride, expansion=6).shortcut

    assert has_shortcut(8, 1)
    assert not has_shortcut(8, 2)
    assert not has_shortcut(16, 1)


@torch.no_grad()
def test_a_shortcut_adds_the_input():
    torch.manual_seed(0)
    block = InvertedResidual(8, 8, kernel=3, stride=1, expansion=6).eval()
    x = torch.rand(1, 8, 5, 5)
    torch.testing.assert_close(block(x) - block.layers(x), x)


def test_global_averages_are_the_means_of_each_channel_of_all_maps():
    maps = torch.arange(12.0).reshape(1, 2, 2, 3), torch.full((1, 1, 1, 1), 7.0)
    assert global_averages(maps).tolist() == [[2.5, 8.5, 7.0]]
