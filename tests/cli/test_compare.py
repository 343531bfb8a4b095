"""`vesalius compare`, called as a user would."""

import json
from functools import partial
from pathlib import Path

import pytest

from vesalius.cli import main
from vesalius.models.checkpoints import save_model


@pytest.fixture(scope="module")
def folder(tiny_dataset, build_tiny, tmp_path_factory) -> Path:
    """Holds two evaluations of the same tiny data set, `a` and `b`, and one of another split, `c`."""
    root = tmp_path_factory.mktemp("evaluations")
    for seed, (name, split) in enumerate({"a": "train", "b": "train", "c": "test"}.items()):
        save_model(build_tiny("pocket", seed=seed), root / f"{name}.safetensors")
        data = ["--data", str(tiny_dataset), "--split", split]
        main(["evaluate", str(root / f"{name}.safetensors"), *data, "--out", str(root / name)])
    return root


@pytest.fixture
def compare(run, folder, monkeypatch):
    """Run `vesalius compare` beside the evaluations."""
    monkeypatch.chdir(folder)
    return partial(run, "compare")


def test_a_comparison_is_a_table_with_intervals_tests_and_what_they_mean(compare, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    code, out, err = compare("a", "b")
    assert code == 0
    assert "Dice on kvasir_polyp, train: 4 images" in out
    assert "a − b" in out
    assert "p3" in out
    for said in (
        "Only 4 to draw from",
        "The order ",
        "95% bootstrap interval, 10,000 resamples, seed 0",
        "threshold 0.5",
    ):
        assert said in err


def test_json_and_file_say_the_same(compare, tmp_path):
    code, out, err = compare("a", "b", "--metric", "nsd", "--out", tmp_path, "--json")
    assert code == 0
    content = json.loads(out)
    assert json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8")) == content
    assert content["metric"] == "nsd"
    assert {each["name"] for each in content["standings"]} == {"a", "b"}
    assert f"Written: {tmp_path}/comparison.json" in err


def test_patients_are_drawn_where_names_tell_them(compare):
    code, out, _ = compare("a", "b", "--group-regex", "train_[01]|train")
    assert code == 0
    assert "4 images in 3 groups" in " ".join(out.split())


WRONG = {
    "one evaluation": (["a"], "two evaluations or more; got 1"),
    "the same twice": (["a", "a"], "a is given twice"),
    "no evaluation": (["a", "none"], "there is no none/evaluation.json; make it with: vesalius evaluate"),
    "another split": (["a", "c"], "a has 'train', c 'test'"),
    "another metric": (["a", "b", "--metric", "dicee"], 'Did you mean "dice"?'),
    "a pattern that fits no name": (["a", "b", "--group-regex", "patient"], "4 of 4 are not matched"),
}


def test_what_cannot_be_compared_gives_one_line_and_2(compare):
    for arguments, message in WRONG.values():
        code, out, err = compare(*arguments)
        assert (code, out) == (2, "")
        assert message in err
        assert "Traceback" not in err
