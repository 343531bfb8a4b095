import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vesalius.models.checkpoint_file import read_notes
from vesalius.models.checkpoints import load_model, save_model
from vesalius.naming import Answer, SeriesName, SliceName
from vesalius.naming.phrasebook import NamingCalibration

TABLE = {"patients": {"a": "CHEST", "b": "CHEST", "c": "HEAD", "d": "HEAD"}, "wrong": ["HEAD", "CHEST", "PELVIS"]}


@pytest.fixture(scope="module")
def recipe(import_script):
    return import_script("experiments/pocket", "audit_thresholds")


def show(**probabilities: float) -> SeriesName:
    nothing = Answer(None, None, "pixels")
    slices = tuple(
        SliceName(index, None, None, nothing, station_probabilities={"pelvis": 0.0, **probabilities})
        for index in range(3)
    )
    return SeriesName(Path("x"), nothing, nothing, nothing, slices)


def test_the_mildest_thresholds_that_are_seldom_wrong_are_chosen(recipe):
    chest, head = show(chest=0.9, head=0.2), show(chest=0.3, head=0.8)
    named = [("a", chest), ("b", chest), ("b", chest), ("c", head), ("d", head)]
    rule = recipe.choose_rule(recipe.make_examples(named, TABLE), 3)
    assert (rule.agrees, rule.contradicts, rule.patients, rule.least_slices) == (0.0, 0.0, 4, 3)
    assert (rule.wrongly_agrees, rule.wrongly_contradicts, rule.found_right, rule.found_wrong) == (0, 0, 1, 1)


def test_one_confident_mistake_makes_the_thresholds_strict_and_is_counted(recipe):
    mistake = show(chest=0.1, head=0.7)
    named = [("a", show(chest=0.9, head=0.2)), ("b", mistake), ("c", show(head=0.8)), ("d", show(head=0.8))]
    rule = recipe.choose_rule(recipe.make_examples(named, TABLE), 3)
    assert rule.contradicts == -0.61
    assert rule.agrees == 0.61
    # Thresholds chosen without "b" are mild: 1 of 4 right headers is contradicted, 1 of 8 wrong ones agrees.
    assert (rule.wrongly_contradicts, rule.wrongly_agrees) == (0.25, 0.125)


def test_wrong_terms_share_no_station_with_the_right_one(recipe):
    examples = recipe.make_examples([("a", show(chest=1.0))], TABLE)
    assert [(each.series.header["BodyPartExamined"], each.right, each.weight) for each in examples] == [
        ("CHEST", True, 1.0), ("HEAD", False, 0.5), ("PELVIS", False, 0.5),
    ]  # fmt: skip


def test_notes_change_and_weights_do_not(recipe, build_tiny, tmp_path):
    model, path = build_tiny("pocket"), tmp_path / "model.safetensors"
    save_model(model, path, {"epochs": 3})
    rule = {
        "agrees": 0.1, "contradicts": -0.7, "least_slices": 3, "patients": 32, "wrongly_agrees": 0.05,
        "wrongly_contradicts": 0.04, "found_right": 0.7, "found_wrong": 0.3,
    }  # fmt: skip
    recipe.write_notes(path, read_notes(path) | {"naming": {"audit": rule}})
    assert read_notes(path)["epochs"] == 3
    assert NamingCalibration.from_notes(read_notes(path), path).audit.patients == 32
    found = load_model(path).state_dict()
    assert all(torch.equal(found[key], value) for key, value in model.state_dict().items())


@pytest.mark.slow
def test_everybody_is_named_by_the_head_that_never_saw_them(recipe, build_tiny, tmp_path, monkeypatch):
    model, asked = build_tiny("pocket"), []
    heads = {
        f"{part}.{name}": torch.full_like(value, part + 1)
        for part in (0, 1)
        for name, value in model.projection.state_dict().items()
    }
    parts = [{"patients": ["a"], "calibration": {"of": 1.0}}, {"patients": ["b"], "calibration": {"of": 2.0}}]
    save_file(heads, tmp_path / "folds.safetensors", {"folds": json.dumps(parts)})
    rows = [{"file": "x.nii.gz", "patient": "b"}, {"file": "y.nii.gz", "patient": "a"}]
    (tmp_path / "series.json").write_text(json.dumps(rows))

    class Labeller:
        def __init__(self, checkpoint):
            self.head = load_model(checkpoint).projection.layers[0].bias[0].item()
            assert read_notes(checkpoint)["naming"]["calibration"] == {"of": self.head}

        def label(self, image):
            return self.head, image.name

    monkeypatch.setattr(recipe, "AnatomyLabeller", Labeller)
    monkeypatch.setattr(recipe, "read_image", lambda path: path)
    named = recipe.name_strangers(model, tmp_path / "folds.safetensors", tmp_path, lambda: asked.append(1))
    assert named == [("a", (1.0, "y.nii.gz")), ("b", (2.0, "x.nii.gz"))]
    assert len(asked) == 2
    (tmp_path / "series.json").write_text(json.dumps([*rows, {"file": "z.nii.gz", "patient": "c"}]))
    with pytest.raises(SystemExit, match="people of 1 series"):
        recipe.name_strangers(model, tmp_path / "folds.safetensors", tmp_path, lambda: None)
