import pytest

from vesalius.cli.train import RecipeOptions
from vesalius.errors import ConfigError


def test_changes_go_before_the_recipe_and_options_before_changes(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text('learning_rate = 0.1\nschedule = "plateau"\n[augment]\nrotation = 5.0\nscale = 0.1\n')
    options = RecipeOptions(recipe, ("schedule=cosine", "augment.rotation=30", "freeze=['text']", "seed=1"), seed=2)
    assert options.read() == {
        "learning_rate": 0.1,
        "schedule": "cosine",
        "augment": {"rotation": 30, "scale": 0.1},
        "freeze": ["text"],
        "seed": 2,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cosine", "--set cosine: expected NAME=VALUE or TABLE.NAME=VALUE"),
        ("augment.=3", "--set augment.=3: expected NAME=VALUE"),
        ("seed.x=3", "--set seed.x=3: seed is a setting, not a table"),
    ],
)
def test_a_change_that_cannot_be_is_told(change, message):
    with pytest.raises(ConfigError, match=message):
        RecipeOptions(changes=("seed=1", change)).read()


def test_a_change_by_an_old_name_goes_before_the_recipe(tmp_path, capsys):
    (tmp_path / "r.toml").write_text("ema_decay = 0.5\nmomentum = 0.9\n[augment]\nblur = 1.0\n")
    options = RecipeOptions(tmp_path / "r.toml", ("average=0.9", "augment.blur=2.0"))
    assert options.read() == {"ema_decay": 0.9, "beta2": 0.9, "augment": {"blur": 2.0}}
    assert "write ema_decay for average" in capsys.readouterr().err
