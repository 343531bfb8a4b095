"""`vesalius data check`, called as a user would."""

import json
import shutil

import pytest


@pytest.fixture
def good(write_dataset, tmp_path):
    """A data set of its own that a test may spoil."""
    return shutil.copytree(write_dataset("ellipses"), tmp_path / "ellipses")


def test_a_good_set_passes(run, good):
    code, out, err = run("data", "check", good, "--jobs", 1)
    assert code == 0
    assert out == ""
    assert "Nothing is wrong. 8 images" in err


def test_a_bad_set_gives_1_a_table_and_examples_with_split_and_record(run, good):
    shutil.copy(good / "images/train_1.png", good / "images/test_0.png")
    (good / "masks/val_1.png").unlink()
    code, out, err = run("data", "check", good)
    assert code == 1
    assert "Files that records name" in out
    assert "error: masks/val_1.png is not there. (val 1)" in err
    assert "in train and test: images/train_1.png, images/test_0.png. (train 1, test 0)" in err
    assert "1 of 2 test images resemble a train image." in err
    assert "Something is wrong." in err


def test_json_and_both_files_say_the_same(run, good, tmp_path):
    (good / "images/val_0.png").write_bytes(b"")
    code, out, _ = run("data", "check", good, "--out", tmp_path / "report", "--json")
    content = json.loads(out)
    assert code == 1
    assert json.loads((tmp_path / "report/check.json").read_text(encoding="utf-8")) == content
    assert content["findings"][0]["message"].startswith("images/val_0.png: is empty")
    assert "images/val_0.png: is empty" in (tmp_path / "report/check.html").read_text(encoding="utf-8")


def test_many_findings_of_a_kind_are_cut_on_the_terminal(run, good):
    for path in (good / "masks").glob("*.png"):
        path.unlink()
    _, _, err = run("data", "check", good)
    assert err.count("is not there") == 3
    assert "… 5 more: Files that records name and that are not there" in err


WRONG = {
    "a missing folder": (["none"], "none: no such data folder"),
    "a folder of something else": (["."], "no images/ in it"),
    "a similarity out of range": (["ellipses", "--similarity", "2"], "--similarity: expected 0.5 to 1, got 2.0"),
    "no process": (["ellipses", "--jobs", "0"], "--jobs: expected 1 or more"),
    "groups told twice": (["ellipses", "--group-regex", "a", "--group-field", "b"], "choose one"),
    "a field that nobody has": (["ellipses", "--group-field", "patient"], "no record has a field 'patient'"),
    "a bad pattern": (["ellipses", "--group-regex", "("], "is no regular expression"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_check_that_cannot_be_made_gives_2_and_one_line(run, good, case):
    arguments, message = WRONG[case]
    code, out, err = run("data", "check", *arguments, "--out", "report")
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert not (good.parent / "report").exists()
