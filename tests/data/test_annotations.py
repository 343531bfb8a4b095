import json
from pathlib import Path

import pytest

from vesalius.data.annotations import ImageRecord, read_annotations
from vesalius.errors import DataError

GOOD = {"img_name": "a.jpg", "mask_name": "a.png", "prompts": {"p0": "", "p1": "polyp", "p2": ["round", "oval"]}}


def write(folder: Path, rows: object) -> Path:
    path = folder / "val.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_records_come_back_in_the_order_of_the_file(tmp_path):
    rows = [GOOD, GOOD | {"img_name": "folder/ä b.jpg"}]
    assert read_annotations(write(tmp_path, rows)) == [ImageRecord(**row) for row in rows]


def test_fields_of_others_are_left_out(tmp_path):
    (record,) = read_annotations(write(tmp_path, [GOOD | {"sentence": 3}]))
    assert record == ImageRecord(**GOOD)


def test_a_record_about_something_absent_is_marked(tmp_path):
    plain, marked = read_annotations(write(tmp_path, [GOOD, GOOD | {"absent": True}]))
    assert (plain.absent, marked.absent) == (False, True)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("text", "expected an object with img_name, mask_name, prompts, got str"),
        ({"img_name": "a.jpg", "prompts": {}}, "lacks 'mask_name'; expected .*, got img_name, prompts"),
        (GOOD | {"img_name": ""}, "img_name must be a file name, got ''"),
        (GOOD | {"mask_name": 3}, "mask_name must be a file name, got 3"),
        (GOOD | {"img_name": "../../etc/passwd"}, "img_name must stay inside its folder, got '../../etc/passwd'"),
        (GOOD | {"img_name": "a/../../b.jpg"}, "img_name must stay inside its folder"),
        (GOOD | {"mask_name": "..\\b.png"}, "mask_name must stay inside its folder"),
        (GOOD | {"mask_name": "/etc/passwd"}, "mask_name must stay inside its folder, got '/etc/passwd'"),
        (GOOD | {"mask_name": "C:\\masks\\a.png"}, "mask_name must stay inside its folder"),
        (GOOD | {"prompts": []}, "prompts must be an object such as {'p1': 'polyp'}, got \\[\\]"),
        (GOOD | {"prompts": {}}, "prompts must be an object"),
        (GOOD | {"prompts": {"p1": 3}}, "prompt 'p1' must be a string or a list of strings, got 3"),
        (GOOD | {"prompts": {"p1": []}}, "prompt 'p1' must be a string or a list of strings, got \\[\\]"),
        (GOOD | {"prompts": {"p1": ["a", None]}}, "prompt 'p1' must be a string or a list of strings"),
    ],
)
def test_a_wrong_record_is_named_with_its_file_and_field(tmp_path, bad, message):
    with pytest.raises(DataError, match=rf"val\.json, record 1: {message}"):
        read_annotations(write(tmp_path, [GOOD, bad]))


@pytest.mark.parametrize("rows", [[], {}, "text", None])
def test_a_file_that_is_no_list_of_records_is_named(tmp_path, rows):
    with pytest.raises(DataError, match=r"val\.json: expected a JSON list of one record or more"):
        read_annotations(write(tmp_path, rows))


@pytest.mark.parametrize("content", [b"", b"[{", b"\xff\xfe\x00"])
def test_a_file_that_is_no_json_is_named(tmp_path, content):
    (tmp_path / "val.json").write_bytes(content)
    with pytest.raises(DataError, match=r"val\.json: not JSON"):
        read_annotations(tmp_path / "val.json")


def test_a_missing_file_says_where_annotations_belong(tmp_path):
    with pytest.raises(DataError, match=r"val\.json: no such annotation file; expected DIR/anns/"):
        read_annotations(tmp_path / "val.json")


def test_the_benchmarks_own_files_are_read(shared):
    for path in sorted((shared / "data/segmentation").glob("*/anns/*.json")):
        records = read_annotations(path)
        assert len(records) == len(json.loads(path.read_text(encoding="utf-8")))
        assert all(record.prompts["p0"] == "" for record in records)
