"""`vesalius evaluate` and `vesalius evaluate-naming`, called as a user would."""

import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest

from vesalius.cli.evaluate import evaluate
from vesalius.data.fingerprints import Fingerprints, take_fingerprints, write_fingerprints
from vesalius.evaluation.rows import METRICS, read_rows
from vesalius.evaluation.segmentation import TOLERANCE
from vesalius.imaging import write_mask
from vesalius.models.checkpoints import save_model


@pytest.fixture(scope="module")
def weights(build_tiny, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "unet.safetensors"
    save_model(build_tiny("unet_d"), path)
    return path


@pytest.fixture(scope="module")
def half_empty(write_dataset) -> Path:
    """A data set of which one test image shows nothing."""
    root = write_dataset("half_empty_set")
    write_mask(root / "masks" / "test_1.png", np.zeros((40, 56), bool))
    return root


@pytest.mark.slow
def test_the_folder_holds_all_rows_and_what_was_printed(run, tiny_dataset, weights, tmp_path):
    code, out, err = run("evaluate", weights, "--data", tiny_dataset, "--out", tmp_path / "e", "--json")
    assert code == 0
    content = json.loads(out)
    assert json.loads((tmp_path / "e" / "evaluation.json").read_text()) == content
    assert content["model"] == str(weights)
    assert content["data"] == str(tiny_dataset.resolve())
    assert content["split"] == "test"
    assert content["versions"].keys() == {"vesalius", "torch", "numpy", "scipy"}
    assert list(content["prompts"]) == ["p0", "p1", "p2", "p3"]
    assert content["summary"].keys() == set(METRICS)
    rows = read_rows(tmp_path / "e" / "rows.parquet")
    assert len(rows) == 2 * 5
    assert f"10 rows: {tmp_path / 'e' / 'rows.parquet'}" in err


def test_a_table_has_a_row_for_each_asked_prompt_and_states_the_rule(run, tiny_dataset, weights):
    code, out, err = run(
        "evaluate", weights, "--data", tiny_dataset, "--split", "val", "--prompts", "p1,p3,p1", "--tolerance", 3
    )
    assert code == 0
    assert out.count("p1") == out.count("p3") == 1
    assert "p2" not in out
    assert "show something" not in out
    assert "2 images" in " ".join(out.split())
    assert "threshold 0.5, resolution of the files given, both masks empty = 1, NSD within 3 px" in err


def test_images_with_nothing_to_find_are_left_out_of_a_second_table(run, half_empty, weights):
    code, out, _ = run("evaluate", weights, "--data", half_empty, "--prompts", "p1")
    assert code == 0
    titles = " ".join(out.split())
    assert "test: 2 images" in titles
    assert "test: the 1 of 2 images that show something" in titles


def test_absent_things_are_told_beside_the_means(run, write_dataset, add_absent, weights):
    data = add_absent(write_dataset("asking"), "test")
    code, _, err = run("evaluate", weights, "--data", data, "--prompts", "p2")
    assert code == 0
    assert re.search(r"Absent things: \d of 4 answers mark less than 1 % of the image; no mean above counts", err)


def test_the_command_s_tolerance_is_the_library_s():
    # Named twice, as `--help` must not wait for torch.
    assert inspect.signature(evaluate).parameters["tolerance"].default == TOLERANCE


WRONG = {
    "an unknown family": (
        ["--prompts", "p1,p9"],
        "prompts lack 'p9'; available: p0, p1, p2, p3. Choose with --prompts",
    ),
    "a negative tolerance": (["--tolerance", -1], "tolerance of NSD must be 0 or more"),
    "patients that names do not tell": (["--group-regex", "^p"], "must match every image's name; 2 of 2"),
    "an unknown split": (["--split", "tset"], "tset"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_scored_gives_2_and_one_line_and_writes_nothing(run, tiny_dataset, weights, case, tmp_path):
    arguments, message = WRONG[case]
    code, out, err = run("evaluate", weights, "--data", tiny_dataset, "--out", tmp_path / "e", *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert not (tmp_path / "e").exists()


@pytest.mark.slow
def test_images_that_the_model_was_trained_on_are_counted_and_told(run, write_dataset, build_tiny, tmp_path):
    root = write_dataset("kvasir_polyp")
    save_model(build_tiny("unet_d"), tmp_path / "mine.safetensors")
    first = [root / "images" / "test_0.png"]
    write_fingerprints(Fingerprints(take_fingerprints(first), complete=True), tmp_path / "mine.seen.safetensors")
    arguments = ("evaluate", "mine.safetensors", "--data", root, "--out", "e")
    code, out, err = run(*arguments)
    assert code == 0
    assert "2 images, 1 of them seen in training" in out
    assert "Seen in training: 1 of 2 images; mean Dice of the others" in err
    seen = json.loads((tmp_path / "e/evaluation.json").read_text())["seen_in_training"]
    assert (seen["images"], seen["of"], seen["names"]) == (1, 2, ["test_0.png"])
    assert 0 <= seen["mean_dice_of_others"] <= 1
    assert "1 of 2 images" in (tmp_path / "e/report.md").read_text()


def test_a_model_without_fingerprints_says_that_nothing_is_known(run, tiny_dataset, weights):
    code, out, err = run("evaluate", weights, "--data", tiny_dataset, "--json")
    assert code == 0
    assert json.loads(out)["seen_in_training"]["images"] is None


@pytest.mark.slow
def test_a_folder_of_another_evaluation_is_refused_and_replaced_on_demand(run, tiny_dataset, weights, tmp_path):
    arguments = ("evaluate", weights, "--data", tiny_dataset, "--out", tmp_path / "e", "--prompts", "p1")
    assert run(*arguments)[0] == 0
    before = (tmp_path / "e/rows.parquet").read_bytes()
    code, _, err = run(*arguments, "--split", "val")
    assert code == 2
    assert "split was" in err
    assert "--overwrite" in err
    assert (tmp_path / "e/rows.parquet").read_bytes() == before
    assert run(*arguments, "--split", "val", "--overwrite")[0] == 0
    assert json.loads((tmp_path / "e/evaluation.json").read_text())["split"] == "val"


@pytest.fixture
def model(build_tiny, tmp_path):
    """A tiny CLIP as a checkpoint."""
    path = tmp_path / "clip.safetensors"
    save_model(build_tiny("clip_vit_b32"), path)
    return path


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_model_that_was_trained_anew_is_another(run, model, tiny_slices, build_tiny):
    arguments = ("evaluate-naming", model, "--data", tiny_slices, "--min-patients", 1, "--out", "page")
    assert run(*arguments)[0] == 0
    save_model(build_tiny("clip_vit_b32", seed=1), model)
    code, _, told = run(*arguments)
    assert code == 2
    assert "weights.sha256 was" in told


@pytest.mark.slow
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
