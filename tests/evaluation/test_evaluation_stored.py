from dataclasses import asdict

import pytest

from vesalius.errors import ConfigError, DataError
from vesalius.evaluation.segmentation import Evaluation
from vesalius.evaluation.stored import read_evaluation, read_evaluations, write_evaluation


@pytest.fixture
def rows(make_row):
    return [make_row("a", "p1", 0.5), make_row("b", "p1", 0.7, hd95=2.0)]


def test_an_evaluation_comes_back(store, rows, tmp_path):
    found = read_evaluation(store(tmp_path / "mine", rows, model="runs/x"))
    assert asdict(found) == {
        "name": "mine", "model": "runs/x", "data": "/data/kvasir", "split": "test", "rule": "threshold 0.5", "seen": "",
        "evaluation": asdict(Evaluation(tuple(rows))), "group_regex": None, "manifest": {},
    }  # fmt: skip


def test_what_was_written_keeps_the_evaluation_itself(rows, tmp_path):
    evaluation = Evaluation(tuple(rows))
    about = {"model": "runs/x", "data": "/data/kvasir", "split": "test", "rule": "r", "manifest": {"seconds": 3}}
    written = write_evaluation(evaluation, about, tmp_path / "mine")
    assert written == read_evaluation(tmp_path / "mine")
    assert written.evaluation is evaluation


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({"manifest": {"seconds": 3}, "versions": {"scipy": "1"}}, {"seconds": 3, "versions": {"scipy": "1"}}),
        ({}, {}),
        ({"manifest": "text"}, {}),
    ],
)
def test_the_manifest_comes_with_the_versions(store, rows, tmp_path, about, expected):
    assert read_evaluation(store(tmp_path, rows, **about)).manifest == expected


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [({"settings": {"group_regex": "^a"}}, "^a"), ({"settings": {"group_regex": None}}, None), ({}, None), ("x", None)],
)
def test_the_expression_for_patients_is_found(store, rows, tmp_path, manifest, expected):
    assert read_evaluation(store(tmp_path, rows, manifest=manifest)).group_regex == expected


def test_folders_of_one_name_are_told_apart_by_their_path(store, rows, tmp_path):
    folders = [store(tmp_path / name, rows) for name in ("x/busi", "y/busi", "z")]
    assert [each.name for each in read_evaluations(folders)] == [str(folders[0]), str(folders[1]), "z"]


def test_a_folder_given_twice_is_refused(store, rows, tmp_path):
    folder = store(tmp_path / "mine", rows)
    with pytest.raises(ConfigError, match="is given twice"):
        read_evaluations([folder, tmp_path / "x" / ".." / "mine"])


def test_a_folder_without_an_evaluation_says_how_to_make_one(store, rows, tmp_path):
    with pytest.raises(DataError, match=r"there is no .*evaluation\.json; make it with: vesalius evaluate"):
        read_evaluation(tmp_path / "nothing")
    (store(tmp_path / "half", rows) / "rows.parquet").unlink()
    with pytest.raises(DataError, match=r"there is no .*rows\.parquet"):
        read_evaluation(tmp_path / "half")
    with pytest.raises(DataError, match="no rows"):
        read_evaluation(store(tmp_path / "empty", []))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "expected an object with the texts model, data, split, rule; got list"),
        ('{"model": "pocket", "split": 3}', "got model, split"),
    ],
)
def test_a_damaged_description_is_refused(store, rows, tmp_path, text, message):
    folder = store(tmp_path / "mine", rows)
    (folder / "evaluation.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_evaluation(folder)
