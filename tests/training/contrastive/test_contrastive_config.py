import json
from pathlib import Path

import pytest

from vesalius.errors import ConfigError
from vesalius.training.config import read_recipe
from vesalius.training.contrastive import ContrastiveConfig

RECIPES = sorted((Path(__file__).parents[3] / "recipes" / "anatomy").glob("pmc*.toml"))


def test_models_that_segment_keep_their_encoders_unless_it_is_said(build_tiny):
    config, pocket, clip = ContrastiveConfig(), build_tiny("pocket"), build_tiny("clip_vit_b32")
    assert config.for_model(pocket, ()).freeze == ("image", "text")
    assert config.for_model(pocket, ("freeze",)).freeze == ()
    assert config.for_model(clip, ()) is config


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_papers_recipes_are_settings(path):
    config = ContrastiveConfig.from_dict(read_recipe(path))
    assert config.loss.kind == "paper"
    assert json.loads(json.dumps(config.to_dict()))["captions"]["stations"] == list(config.captions.stations)


def test_the_papers_recipes_are_three_steps():
    m, ms, msa = (ContrastiveConfig.from_dict(read_recipe(path)) for path in RECIPES)
    assert (m.captions.stations, len(ms.captions.stations)) == ((), 5)
    assert (ms.captions.shuffle, msa.captions.shuffle) == (0, 1)
    assert (ms.augment.clahe, msa.augment.clahe) == (0, 0.2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 1}, "batch_size must be 2 or more"),
        ({"loss": {"kind": "clip"}}, "must be one of 'paper', 'unicl', 'siglip'"),
        ({"augment": {"flip": 0.5}}, r"\[augment\]: No setting named 'flip'"),
        ({"text_lr_scale": 0}, "text_lr_scale must be above 0"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ContrastiveConfig.from_dict(settings)
