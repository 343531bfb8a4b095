import pytest
import torch

from vesalius.errors import ConfigError
from vesalius.models.clip import label_logits, phrase_vectors
from vesalius.models.inference import TextCache
from vesalius.prompts.anatomy import ORGANS, STATIONS, AnatomyLabel, phrases_of
from vesalius.prompts.anatomy_captions import CaptionMix
from vesalius.training.naming import CaptionBank, NamingConfig, build_targets, fit_naming

HEAD = AnatomyLabel("CT", None, "axial", frozenset({"head"}), frozenset({"brain"}))
TRUNK = AnatomyLabel("MR", "T2", "coronal", frozenset({"chest", "abdomen"}), frozenset({"liver"}), frozenset({"heart"}))


@pytest.fixture
def model(build_tiny):
    return build_tiny("pocket")


@pytest.fixture(scope="module")
def texts(build_tiny) -> TextCache:
    """Phrases of that model, encoded once; training leaves its sentence encoder alone."""
    return TextCache(build_tiny("pocket"))


@pytest.fixture
def seen() -> tuple[torch.Tensor, list[AnatomyLabel]]:
    """Features of two kinds, and what they show."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(2, 1024, generator=generator)
    pooled = centres.repeat_interleave(20, 0) + 0.1 * torch.randn(40, 1024, generator=generator)
    return pooled, [HEAD] * 20 + [TRUNK] * 20


@pytest.mark.slow
def test_training_separates_features_and_touches_nothing_but_the_projection(model, seen):
    pooled, labels = seen
    before = {key: value.clone() for key, value in model.state_dict().items()}
    losses = fit_naming(model, pooled, labels, NamingConfig(epochs=60, batch_size=16))
    assert losses[-1] < losses[0] / 2
    with torch.no_grad():
        for kind, right in {"modality": ("CT", "MR"), "plane": ("axial", "coronal")}.items():
            rows = phrases_of(kind)
            guesses = label_logits(model.projection(pooled), phrase_vectors(model, rows)).argmax(1)
            truth = [list(rows).index(label) for label in right for _ in range(20)]
            assert (guesses == torch.tensor(truth)).float().mean() > 0.9
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {key for key in before if key.startswith("projection.")}


@pytest.mark.slow
def test_what_has_no_weight_is_never_seen(model, seen, texts, build_tiny):
    pooled, labels = seen
    weights = torch.tensor([1.0] * 20 + [0.0] * 20)
    other, spoilt = build_tiny("pocket"), pooled.clone()
    spoilt[20:] = 1e3
    config = NamingConfig(epochs=2, batch_size=16)
    losses = fit_naming(model, pooled, labels, config, weights, texts)
    assert losses == fit_naming(other, spoilt, labels, config, weights, texts)
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), other.parameters(), strict=True))


def test_questions_know_what_is_true_and_what_is_not_known(texts):
    questions = {each.name: each for each in build_targets(texts, [HEAD, TRUNK])}
    stations, organs = questions["stations"], questions["organs"]
    assert [STATIONS[place] for place in stations.true[1].nonzero()[:, 0]] == ["chest", "abdomen"]
    assert not organs.known[1, ORGANS.index("heart")]
    assert organs.known[0].all()
    assert not questions["protocol"].true[0].any()
    assert stations.vectors.shape[0] == len(STATIONS)


def test_a_mixture_of_wordings_is_a_unit_vector_and_differs_from_draw_to_draw(texts):
    organs = build_targets(texts, [HEAD])[-1]
    generator = torch.Generator().manual_seed(0)
    first, second = organs.draw_vectors(generator), organs.draw_vectors(generator)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(len(ORGANS)))
    assert not torch.equal(first, second)


def test_captions_chosen_for_images_are_true_of_them(texts):
    bank = CaptionBank.draw(texts, [HEAD, TRUNK, HEAD], CaptionMix(), 5, seed=0)
    vectors, true, known = bank.choose(torch.tensor([0, 1, 2]), torch.Generator().manual_seed(0))
    assert bank.own.shape == (2, 5)
    assert true.diagonal().all()
    assert known.diagonal().all()
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"learning_rate": 0}, {"noise": -1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="must be"):
        NamingConfig(**wrong)
