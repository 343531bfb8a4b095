from vesalius.evaluation.report.content import find_group_regex, flatten, read_manifest


def test_the_manifest_comes_with_the_versions(store, make_row, tmp_path):
    row = make_row("a", "p1", 0.5)
    folder = store(tmp_path, [row], manifest={"seconds": 3}, versions={"vesalius": "1"})
    assert read_manifest(folder) == {"seconds": 3, "versions": {"vesalius": "1"}}


def test_an_evaluation_without_one_has_an_empty_one(store, make_row, tmp_path):
    assert read_manifest(store(tmp_path, [make_row("a", "p1", 0.5)])) == {}
    assert read_manifest(store(tmp_path, [make_row("a", "p1", 0.5)], manifest="text")) == {}


def test_the_expression_for_patients_is_found():
    assert find_group_regex({"settings": {"group_regex": "^a"}}) == "^a"
    assert find_group_regex({"settings": {"group_regex": None}}) is None
    assert find_group_regex({}) is None


def test_fields_within_fields_are_one_line():
    assert flatten({"a": {"b": {"c": 1}, "d": [1, 2]}, "e": None}) == {"a": "b.c 1 · d [1, 2]"}


def test_what_is_long_is_taken_apart_and_cut():
    lines = flatten({"training": {"epoch": 3, "notes": "word " * 100}})
    assert lines["training, epoch"] == "3"
    assert lines["training, notes"].endswith("word …")
    assert len(lines["training, notes"]) < 310
