import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.models.layers import LayerConfig, TransformerLayer, quick_gelu

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
