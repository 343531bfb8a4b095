"""``vesalius train`` as a user calls it."""

import json

import pytest

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
