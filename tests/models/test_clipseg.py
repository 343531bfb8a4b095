import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

from vesalius.models import build_model
from vesalius.models.clipseg import CLIPSegmenter

PROMPTS = ["one small white polyp", "", "both lungs in a chest X-ray"]
UNUSED = {
    "clip.logit_scale",
    "clip.visual_projection.weight",
    "clip.vision_model.post_layernorm.weight",
    "clip.vision_model.post_layernorm.bias",
}
"""Published weights that no mask depends on."""


@pytest.fixture
def ours(build_tiny) -> CLIPSegmenter:
    model = build_tiny("clipseg")
    with torch.no_grad():  # biases start at 0 and norms at 1, which would hide a mix-up
        for parameter in model.parameters():
            noise = 0.1 * torch.randn_like(parameter)
            parameter.copy_(noise if parameter.dim() > 1 else parameter + noise)
    return model


@pytest.fixture
def published(ours: CLIPSegmenter) -> CLIPSegForImageSegmentation:
    """The implementation of transformers, of the same size and with the same weights."""
    config = CLIPSegConfig(
        vision_config={
            "patch_size": 16, "image_size": 64, "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 7,
            "num_attention_heads": 1,
        },
        text_config={
            "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1,
            "eos_token_id": 49407,
        },
        extract_layers=[3, 6], reduce_dim=16, use_complex_transposed_convolution=True,
    )  # fmt: skip
    model = CLIPSegForImageSegmentation(config).eval()
    state = {published_name(key): value for key, value in ours.state_dict().items()}
    outcome = model.load_state_dict(state, strict=False)
    assert outcome.unexpected_keys == []
    assert set(outcome.missing_keys) == UNUSED
    return model


def published_name(key: str) -> str:
    places = {
        "vision_embeddings": "clip.vision_model.embeddings",
        "vision_norm": "clip.vision_model.pre_layrnorm",
        "vision_layers": "clip.vision_model.encoder.layers",
        "text_model": "clip.text_model",
        "text_projection": "clip.text_projection",
        "decoder": "decoder",
    }
    module, _, rest = key.partition(".")
    return f"{places[module]}.{rest}"


def answer(model: CLIPSegForImageSegmentation, pixels: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    return model(pixel_values=pixels, input_ids=ids, attention_mask=mask, interpolate_pos_encoding=True).logits


@pytest.mark.parametrize("side", [64, 96])
@torch.no_grad()
def test_logits_equal_those_of_transformers_at_the_working_size_and_at_others(ours, published, side):
    tokens, pixels = ours.tokenizer(PROMPTS), torch.randn(3, 3, side, side)
    expected = answer(published, pixels, tokens.input_ids, tokens.attention_mask)
    logits = ours.forward_tensors(pixels, tokens.input_ids, tokens.attention_mask)
    assert expected.std() > 0.01
    torch.testing.assert_close(logits[:, 0], expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_text_embedding_equals_that_of_transformers(ours, published):
    tokens = ours.tokenizer(PROMPTS)
    expected = published.clip.get_text_features(tokens.input_ids, attention_mask=tokens.attention_mask).pooler_output
    torch.testing.assert_close(ours.encode_text(PROMPTS).embedding, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_text_is_pooled_at_the_end_token(ours):
    tokens = ours.tokenizer(PROMPTS)
    states = ours.text_model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
    at_end = states[torch.arange(3), tokens.attention_mask.sum(1) - 1]
    torch.testing.assert_close(ours.encode_text(PROMPTS).embedding, ours.text_projection(at_end))


@torch.no_grad()
def test_padding_does_not_change_the_text_embedding(ours):
    tokens = ours.tokenizer(["polyp"])
    length = int(tokens.attention_mask.sum())
    short = ours.encode_tokens(tokens.input_ids[:, :length], tokens.attention_mask[:, :length])
    torch.testing.assert_close(ours.encode_text(["polyp"]).embedding, short.embedding, rtol=0, atol=1e-5)


@torch.no_grad()
def test_taps_are_the_outputs_of_blocks_4_7_and_10(build_tiny):
    model, pixels = build_tiny("clipseg", vision_layers=12), torch.randn(1, 3, 64, 64)
    assert len(model.vision_layers) == 10, "blocks behind the last tap are not kept"
    x, outputs = model.vision_norm(model.vision_embeddings(pixels, interpolate_pos_encoding=True)), []
    for layer in model.vision_layers:
        x = layer(x, attention_mask=None)
        outputs.append(x)
    taps = model.encode_pixels(pixels).taps
    assert all(torch.equal(tap, outputs[block - 1]) for tap, block in zip(taps, (4, 7, 10), strict=True))


@pytest.mark.parametrize("frozen", [(), ("text",)])
def test_gradients_reach_the_vision_tower_unless_it_is_frozen(ours, frozen):
    # Defect 4 of the released code: its vision tower never trained, whatever the settings.
    ours.freeze(*frozen).train()
    ours(torch.rand(2, 3, 64, 64), ["polyp", "lungs"]).square().mean().backward()
    assert ours.vision_embeddings.patch_embedding.weight.grad.abs().max() > 0
    assert (ours.text_model.embeddings.token_embedding.weight.grad is None) == ("text" in frozen)


@torch.no_grad()
def test_each_image_is_decoded_by_itself(ours):
    # Defect 1: the released adapter attended across the images of a batch.
    images = torch.rand(4, 3, 64, 64)
    turned = ours(images.flip(0), ["polyp"] * 4).flip(0)
    torch.testing.assert_close(ours(images, ["polyp"] * 4), turned, rtol=0, atol=1e-5)


@pytest.mark.slow
@torch.no_grad()
def test_logits_at_full_size_equal_those_of_transformers_4(golden):
    released = golden("clipseg_hf")
    model = build_model("clipseg").eval()
    model.load_state_dict({key: released.weight(published_name(key)) for key in model.state_dict()})
    ids, mask = (torch.from_numpy(released.outputs[f"in_{name}"]).long() for name in ("input_ids", "attention_mask"))
    logits = model.forward_tensors(released.image(), ids, mask)
    # The tolerance of the golden outputs' own note; another version of transformers and of torch made them.
    np.testing.assert_allclose(logits[:, 0, ::4, ::4].numpy(), released.outputs["out_logits"][:, 0], atol=1e-3, rtol=0)
