import json

import pytest

from vesalius.models.checkpoint_file import read_notes
from vesalius.models.checkpoints import save_model

SHORT = ("--max-epochs", 1, "--batch-size", 4)


@pytest.fixture
def start(build_tiny, tmp_path):
    """A tiny CLIP as a checkpoint."""
    path = tmp_path / "start.safetensors"
    save_model(build_tiny("clip_vit_b32"), path)
    return path


def test_a_checkpoint_goes_on_training(run, start, tiny_slices):
    code, _, told = run("train-naming", "--model", start, "--data", tiny_slices, "--out", "out", *SHORT)
    assert code == 0
    assert "trained weights; results in out" in told
    assert "Right first names on validation slices" in told


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


def test_a_model_is_built_as_the_recipe_says(run, tiny_slices, tmp_path):
    (tmp_path / "tiny.toml").write_text("[model]\nimage_size = 32\nwidth = 64\ntext_width = 64\nlayers = 1\n")
    arguments = ("--model", "clip_vit_b32", "--data", tiny_slices, "--out", "out", "--recipe", "tiny.toml")
    code, _, told = run("train-naming", *arguments, *SHORT)
    assert code == 0
    assert "clip_vit_b32: untrained weights" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "clip_vit_b33"), "Did you mean 'clip_vit_b32'"),
        (("--batch-size", 1), "batch_size must be 2 or more"),
        (("--recipe", "none.toml"), "no such recipe file"),
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
