import json
import shutil

import pytest

from vesalius.data.check import CheckSettings, Severity, check_dataset
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
