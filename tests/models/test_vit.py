import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from vesalius.models.checkpoints import fill_model
from vesalius.models.foreign.names import TRANSFORMERS_LAYERS, TRANSFORMERS_VISION, Renaming
from vesalius.models.towers import VisionConfig, VisionTransformer

SIZES = VisionConfig(image_size=48, patch_size=16, width=32, layers=3, heads=2)
OURS = Renaming([*TRANSFORMERS_VISION, *TRANSFORMERS_LAYERS, ("^vision\\.", "")], unused=("post_layernorm",))


@pytest.fixture
def published(roughen) -> CLIPVisionModel:
    config = CLIPVisionConfig(
        image_size=48, patch_size=16, hidden_size=32, intermediate_size=128, num_hidden_layers=3, num_attention_heads=2
    )
    return roughen(CLIPVisionModel(config))


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
