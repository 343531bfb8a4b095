"""`vesalius train`, `train-naming` and `benchmark`, called as a user would, and their recipes."""

import json

import pytest

from vesalius.cli.train import RecipeOptions
from vesalius.errors import ConfigError
from vesalius.journal import alone
from vesalius.models.checkpoint_file import read_notes
from vesalius.models.checkpoints import save_model

TINY = """
[model]
image_size = 64
taps = [1, 2, 3]
vision_width = 64
text_width = 64
text_layers = 2
decoder_width = 16
"""
SHORT = ("--max-steps", 1, "--batch-size", 2, "--json")


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def test_an_untrained_encoder_that_would_be_held_still_is_refused_with_the_remedies(run, recipe, tiny_dataset):
    code, out, err = run("train", "--model", "clipseg", "--data", tiny_dataset, "--recipe", recipe, "--out", "o")
    assert (code, out) == (2, "")
    assert "clipseg: its image and text encoders are untrained and would be held still" in err
    assert all(remedy in err for remedy in ("--pretrained", "freeze=[]", "--from-scratch"))


@pytest.mark.slow
@pytest.mark.parametrize("way", [("--from-scratch",), ("--set", "freeze=[]")])
def test_it_trains_where_that_is_insisted_on_or_the_encoders_train(run, recipe, tiny_dataset, way):
    arguments = ("--model", "clipseg", "--data", tiny_dataset, "--recipe", recipe, "--out", "o")
    code, out, _ = run("train", *arguments, *way, *SHORT)
    assert code == 0
    assert json.loads(out)["epochs"] == 1


def test_a_half_frozen_one_is_refused_too(run, recipe, tiny_dataset):
    arguments = ("--model", "clipseg", "--data", tiny_dataset, "--recipe", recipe, "--out", "o")
    code, _, err = run("train", *arguments, "--set", 'freeze=["text"]')
    assert code == 2
    assert "its text encoder is untrained" in err


@pytest.mark.slow
def test_a_checkpoint_and_a_model_without_encoders_are_trained_as_ever(run, build_tiny, tiny_dataset, tmp_path):
    save_model(build_tiny("clipseg"), tmp_path / "clipseg.safetensors")
    (tmp_path / "unet.toml").write_text("[model]\nimage_size = 32\n")
    for model, extra in (("clipseg.safetensors", ()), ("unet_d", ("--recipe", "unet.toml"))):
        code, _, err = run("train", "--model", model, "--data", tiny_dataset, "--out", model[:4], *extra, *SHORT)
        assert code == 0, err


def test_all_missing_weights_are_told_at_once(run, tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("VESALIUS_WEIGHTS", str(tmp_path / "none"))
    code, _, err = run("train", "--model", "ensemble_c", "--pretrained", "--data", tiny_dataset)
    assert code == 2
    assert "vesalius weights fetch biomedclip clipseg-rd64-refined pubmedbert-vocabulary" in err


SHORT_NAMING = ("--max-epochs", 1, "--batch-size", 4)


@pytest.fixture
def start(build_tiny, tmp_path):
    """A tiny CLIP as a checkpoint."""
    path = tmp_path / "start.safetensors"
    save_model(build_tiny("clip_vit_b32"), path)
    return path


@pytest.mark.slow
def test_a_checkpoint_goes_on_training(run, start, tiny_slices):
    code, _, told = run("train-naming", "--model", start, "--data", tiny_slices, "--out", "out", *SHORT_NAMING)
    assert code == 0
    assert "trained weights; results in out" in told
    assert "Right first names on validation slices" in told


@pytest.mark.slow
def test_a_recipe_decides_and_the_command_line_goes_before_it(run, start, tiny_slices, tmp_path):
    (tmp_path / "paper.toml").write_text(
        'max_epochs = 9\nbatch_size = 4\n[loss]\nkind = "paper"\n[captions]\nstations = []\n'
    )
    arguments = ("--model", start, "--data", tiny_slices, "--out", "out", "--recipe", "paper.toml")
    code, printed, _ = run("train-naming", *arguments, "--max-epochs", 1, "--json")
    assert code == 0
    assert json.loads(printed)["epochs"] == 1
    config = read_notes(tmp_path / "out" / "model.safetensors")["config"]
    assert (config["loss"]["kind"], config["captions"]["stations"]) == ("paper", [])


@pytest.mark.slow
def test_a_model_is_built_as_the_recipe_says(run, tiny_slices, tmp_path):
    (tmp_path / "tiny.toml").write_text("[model]\nimage_size = 32\nwidth = 64\ntext_width = 64\nlayers = 1\n")
    arguments = ("--model", "clip_vit_b32", "--data", tiny_slices, "--out", "out", "--recipe", "tiny.toml")
    code, _, told = run("train-naming", *arguments, *SHORT_NAMING)
    assert code == 0
    assert "clip_vit_b32: untrained weights" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "clip_vit_b33"), "Did you mean 'clip_vit_b32'"),
        (("--batch-size", 1), "batch_size must be 2 or more"),
        (("--recipe", "none.toml"), "none.toml: no such file"),
        (("--resume",), "nothing to resume"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(run, start, tiny_slices, arguments, message):
    given = ("--model", start) if "--model" not in arguments else ()
    code, _, told = run("train-naming", *given, "--data", tiny_slices, "--out", "out", *arguments)
    assert code == 2
    assert message in told
    assert "Traceback" not in told


def test_a_folder_without_slices_is_told(run, start, tmp_path):
    code, _, told = run("train-naming", "--model", start, "--data", tmp_path)
    assert code == 2
    assert "expected what 'vesalius data slices' writes" in told


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


@pytest.mark.slow
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


def test_a_second_benchmark_in_one_folder_is_refused(run, write_recipe, tmp_path):
    recipe = write_recipe(RECIPE.format(root=f'root = "{tmp_path}"', sets="nowhere"))
    with alone(tmp_path / "out", "benchmark", ".benchmark.lock"):
        code, _, err = run("benchmark", recipe, "--out", "out")
    assert code == 2
    assert "out: another vesalius benchmark writes there; wait for it, or name another --out." in err
    assert not (tmp_path / "out" / "table.md").exists()


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


@pytest.mark.slow
def test_the_same_is_told_before_the_first_training(run, write_recipe, tiny_dataset):
    recipe = write_recipe(RECIPE.format(root="", sets="kvasir_polyp"))
    _, _, err = run("benchmark", recipe, "--data", tiny_dataset.parent)
    assert err.index("hours on this machine") < err.index("seed 0: training")
