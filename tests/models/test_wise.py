import pytest
import torch

from vesalius.errors import ConfigError, ModelError
from vesalius.models.checkpoints import interpolate_weights


@pytest.fixture(scope="module")
def models(build_tiny):
    return build_tiny("clip_rn50", seed=0), build_tiny("clip_rn50", seed=1)


@pytest.mark.parametrize("end", [0, 1])
def test_at_either_end_stands_one_of_the_models(models, end):
    images = torch.rand(2, 3, 64, 64)
    mixed = interpolate_weights(*models, share=end)
    torch.testing.assert_close(mixed(images, ["liver"]), models[end](images, ["liver"]))


def test_halfway_every_weight_is_the_mean(models):
    before, after = (model.state_dict() for model in models)
    for name, value in interpolate_weights(*models).state_dict().items():
        expected = (before[name] + after[name]) / 2 if value.is_floating_point() else after[name]
        torch.testing.assert_close(value, expected)


def test_neither_model_changes(models):
    before = [{name: value.clone() for name, value in model.state_dict().items()} for model in models]
    mixed = interpolate_weights(*models)
    with torch.no_grad():
        next(mixed.parameters()).add_(1)
    for model, state in zip(models, before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_models_of_two_kinds_are_refused(models, build_tiny):
    with pytest.raises(ModelError, match="the two models differ in"):
        interpolate_weights(models[0], build_tiny("clip_vit_b32"))


def test_models_of_two_sizes_are_refused(models, build_tiny):
    with pytest.raises(ModelError, match="the two models differ in"):
        interpolate_weights(models[0], build_tiny("clip_rn50", text_width=128))


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_out_of_range_is_refused(models, share):
    with pytest.raises(ConfigError, match="between 0"):
        interpolate_weights(*models, share)
