import pytest
import torch
from torch import nn

from vesalius.models.layers import ConvNorm


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
