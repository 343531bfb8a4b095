import pytest
import torch
import torch.nn.functional as F
from from_tensors import segment_tensors
from torch import Tensor, nn

from vesalius.errors import ModelError
from vesalius.models import TextFeatures
from vesalius.models.cris import (
    CRISSegmenter,
    CrossDecoder,
    CrossLayer,
    Neck,
    PromptFilter,
    PromptGate,
    add_coordinates,
    cris,
)
from vesalius.models.foreign.layouts import LAYOUTS
from vesalius.models.layers import sine_positions
from vesalius.models.towers import ResNetConfig

PROMPTS = ["one small white polyp", "", "both lungs in a chest X-ray"]


@pytest.fixture
def model(build_tiny, settle) -> CRISSegmenter:
    return settle(build_tiny("cris"))


class TestNeck:
    @pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 32), (80, 48)])
    @torch.no_grad()
    def test_it_gathers_at_stride_16(self, model, height, width):
        taps = model.encode_pixels(torch.rand(2, 3, height, width)).taps
        assert model.neck(taps, torch.rand(2, 128)).shape == (2, 64, height // 16, width // 16)

    def test_the_shortcut_around_the_attention_pool_trains_whatever_is_frozen(self, model):
        # No CLIP archive holds it: frozen, it would stay the noise it starts as.
        model.freeze("image", "text").train()
        model(torch.rand(2, 3, 64, 64), PROMPTS[:2]).square().mean().backward()
        assert model.neck.connect[0].weight.grad.abs().max() > 0
        assert model.neck.connect.training
        assert not any(module.training for module in (model.trunk, model.pool, model.text))

    @torch.no_grad()
    def test_a_shortcut_that_adds_nothing_leaves_what_clip_made(self, model):
        c3, c4, deepest, attended = model.encode_pixels(torch.rand(1, 3, 64, 64)).taps
        nn.init.zeros_(model.neck.connect[1].weight)
        nn.init.zeros_(model.neck.connect[1].bias)
        state = torch.rand(1, 128)
        other = model.neck((c3, c4, torch.rand_like(deepest), attended), state)
        assert torch.equal(model.neck((c3, c4, deepest, attended), state), other)

    @torch.no_grad()
    def test_the_coarse_map_is_scaled_by_a_weight_a_channel(self):
        gate = PromptGate(6, 4).eval()
        state = torch.randn(3, 6)
        expected = (state @ gate.linear.weight.T / (1 + 1e-5) ** 0.5).clamp(min=0)
        torch.testing.assert_close(gate(state), expected[:, :, None, None])

    def test_training_on_a_single_prompt_is_refused_and_asking_one_is_not(self):
        gate = PromptGate(6, 4)
        with pytest.raises(ModelError, match="cris needs 2 or more images a training step, got 1"):
            gate(torch.rand(1, 6))
        assert gate.eval()(torch.rand(1, 6)).shape == (1, 4, 1, 1)

    def test_coordinates_run_from_corner_to_corner(self):
        x = add_coordinates(torch.zeros(2, 1, 2, 3))
        assert x[1, 1].tolist() == [[-1, 0, 1], [-1, 0, 1]]
        assert x[1, 2].tolist() == [[-1, -1, -1], [1, 1, 1]]

    def test_widths_are_the_published_ones(self):
        with torch.device("meta"):
            neck = Neck(ResNetConfig(), 512)
        assert tuple(neck.gate.linear.weight.shape) == (1024, 1024)
        assert tuple(neck.fuse_c3[0].weight.shape) == (512, 768, 1, 1)
        assert tuple(neck.gather[0].weight.shape) == (512, 1536, 1, 1)


class TestDecoder:
    @torch.no_grad()
    def test_a_layer_is_attention_to_places_attention_to_words_and_an_mlp(self):
        torch.manual_seed(0)
        layer = CrossLayer(128, 0.2).eval()
        for parameter in layer.parameters():
            nn.init.normal_(parameter, std=0.2)
        x, positions, keys, tokens = (torch.randn(*shape, 128) for shape in ((2, 6), (6,), (2, 4), (2, 4)))
        padding = torch.tensor([[False, False, False, True], [False, False, True, True]])
        place = layer.places_norm(x)
        mixed = attend(layer.places, place + positions, place + positions, place, torch.zeros(2, 6, dtype=torch.bool))
        expected = x + layer.places_out_norm(mixed)
        mixed = attend(layer.words, layer.words_norm(expected) + positions, keys, tokens, padding)
        expected = expected + layer.words_out_norm(mixed)
        first, norm, last = layer.mlp[0], layer.mlp[3], layer.mlp[4]
        expected = expected + last(norm(first(layer.mlp_norm(expected)).relu()))
        torch.testing.assert_close(layer(x, positions, keys, tokens, padding), expected, rtol=1e-5, atol=1e-5)

    @torch.no_grad()
    def test_what_stands_behind_the_mask_does_not_matter(self):
        torch.manual_seed(0)
        decoder, x, tokens = CrossDecoder(64, 2, 0.2).eval(), torch.randn(2, 64, 3, 2), torch.randn(2, 5, 64)
        mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 0, 0, 0]])
        other = torch.where(mask[..., None] == 1, tokens, 7.0)
        torch.testing.assert_close(decoder(x, tokens, mask), decoder(x, other, mask))
        torch.testing.assert_close(decoder(x[:1], tokens[:1, :3], mask[:1, :3]), decoder(x, tokens, mask)[:1])

    @torch.no_grad()
    def test_words_are_told_apart_by_their_place(self):
        torch.manual_seed(0)
        decoder, x = CrossDecoder(64, 1, 0.2).eval(), torch.randn(1, 64, 3, 2)
        tokens, mask = torch.randn(1, 5, 64), torch.ones(1, 5)
        # Moved words are told from their new place, unless the place moves with them.
        assert not torch.allclose(decoder(x, tokens.flip(1), mask), decoder(x, tokens, mask), atol=1e-5)
        keys, positions = tokens + sine_positions(5, 64), torch.zeros(6, 64)
        places, padding = x.flatten(2).mT, mask == 0
        expected = decoder.layers[0](places, positions, keys, tokens, padding)
        moved = decoder.layers[0](places, positions, keys.flip(1), tokens.flip(1), padding)
        torch.testing.assert_close(moved, expected)


def attend(attention: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, padding: Tensor) -> Tensor:
    """Multi-head attention written out."""
    weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    q, k, v = (
        F.linear(x, weight, bias).unflatten(2, (attention.num_heads, -1))
        for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
    )
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5
    scores = scores.masked_fill(padding[:, None, None], -torch.inf).softmax(dim=-1)
    return attention.out_proj(torch.einsum("bhqk,bkhd->bqhd", scores, v).flatten(2))


@torch.no_grad()
def test_every_image_is_filtered_by_its_own_prompt():
    torch.manual_seed(0)
    head = PromptFilter(16, 12).eval()
    x, state = torch.randn(3, 16, 4, 5), torch.randn(3, 12)
    logits, enlarged, weights = head(x, state), head.enlarge(x), head.to_filter(state)
    assert logits.shape == (3, 1, 16, 20)
    for image in range(3):
        kernel, bias = weights[image, :-1].reshape(1, 8, 3, 3), weights[image, -1:]
        expected = F.conv2d(enlarged[image, None], kernel, bias, padding=1)[0]
        torch.testing.assert_close(logits[image], expected, rtol=1e-5, atol=1e-5)


class TestSegmenter:
    @torch.no_grad()
    def test_the_prompt_is_its_projected_end_token_and_its_words(self, model):
        tokens, text = model.tokenizer(PROMPTS), model.encode_text(PROMPTS)
        assert text.tokens.shape == (3, 77, 64)
        assert torch.equal(text.token_mask, tokens.attention_mask)
        at_end = text.tokens[torch.arange(3), tokens.attention_mask.sum(dim=1) - 1]
        torch.testing.assert_close(text.embedding, model.text.projection(at_end))

    @pytest.mark.parametrize("filler", [0, 49407])
    @torch.no_grad()
    def test_padding_changes_nothing_whatever_it_is_filled_with(self, model, filler):
        # The original pads with 0, our tokenizer with the end token.
        tokens, pixels = model.tokenizer(PROMPTS), torch.randn(3, 3, 64, 64)
        longest = int(tokens.attention_mask.sum(dim=1).max())
        ids = torch.where(tokens.attention_mask == 1, tokens.input_ids, filler)
        whole = segment_tensors(model, pixels, ids, tokens.attention_mask)
        short = segment_tensors(model, pixels, tokens.input_ids[:, :longest], tokens.attention_mask[:, :longest])
        torch.testing.assert_close(whole, short, rtol=0, atol=1e-4 * whole.abs().max().item())

    @torch.no_grad()
    def test_words_matter_beside_the_sentence(self, build_tiny):
        model = build_tiny("cris")
        image, text = model.encode_image(torch.rand(1, 3, 64, 64)), model.encode_text(["a white polyp"])
        other = TextFeatures(text.embedding, model.encode_text(["two dark lungs"]).tokens, text.token_mask)
        assert (model.decode(image, text).logits - model.decode(image, other).logits).abs().max() > 1e-3

    @torch.no_grad()
    def test_logits_are_enlarged_fourfold_from_corner_to_corner(self, model):
        image, text = model.encode_image(torch.rand(1, 3, 64, 64)), model.encode_text(["polyp"])
        coarse = model.filter(
            model.decoder(model.neck(image.taps, text.embedding), text.tokens, text.token_mask), text.embedding
        )
        logits = model.decode(image, text).logits
        assert (coarse.shape[-2:], logits.shape[-2:]) == ((16, 16), (64, 64))
        torch.testing.assert_close(logits[..., ::63, ::63], coarse[..., ::15, ::15])


class TestPublishedWeights:
    def test_every_tensor_has_a_place_of_its_shape(self, golden):
        with torch.device("meta"):
            tensors = {key: torch.empty(shape) for key, shape in golden("cris_medvlsm").shapes.items()}
            places = {key: value.shape for key, value in cris().state_dict().items()}
        recipe, ours = LAYOUTS["medvlsm-cris"].convert(tensors)
        assert (recipe.name, recipe.options) == ("cris", {})
        assert {key: value.shape for key, value in ours.items()} == places
