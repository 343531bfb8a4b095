import json
import math

import pytest

from vesalius.data.augment import AugmentConfig
from vesalius.errors import ConfigError
from vesalius.models import build_model
from vesalius.training.config import RENAMED, TrainConfig, read_recipe


def test_the_defaults_are_the_papers():
    config = TrainConfig()
    assert (config.learning_rate, config.batch_size, config.patience) == (1e-5, 10, 20)
    assert set(config.freeze) == {"image", "text"}
    # What the paper leaves open is its benchmark's.
    assert (config.weight_decay, config.max_epochs, config.min_epochs, config.gradient_clip_norm) == (
        1e-3,
        1000,
        10,
        0.5,
    )
    assert config.schedule == "plateau"


@pytest.mark.parametrize("config", [TrainConfig(), TrainConfig(freeze=(), augment=AugmentConfig(rotation=3.0))])
def test_a_configuration_survives_json(config):
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learningrate": 1e-3}, "recipe: No setting named 'learningrate'. Did you mean 'learning_rate'"),
        ({"augment": {"rotate": 3}}, r"\[augment\]: No setting named 'rotate'. Did you mean 'rotation'"),
        ({"loss": 3}, r"\[loss\]: expected a table, got 3"),
        ({"schedule": "one-cycle"}, "schedule must be one of 'plateau', 'one_cycle', 'cosine', got 'one-cycle'"),
        ({"precision": "bf16"}, "recipe: precision must be one of '32-true', 'bf16-mixed', '16-mixed', got 'bf16'"),
        ({"freeze": ["vision"]}, "recipe: freeze must be one of 'image', 'text', got 'vision'"),
        ({"freeze": 3}, "recipe: freeze must be a list, got 3"),
        ({"learning_rate": "1e-3"}, "recipe: learning_rate must be a number, got '1e-3'"),
        ({"batch_size": 2.5}, "recipe: batch_size must be a whole number, got 2.5"),
        ({"batch_size": True}, "recipe: batch_size must be a whole number, got True"),
        ({"prompts": {"absent": "often"}}, r"\[prompts\]: absent must be a number, got 'often'"),
        ({"prompts": {"target": 5}}, r"\[prompts\]: target must be text, got 5"),
        ({"prompts": {"absent": math.nan}}, "absent must be at least 0, got nan"),
        ({"seed": -1}, "seed must be from 0 to 4294967295, got -1"),
        ({"seed": 2**32}, "seed must be from 0 to 4294967295, got 4294967296"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0, got 0.0"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0, got -1.0"),
        ({"batch_size": 0}, "batch_size must be above 0, got 0"),
        ({"max_epochs": -1}, "max_epochs must be above 0, got -1"),
        ({"patience": 0}, "patience must be above 0, got 0"),
        ({"gradient_clip_norm": -0.5}, "gradient_clip_norm must be above 0, got -0.5"),
        ({"accumulate": 0}, "accumulate must be above 0, got 0"),
        ({"encoder_lr_scale": 0}, "encoder_lr_scale must be above 0, got 0"),
        ({"layer_decay": 1.5}, "layer_decay must be above 0 and at most 1, got 1.5"),
        ({"ema_decay": 1.0}, "ema_decay must be at least 0 and below 1, got 1.0"),
        ({"warm_up": -0.1}, "warm_up must be at least 0 and below 1, got -0.1"),
        ({"cached_augmentations": -1}, "cached_augmentations must be at least 0, got -1"),
        ({"store": {"dtype": "fp16"}}, r"\[store\]: dtype must be one of 'float32', 'float16', 'bfloat16', got 'fp16'"),
        ({"store": {"on": "no"}}, r"\[store\]: on must be true or false, got 'no'"),
        ({"store": {"limit_gb": 0}}, "limit_gb must be above 0, got 0"),
        ({"max_steps": 0}, r"max_steps must be -1 \(no limit\) or at least 1, got 0"),
        ({"max_steps": -5}, r"max_steps must be -1 \(no limit\) or at least 1, got -5"),
        ({"augment": {"vertical_flip": 2}}, "vertical_flip is a probability"),
        ({"store": {"limit_gb": math.nan}}, "limit_gb must be above 0, got nan"),
        ({"min_epochs": -3}, "min_epochs must be at least 0, got -3"),
        ({"freeze": ["image", "image"]}, "freeze names an encoder twice: image, image"),
    ],
)
def test_a_wrong_setting_is_named_with_its_place(settings, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig.from_dict(settings)


@pytest.mark.parametrize("precision", ["32", 32])
def test_the_command_line_s_name_of_a_precision_is_read(precision):
    assert TrainConfig.from_dict({"precision": precision}) == TrainConfig(precision="32-true")


def test_whole_numbers_are_numbers_and_a_text_is_a_list_of_one():
    config = TrainConfig.from_dict({"learning_rate": 1, "freeze": "text"})
    assert (config.learning_rate, config.freeze) == (1, ("text",))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "given", "norms", "absent"),
    [
        ("pocket", {}, True, 0.2),
        ("pocket", {"prompts": {"paraphrases": 0.9}}, True, 0.1),
        ("pocket", {"prompts": {"absent": 0}, "freeze_batch_norm": False}, False, 0),
        ("unet_d", {}, True, 0),
    ],
)
def test_a_trained_model_keeps_its_norms_and_its_judgement(name, given, norms, absent):
    config = TrainConfig.from_dict(given).for_trained(build_model(name), given)
    assert config.learning_rate == 3e-4
    assert config.freeze_batch_norm == norms
    assert config.prompts.absent == pytest.approx(absent)


def test_a_chosen_learning_rate_is_kept():
    given = {"learning_rate": 1e-5}
    assert TrainConfig.from_dict(given).for_trained(build_model("unet_d"), given).learning_rate == 1e-5


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: no such file"):
        read_recipe(tmp_path / "none.toml")


def test_a_recipe_that_is_no_toml_is_named(tmp_path):
    (tmp_path / "bad.toml").write_text("learning_rate = = 3")
    with pytest.raises(ConfigError, match=r"bad\.toml: is not TOML"):
        read_recipe(tmp_path / "bad.toml")


OLD_VALUES = {"keep_norms": True, "views": 3}


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_settings_are_still_known_by_their_old_names(tmp_path, capsys, old, new):
    value = OLD_VALUES.get(old, 0.75)
    (tmp_path / "r.toml").write_text(f"{old} = {json.dumps(value)}\n")
    assert read_recipe(tmp_path / "r.toml") == {new: value}
    assert getattr(TrainConfig.from_dict({old: value}), new) == value
    told = capsys.readouterr().err
    assert f"write {new} for {old}" in told.replace("\n", " ")
    assert told.count("renamed settings") == 2  # of the file, and of the dictionary
    with pytest.raises(ConfigError, match=f"recipe: {old} is called {new} now, and both are there; remove {old}"):
        TrainConfig.from_dict({old: value, new: value})


@pytest.mark.slow
def test_a_start_from_trained_weights_heeds_an_old_name(build_tiny):
    given = {"keep_norms": False}
    assert not TrainConfig.from_dict(given).for_trained(build_tiny("pocket"), given).freeze_batch_norm
