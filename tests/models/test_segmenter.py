"""What every segmenter promises of the share of its image encoder that can be stored."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor

from vesalius.models import Segmenter, list_models
from vesalius.models.exported import flatten_image


@pytest.fixture(scope="module")
def settled(build_tiny, settle) -> Callable[[str], Segmenter]:
    """A model by its name, built once."""
    return cache(lambda name: settle(build_tiny(name)))


@pytest.fixture(params=list_models())
def segmenter(request: pytest.FixtureRequest, settled) -> Segmenter:
    return settled(request.param)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 3, 48, 40, generator=torch.Generator().manual_seed(1))


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(actual[name], tensor)


@torch.no_grad()
def test_completing_the_frozen_share_gives_what_encoding_gives(segmenter, images):
    completed = segmenter.complete(images, segmenter.encode_frozen(images))
    assert_same(flatten_image(completed), flatten_image(segmenter.encode_image(images)))


@torch.no_grad()
def test_models_that_do_not_look_at_images_again_say_so(segmenter, images):
    frozen, nothing = segmenter.encode_frozen(images), torch.full_like(images, float("nan"))
    completed, expected = segmenter.complete(nothing, frozen), segmenter.encode_image(images)
    same = all(tensor.isfinite().all() for tensor in flatten_image(completed).values())
    assert same != segmenter.completes_with_images
    if same:
        assert_same(flatten_image(completed), flatten_image(expected))


@torch.no_grad()
def test_only_what_freezing_holds_still_decides_the_frozen_share(segmenter, images):
    modules = segmenter.encoder_modules("image")
    held = {id(parameter) for module in modules for parameter in module.parameters()}
    before = flatten_image(segmenter.encode_frozen(images))
    assert bool(before) == bool(held)
    others = [parameter for parameter in segmenter.parameters() if id(parameter) not in held]
    values = [parameter.clone() for parameter in others]
    for parameter in others:
        parameter.fill_(0.5)
    assert_same(flatten_image(segmenter.encode_frozen(images)), before)
    for parameter, value in zip(others, values, strict=True):
        parameter.copy_(value)
