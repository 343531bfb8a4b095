import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from vesalius.errors import ModelError
from vesalius.models import build_model
from vesalius.models.checkpoints import fill_model
from vesalius.models.clip import ContrastiveEncoder
from vesalius.models.encoder import CLIP_MEAN, IMAGENET_MEAN
from vesalius.models.foreign import LAYOUTS

PROMPTS = ["one small white polyp", "", "both lungs in a chest X-ray"]
PATCHES = {"clip_vit_b16": 16, "clip_vit_b32": 32}


@pytest.fixture(params=PATCHES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def published(name, roughen) -> CLIPModel:
    sizes = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        vision_config=sizes | {"image_size": 64, "patch_size": PATCHES[name]},
        text_config=sizes | {"eos_token_id": 49407},
        projection_dim=128,
    )
    return roughen(CLIPModel(config))


@pytest.fixture
def ours(name, published, build_tiny) -> ContrastiveEncoder:
    recipe, tensors = LAYOUTS["transformers-clip"].convert(published.state_dict())
    assert recipe.name == name
    model = build_tiny(name, image_size=64, width=128, text_width=128)
    return fill_model(model, tensors, "transformers")


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
