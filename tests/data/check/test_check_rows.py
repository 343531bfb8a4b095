import json

import pytest

from vesalius.data.check.findings import read_rows
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
    rows, findings = read_rows(root)
    assert findings == []
    assert [(row.split, row.number) for row in rows[2:6]] == [("train", 2), ("val", 0), ("val", 1), ("test", 0)]
    assert rows[4].fields["patient"] == "p7"
    assert rows[4].image == "images/val_1.png"


def test_a_bad_record_is_named_and_the_others_are_read(root, change):
    change("train", lambda records: records[1].update(img_name="../secret.png"))
    rows, (finding,) = read_rows(root)
    assert len(rows) == 6
    assert finding.kind == "bad_record"
    assert "anns/train.json, record 1: img_name must stay inside its folder" in finding.message
    assert (finding.places[0].split, finding.places[0].record) == ("train", 1)


@pytest.mark.parametrize("tool", FOREIGN)
def test_json_of_another_tool_is_recognised(root, tool):
    (root / "anns/val.json").write_text(json.dumps(FOREIGN[tool]))
    rows, (finding,) = read_rows(root)
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
    _, (finding,) = read_rows(root)
    assert finding.kind == "unreadable_annotations"
    assert message in finding.message


def test_a_missing_split_is_named_and_a_folder_without_any_is_refused(root):
    (root / "anns/test.json").unlink()
    _, (finding,) = read_rows(root)
    assert (finding.kind, finding.places[0].split) == ("missing_split", "test")
    (root / "anns/train.json").unlink()
    (root / "anns/val.json").unlink()
    with pytest.raises(DataError, match=r"anns: no annotation file in it; expected train\.json, val\.json, test\.json"):
        read_rows(root)
