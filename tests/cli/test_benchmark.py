"""`vesalius benchmark`, called as a user would."""

import json

import pytest

RECIPE = """
[data]
{root}
sets = ["{sets}"]
[training]
max_epochs = 1
batch_size = 2
[models.unet_d]
options = {{ image_size = 32 }}
"""


@pytest.fixture
def write_recipe(tmp_path):
    def write(text: str) -> str:
        (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
        return "mine.toml"

    return write


def test_a_grid_is_filled_and_the_same_command_changes_nothing(run, write_recipe, tiny_dataset, tmp_path):
    recipe = write_recipe(RECIPE.format(root="", sets="kvasir_polyp"))
    code, out, err = run("benchmark", recipe, "--data", tiny_dataset.parent)
    assert code == 0
    assert "unet_d" in out
    assert "Kvasir-SEG" in out
    assert "[1/1] unet_d on kvasir_polyp, seed 0: training" in err
    assert "Ours: training began with untrained weights; 32 px, 1 epoch," in err
    folder = tmp_path / "runs" / "benchmark-mine"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {"table.md", "table.csv", "table.json"} <= {path.name for path in before}

    code, out, err = run("benchmark", recipe, "--data", tiny_dataset.parent, "--json")
    assert code == 0
    assert json.loads(out)["scores"][0]["label"] == "unet_d"
    assert "finished earlier" in err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

    code, out, _ = run("report", folder / "kvasir_polyp" / "unet_d" / "seed-0", "--json")
    assert code == 0


def test_missing_numbers_give_1_and_their_reason(run, write_recipe, tmp_path):
    recipe = write_recipe(RECIPE.format(root=f'root = "{tmp_path}"', sets="nowhere"))
    code, out, err = run("benchmark", recipe, "--out", "out")
    assert code == 1
    assert "–¹" in out
    assert "nowhere: no such data folder" in err
    assert "1. unet_d on nowhere, seed 0" in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")


def test_a_recipe_without_data_folder_asks_for_one(run, write_recipe):
    code, out, err = run("benchmark", write_recipe(RECIPE.format(root="", sets="busi")))
    assert code == 2
    assert out == ""
    assert "mine.toml: [data] has no root, the folder that holds the data sets; give it with --data." in err


def test_a_wrong_recipe_gives_2_and_writes_nothing(run, write_recipe, tmp_path):
    code, _, err = run("benchmark", write_recipe("x = 1"), "--data", tmp_path)
    assert code == 2
    assert "No setting named 'x'" in err
    assert not (tmp_path / "runs").exists()


WEIGHTS = """
[models.clipseg]
pretrained = true
[models.ensemble_c]
pretrained = true
"""


def test_a_dry_run_tells_the_hours_and_trains_nothing(run, write_recipe, tiny_dataset, tmp_path):
    recipe = write_recipe(RECIPE.format(root="", sets="kvasir_polyp"))
    code, out, _ = run("benchmark", recipe, "--data", tiny_dataset.parent, "--dry-run", "--json")
    assert code == 0
    told = json.loads(out)
    assert told["missing"] == {}
    assert told["hours"].keys() == {"unet_d on kvasir_polyp, seed 0"}
    assert not (tmp_path / "runs").exists()


def test_all_that_is_missing_is_told_at_once_with_one_command(run, write_recipe, tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("VESALIUS_WEIGHTS", str(tmp_path / "none"))
    recipe = write_recipe(RECIPE.format(root="", sets='kvasir_polyp", "nowhere') + WEIGHTS)
    code, out, err = run("benchmark", recipe, "--data", tiny_dataset.parent, "--dry-run")
    assert code == 1
    assert "vesalius weights fetch clipseg-rd64-refined biomedclip pubmedbert-vocabulary" in err
    assert "clipseg-rd64-refined" in err
    assert "(needed by clipseg on kvasir_polyp, seed 0, ensemble_c on kvasir_polyp, seed 0" in err
    assert "nowhere: no such data folder" in err
    assert "1 to train, 0 finished: about 0.0 hours on this machine" in err
    assert "unet_d on kvasir_polyp, seed 0" in out


def test_the_same_is_told_before_the_first_training(run, write_recipe, tiny_dataset):
    recipe = write_recipe(RECIPE.format(root="", sets="kvasir_polyp"))
    _, _, err = run("benchmark", recipe, "--data", tiny_dataset.parent)
    assert err.index("hours on this machine") < err.index("seed 0: training")
