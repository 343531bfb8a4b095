import pytest
import torch
import torch.nn.functional as F
from from_tensors import segment_tensors
from torch import nn

from vesalius.models.encoder import resize
from vesalius.models.unet import DECODER_WIDTHS, DecoderStage, EncoderStage, UNet


@pytest.mark.usefixtures("_published_unet")
def test_the_network_has_the_papers_number_of_parameters():
    count = sum(parameter.numel() for parameter in UNet().parameters())
    assert count == 11_833_593
    assert round(count / 1e6, 2) == 11.83


@torch.no_grad()
def test_a_decoder_stage_applies_its_one_convolution_twice():
    torch.manual_seed(0)
    stage = DecoderStage(6, 4).eval()
    assert sum(isinstance(module, nn.Conv2d) for module in stage.modules()) == 1
    stage.norm.running_mean.uniform_(-0.1, 0.1)
    stage.norm.running_var.uniform_(0.5, 2)
    x = torch.rand(2, 6, 5, 3)
    up = F.conv_transpose2d(x, stage.up.weight, stage.up.bias, stride=2)
    once = F.conv2d(up, stage.conv.weight, stage.conv.bias, padding=1)
    twice = F.conv2d(once, stage.conv.weight, stage.conv.bias, padding=1)
    spread = (stage.norm.running_var + stage.norm.eps).sqrt()
    normed = (twice - stage.norm.running_mean[:, None, None]) / spread[:, None, None]
    torch.testing.assert_close(stage(x), normed.clamp(min=0))


@torch.no_grad()
def test_an_encoder_stage_has_no_activation_between_its_convolutions():
    torch.manual_seed(0)
    stage, x = EncoderStage(3, 4, dropout=0.1).eval(), torch.rand(2, 3, 6, 8)
    first, second, norm = list(stage)[:3]
    between = F.conv2d(x, first.weight, first.bias, padding=1)
    assert (between < 0).any()
    filtered = F.conv2d(between, second.weight, second.bias, padding=1) / (1 + norm.eps) ** 0.5
    torch.testing.assert_close(stage(x), F.max_pool2d(filtered.clamp(min=0), 2))


@pytest.mark.usefixtures("_published_unet")
@torch.no_grad()
def test_encoder_maps_have_strides_2_to_16():
    maps = UNet().eval().encode(torch.rand(1, 3, 48, 32))
    assert [tuple(tap.shape[1:]) for tap in maps] == [(64, 24, 16), (128, 12, 8), (256, 6, 4), (512, 3, 2)]


def test_each_stage_takes_what_the_one_before_gives():
    for (_, channels, joined), (following, _, _) in zip(DECODER_WIDTHS, DECODER_WIDTHS[1:], strict=False):
        assert channels + joined == following


@pytest.mark.parametrize("side", [33, 40])
@torch.no_grad()
def test_sides_that_are_no_multiple_of_16_are_stretched_and_shrunk_back(build_tiny, side):
    model = build_tiny("unet_d")
    pixels, ids = torch.rand(1, 3, side, side), torch.zeros(1, 0, dtype=torch.long)
    stretched = segment_tensors(model, resize(pixels, (48, 48)), ids)
    torch.testing.assert_close(segment_tensors(model, pixels, ids), resize(stretched, (side, side)))
