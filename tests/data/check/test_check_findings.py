import ast
import json
from pathlib import Path

import pytest

import vesalius.data.check
from vesalius.data.check import CheckFinding, Place, Severity, read_kinds
from vesalius.data.check.facts import ValueKind
from vesalius.data.check.findings import read_splits
from vesalius.errors import DataError

FOREIGN = {
    "COCO": {"images": [], "annotations": [], "categories": []},
    "LabelMe": {"version": "5", "shapes": [], "imagePath": "a.png"},
    "VGG Image Annotator": {"_via_img_metadata": {}},
    "nnU-Net": {"channel_names": {}, "labels": {}, "numTraining": 3},
    "Medical Segmentation Decathlon or MONAI": {"training": [{"image": "a", "label": "b"}]},
    "GeoJSON": {"type": "FeatureCollection", "features": []},
    "Label Studio": [{"id": 1, "data": {}, "annotations": []}],
    "Labelbox": [{"data_row": {}, "projects": {}}],
}


def test_records_keep_their_place_and_their_own_fields(root, change):
    change("val", lambda records: records[1].update(patient="p7"))
    rows, findings = read_splits(root)
    assert findings == []
    assert [(row.split, row.number) for row in rows[2:6]] == [("train", 2), ("val", 0), ("val", 1), ("test", 0)]
    assert rows[4].fields["patient"] == "p7"
    assert rows[4].image == "images/val_1.png"


def test_a_bad_record_is_named_and_the_others_are_read(root, change):
    change("train", lambda records: records[1].update(img_name="../secret.png"))
    rows, (finding,) = read_splits(root)
    assert len(rows) == 6
    assert finding.kind == "bad_record"
    assert "anns/train.json, record 1: img_name must stay inside its folder" in finding.message
    assert (finding.places[0].split, finding.places[0].record) == ("train", 1)


@pytest.mark.parametrize("tool", FOREIGN)
def test_json_of_another_tool_is_recognised(root, tool):
    (root / "anns/val.json").write_text(json.dumps(FOREIGN[tool]))
    rows, (finding,) = read_splits(root)
    assert {row.split for row in rows} == {"train", "test"}
    assert finding.kind == "foreign_annotations"
    assert tool in finding.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{", "anns/val.json: is not JSON"),
        ("[]", "got an empty list"),
        ('{"a.png": "b.png"}', "got an object with a.png"),
        ("3", "got int"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_files_that_are_no_list_of_records_are_named(root, text, message):
    (root / "anns/val.json").write_text(text)
    _, (finding,) = read_splits(root)
    assert finding.kind == "unreadable_annotations"
    assert message in finding.message


def test_a_missing_split_is_named_and_a_folder_without_any_is_refused(root):
    (root / "anns/test.json").unlink()
    _, (finding,) = read_splits(root)
    assert (finding.kind, finding.places[0].split) == ("missing_split", "test")
    (root / "anns/train.json").unlink()
    (root / "anns/val.json").unlink()
    with pytest.raises(DataError, match=r"anns: no annotation file in it; expected train\.json, val\.json, test\.json"):
        read_splits(root)


SOURCE = Path(vesalius.data.check.__file__).parent


def named_kinds() -> set[str]:
    """Every text in the source that names a kind."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCE.glob("*.py")]
    texts = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    made = {f"{kind}_in_mask" for kind in ValueKind if kind is not ValueKind.BINARY}
    return (texts & read_kinds().keys()) | (made & read_kinds().keys())


def test_every_kind_is_used_and_told():
    assert named_kinds() == set(read_kinds())
    for kind in read_kinds().values():
        assert all(text.endswith(".") for text in (kind.matters, kind.remedy))
        assert not kind.title.endswith(".")


def test_kinds_of_masks_all_exist():
    assert {f"{kind}_in_mask" for kind in ValueKind if kind is not ValueKind.BINARY} <= read_kinds().keys()


def test_kinds_come_gravest_first():
    grades = [kind.severity for kind in read_kinds().values()]
    assert grades == sorted(grades, key=list(Severity).index)


def test_a_finding_knows_its_severity_and_its_splits():
    places = (Place("images/a.png", "test", 3), Place("images/b.png", "train", 0), Place("images/c.png"))
    finding = CheckFinding("duplicate_across_splits", "…", places)
    assert finding.severity is Severity.ERROR
    assert finding.splits() == {"train", "test"}
