import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vesalius.models.features import resize
from vesalius.models.unet import DECODER_WIDTHS, DecoderStage, UNet


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
    stretched = model.forward_tensors(resize(pixels, (48, 48)), ids)
    torch.testing.assert_close(model.forward_tensors(pixels, ids), resize(stretched, (side, side)))


@torch.no_grad()
def test_logits_equal_those_of_the_released_code(golden, build_tiny):
    released, model = golden("unet_d"), build_tiny("unet_d", image_size=64)
    state = {ours: released.weight(theirs) for ours, theirs in released_names().items()}
    assert state.keys() == {key for key in model.unet.state_dict() if "num_batches" not in key}
    model.unet.load_state_dict(state, strict=False)
    logits = model.forward_tensors(released.image(), torch.zeros(2, 0, dtype=torch.long))
    # The golden outputs' own note names 1e-4 as usual.
    np.testing.assert_allclose(logits.numpy(), released.outputs["out_logits"], atol=1e-4, rtol=0)


def released_names() -> dict[str, str]:
    """Our tensors' names and those of the released code."""
    modules = {"bottleneck": "upconv41", "to_logits": "outconv"}
    convolutions = (("conv11", "conv12"), ("conv22", "conv222"), ("conv33", "conv333"), ("conv44", "conv444"))
    for stage, (first, second) in enumerate(convolutions):
        modules |= {f"encoder.{stage}.0": first, f"encoder.{stage}.1": second}
        modules |= {f"decoder.{stage}.up": f"upconv{4 - stage}", f"decoder.{stage}.conv": f"convup{4 - stage}"}
    names = {f"{ours}.{kind}": f"{theirs}.{kind}" for ours, theirs in modules.items() for kind in ("weight", "bias")}
    norms = {f"encoder.{stage}.2": f"bn{stage + 1}" for stage in range(4)}
    norms |= {f"decoder.{stage}.norm": f"upbn{4 - stage}" for stage in range(4)}
    for kind in ("weight", "bias", "running_mean", "running_var"):
        names |= {f"{ours}.{kind}": f"{theirs}.{kind}" for ours, theirs in norms.items()}
    return names | {"attention.conv.weight": "eca4.conv.weight"}
