import math

import pytest
import torch
from torch import Tensor, nn

from vesalius.models.clip import START_TEMPERATURE, ClassTokenTower, ContrastiveEncoder, ResNetTower
from vesalius.models.encoder import EncoderSpec
from vesalius.models.tokenizers import Tokens
from vesalius.models.towers import ResNetConfig, VisionConfig


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
