from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.models.layers import ConvNorm
from vesalius.models.towers import BRANCH_START, AttentionPool, Bottleneck, ResNet, ResNetConfig

TINY = ResNetConfig(image_size=96, width=4, blocks=(2, 1, 1, 1), embedding=24)


@pytest.fixture
def pool() -> AttentionPool:
    torch.manual_seed(0)
    pool = AttentionPool(TINY).eval()
    for parameter in pool.parameters():  # the initial biases are near 0, which would hide a mix-up
        nn.init.normal_(parameter, std=0.2)
    return pool


def by_torch(pool: AttentionPool, asking: Tensor, tokens: Tensor) -> Tensor:
    """The pool's attention in torch's words: [L, B, C] -> [L, B, E]."""
    mixed, _ = F.multi_head_attention_forward(
        asking, tokens, tokens, embed_dim_to_check=128, num_heads=2, in_proj_weight=None,
        in_proj_bias=torch.cat([pool.query.bias, pool.key.bias, pool.value.bias]), bias_k=None, bias_v=None,
        add_zero_attn=False, dropout_p=0.0, out_proj_weight=pool.out.weight, out_proj_bias=pool.out.bias,
        training=False, use_separate_proj_weight=True, q_proj_weight=pool.query.weight,
        k_proj_weight=pool.key.weight, v_proj_weight=pool.value.weight,
    )  # fmt: skip
    return mixed


class TestAttentionPool:
    @torch.no_grad()
    def test_the_mean_asks_the_whole_map(self, pool):
        x = torch.randn(2, 128, 3, 3)
        places = x.reshape(2, 128, 9).permute(2, 0, 1)
        tokens = torch.cat([places.mean(dim=0, keepdim=True), places]) + pool.positions[:, None]
        torch.testing.assert_close(pool(x), by_torch(pool, tokens[:1], tokens)[0], rtol=0, atol=1e-5)

    @torch.no_grad()
    def test_kept_as_a_map_every_place_asks_and_there_is_no_mean(self, pool):
        x = torch.randn(2, 128, 3, 3)
        tokens = x.reshape(2, 128, 9).permute(2, 0, 1) + pool.positions[1:, None]
        expected = by_torch(pool, tokens, tokens).permute(1, 2, 0).reshape(2, 24, 3, 3)
        torch.testing.assert_close(pool.keep_map(x), expected, rtol=0, atol=1e-5)

    @torch.no_grad()
    def test_maps_of_other_sizes_are_answered(self, pool):
        x = torch.randn(2, 128, 2, 5)
        assert pool(x).shape == (2, 24)
        assert pool.keep_map(x).shape == (2, 24, 2, 5)

    @torch.no_grad()
    def test_without_positions_the_order_of_places_does_not_matter(self, pool):
        nn.init.zeros_(pool.positions)
        x = torch.randn(1, 128, 3, 3)
        torch.testing.assert_close(pool(x), pool(x.flip(2, 3)), rtol=0, atol=1e-5)
        torch.testing.assert_close(pool.keep_map(x).flip(3), pool.keep_map(x.flip(3)), rtol=0, atol=1e-5)


class TestResNet:
    @pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 32), (70, 45)])
    @torch.no_grad()
    def test_maps_have_strides_4_to_32(self, height, width):
        maps = ResNet(TINY).eval()(torch.rand(2, 3, height, width))
        for stride, channels, stage in zip((4, 8, 16, 32), TINY.channels, maps, strict=True):
            assert stage.shape == (2, channels, height // stride, width // stride)
        assert TINY.channels == (16, 32, 64, 128)

    def test_the_towers_of_rn50_have_the_published_number_of_parameters(self):
        # CLIP RN50 has 102,007,137 in all; its text tower 63,689,216 (see below) and the temperature 1.
        width, layers, vocabulary, context = 512, 12, 49408, 77
        layer = 12 * width**2 + 13 * width
        text = (vocabulary + context) * width + layers * layer + 2 * width + width * 1024
        with torch.device("meta"):
            towers = ResNet(ResNetConfig()), AttentionPool(ResNetConfig())
        image = sum(parameter.numel() for tower in towers for parameter in tower.parameters())
        assert image + text + 1 == 102_007_137

    def test_only_the_first_block_of_a_stage_changes_shape(self):
        first, second = ResNet(TINY).stages[0]
        assert isinstance(first.shortcut, ConvNorm)
        assert isinstance(second.shortcut, nn.Identity)

    @torch.no_grad()
    def test_a_stride_is_an_average_and_both_branches_see_it(self):
        torch.manual_seed(0)
        block = Bottleneck(8, 4, 2).eval()
        narrow, filters, widen, shortcut = (
            layer[0].weight for layer in (block.conv1, block.conv2, block.conv3, block.shortcut)
        )

        def norm(x: Tensor) -> Tensor:
            return x / (1 + 1e-5) ** 0.5

        x = torch.randn(2, 8, 6, 4)
        filtered = norm(F.conv2d(norm(F.conv2d(x, narrow)).relu(), filters, padding=1)).relu()
        branch = BRANCH_START * norm(F.conv2d(F.avg_pool2d(filtered, 2), widen))
        expected = (branch + norm(F.conv2d(F.avg_pool2d(x, 2), shortcut))).relu()
        torch.testing.assert_close(block(x), expected)

    def test_each_stage_has_its_number_of_blocks(self):
        assert [len(stage) for stage in ResNet(replace(TINY, blocks=(1, 2, 3, 4))).stages] == [1, 2, 3, 4]
