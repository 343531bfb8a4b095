import pytest

from vesalius.data.check import CheckSettings, Grouping, check_dataset
from vesalius.errors import ConfigError


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
