import json

import pytest

from vesalius.models.checkpoints import save_model


@pytest.fixture
def model(build_tiny, tmp_path):
    """A tiny CLIP as a checkpoint."""
    path = tmp_path / "clip.safetensors"
    save_model(build_tiny("clip_vit_b32"), path)
    return path


def test_a_model_and_its_baselines_are_measured(run, model, tiny_slices, tmp_path):
    arguments = ("--data", tiny_slices, "--min-patients", 1, "--paper-stations", "--baselines", "--out", "page")
    code, printed, told = run("evaluate-naming", model, *arguments)
    assert code == 0
    assert "Organs" in printed
    assert "naming.md" in told
    systems = json.loads((tmp_path / "page" / "naming.json").read_text())["systems"]
    assert [each["name"] for each in systems] == [
        "clip.safetensors", "linear probe of clip.safetensors", "prevalence",
    ]  # fmt: skip
    assert "upper limb" not in systems[0]["settings"]["stations"]


def test_it_prints_one_object(run, model, tiny_slices):
    code, printed, _ = run("evaluate-naming", model, "--data", tiny_slices, "--json")
    assert code == 0
    assert json.loads(printed)["systems"][0]["aspects"]["organs"]["images"] == 3


def test_what_is_wrong_is_told_in_one_line(run, model, tiny_slices, tmp_path):
    for arguments, message in (
        ((model, "--data", tmp_path), "cannot be read; expected what 'vesalius data slices' writes"),
        (("nothing", "--data", tiny_slices), "No model named 'nothing'"),
        ((model, "--data", tiny_slices, "--min-patients", 0), "min_patients: expected 1 or more"),
    ):
        code, _, told = run("evaluate-naming", *arguments)
        assert code == 2
        assert message in told
