import json

import pytest
from filelock import Timeout

from vesalius.errors import OutputError
from vesalius.folders import Claim, read_folder_notes, tell_differences
from vesalius.records import SEGMENTATIONS, acquire, locked, read_record, write_record

FILES = ["a.json", "b.png"]


def claim(folder, command, origin, files, **options):
    """Check, which changes nothing, then make."""
    before = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    same = Claim(folder, command, origin, files, **options).check()
    assert before == (sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [])
    assert Claim(folder, command, origin, files, **options).make() == same
    return same


@pytest.fixture
def used(tmp_path):
    """A folder that holds what "evaluate" made with seed 0, and a file of nobody knows whom."""
    assert not claim(tmp_path, "evaluate", {"seed": 0}, FILES)
    for name in (*FILES, "letter.txt"):
        (tmp_path / name).write_text(name)
    return tmp_path


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_folder_says_what_it_was_made_from(used):
    note = read_folder_notes(used)["evaluate"]
    assert (note["from"], note["files"]) == ({"seed": 0}, FILES)
    assert "vesalius" in note


def test_the_same_results_may_be_written_again(used):
    assert claim(used, "evaluate", {"seed": 0}, FILES)
    assert names(used) == {*FILES, "letter.txt", "made.json"}


def test_results_from_something_else_are_refused_with_the_difference(used):
    with pytest.raises(OutputError, match=r"made from something else \(seed was 0, is 1\); .*--overwrite"):
        claim(used, "evaluate", {"seed": 1}, FILES)
    assert read_folder_notes(used)["evaluate"]["from"] == {"seed": 0}
    assert (used / "a.json").is_file()


def test_overwrite_replaces_only_what_the_command_made(used):
    assert not claim(used, "evaluate", {"seed": 1}, ["a.json"], overwrite=True)
    assert names(used) == {"letter.txt", "made.json"}
    assert read_folder_notes(used)["evaluate"]["from"] == {"seed": 1}


@pytest.mark.parametrize("name", ["../victim.txt", "{absolute}"])
def test_a_note_that_names_a_file_outside_deletes_nothing_there(used, tmp_path_factory, name):
    victim = used.parent / "victim.txt"
    victim.write_text("precious")
    notes = read_folder_notes(used)
    notes["evaluate"]["files"] += [name.format(absolute=victim)]
    (used / "made.json").write_text(json.dumps(notes))
    claim(used, "evaluate", {"seed": 1}, FILES, overwrite=True)
    assert victim.read_text() == "precious"
    assert not (used / "b.png").exists()


def test_results_of_another_command_are_added(used):
    assert not claim(used, "audit", {"limit": 3}, ["audit.json"])
    assert read_folder_notes(used).keys() == {"evaluate", "audit"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_another_command_are_never_replaced(used, overwrite):
    with pytest.raises(OutputError, match="a.json there is what `vesalius evaluate` made; name another folder"):
        claim(used, "report", {}, ["a.json"], overwrite=overwrite)


def test_files_of_nobody_knows_whom_are_replaced_only_on_demand(used):
    with pytest.raises(OutputError, match="letter.txt: there already, and nothing says what from"):
        claim(used, "report", {}, ["letter.txt"])
    assert not claim(used, "report", {}, ["letter.txt"], overwrite=True)


def test_a_command_that_ended_before_it_wrote_anything_is_no_hindrance(tmp_path):
    claim(tmp_path, "train", {"seed": 0}, FILES)
    assert not claim(tmp_path, "train", {"seed": 1}, FILES)


@pytest.mark.parametrize("content", ["{", "[]", '{"train": 3}', '{"train": {}}'])
def test_a_damaged_note_is_named(tmp_path, content):
    (tmp_path / "made.json").write_text(content)
    with pytest.raises(OutputError, match=r"made\.json.* another folder"):
        claim(tmp_path, "train", {}, FILES)


def test_a_file_in_the_folders_place_is_named(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="out: is a file; name a folder"):
        claim(tmp_path / "out", "train", {}, FILES)


def test_differences_are_told_by_their_place():
    before, now = {"a": {"b": 1, "c": [1]}, "d": None}, {"a": {"b": 2, "c": [1]}, "e": "x"}
    assert tell_differences(before, now) == ["a.b was 1, is 2", 'e was not given, is "x"']


def test_a_record_is_read_as_it_was_written_its_rows_in_the_order_of_masks(tmp_path):
    rows = [{"image": "c.png", "prompt": "polyp", "mask": name} for name in ("b.png", None, "a.png")]
    write_record(
        tmp_path, {"results": rows, "begun": {"c.png": ["c.mask.png"]}, "tables": ["results.csv"]}, SEGMENTATIONS
    )
    read = read_record(tmp_path, SEGMENTATIONS)
    assert [row["mask"] for row in read["results"]] == [None, "a.png", "b.png"]
    assert (read["begun"], read["tables"]) == ({"c.png": ["c.mask.png"]}, ["results.csv"])
    assert [path.name for path in tmp_path.iterdir()] == ["segmentation.json"]


def test_a_folder_without_a_record_has_no_results(tmp_path):
    assert read_record(tmp_path, SEGMENTATIONS) == {"results": []}


NO_RECORDS = [
    "{", "[]", "{}", '{"results": {}}', '{"results": [1]}', '{"results": [{}]}',
    '{"results": [{"image": 1, "prompt": "polyp"}]}', '{"results": [{"image": "a.png"}]}',
    '{"results": [{"image": "a.png", "prompt": "polyp", "mask": ["b"]}]}',
    '{"results": [], "begun": ["a"]}', '{"results": [], "begun": {"a": "b"}}', '{"results": [], "begun": {"a": [1]}}',
    '{"results": [], "tables": 5}', '{"results": [], "tables": [5]}', '{"results": [], "tables": null}',
]  # fmt: skip


@pytest.mark.parametrize("content", NO_RECORDS)
def test_what_is_no_record_is_refused_with_the_way_out(tmp_path, content):
    (tmp_path / "segmentation.json").write_text(content)
    with pytest.raises(OutputError, match=r"segmentation\.json.*--out"):
        read_record(tmp_path, SEGMENTATIONS)


def test_one_process_at_a_time_changes_a_record(tmp_path):
    with locked(tmp_path, SEGMENTATIONS), pytest.raises(Timeout):
        acquire(tmp_path, f".{SEGMENTATIONS.name}.lock", timeout=0)
    assert [path.name for path in tmp_path.iterdir()] in ([], [".segmentation.json.lock"])


@pytest.mark.parametrize(("number", "told"), [(3, "0, 1, 2: there"), (4, "0, 1, 2 and 1 more: there")])
def test_three_files_in_the_way_are_named_and_others_counted(tmp_path, number, told):
    names = [str(each) for each in range(number)]
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(OutputError, match=told):
        claim(tmp_path, "audit", {}, names)
