import copy

import pytest
import torch
import torch.nn.functional as F

from vesalius.errors import ConfigError, ModelError
from vesalius.training.few_shot import LearnedPrompts, PromptLearning, Support, fit_prompts

pytestmark = pytest.mark.slow

LABELS = ["liver", "knee", "pelvic bone"]
ENCODERS = ["biomedclip", "clip_rn50", "clip_vit_b32"]
QUICK = PromptLearning(epochs=60, learning_rate=0.3)


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request, build_tiny):
    return build_tiny(request.param)


@pytest.fixture
def support(encoder) -> Support:
    """Four noisy images a label, around directions that have nothing to do with the prompts."""
    width = encoder.encode_text(["liver"]).embedding.shape[1]
    generator = torch.Generator().manual_seed(0)
    which = torch.arange(3).repeat(4)
    centres = F.normalize(torch.randn(3, width, generator=generator), dim=1)
    images = F.normalize(centres[which] + 0.05 * torch.randn(12, width, generator=generator), dim=1)
    present = F.one_hot(which, 3).bool()
    return Support(images, present, torch.ones_like(present))


def test_before_training_the_labels_are_the_hand_written_prompts(encoder):
    vectors = LearnedPrompts.from_words(encoder, LABELS).encode(encoder)
    by_hand = encoder.encode_text([f"an image of {label}" for label in LABELS]).embedding
    torch.testing.assert_close(vectors, by_hand)


def test_the_loss_falls_and_the_images_are_told_apart(encoder, support):
    prompts = LearnedPrompts.from_words(encoder, LABELS)
    losses = fit_prompts(encoder, prompts, support, QUICK)
    assert losses[-1] < 0.8 * losses[0]
    nearest = (support.images @ prompts.encode(encoder).T).argmax(1)
    assert torch.equal(nearest, support.present.int().argmax(1))


def test_only_the_context_changes(encoder, support):
    before = copy.deepcopy(encoder.state_dict())
    prompts = LearnedPrompts.from_words(encoder, LABELS)
    start = prompts.context.detach().clone()
    fit_prompts(encoder, prompts, support, PromptLearning(epochs=1))
    assert not torch.equal(prompts.context, start)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_every_label_has_its_own_context(encoder, support):
    prompts = LearnedPrompts.from_words(encoder, LABELS)
    fit_prompts(encoder, prompts, support, QUICK)
    assert not torch.allclose(prompts.context[0], prompts.context[1])


def test_after_training_other_prompts_read_as_before(encoder, support):
    expected = encoder.encode_text(["an image of heart"]).embedding
    prompts = LearnedPrompts.from_words(encoder, LABELS)
    fit_prompts(encoder, prompts, support, QUICK)
    prompts.encode(encoder)
    assert torch.equal(encoder.encode_text(["an image of heart"]).embedding, expected)


def test_the_same_seed_learns_the_same(encoder, support):
    def learn() -> torch.Tensor:
        prompts = LearnedPrompts.from_words(encoder, LABELS)
        fit_prompts(encoder, prompts, support, PromptLearning(epochs=2, batch_size=5))
        return prompts.context

    assert torch.equal(learn(), learn())


def test_the_regulariser_keeps_the_labels_near_the_hand_written_prompts(encoder, support):
    def drift(keep: float) -> float:
        prompts = LearnedPrompts.from_words(encoder, LABELS)
        hand = prompts.encode(encoder).detach()
        fit_prompts(encoder, prompts, support, PromptLearning(epochs=15, learning_rate=0.05, keep=keep))
        return (1 - (prompts.encode(encoder) * hand).sum(1)).mean().item()

    assert drift(keep=100) < drift(keep=0)


@pytest.mark.parametrize("start", ["", "the " * 17])
def test_a_start_without_words_or_with_too_many_is_refused(build_tiny, start):
    with pytest.raises(ConfigError, match="start: expected words of 1 to 16 tokens"):
        LearnedPrompts.from_words(build_tiny("clip_vit_b32"), LABELS, start)


def test_a_text_tower_without_tokens_is_refused(build_tiny):
    encoder = build_tiny("clip_vit_b32")
    encoder.text = torch.nn.Identity()
    with pytest.raises(ModelError, match="Identity has no table of tokens"):
        LearnedPrompts.from_words(encoder, LABELS)


@pytest.mark.parametrize("settings", [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"keep": -1.0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError, match="must be"):
        PromptLearning(**settings)
