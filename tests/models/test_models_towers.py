from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn

from vesalius.models.checkpoints import fill_model
from vesalius.models.foreign.names import (
    BERT,
    BERT_CHANGES,
    BERT_UNUSED,
    TRANSFORMERS_LAYERS,
    TRANSFORMERS_VISION,
    Renaming,
)
from vesalius.models.layers import ConvNorm
from vesalius.models.tokenizers import ClipTokenizer, Tokens
from vesalius.models.towers import (
    BRANCH_START,
    AttentionPool,
    BertConfig,
    BertEncoder,
    Bottleneck,
    ClipTextConfig,
    ClipTextEncoder,
    ResNet,
    ResNetConfig,
    VisionConfig,
    VisionTransformer,
    mean_pool,
)

SIZES = VisionConfig(image_size=48, patch_size=16, width=32, layers=3, heads=2)
OURS = Renaming([*TRANSFORMERS_VISION, *TRANSFORMERS_LAYERS, ("^vision\\.", "")], unused=("post_layernorm",))


@pytest.fixture
def published(roughen) -> "transformers.CLIPVisionModel":
    config = transformers.CLIPVisionConfig(
        image_size=48, patch_size=16, hidden_size=32, intermediate_size=128, num_hidden_layers=3, num_attention_heads=2
    )
    return roughen(transformers.CLIPVisionModel(config))


@pytest.fixture
def ours(published) -> VisionTransformer:
    tensors = {
        f"vision_model.{key.removeprefix('vision_model.')}": value for key, value in published.state_dict().items()
    }
    return fill_model(VisionTransformer(SIZES), OURS.apply(tensors), "transformers").eval()


@pytest.mark.parametrize("size", [(48, 48), (64, 64), (32, 80)])
@torch.no_grad()
def test_every_blocks_output_equals_that_of_transformers_at_its_size_and_others(ours, published, size):
    pixels = torch.randn(2, 3, *size)
    expected = published(pixels, output_hidden_states=True, interpolate_pos_encoding=True).hidden_states[1:]
    outputs = ours(pixels)
    assert len(outputs) == len(expected) == 3
    for ours_at, theirs_at in zip(outputs, expected, strict=True):
        assert ours_at.shape == (2, 1 + size[0] * size[1] // 256, 32)
        torch.testing.assert_close(ours_at, theirs_at, rtol=0, atol=1e-5)


@torch.no_grad()
def test_every_patch_has_a_place_of_its_own(ours):
    pixels = torch.randn(1, 3, 48, 48)
    moved = pixels.roll(16, dims=3)
    assert not torch.allclose(ours(moved)[-1][:, 0], ours(pixels)[-1][:, 0], atol=1e-4)


def test_timms_form_has_patches_with_a_bias_and_no_norm_before_the_blocks():
    theirs = {
        key
        for key, _ in VisionTransformer(
            VisionConfig(48, width=32, layers=1, heads=2, clip_stem=False)
        ).named_parameters()
    }
    clips = {key for key, _ in VisionTransformer(VisionConfig(48, width=32, layers=1, heads=2)).named_parameters()}
    assert theirs - clips == {"patches.bias"}
    assert clips - theirs == {"stem_norm.weight", "stem_norm.bias"}


def test_the_defaults_are_clip_vit_b16s():
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in VisionTransformer(VisionConfig()).parameters())
    # 86,192,640 in all with the norm behind the last block and the projection, which others own.
    assert count + 2 * 768 + 768 * 512 == 86_192_640


PROMPTS = ["one small white polyp", "", "both lungs in a chest X-ray"]


@pytest.fixture
def text(roughen) -> ClipTextEncoder:
    return roughen(ClipTextEncoder(ClipTextConfig(width=64, layers=2, heads=2, embedding=48)))


@pytest.fixture
def tokens() -> Tokens:
    return ClipTokenizer()(PROMPTS)


@torch.no_grad()
def test_a_prompt_is_its_first_end_token_projected(text, tokens):
    at_end = text.encode_tokens(tokens.input_ids)[torch.arange(3), tokens.attention_mask.sum(dim=1) - 1]
    embedding = text(tokens.input_ids, tokens.attention_mask)
    assert embedding.shape == (3, 48)
    torch.testing.assert_close(embedding, text.projection(at_end))


@pytest.mark.parametrize("filler", [0, 49407])
@torch.no_grad()
def test_padding_changes_nothing_whatever_it_is_filled_with(text, tokens, filler):
    ids = torch.where(tokens.attention_mask == 1, tokens.input_ids, filler)
    singles = [
        text(row[None, : mask.sum()], mask[None, : mask.sum()])
        for row, mask in zip(ids, tokens.attention_mask, strict=True)
    ]
    torch.testing.assert_close(text(ids, tokens.attention_mask), torch.cat(singles), rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_word_changes_those_behind_it_and_none_before(text, tokens):
    ids, other = tokens.input_ids[:1], tokens.input_ids[:1].clone()
    other[0, 3] += 1
    before, after = text.encode_tokens(ids)[0], text.encode_tokens(other)[0]
    torch.testing.assert_close(after[:3], before[:3])
    assert ((after[3:] - before[3:]).abs().amax(dim=1) > 1e-4).all()


@torch.no_grad()
def test_the_order_of_words_matters(text):
    tokens = ClipTokenizer()(["a white polyp", "white a polyp"])
    first, second = text(tokens.input_ids, tokens.attention_mask)
    assert (first - second).abs().max() > 1e-3


BERT_NAMES = Renaming(BERT, BERT_UNUSED, BERT_CHANGES)
BERT_SIZES = BertConfig(vocabulary=50, width=24, layers=3, heads=4, hidden=40, positions=16)


@pytest.fixture
def published_bert() -> "transformers.BertModel":
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=40,
        max_position_embeddings=16,
    )  # fmt: skip
    model = transformers.BertModel(config).eval()
    for parameter in model.parameters():  # the published initialisation has biases of 0, which would hide a mix-up
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture
def our_bert(published_bert: "transformers.BertModel") -> BertEncoder:
    model = BertEncoder(BERT_SIZES).eval()
    model.load_state_dict(BERT_NAMES.apply(published_bert.state_dict()))
    return model


def random_batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 50, (3, 9), generator=generator)
    mask = torch.tensor([9, 5, 2])[:, None] > torch.arange(9)
    return ids * mask, mask.long()


@torch.no_grad()
def test_token_vectors_equal_those_of_transformers(published_bert, our_bert):
    ids, mask = random_batch()
    expected = published_bert(input_ids=ids, attention_mask=mask).last_hidden_state
    # Float32 over three layers; values are of the order of 1.
    torch.testing.assert_close(our_bert(ids, mask)[mask.bool()], expected[mask.bool()], rtol=0, atol=1e-5)


@torch.no_grad()
def test_padding_changes_nothing(our_bert):
    ids, mask = random_batch()
    short = our_bert(ids[1:2, :5], mask[1:2, :5])
    torch.testing.assert_close(our_bert(ids, mask)[1:2, :5], short, rtol=0, atol=1e-5)


@torch.no_grad()
def test_what_stands_behind_the_mask_does_not_matter(our_bert):
    ids, mask = random_batch()
    other = torch.where(mask.bool(), ids, 7)
    assert torch.equal(our_bert(ids, mask)[mask.bool()], our_bert(other, mask)[mask.bool()])


def test_every_published_weight_but_the_pooler_has_a_place(published_bert):
    renamed = BERT_NAMES.apply(published_bert.state_dict())
    assert renamed.keys() == BertEncoder(BERT_SIZES).state_dict().keys()
    used = sum(value.numel() for value in renamed.values())
    pooler = sum(parameter.numel() for parameter in published_bert.pooler.parameters())
    second_segment = 24
    assert used + pooler + second_segment == sum(parameter.numel() for parameter in published_bert.parameters())


def test_mean_pool_averages_the_real_tokens_and_scales_to_length_1():
    tokens = torch.tensor([[[3.0, 0.0], [3.0, 8.0], [100.0, 100.0]], [[0.0, -2.0], [9.0, 9.0], [9.0, 9.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    torch.testing.assert_close(mean_pool(tokens, mask), torch.tensor([[0.6, 0.8], [0.0, -1.0]]))


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
