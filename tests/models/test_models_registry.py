import subprocess
import sys

import pytest
import torch

from vesalius.errors import ModelError
from vesalius.models import build_model, describe_model, list_encoders, list_models, register_model, registry
from vesalius.models.registry import ModelRecipe, as_segmenter, to_options

PAPER = {"biomedclipseg", "biomedclipseg_a", "biomedclipseg_d", "clipseg", "clipseg_b", "cris", "ensemble_c", "unet_d"}
"""The systems of the paper's table."""


def test_the_named_models_are_listed_in_order():
    assert PAPER | {"pocket"} <= set(list_models())
    assert {"biomedclip", "clip_rn50", "clip_vit_b16", "clip_vit_b32"} <= set(list_encoders())
    for names in (list_models(), list_encoders()):
        assert names == sorted(names)
    assert not set(list_models()) & set(list_encoders())


@pytest.mark.parametrize("name", [*list_models(), *list_encoders()])
def test_every_model_has_a_one_line_description(name):
    description = describe_model(name)
    assert description.endswith(".")
    assert "\n" not in description


@pytest.mark.parametrize("ask", [build_model, describe_model])
def test_an_unknown_model_is_answered_with_the_closest(ask):
    with pytest.raises(
        ModelError, match="No model named 'clipsegg'. Did you mean 'clipseg'\\? Available: biomedclip, "
    ):
        ask("clipsegg")


@pytest.mark.parametrize("name", list_models())
def test_an_unknown_option_is_the_users_error(name):
    with pytest.raises(ModelError, match=f"{name}: .*image_sise.*See help"):
        build_model(name, image_sise=32)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("clipseg", {"taps": ()}, "clipseg: .*empty"),
        ("clipseg", {"taps": 3}, "clipseg: .*not iterable"),
        ("clipseg", {"taps": (0, 4)}, r"taps are vision blocks counted from 1, got \(0, 4\)"),
        ("clipseg", {"vision_width": 200}, "a width of 200 cannot be shared by 3 heads"),
        ("unet_d", {"dropout": 2.0}, "unet_d: dropout probability"),
        ("ensemble_c", {"a": {"tapz": 1}}, "ensemble_c: .*tapz"),
    ],
)
def test_a_model_that_cannot_be_built_is_the_users_error(name, options, message):
    with torch.device("meta"), pytest.raises(ModelError, match=message):
        build_model(name, **options)


def test_a_model_remembers_how_it_was_built():
    assert build_model("unet_d", image_size=32).recipe == ModelRecipe("unet_d", {"image_size": 32})


def test_a_model_that_only_encodes_is_no_segmenter(build_tiny):
    segmenter = build_tiny("unet_d")
    assert as_segmenter(segmenter) is segmenter
    with pytest.raises(ModelError, match="clip_vit_b16 encodes images and prompts but outlines nothing; .*unet_d"):
        as_segmenter(build_tiny("clip_vit_b16"))


def test_a_registered_factory_is_a_model_of_its_own_name(monkeypatch):
    monkeypatch.setitem(registry._FACTORIES, "unet_tiny", None)  # taken out again afterwards

    @register_model
    def unet_tiny() -> object:
        """A model of the user's."""
        return build_model("unet_d", image_size=16)

    assert "unet_tiny" in list_models()
    assert describe_model("unet_tiny") == "A model of the user's."
    assert build_model("unet_tiny").recipe == ModelRecipe("unet_tiny", {})


def test_listing_models_loads_none_of_them():
    code = "import sys, vesalius.models; vesalius.models.list_models(); sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "options",
    [
        {"image_size": 64, "dropout": 0.1, "vocabulary": "bert"},
        {"taps": (5, 8, 11)},
        {"a": {"taps": (1, 2), "vocabulary": "bert"}, "b": {"taps": (3,)}},
    ],
)
def test_a_recipe_survives_json(options):
    recipe = ModelRecipe("pocket", options)
    assert ModelRecipe.from_json(recipe.to_json()) == recipe


def test_lists_of_json_and_toml_are_tuples_however_deep():
    given = {"taps": [1, 2], "a": {"taps": [3], "image_size": 32}}
    assert to_options(given) == {"taps": (1, 2), "a": {"taps": (3,), "image_size": 32}}
