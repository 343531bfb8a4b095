import pytest

from vesalius.models.registry import ModelRecipe, to_options


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
