"""What every segmenter promises of the share of its image encoder that can be stored."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor

from vesalius.models import Segmenter, list_models
from vesalius.models.exported import flatten_image
from vesalius.models.inference import TextCache, count_bytes


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


PROMPTS = ["polyp", "lungs", "polyp", ""]


@pytest.fixture
def model(build_tiny):
    return build_tiny("pocket")


@pytest.fixture
def asked(model, monkeypatch) -> list[list[str]]:
    """What the model's text encoder was asked, call by call."""
    calls, encode = [], model.encode_text
    monkeypatch.setattr(model, "encode_text", lambda prompts: calls.append(list(prompts)) or encode(prompts))
    return calls


def test_features_are_those_of_the_model_in_the_order_asked(model):
    with torch.no_grad():
        expected = model.encode_text(PROMPTS).embedding
    # Batches of another length are padded and summed in another order.
    torch.testing.assert_close(TextCache(model).encode(PROMPTS).embedding, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["clipseg", "cris", "ensemble_c"])
def test_words_and_parts_are_remembered_too(build_tiny, name):
    model, image = build_tiny(name), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        features = model.encode_image(image).index_select(torch.zeros(4, dtype=torch.long))
        expected = model.decode(features, model.encode_text(PROMPTS)).logits
        logits = model.decode(features, TextCache(model).encode(PROMPTS)).logits
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


def test_no_prompt_is_encoded_twice(model, asked):
    cache = TextCache(model)
    first = cache.encode(PROMPTS).embedding
    again = cache.encode(["brain", "polyp"]).embedding
    assert sorted(prompt for call in asked for prompt in call) == ["", "brain", "lungs", "polyp"]
    assert torch.equal(first[0], again[1])


def test_many_prompts_are_encoded_in_parts(model, asked):
    many = [f"polyp number {number}" for number in range(7)]
    assert len(TextCache(model, at_once=3).encode(many).embedding) == len(many)
    assert [len(call) for call in asked] == [3, 3, 1]


def test_one_by_one_company_changes_nothing_at_all(model):
    together = TextCache(model, at_once=1).encode(PROMPTS).embedding
    alone = torch.cat([TextCache(model, at_once=1).encode([prompt]).embedding for prompt in PROMPTS])
    assert torch.equal(together, alone)


def test_nothing_of_it_needs_gradients(model):
    assert not TextCache(model).encode(PROMPTS).embedding.requires_grad


def test_what_was_asked_longest_ago_is_forgotten_first(model, asked):
    cache = TextCache(model, limit_bytes=2 * count_bytes(TextCache(model).encode(["polyp"])))
    asked.clear()
    cache.encode(["polyp", "lungs"])
    cache.encode(["polyp"])
    cache.encode(["brain"])  # takes the place of "lungs"
    assert len(cache) == 2
    cache.encode(["polyp", "brain"])
    assert asked == [["lungs", "polyp"], ["brain"]]
    cache.encode(["lungs"])
    assert asked[2:] == [["lungs"]]


def test_its_memory_stays_below_the_limit_and_its_answers_the_same(model):
    small, large = TextCache(model, at_once=1, limit_bytes=10_000), TextCache(model, at_once=1)
    many = [f"polyp number {number}" for number in range(40)]
    for _ in range(2):
        assert torch.equal(small.encode(many).embedding, large.encode(many).embedding)
    assert len(small) * count_bytes(small.encode(["polyp"])) <= 10_000
    assert len(large) == 40


def test_a_model_that_reads_nothing_is_bounded_too(build_tiny):
    cache = TextCache(build_tiny("unet_d"), limit_bytes=10_000)
    for number in range(40):
        cache.encode([f"polyp number {number}"])
    assert len(cache) < 10
