import math

import pytest
import torch
import transformers
from torch import Tensor, nn

from vesalius.errors import ModelError
from vesalius.models import build_model
from vesalius.models.checkpoints import fill_model
from vesalius.models.clip import START_TEMPERATURE, ClassTokenTower, ContrastiveEncoder, ResNetTower
from vesalius.models.encoder import CLIP_MEAN, IMAGENET_MEAN, EncoderSpec
from vesalius.models.foreign import LAYOUTS
from vesalius.models.tokenizers import Tokens
from vesalius.models.towers import ResNetConfig, VisionConfig

PROMPTS = ["one small white polyp", "", "both lungs in a chest X-ray"]
PATCHES = {"clip_vit_b16": 16, "clip_vit_b32": 32}


@pytest.fixture(scope="module", params=PATCHES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def published(name, roughen) -> "transformers.CLIPModel":
    sizes = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        vision_config=sizes | {"image_size": 64, "patch_size": PATCHES[name]},
        text_config=sizes | {"eos_token_id": 49407},
        projection_dim=128,
    )
    return roughen(transformers.CLIPModel(config))


@pytest.fixture
def ours(name, published, build_tiny) -> ContrastiveEncoder:
    recipe, tensors = LAYOUTS["transformers-clip"].convert(published.state_dict())
    assert recipe.name == name
    model = build_tiny(name, image_size=64, width=128, text_width=128)
    return fill_model(model, tensors, "transformers")


@pytest.mark.slow
@torch.no_grad()
def test_similarities_equal_those_of_transformers(ours, published):
    images, tokens = torch.rand(2, 3, 64, 64), ours.tokenizer(PROMPTS)
    pixels = ours.spec.prepare(images)
    expected = published(tokens.input_ids, pixels, tokens.attention_mask).logits_per_image
    assert expected.std() > 0.01
    torch.testing.assert_close(ours(images, PROMPTS), expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_the_towers_equal_those_of_transformers(ours, published):
    pixels, tokens = torch.randn(2, 3, 64, 64), ours.tokenizer(PROMPTS)
    image = published.get_image_features(pixels).pooler_output
    text = published.get_text_features(tokens.input_ids, tokens.attention_mask).pooler_output
    torch.testing.assert_close(ours.image(pixels), image, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.text(tokens.input_ids, tokens.attention_mask), text, rtol=0, atol=1e-5)


@torch.no_grad()
def test_images_of_other_sizes_are_given_stretched_positions(ours, published):
    pixels = torch.randn(1, 3, 96, 96)
    expected = published.get_image_features(pixels, interpolate_pos_encoding=True).pooler_output
    torch.testing.assert_close(ours.image(pixels), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "parameters"), [("clip_vit_b32", 151_277_313), ("clip_vit_b16", 149_620_737), ("clip_rn50", 102_007_137)]
)
def test_the_defaults_have_the_published_number_of_parameters(name, parameters):
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in build_model(name).parameters()) == parameters


class TestNormalisation:
    def test_it_is_clips_unless_imagenets_is_asked_for(self, build_tiny):
        assert build_tiny("clip_vit_b32").spec.mean == CLIP_MEAN
        assert build_tiny("clip_vit_b32", normalisation="imagenet").spec.mean == IMAGENET_MEAN

    def test_another_is_refused(self, build_tiny):
        with pytest.raises(ModelError, match="No normalisation named 'none'. Available: clip, imagenet"):
            build_tiny("clip_vit_b32", normalisation="none")


class MeanColour(nn.Module):
    """An image is its mean red, green and blue."""

    def forward(self, pixel_values: Tensor) -> Tensor:
        return pixel_values.mean(dim=(2, 3))


class OneHot(nn.Module):
    """A prompt is its one id's axis, five long."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return 5.0 * nn.functional.one_hot(input_ids[:, 0], 3)


def colours(prompts: list[str]) -> Tokens:
    ids = torch.tensor([["red", "green", "blue"].index(prompt) for prompt in prompts])[:, None]
    return Tokens(ids, torch.ones_like(ids))


@pytest.fixture
def model() -> ContrastiveEncoder:
    return ContrastiveEncoder(EncoderSpec(8, (0, 0, 0), (1, 1, 1)), colours, MeanColour(), OneHot())


@torch.no_grad()
def test_similarities_by_hand(model):
    images = torch.tensor([[0.3, 0.4, 0.0], [0.0, 0.0, 0.9]])[:, :, None, None].expand(2, 3, 6, 4)
    cosines = torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(model(images, ["red", "green", "blue"]), cosines / START_TEMPERATURE)


@torch.no_grad()
def test_probabilities_sharpen_as_the_temperature_falls(model):
    image = torch.tensor([0.5, 0.4, 0.0])[None, :, None, None].expand(1, 3, 6, 4)
    before = model(image, ["red", "green"]).softmax(dim=1)
    model.log_scale.fill_(math.log(100))
    after = model(image, ["red", "green"]).softmax(dim=1)
    assert 0.5 < before[0, 0] < after[0, 0]


def test_the_temperature_trains_whatever_is_frozen(build_tiny):
    model = build_tiny("clip_vit_b16").freeze("image", "text").train()
    model(torch.rand(2, 3, 32, 32), ["polyp", "lungs"]).square().mean().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is not None] == ["log_scale"]


@torch.no_grad()
def test_an_image_is_its_class_token_after_the_last_block_normed_and_projected(roughen):
    tower = roughen(ClassTokenTower(VisionConfig(32, width=32, layers=2, heads=2), embedding=8))
    pixels = torch.randn(2, 3, 32, 32)
    class_token = tower.trunk(pixels)[-1][:, 0]
    normed = nn.functional.layer_norm(class_token, (32,), tower.norm.weight, tower.norm.bias)
    torch.testing.assert_close(tower(pixels), normed @ tower.projection.weight.T)


@torch.no_grad()
def test_a_resnets_image_is_its_deepest_map_pooled_by_attention():
    tower = ResNetTower(ResNetConfig(image_size=64, width=4, blocks=(1, 1, 1, 1), embedding=24)).eval()
    pixels = torch.randn(2, 3, 64, 64)
    assert tower(pixels).shape == (2, 24)
    assert torch.equal(tower(pixels), tower.pool(tower.trunk(pixels)[-1]))
