from dataclasses import replace

import pytest
import torch

from vesalius.data.augment import AugmentConfig
from vesalius.data.datasets import SegmentationDataset
from vesalius.data.views import PromptMix, TrainingView
from vesalius.errors import ConfigError
from vesalius.models.efficientnet import global_averages
from vesalius.models.text_cache import TextCache
from vesalius.training.existence import ExistenceConfig, answer, begin_anew, encode_views, fit_existence, focal_loss

CONFIG = ExistenceConfig(steps=120, learning_rate=5e-3)


@pytest.fixture(scope="module")
def witnesses(build_tiny, write_dataset):
    """Two sets of equal pictures, made to be told apart by the first channel of their maps."""
    model, mix, found = build_tiny("pocket"), PromptMix(paraphrases=0.3, absent=0.5), []
    for name, mark in {"kvasir_polyp": 4, "busi": -4}.items():
        source = SegmentationDataset(write_dataset(name), "train")
        view = TrainingView(source, model.spec.image_size, AugmentConfig(), mix, views=2)
        found.append(encode_views(model, view))
        found[-1].maps[:, :, 0] = mark
    return found


def test_every_picture_is_encoded_in_every_view(witnesses, build_tiny):
    for each in witnesses:
        assert each.maps.shape[:2] == each.shown.shape == (4, 2)
        channels = build_tiny("pocket").trunk.channels
        assert each.maps.shape[2] == channels[-1]
        assert each.means.shape == (4, 2, sum(channels))
        deepest = each.maps[:, :, 1:].float().mean(dim=(3, 4))  # the first channel was changed
        torch.testing.assert_close(each.means[:, :, 1 - channels[-1] :], deepest, rtol=1e-2, atol=1e-2)
        assert not torch.equal(each.maps[:, 0], each.maps[:, 1])


def test_nothing_is_true_of_a_picture_whose_mask_is_empty(witnesses):
    empty = replace(witnesses[0], shown=torch.zeros_like(witnesses[0].shown))
    assert not any(empty.ask(0, turn).true for turn in range(40))
    assert any(witnesses[0].ask(0, turn).true for turn in range(40))


def test_the_mix_decides_how_many_questions_are_true(witnesses):
    asked = [question for each in witnesses for question in each.ask_all(100)]
    assert 0.4 < sum(each.true for each in asked) / len(asked) < 0.6


def test_training_tells_names_of_one_set_from_those_of_the_other(build_tiny, witnesses):
    model = build_tiny("pocket")
    others = {name: tensor.clone() for name, tensor in model.state_dict().items() if not name.startswith("existence")}
    losses = fit_existence(model, witnesses, CONFIG)
    assert len(losses) == CONFIG.steps
    odds, true = answer(model, [each for witness in witnesses for each in witness.ask_all(30)], TextCache(model))
    assert ((odds > 0).float() == true).float().mean() > 0.7  # "no" to everything would be right half the time
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in others.items())


def test_the_score_sees_channels_of_mean_0_and_spread_1(build_tiny, witnesses):
    model = build_tiny("pocket")
    fit_existence(model, witnesses, replace(CONFIG, steps=1))
    score = model.existence
    maps, means = (torch.cat([getattr(each, kind).flatten(0, 1) for each in witnesses]) for kind in ("maps", "means"))
    marked = score.map_norm(maps.float())[:, 0]  # what tells the two sets apart
    torch.testing.assert_close(torch.stack([marked.mean(), marked.std()]), torch.tensor([0.0, 1.0]), rtol=0, atol=0.02)
    assert score.scene_norm(means).mean(dim=0).abs().max() < 0.01


def test_equal_seeds_train_equal_scores(build_tiny, witnesses):
    models = [build_tiny("pocket") for _ in range(2)]
    losses = [fit_existence(model, witnesses, replace(CONFIG, steps=5)) for model in models]
    assert losses[0] == losses[1]


@torch.no_grad()
def test_a_score_begins_anew_whatever_it_was(build_tiny):
    model = build_tiny("pocket")
    begin_anew(model, seed=0)
    first = {name: tensor.clone() for name, tensor in model.existence.state_dict().items()}
    for parameter in model.existence.parameters():
        parameter.fill_(9)
    begin_anew(model, seed=0)
    torch.testing.assert_close(dict(model.existence.state_dict()), first, rtol=0, atol=0)
    taps = [torch.rand(1, channels, 2, 2) for channels in model.trunk.channels]
    sentence = torch.rand(1, model.recipe.options["text_width"])
    assert model.existence(taps[-1], global_averages(taps), sentence).isfinite().all()


@pytest.mark.parametrize("setting", [{"steps": 0}, {"text_noise": -0.1}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        ExistenceConfig(**setting)


def test_easy_questions_count_less_than_hard_ones():
    odds, true = torch.tensor([4.0, -4.0, 1.0]), torch.tensor([1.0, 1.0, 0.0])
    stated = torch.sigmoid(torch.tensor([4.0, -4.0, -1.0]))
    torch.testing.assert_close(focal_loss(odds, true), ((1 - stated) * -stated.log()).mean())
