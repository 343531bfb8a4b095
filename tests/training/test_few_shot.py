import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.errors import ConfigError, DataError, ModelError
from vesalius.training.few_shot import LearnedPrompts, PromptLearning, Support, fit_prompts, ss_text


def test_shapes_have_to_fit():
    yes = torch.ones(3, 2, dtype=torch.bool)
    with pytest.raises(DataError, match=r"present and known \[N, C\], got \(3, 4\), \(3, 2\), \(2, 2\)"):
        Support(torch.zeros(3, 4), yes, yes[:2])
    with pytest.raises(DataError, match="4 images have 3 rows of labels"):
        Support(torch.zeros(4, 4), yes, yes)


def test_what_is_not_known_is_not_present():
    yes = torch.ones(3, 2, dtype=torch.bool)
    with pytest.raises(DataError, match="present where it is not known"):
        Support(torch.zeros(3, 4), yes, ~yes)


SCALE = 20.0


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def support_of(images: Tensor, present: Tensor) -> Support:
    return Support(images, present, torch.ones_like(present))


def clusters(shots: int, labels: int = 5, width: int = 32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noisy images around a centre for each label, and their labels."""
    which = torch.arange(labels).repeat(shots)
    noise = torch.randn(len(which), width, generator=torch.Generator().manual_seed(seed + 100))
    return F.normalize(unit(labels, width)[which] + 0.2 * noise, dim=-1), which


def accuracy(vectors: Tensor) -> float:
    images, which = clusters(shots=100, seed=1)
    return ((images @ vectors.T).argmax(1) == which).double().mean().item()


def adapted(shots: int, **options: bool) -> Tensor:
    images, which = clusters(shots)
    return ss_text(support_of(images, F.one_hot(which, 5).bool()), texts(), SCALE, **options)


def texts() -> Tensor:
    """Prompts that know something of the clusters' centres."""
    return F.normalize(unit(5, 32) + 1.5 * unit(5, 32, seed=7), dim=-1)


def test_the_closed_form_by_hand():
    images = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    present = torch.tensor([[True, False], [True, False], [False, True]])
    vectors = ss_text(support_of(images, present), torch.tensor([[0.0, 1.0], [1.0, 0.0]]), scale=3.0)
    first = torch.tensor([2 / 3 * 3 * 1.6, 2 / 3 * 3 * 0.8 + 1])
    second = torch.tensor([1.0, 1 / 3 * 3 * 1.0])
    torch.testing.assert_close(vectors, F.normalize(torch.stack([first, second]), dim=1))


def test_an_image_counts_for_every_organ_that_it_shows():
    images, present = torch.eye(3)[:2], torch.tensor([[True, True], [False, True]])
    vectors = ss_text(support_of(images, present), torch.tensor([[0.0, 0.0, 1.0]] * 2), scale=3.0)
    expected = torch.tensor([[1 / 3 * 3, 0, 1], [2 / 3 * 3, 2 / 3 * 3, 1]])
    torch.testing.assert_close(vectors, F.normalize(expected, dim=1))


@pytest.mark.parametrize("repel", [False, True])
def test_without_any_images_the_vectors_are_the_prompts(repel):
    nothing = torch.zeros(0, 4, dtype=torch.bool)
    vectors = ss_text(support_of(torch.zeros(0, 8), nothing), unit(4, 8), SCALE, repel=repel)
    torch.testing.assert_close(vectors, unit(4, 8))


@pytest.mark.parametrize("repel", [False, True])
def test_a_label_without_images_keeps_its_prompt(repel):
    present = torch.tensor([[True, False]]).repeat(6, 1)
    vectors = ss_text(support_of(unit(6, 8), present), unit(2, 8, seed=1), SCALE, repel=repel)
    torch.testing.assert_close(vectors[1], unit(2, 8, seed=1)[1])
    assert not torch.allclose(vectors[0], unit(2, 8, seed=1)[0], atol=0.1)


def test_many_images_beat_the_prompts():
    assert accuracy(adapted(shots=16)) > accuracy(texts()) + 0.1


def test_the_last_step_of_sstext_plus_by_hand():
    vectors = torch.tensor([[4.0, 1.0], [1.0, 4.0]])
    delta = F.normalize(2 * vectors - 2.5, dim=1)
    found = ss_text(support_of(torch.eye(2), torch.eye(2).bool()), vectors - 4 * torch.eye(2) + 0.0, 8.0, repel=True)
    # Weight 1/2 · 8 = 4 on each axis, and a "text" that makes the sum `vectors`.
    torch.testing.assert_close(found, F.normalize(vectors - delta, dim=1))


@pytest.mark.parametrize("scale", [-1, 0, float("nan"), float("inf")])
def test_a_scale_that_is_none_is_refused(scale):
    with pytest.raises(ConfigError, match=f"scale must be above 0 and finite, got {scale}"):
        ss_text(support_of(unit(2, 4), torch.eye(2).bool()), unit(2, 4), scale)


def test_labels_and_prompts_have_to_fit():
    with pytest.raises(DataError, match=r"text vectors are \[3, 4\], but labels and images ask for \[2, 4\]"):
        ss_text(support_of(unit(2, 4), torch.eye(2).bool()), unit(3, 4), SCALE)


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


@pytest.mark.slow
def test_before_training_the_labels_are_the_hand_written_prompts(encoder):
    vectors = LearnedPrompts.from_words(encoder, LABELS).encode(encoder)
    by_hand = encoder.encode_text([f"an image of {label}" for label in LABELS]).embedding
    torch.testing.assert_close(vectors, by_hand)


@pytest.mark.slow
def test_the_loss_falls_and_the_images_are_told_apart(encoder, support):
    prompts = LearnedPrompts.from_words(encoder, LABELS)
    losses = fit_prompts(encoder, prompts, support, QUICK)
    assert losses[-1] < 0.8 * losses[0]
    nearest = (support.images @ prompts.encode(encoder).T).argmax(1)
    assert torch.equal(nearest, support.present.int().argmax(1))


@pytest.mark.slow
def test_only_the_context_changes(encoder, support):
    before = copy.deepcopy(encoder.state_dict())
    prompts = LearnedPrompts.from_words(encoder, LABELS)
    start = prompts.context.detach().clone()
    fit_prompts(encoder, prompts, support, PromptLearning(epochs=1))
    assert not torch.equal(prompts.context, start)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert all(parameter.grad is None for parameter in encoder.parameters())


@pytest.mark.slow
def test_every_label_has_its_own_context(encoder, support):
    prompts = LearnedPrompts.from_words(encoder, LABELS)
    fit_prompts(encoder, prompts, support, QUICK)
    assert not torch.allclose(prompts.context[0], prompts.context[1])


@pytest.mark.slow
def test_after_training_other_prompts_read_as_before(encoder, support):
    expected = encoder.encode_text(["an image of heart"]).embedding
    prompts = LearnedPrompts.from_words(encoder, LABELS)
    fit_prompts(encoder, prompts, support, QUICK)
    prompts.encode(encoder)
    assert torch.equal(encoder.encode_text(["an image of heart"]).embedding, expected)


@pytest.mark.slow
def test_the_same_seed_learns_the_same(encoder, support):
    def learn() -> torch.Tensor:
        prompts = LearnedPrompts.from_words(encoder, LABELS)
        fit_prompts(encoder, prompts, support, PromptLearning(epochs=2, batch_size=5))
        return prompts.context

    assert torch.equal(learn(), learn())


@pytest.mark.slow
def test_the_regulariser_keeps_the_labels_near_the_hand_written_prompts(encoder, support):
    def drift(keep: float) -> float:
        prompts = LearnedPrompts.from_words(encoder, LABELS)
        hand = prompts.encode(encoder).detach()
        fit_prompts(encoder, prompts, support, PromptLearning(epochs=15, learning_rate=0.05, keep=keep))
        return (1 - (prompts.encode(encoder) * hand).sum(1)).mean().item()

    assert drift(keep=100) < drift(keep=0)


@pytest.mark.slow
@pytest.mark.parametrize("start", ["", "the " * 17])
def test_a_start_without_words_or_with_too_many_is_refused(build_tiny, start):
    with pytest.raises(ConfigError, match="start: expected words of 1 to 16 tokens"):
        LearnedPrompts.from_words(build_tiny("clip_vit_b32"), LABELS, start)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda made: Support(made.images[:0], made.present[:0], made.known[:0]), "none of the 0 images shows a label"),
        (lambda made: Support(made.images, ~made.known, made.known), "none of the 12 images shows a label"),
        (lambda made: Support(made.images, made.present[:, :2], made.known[:, :2]), r"labels and images ask for \[2, "),
        (lambda made: Support(made.images[:, :5], made.present, made.known), r"labels and images ask for \[3, 5\]"),
    ],
)
def test_images_that_teach_nothing_or_do_not_fit_are_refused(encoder, support, change, message):
    with pytest.raises(DataError, match=message):
        fit_prompts(encoder, LearnedPrompts.from_words(encoder, LABELS), change(support), QUICK)


def test_labels_are_needed_and_a_tower_with_tokens(build_tiny):
    with pytest.raises(ConfigError, match="labels: expected one or more, got none"):
        LearnedPrompts.from_words(build_tiny("pocket"), [])
    with pytest.raises(ModelError, match="PocketSegmenter has no table of tokens"):
        LearnedPrompts.from_words(build_tiny("pocket"), LABELS)


@pytest.mark.slow
def test_a_text_tower_without_tokens_is_refused(build_tiny):
    encoder = build_tiny("clip_vit_b32")
    encoder.text = torch.nn.Identity()
    with pytest.raises(ModelError, match="Identity has no table of tokens"):
        LearnedPrompts.from_words(encoder, LABELS)


@pytest.mark.parametrize(
    "settings", [{"epochs": 0}, {"epochs": 1.5}, {"batch_size": 0}, {"learning_rate": 0.0}, {"keep": -1.0}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError, match="must be"):
        PromptLearning(**settings)
