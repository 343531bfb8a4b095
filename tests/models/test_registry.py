import subprocess
import sys

import pytest

from vesalius.errors import ModelError
from vesalius.models import build_model, describe_model, list_models, register_model, registry
from vesalius.models.registry import ModelRecipe


def test_the_named_models_are_listed_in_order():
    assert {"clipseg", "pocket", "unet_d"} <= set(list_models())
    assert list_models() == sorted(list_models())


@pytest.mark.parametrize("name", list_models())
def test_every_model_has_a_one_line_description(name):
    description = describe_model(name)
    assert description.endswith(".")
    assert "\n" not in description


@pytest.mark.parametrize("ask", [build_model, describe_model])
def test_an_unknown_model_is_answered_with_the_closest(ask):
    with pytest.raises(ModelError, match="No model named 'clipsegg'. Did you mean 'clipseg'\\? Available: clipseg, "):
        ask("clipsegg")


def test_an_unknown_option_is_the_users_error():
    with pytest.raises(ModelError, match="unet_d.*image_sise"):
        build_model("unet_d", image_sise=32)


def test_a_model_remembers_how_it_was_built():
    assert build_model("unet_d", image_size=32).recipe == ModelRecipe("unet_d", {"image_size": 32})


def test_a_recipe_survives_json():
    recipe = ModelRecipe("pocket", {"image_size": 64, "condition": 16})
    assert ModelRecipe.from_json(recipe.to_json()) == recipe


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
