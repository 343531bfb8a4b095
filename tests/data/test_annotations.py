import json
from pathlib import Path

import pytest

from vesalius.data.annotations import ImageRecord, compile_group_regex, find_group, read_annotations
from vesalius.errors import ConfigError, DataError

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
        (GOOD | {"img_name": "."}, "img_name must be a file name, got '.'"),
        (GOOD | {"img_name": "a\0.jpg"}, "img_name must be a file name without control characters"),
        (GOOD | {"img_name": "\ud800.jpg"}, "img_name holds half a character"),
        (GOOD | {"target": 3}, "target must be a text, got 3"),
        (GOOD | {"absent": "true"}, "absent must be true or false, got 'true'"),
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


@pytest.mark.parametrize(
    ("rows", "got"), [([], "an empty list"), ({}, "an object"), ("text", "str"), (None, "NoneType")]
)
def test_a_file_that_is_no_list_of_records_is_named(tmp_path, rows, got):
    with pytest.raises(DataError, match=rf"val\.json: expected a JSON list of one record or more, got {got}"):
        read_annotations(write(tmp_path, rows))


def with_prompt(value: str) -> bytes:
    return b'[{"img_name": "a", "mask_name": "a", "prompts": {"p1": %s}}]' % value.encode()


HOSTILE = {
    "nothing": (b"", "is not JSON"),
    "cut off": (b"[{", "is not JSON"),
    "UTF-16": (b"\xff\xfe\x00", "not JSON in UTF-8"),
    "deep brackets": (b"[" * 200_000, "nested too deeply"),
    "deep objects": (b'{"a":' * 200_000, "nested too deeply"),
    "NaN": (b"[NaN]", "NaN is no number"),
    "Infinity": (b"[-Infinity]", "-Infinity is no number"),
    "a huge number": (b"[1" + b"0" * 5000 + b"]", "is not JSON"),
    "a key twice": (b'[{"img_name": "a", "img_name": "b"}]', "the key 'img_name' stands twice"),
    "a number": (b"1e999", "expected a JSON list"),
    "half a character": (with_prompt(r'"\ud800"'), "holds half a character"),
    "half a character in a list": (with_prompt(r'["a", "\ud800"]'), "holds half a character"),
    "a number for a prompt": (with_prompt("1e400"), "must be a string or a list of strings"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_named_with_the_reason(tmp_path, case):
    content, message = HOSTILE[case]
    (tmp_path / "val.json").write_bytes(content)
    with pytest.raises(DataError, match=r"val\.json") as caught:
        read_annotations(tmp_path / "val.json")
    assert message in str(caught.value)


def test_a_byte_order_mark_is_no_fault(tmp_path):
    (tmp_path / "val.json").write_bytes(b"\xef\xbb\xbf" + json.dumps([GOOD]).encode())
    assert read_annotations(tmp_path / "val.json") == [ImageRecord(**GOOD)]


def test_a_folder_in_the_files_place_is_named(tmp_path):
    (tmp_path / "val.json").mkdir()
    with pytest.raises(DataError, match=r"val\.json: is a folder; expected a JSON file"):
        read_annotations(tmp_path / "val.json")


def test_a_missing_file_says_where_annotations_belong(tmp_path):
    with pytest.raises(DataError, match=r"val\.json: no such file; annotation files are DIR/anns/"):
        read_annotations(tmp_path / "val.json")


def test_a_record_may_say_what_its_mask_outlines(tmp_path):
    plain, said = read_annotations(write(tmp_path, [GOOD, GOOD | {"target": " brain tumour "}]))
    assert (plain.target, said.target) == ("", "brain tumour")


def test_the_benchmarks_own_files_are_read(shared):
    for path in sorted((shared / "data/segmentation").glob("*/anns/*.json")):
        records = read_annotations(path)
        assert len(records) == len(json.loads(path.read_text(encoding="utf-8")))
        assert all(record.prompts["p0"] == "" for record in records)


@pytest.mark.parametrize(
    ("expression", "name", "group"),
    [
        ("^[a-z]+", "ann_1.png", "ann"),
        ("^([a-z]+)_", "ann_1.png", "ann"),
        ("^x", "ann_1.png", None),
    ],
)
def test_the_first_bracket_names_the_group_and_without_one_the_match(expression, name, group):
    assert find_group(compile_group_regex(expression), name) == group


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        (r"(patient\d+)?_img", "first bracket matches nothing"),
        (r"p(\d+)|x_img", "first bracket matches nothing"),
        (r"^(\d*)", "first bracket matches nothing"),
        (r"\d*", "matches no letter"),
    ],
)
def test_an_expression_that_fits_and_names_nothing_is_refused(expression, reason):
    with pytest.raises(ConfigError, match=f"fits 'x_img.png', but .*{reason}.*must match the patient"):
        find_group(compile_group_regex(expression), "x_img.png")


def test_what_is_no_expression_is_refused():
    with pytest.raises(ConfigError, match=r"--group-regex: '\(' is no regular expression"):
        compile_group_regex("(")
