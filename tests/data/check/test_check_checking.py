import json
import shutil

import numpy as np
import pytest
from PIL import Image

from vesalius.data.check import CheckSettings, Grouping, Severity, check_dataset
from vesalius.errors import ConfigError, DataError


def kinds(root, **settings) -> dict[str, int]:
    return {each.kind: each.findings for each in check_dataset(root, CheckSettings(**settings)).counts()}


def test_nothing_is_found_where_nothing_is_wrong(root):
    report = check_dataset(root)
    assert report.findings == []
    assert not report.wrong
    assert report.records == {"train": 3, "val": 2, "test": 2}
    assert report.images == 7
    assert [(leak.seen, leak.scored, leak.images, leak.of) for leak in report.leaks] == [
        ("train", "val", 0, 2), ("train", "test", 0, 2), ("val", "test", 0, 2),
    ]  # fmt: skip


def test_records_about_absent_things_are_no_fault(root, add_absent):
    for split in ("train", "val", "test"):
        add_absent(root, split)
    assert check_dataset(root).findings == []


def test_everything_is_found_at_once_and_the_good_rest_goes_on(root, change):
    (root / "images/train_0.png").write_bytes(b"no picture")
    (root / "masks/train_1.png").unlink()
    shutil.copy(root / "images/val_0.png", root / "images/test_0.png")
    change("val", lambda records: records.append({"img_name": "x.png"}))
    assert kinds(root) == {
        "bad_record": 1,
        "missing_file": 1,
        "unreadable_image": 1,
        "duplicate_across_splits": 1,
    }


def test_notes_alone_are_nothing_wrong(root):
    shutil.copy(root / "images/val_0.png", root / "images/spare.png")
    report = check_dataset(root)
    assert [(each.kind, each.severity) for each in report.findings] == [("extra_file", Severity.NOTE)]
    assert not report.wrong


@pytest.mark.slow
def test_several_processes_find_what_one_finds(root, monkeypatch):
    (root / "masks/test_1.png").write_bytes(b"")
    monkeypatch.setattr("vesalius.data.check.facts.WORTH", 1)
    one, two = (check_dataset(root, CheckSettings(jobs=jobs)) for jobs in (1, 2))
    assert one.findings == two.findings
    assert len(one.findings) == 1


@pytest.mark.parametrize("settings", [{"similarity": 0.4}, {"similarity": 1.1}, {"jobs": 0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError, match=f"--{next(iter(settings))}: expected"):
        CheckSettings(**settings)


def test_a_folder_that_is_no_data_set_is_refused(root, tmp_path):
    with pytest.raises(DataError, match="nowhere: no such data folder"):
        check_dataset(tmp_path / "nowhere")
    shutil.rmtree(root / "masks")
    with pytest.raises(DataError, match=r"set: no masks/ in it; expected images/, masks/ and anns/"):
        check_dataset(root)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("busi", {"prompt_gives_answer": {"train": 107, "val": 13, "test": 13}}),
        ("bkai_polyp", {"repeated_record": {"train": 1, "val": 0, "test": 0}}),
        ("cxr_lungs", {}),
    ],
)
def test_what_is_known_of_public_sets_is_found(shared, name, expected):
    report = check_dataset(shared / "data/segmentation" / name)
    found = {each.kind: each.splits for each in report.counts()}
    assert {kind: found.get(kind) for kind in expected} == expected
    assert bool(found) == bool(expected)


def test_the_report_is_json_with_every_finding(root, change):
    change("test", lambda records: records[1]["prompts"].pop("p2"))
    content = json.loads(json.dumps(check_dataset(root).to_dict()))
    assert content["wrong"] is True
    assert content["severities"] == {"error": 0, "warning": 1, "note": 0}
    (finding,) = content["findings"]
    assert finding["kind"] == "lacking_family"
    assert finding["places"] == [{"file": "images/test_1.png", "split": "test", "record": 1}]
    assert finding["details"] == {"families": ["p2"]}


def single(root):
    (finding,) = check_dataset(root).findings
    return finding


def test_a_mask_of_another_size_is_named_with_both_sizes(root):
    Image.new("1", (40, 30), 1).resize((40, 30)).save(root / "masks/val_0.png")
    sizes = [each for each in check_dataset(root).findings if each.kind == "size_mismatch"]
    assert sizes[0].message == "masks/val_0.png is 30 × 40, expected images/val_0.png's 60 × 80 (height × width)."
    assert (sizes[0].places[0].split, sizes[0].places[0].record) == ("val", 0)


def test_values_of_a_mask_are_listed_with_what_they_become(root):
    levels = np.zeros((60, 80), np.uint8)
    levels[:30, :20], levels[30:, 40:] = 1, 200
    Image.fromarray(levels).save(root / "masks/val_0.png")
    finding = single(root)
    assert finding.kind == "labels_in_mask"
    assert finding.message == "masks/val_0.png holds the values 0, 1, 200; 25.00% of the pixels read as inside."
    assert finding.details == {"values": [0, 1, 200], "between": 0.25, "inside": 0.25}


def test_many_values_are_shortened(root):
    gradient = np.tile(np.arange(80, dtype=np.uint8) * 3, (60, 1))
    Image.fromarray(gradient).save(root / "masks/val_0.png")
    assert "holds the values 0, 3, 6, 9 … 228, 231, 234, 237;" in single(root).message


@pytest.mark.parametrize(("value", "kind"), [(0, "empty_mask"), (100, "full_mask"), (255, "full_mask")])
def test_masks_of_one_value_are_named(root, value, kind):
    Image.new("L", (80, 60), value).save(root / "masks/val_0.png")
    assert single(root).kind == kind


def test_a_picture_of_several_slices_is_named(root):
    page = Image.open(root / "images/val_0.png")
    page.save(root / "images/val_0.png", format="TIFF", save_all=True, append_images=[page, page])
    assert single(root).message == "images/val_0.png has 3 slices; only the first is used."


def findings(root, **grouping):
    return check_dataset(root, CheckSettings(grouping=Grouping(**grouping))).findings


def test_a_group_in_two_splits_is_an_error_with_its_numbers(root):
    found = findings(root, regex=r"_(\d)\.")
    assert [(each.kind, each.message) for each in found] == [
        ("group_across_splits", "The group '0' has images in train (1), val (1), test (1)."),
        ("group_across_splits", "The group '1' has images in train (1), val (1), test (1)."),
    ]


def test_without_brackets_all_that_matches_names_the_group(root):
    assert findings(root, regex="^[a-z]+") == []


def test_images_without_a_group_are_named(root):
    assert [each.message for each in findings(root, regex="(train|val)_.")] == [
        "images/test_0.png belongs to no group.", "images/test_1.png belongs to no group.",
    ]  # fmt: skip


def test_a_field_of_the_record_names_the_group(root, change):
    for split in ("train", "val", "test"):
        change(split, lambda records: [record.update(patient=index) for index, record in enumerate(records)])
    assert [each.details["group"] for each in findings(root, field="patient")] == ["0", "1"]


@pytest.mark.parametrize(
    ("grouping", "message"),
    [
        ({"regex": "patient(.*)"}, r"--group-regex: 'patient\(\.\*\)' matches no name; the first is 'train_0\.png'"),
        ({"field": "patient"}, "no record has a field 'patient'; train, record 0 has img_name, mask_name, prompts"),
        ({"regex": "("}, r"--group-regex: '\(' is no regular expression"),
        ({"regex": "a", "field": "b"}, "choose one"),
    ],
)
def test_a_grouping_that_fits_nothing_is_refused(root, grouping, message):
    with pytest.raises(ConfigError, match=message):
        findings(root, **grouping)
