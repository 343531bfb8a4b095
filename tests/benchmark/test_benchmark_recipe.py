import re
from pathlib import Path

import pytest

from vesalius.benchmark.recipe import find_publication, read_benchmark, read_publications
from vesalius.data.augment import AugmentConfig
from vesalius.data.catalog import read_catalog
from vesalius.errors import ConfigError
from vesalius.models import list_models
from vesalius.training.config import TrainConfig

RECIPES = Path(__file__).parents[2] / "recipes" / "benchmark"
LEAST = '[data]\nsets = ["busi"]\n[models.unet_d]\n'
EIGHT = set(list_models()) - {"pocket"}


def read(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return read_benchmark(path)


def test_what_a_recipe_leaves_out_has_its_default(tmp_path):
    recipe = read(tmp_path, LEAST)
    assert (recipe.title, recipe.root, recipe.seeds, recipe.prompts) == ("mine", None, (0,), None)
    assert recipe.publication is None
    (entry,) = recipe.entries
    assert (entry.label, entry.model, entry.options, entry.pretrained) == ("unet_d", "unet_d", {}, False)
    assert entry.config(3) == TrainConfig(seed=3)


def test_a_model_s_own_settings_go_before_those_of_all(tmp_path):
    text = """
    pretrained = true
    [data]
    root = "sets"
    sets = ["busi"]
    [training]
    learning_rate = 1e-3
    batch_size = 4
    [models.wide]
    model = "clipseg"
    pretrained = false
    options = { image_size = 64, taps = [1, 2, 3] }
    training = { learning_rate = 1e-4 }
    [models.clipseg]
    """
    recipe = read(tmp_path, text)
    wide, plain = recipe.entries
    assert recipe.root == Path("sets")
    assert (wide.label, wide.model, wide.pretrained) == ("wide", "clipseg", False)
    assert wide.options == {"image_size": 64, "taps": (1, 2, 3)}
    assert (wide.config(0).learning_rate, wide.config(0).batch_size) == (1e-4, 4)
    assert (plain.pretrained, plain.config(0).learning_rate) == (True, 1e-3)


def test_a_model_s_own_table_changes_that_of_all_and_does_not_replace_it(tmp_path):
    text = LEAST + "training = { augment = { scale = 0.3 } }\n[training.augment]\nrotation = 0.0\nscale = 0.1\n"
    augment = read(tmp_path, text).entries[0].config(0).augment
    assert augment == AugmentConfig(rotation=0.0, scale=0.3)


def test_old_names_of_settings_are_known_for_all_and_for_one(tmp_path):
    text = LEAST + "training = { average = 0.5 }\n[training]\nema_decay = 0.9\nmomentum = 0.9\n"
    config = read(tmp_path, text).entries[0].config(0)
    assert (config.ema_decay, config.beta2) == (0.5, 0.9)


WRONG = {
    "not TOML": ("[", "mine.toml: is not TOML"),
    "an unknown setting": ("seed = 1\n" + LEAST, "mine.toml: recipe: No setting named 'seed'. Did you mean 'seeds'?"),
    "an unknown setting of a model": (LEAST + "size = 3", "[models.unet_d]: No setting named 'size'"),
    "an unknown model": ('[data]\nsets = ["busi"]\n[models.unet]', "No model named 'unet'. Did you mean 'unet_d'?"),
    "an unknown publication": ('published = "x"\n' + LEAST, "No publication named 'x'"),
    "no models": ('[data]\nsets = ["busi"]', "expected a table [models.NAME] for each model, got none"),
    "no data": ("[models.unet_d]", "[data]: sets must be a list of at least one"),
    "a data set outside the folder": ('[data]\nsets = ["../x"]\n[models.unet_d]', "[data]: sets: expected a name of"),
    "a data set twice": ('[data]\nsets = ["a", "a"]\n[models.unet_d]', "names something twice: a, a"),
    "a row outside the folder": (LEAST.replace("unet_d", '".."') + 'model = "unet_d"', "[models]: expected a name of"),
    "a seed that is none": ("seeds = [-1]\n" + LEAST, "seeds must be whole numbers from 0, got -1"),
    "a wrong training": (LEAST + "training = { batch_size = 0 }", "[models.unet_d], training: batch_size must be"),
    "a seed in the training": (LEAST + "[training]\nseed = 3", "the seed of its training is one of seeds"),
    "words for a switch": ('pretrained = "yes"\n' + LEAST, "pretrained must be true or false, got 'yes'"),
    "a number for a title": ("title = 3\n" + LEAST, "title must be text, got 3"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_recipe_is_refused_with_its_file_and_place(tmp_path, case):
    text, message = WRONG[case]
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        read(tmp_path, text)
    assert str(caught.value).count("mine.toml") == 1


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere.toml: no such file"):
        read_benchmark(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("name", ["cpu", "table1"])
def test_our_recipes_have_all_eight_systems_and_sets_of_the_catalog(name):
    recipe = read_benchmark(RECIPES / f"{name}.toml")
    assert {entry.model for entry in recipe.entries} == EIGHT
    assert set(recipe.sets) <= read_catalog().keys()
    assert recipe.publication is not None


def test_table_1_is_trained_as_the_paper_did():
    recipe = read_benchmark(RECIPES / "table1.toml")
    assert all(entry.config(0) == TrainConfig(precision="16-mixed") for entry in recipe.entries)
    assert [entry.model for entry in recipe.entries if not entry.pretrained] == ["unet_d"]
    assert not any(entry.options for entry in recipe.entries)


def test_the_recipe_in_the_documentation_is_one(tmp_path):
    page = (RECIPES.parents[1] / "docs" / "benchmark.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```toml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    recipe = read(tmp_path, block)
    assert [entry.model for entry in recipe.entries] == ["clipseg", "clipseg", "pocket"]
    assert [entry.pretrained for entry in recipe.entries] == [True, False, False]
    assert recipe.seeds == (0, 1, 2)


@pytest.mark.parametrize("name", read_publications())
def test_every_number_is_of_a_model_and_a_data_set_that_exist_here(name):
    publication = find_publication(name)
    assert publication.source
    assert publication.measure
    assert publication.dice.keys() <= set(list_models())
    for row in publication.dice.values():
        assert row.keys() <= read_catalog().keys()
        assert all(0 < value < 1 for value in row.values())


def test_the_paper_s_table_is_read():
    publication = find_publication("vlsm_ensemble")
    assert publication.find("ensemble_c", "clinicdb_polyp") == 0.81166
    assert publication.find("biomedclipseg_d", "clinicdb_polyp") is None
    assert publication.find("ensemble_c", "elsewhere") is None
    assert len(publication.dice) == 7


def test_the_paper_s_table_is_that_of_our_notes(shared):
    text = (shared / "spec" / "segmentation.md").read_text(encoding="utf-8")
    found = {
        line.split("|")[1].strip().lower().replace("-", "_"): [float(cell) for cell in line.split("|")[2:7]]
        for line in text.splitlines()
        if re.match(r"\| [A-Za-z-]+ (\| 0\.\d{5} ){5}\|", line)
    }
    assert {name: list(row.values()) for name, row in find_publication("vlsm_ensemble").dice.items()} == found


def test_an_unknown_publication_is_named():
    with pytest.raises(ConfigError, match="No publication named 'vlsm_ensembel'. Did you mean 'vlsm_ensemble'"):
        find_publication("vlsm_ensembel")
