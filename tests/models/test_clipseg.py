import copy

import pytest
import torch
import transformers
from from_tensors import segment_tensors
from torch import Tensor, nn

from vesalius.models import build_model
from vesalius.models.checkpoints import fill_model
from vesalius.models.clipseg import CLIPSegmenter, MapHead, tokens_to_map
from vesalius.models.foreign import LAYOUTS

PROMPTS = ["one small white polyp", "", "both lungs in a chest X-ray"]


@pytest.fixture(scope="module")
def published(roughen) -> "transformers.CLIPSegForImageSegmentation":
    """The implementation of transformers, small; taps are blocks 1, 3 and 4, one more follows; not to be changed."""
    sizes = {"hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 2}
    config = transformers.CLIPSegConfig(
        vision_config=sizes | {"patch_size": 16, "image_size": 64, "num_hidden_layers": 5},
        text_config=sizes | {"num_hidden_layers": 2, "eos_token_id": 49407},
        projection_dim=128, extract_layers=[0, 2, 3], reduce_dim=16, use_complex_transposed_convolution=True,
    )  # fmt: skip
    return roughen(transformers.CLIPSegForImageSegmentation(config))


@pytest.fixture
def ours(published, build_tiny) -> CLIPSegmenter:
    recipe, tensors = LAYOUTS["transformers-clipseg"].convert(published.state_dict())
    kept = {key: value for key, value in tensors.items() if not key.startswith("vision.layers.4.")}
    model = build_tiny("clipseg", **recipe.options, taps=(1, 3, 4), vision_width=128, text_width=128)
    return fill_model(model, kept, "transformers")


def answer(model: "transformers.CLIPSegForImageSegmentation", pixels: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    return model(pixel_values=pixels, input_ids=ids, attention_mask=mask, interpolate_pos_encoding=True).logits


@pytest.mark.parametrize("side", [64, 96])
@torch.no_grad()
def test_logits_equal_those_of_transformers_at_the_working_size_and_at_others(ours, published, side):
    tokens, pixels = ours.tokenizer(PROMPTS), torch.randn(3, 3, side, side)
    expected = answer(published, pixels, tokens.input_ids, tokens.attention_mask)
    logits = segment_tensors(ours, pixels, tokens.input_ids, tokens.attention_mask)
    assert expected.std() > 0.01
    torch.testing.assert_close(logits[:, 0], expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_text_embedding_equals_that_of_transformers(ours, published):
    tokens = ours.tokenizer(PROMPTS)
    expected = published.clip.get_text_features(tokens.input_ids, attention_mask=tokens.attention_mask).pooler_output
    torch.testing.assert_close(ours.encode_text(PROMPTS).embedding, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_taps_equal_those_of_transformers(ours, published):
    pixels = torch.randn(1, 3, 64, 64)
    states = published.clip.vision_model(pixels, output_hidden_states=True).hidden_states
    for tap, block in zip(ours.encode_pixels(pixels).taps, (1, 3, 4), strict=True):
        torch.testing.assert_close(tap, states[block], rtol=0, atol=1e-5)


@torch.no_grad()
def test_taps_are_the_outputs_of_blocks_4_7_and_10_unless_others_are_named(build_tiny):
    model, pixels = build_tiny("clipseg", taps=(4, 7, 10)), torch.randn(1, 3, 64, 64)
    assert len(model.vision.layers) == 10, "blocks behind the last tap are not kept"
    outputs = model.vision(pixels)
    taps = model.encode_pixels(pixels).taps
    assert all(torch.equal(tap, outputs[block - 1]) for tap, block in zip(taps, (4, 7, 10), strict=True))
    with torch.device("meta"):
        assert build_model("clipseg").taps == (4, 7, 10)


def test_every_tensor_of_the_published_size_has_a_place():
    with torch.device("meta"):
        config = transformers.CLIPSegConfig(vision_config={"patch_size": 16}, use_complex_transposed_convolution=True)
        theirs = transformers.CLIPSegForImageSegmentation(config)
        places = {key: value.shape for key, value in build_model("clipseg").state_dict().items()}
        recipe, ours = LAYOUTS["transformers-clipseg"].convert(theirs.state_dict())
    assert recipe.options == {"position_size": 224}
    assert {key: value.shape for key, value in ours.items()} == places


@pytest.mark.parametrize("frozen", [(), ("text",)])
def test_gradients_reach_the_vision_tower_unless_it_is_frozen(build_tiny, frozen):
    # Defect 4 of the released code: its vision tower never trained, whatever the settings.
    model = build_tiny("clipseg").freeze(*frozen).train()
    model(torch.rand(2, 3, 64, 64), ["polyp", "lungs"]).square().mean().backward()
    assert model.vision.patches.weight.grad.abs().max() > 0
    assert (model.text.tokens.weight.grad is None) == ("text" in frozen)


def test_transformers_gives_its_vision_tower_no_gradient(published):
    # What defect 4 looks like: nothing is frozen, and only the decoder trains.
    ids = torch.randint(1, 40000, (2, 5))
    theirs = copy.deepcopy(published).train()
    answer(theirs, torch.randn(2, 3, 64, 64), ids, torch.ones_like(ids)).square().mean().backward()
    trained = {name.split(".")[0] for name, parameter in theirs.named_parameters() if parameter.grad is not None}
    assert "clip" not in trained


@torch.no_grad()
def test_each_image_is_decoded_by_itself(build_tiny):
    model, images = build_tiny("clipseg"), torch.rand(4, 3, 64, 64)
    turned = model(images.flip(0), ["polyp"] * 4).flip(0)
    torch.testing.assert_close(model(images, ["polyp"] * 4), turned, rtol=0, atol=1e-5)


def test_tokens_fill_the_map_row_by_row():
    tokens = torch.arange(9.0)[None, :, None]
    assert tokens_to_map(tokens)[0, 0].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_the_head_is_a_convolution_and_two_transposed_ones(roughen):
    head, maps = roughen(MapHead(8)), torch.randn(2, 8, 3, 5, requires_grad=True)
    first, last = nn.ConvTranspose2d(8, 4, 4, stride=4), nn.ConvTranspose2d(4, 1, 4, stride=4)
    layers = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), first, nn.ReLU(), last)
    layers.load_state_dict(head.state_dict())
    weights = torch.randn(2, 1, 48, 80)
    torch.testing.assert_close(head(maps), layers(maps))
    ours, theirs = (torch.autograd.grad((each(maps) * weights).sum(), maps)[0] for each in (head, layers))
    torch.testing.assert_close(ours, theirs)
