"""`vesalius audit`, called as a user would."""

import json
from pathlib import Path

import pytest

from vesalius.models.checkpoints import save_model


@pytest.fixture(scope="module")
def weights(build_tiny, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "unet.safetensors"
    save_model(build_tiny("unet_d"), path)
    return path


def test_the_folder_holds_the_card_the_answers_and_what_was_printed(run, tiny_dataset, weights, tmp_path):
    code, out, err = run("audit", weights, "--data", tiny_dataset, "--out", tmp_path / "a", "--json")
    assert code == 0
    content = json.loads(out)
    assert json.loads((tmp_path / "a" / "audit.json").read_text()) == content
    assert (content["model"], content["split"], content["images"]) == (str(weights), "test", 2)
    assert content["conclusion"] == ["Ignores the prompt: whatever it is asked, it marks the same."]
    assert (tmp_path / "a" / "audit.md").read_text().startswith(f"# {weights} on kvasir_polyp, test")
    assert (tmp_path / "a" / "answers.parquet").is_file()
    assert "pictures of the worst" in err


@pytest.mark.slow
def test_pictures_belong_to_the_audit_and_go_with_it(run, tiny_dataset, weights, tmp_path):
    arguments, folder = ("audit", weights, "--data", tiny_dataset, "--out", tmp_path / "a"), tmp_path / "a"
    assert run(*arguments)[0] == 0
    assert list(folder.glob("*.png"))
    code, _, err = run(*arguments, "--pictures", 0)
    assert code == 2
    assert "pictures was 3, is 0" in err
    assert run(*arguments, "--pictures", 0, "--overwrite")[0] == 0
    assert not list(folder.glob("*.png"))


def test_a_table_says_what_is_good_and_the_verdict(run, tiny_dataset, weights):
    code, out, err = run("audit", weights, "--data", tiny_dataset, "--split", "val", "--limit", 2)
    assert code == 0
    assert "good: near 1" in out
    assert "ignores it" in out
    assert "calibration error" in out
    assert "Ignores the prompt" in err
    assert "2 records" in err


WRONG = {
    "no image": (["--limit", 0], "--limit: expected 1 image or more, got 0"),
    "fewer pictures than none": (["--pictures", -1], "--pictures: expected 0 or more"),
    "an absent phrase without words": (["--absent", " "], "--absent: expected phrases"),
    "patients that names do not tell": (["--group-regex", "^p"], "must match every image's name; 2 of 2"),
    "an unknown split": (["--split", "tset"], "tset"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_asked_gives_2_and_one_line_and_writes_nothing(run, tiny_dataset, weights, case, tmp_path):
    arguments, message = WRONG[case]
    code, out, err = run("audit", weights, "--data", tiny_dataset, "--out", tmp_path / "a", *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert not (tmp_path / "a").exists()
