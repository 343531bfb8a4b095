"""`vesalius compare` and `vesalius report`, called as a user would."""

import json
from functools import partial
from pathlib import Path
from shutil import copy, copytree

import pytest

from vesalius.cli import main
from vesalius.models.checkpoints import save_model

pytestmark = pytest.mark.slow


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


def test_evaluations_made_anew_are_something_else(run, folder, tmp_path):
    for name in "ab":
        copytree(folder / name, tmp_path / name)
    arguments = ("compare", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c")
    assert run(*arguments)[0] == 0
    assert run(*arguments)[0] == 0
    copy(tmp_path / "b/rows.parquet", tmp_path / "a/rows.parquet")
    code, _, err = run(*arguments)
    assert code == 2
    assert "`vesalius compare` made from something else" in err


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


@pytest.fixture(scope="module")
def weights(build_tiny, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "pocket.safetensors"
    save_model(build_tiny("pocket"), path, {"epoch": 3})
    return path


@pytest.fixture
def evaluated(run, tiny_dataset, weights, tmp_path) -> Path:
    code, _, _ = run(
        "evaluate", weights, "--data", tiny_dataset, "--prompts", "p0,p1", "--device", "cpu", "--out", tmp_path / "e"
    )
    assert code == 0
    return tmp_path / "e"


def test_an_evaluation_leaves_a_report_with_pictures_and_how_it_was_made(evaluated, weights):
    page = (evaluated / "report.html").read_text()
    assert page.count("<img ") == 2 * 4
    assert "Worst" in page
    assert weights.name in page
    assert "# " in (evaluated / "report.md").read_text()
    manifest = json.loads((evaluated / "evaluation.json").read_text())["manifest"]
    given = {"prompts": "p0,p1", "tolerance": 2.0, "group_regex": None}
    assert manifest["settings"] == {**given, "device": "cpu", "precision": "32"}
    assert manifest["training"] == {"epoch": 3}
    assert len(manifest["weights"]["sha256"]) == len(manifest["data"]["annotations_sha256"]) == 64
    assert manifest["seconds"] >= 0


def test_a_report_is_written_anew_from_the_folder_alone(run, evaluated):
    first = (evaluated / "report.html").read_text()
    (evaluated / "report.html").unlink()
    code, out, err = run("report", evaluated)
    assert code == 0
    assert (evaluated / "report.html").read_text() == first
    assert "mean Dice" in out
    assert f"Written: {evaluated / 'report.html'}, {evaluated / 'report.md'}" in err


def test_without_the_pictures_it_says_so(run, evaluated):
    (evaluated / "pictures.json").unlink()
    code, out, err = run("report", evaluated, "--json")
    assert code == 0
    assert "No pictures" in err
    content = json.loads(out)
    assert content["pictures"] == 0
    page = Path(content["page"]).read_text()
    assert "<img " not in page
    assert "No pictures" in page


def test_nobody_needs_to_show_pictures(run, tiny_dataset, weights, tmp_path):
    options = ("--prompts", "p1", "--pictures", 0, "--out", tmp_path / "e")
    assert run("evaluate", weights, "--data", tiny_dataset, *options)[0] == 0
    assert "<img " not in (tmp_path / "e" / "report.html").read_text()


def test_several_evaluations_are_put_side_by_side(run, evaluated, tmp_path):
    other = evaluated.rename(tmp_path / "second")
    copy = tmp_path / "first"
    copy.mkdir()
    for name in ("rows.parquet", "evaluation.json"):
        (copy / name).write_bytes((other / name).read_bytes())
    code, out, _ = run("report", copy, other, "--out", tmp_path / "both", "--json")
    assert code == 0
    assert json.loads(out)["title"] == "2 evaluations on kvasir_polyp, test"
    page = (tmp_path / "both" / "report.html").read_text()
    assert "first − second" in page
    assert json.loads((tmp_path / "both" / "comparison.json").read_text())["metric"] == "dice"
    page = (other / "report.html").read_bytes()
    code, _, err = run("report", copy, other, "--out", other)
    assert code == 2
    assert "report.html" in err
    assert (other / "report.html").read_bytes() == page


def test_what_cannot_be_reported_gives_2_and_one_line(run, evaluated, tmp_path):
    wrong = {
        "No evaluation is given": [],
        "nothing": [tmp_path / "nothing"],
        "needs a folder of its own": [evaluated, tmp_path / "other"],
        "is no regular expression": [evaluated, "--group-regex", "("],
    }
    for message, arguments in wrong.items():
        code, out, err = run("report", *arguments)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert message in err


def test_too_many_pictures_are_refused_before_the_pass(run, tiny_dataset, weights, tmp_path):
    code, _, err = run("evaluate", weights, "--data", tiny_dataset, "--pictures", 7, "--out", tmp_path / "e")
    assert code == 2
    assert "expected 0 to 6, got 7" in err
    assert not (tmp_path / "e").exists()
