import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.models.layers import (
    ConvNorm,
    LayerConfig,
    TransformerLayer,
    quick_gelu,
    sine_positions,
    sine_positions_2d,
    stretch_positions,
)
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


WIDTH, HEADS, HIDDEN = 24, 4, 40
ACTIVATIONS = {"gelu": F.gelu, "quick_gelu": quick_gelu, "relu": F.relu}


def of_torch(layer: TransformerLayer, activation: str, *, norm_first: bool) -> nn.TransformerEncoderLayer:
    """PyTorch's own layer with the same weights."""
    theirs = nn.TransformerEncoderLayer(
        WIDTH, HEADS, HIDDEN, dropout=0, activation=ACTIVATIONS[activation], batch_first=True, norm_first=norm_first
    )
    places = {
        "self_attn.in_proj_": layer.qkv, "self_attn.out_proj.": layer.out, "norm1.": layer.attention_norm,
        "norm2.": layer.mlp_norm, "linear1.": layer.up, "linear2.": layer.down,
    }  # fmt: skip
    theirs.load_state_dict({f"{place}{kind}": p for place, own in places.items() for kind, p in own.named_parameters()})
    return theirs.eval()


@pytest.fixture
def tokens() -> Tensor:
    return torch.randn(3, 7, WIDTH, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@torch.no_grad()
def test_a_layer_equals_that_of_torch(roughen, tokens, activation, norm_first):
    layer = roughen(TransformerLayer(LayerConfig(WIDTH, HEADS, HIDDEN, activation, norm_first)))
    theirs = of_torch(layer, activation, norm_first=norm_first)
    torch.testing.assert_close(layer(tokens), theirs(tokens), rtol=0, atol=1e-5)


@pytest.mark.parametrize("norm_first", [True, False])
@torch.no_grad()
def test_masks_are_those_of_torch(roughen, tokens, norm_first):
    layer = roughen(TransformerLayer(LayerConfig(WIDTH, HEADS, HIDDEN, norm_first=norm_first)))
    theirs = of_torch(layer, "quick_gelu", norm_first=norm_first)
    real = torch.tensor([7, 4, 1])[:, None] > torch.arange(7)
    later = nn.Transformer.generate_square_subsequent_mask(7)
    torch.testing.assert_close(layer(tokens, causal=True), theirs(tokens, later), rtol=0, atol=1e-5)
    masked, expected = layer(tokens, real[:, None, None]), theirs(tokens, src_key_padding_mask=~real)
    torch.testing.assert_close(masked[real], expected[real], rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_causal_layer_looks_at_no_later_token(roughen, tokens):
    layer = roughen(TransformerLayer(LayerConfig(WIDTH, HEADS, HIDDEN)))
    other = tokens.clone()
    other[:, 4:] *= -2
    torch.testing.assert_close(layer(other, causal=True)[:, :4], layer(tokens, causal=True)[:, :4])
    assert not torch.allclose(layer(other)[:, :4], layer(tokens)[:, :4])


@torch.no_grad()
def test_the_norms_have_the_epsilon_asked_for():
    layer = TransformerLayer(LayerConfig(WIDTH, HEADS, HIDDEN, epsilon=1e-6))
    assert {module.eps for module in layer.modules() if isinstance(module, nn.LayerNorm)} == {1e-6}


@torch.no_grad()
def test_a_layer_answers_alike_in_training_and_evaluation(roughen, tokens):
    layer = roughen(TransformerLayer(LayerConfig(WIDTH, HEADS, HIDDEN)))
    assert torch.equal(layer.train()(tokens), layer.eval()(tokens))


def test_a_layer_that_learns_answers_like_one_that_does_not(roughen, tokens):
    layer = roughen(TransformerLayer(LayerConfig(WIDTH, HEADS, HIDDEN)))
    torch.testing.assert_close(layer(tokens), layer.requires_grad_(False)(tokens))


@pytest.fixture
def layer(request) -> ConvNorm:
    """One whose norm does something."""
    torch.manual_seed(0)
    layer = ConvNorm(6, 6, **request.param)
    layer(torch.randn(2, 6, 9, 8) * 3 + 1)
    nn.init.normal_(layer[1].weight)
    nn.init.normal_(layer[1].bias)
    return layer.eval()


@pytest.mark.parametrize(
    "layer",
    [{}, {"kernel": 5, "stride": 2, "groups": 6, "activation": nn.Identity(), "epsilon": 0.1}, {"kernel": 3}],
    indirect=True,
)
def test_inference_gives_what_convolution_and_norm_give_one_after_the_other(layer):
    x = torch.randn(2, 6, 9, 8)
    with torch.no_grad():
        expected = layer(x)
        torch.testing.assert_close(expected, layer[2](layer[1](layer[0](x))), rtol=0, atol=0)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("layer", [{"kernel": 3}], indirect=True)
@torch.inference_mode()
def test_a_norm_that_learns_its_statistics_uses_those_of_the_batch(layer):
    x = torch.randn(2, 6, 9, 8)
    before = layer(x), layer[1].running_mean.clone()
    assert not torch.allclose(layer.train()(x), before[0])
    assert not torch.equal(layer[1].running_mean, before[1])


def test_the_norms_weight_begins_where_it_is_told_to():
    assert (ConvNorm(2, 3, start=0.2)[1].weight == 0.2).all()


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
