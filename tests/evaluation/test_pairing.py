from dataclasses import replace

import numpy as np
import pytest

from vesalius.errors import ConfigError, DataError
from vesalius.evaluation.compare import pair
from vesalius.evaluation.stored import StoredEvaluation

IMAGES, FAMILIES = ("a", "b", "c"), ("p0", "p1")


@pytest.fixture
def evaluation(make_row):
    """Three images, two families; scores count up."""
    scores = iter(range(6))
    rows = [make_row(image, family, next(scores) / 10) for image in IMAGES for family in FAMILIES]
    return StoredEvaluation("one", "pocket", "/data/kvasir", "test", "threshold 0.5", rows)


def other(evaluation, **changes):
    return replace(evaluation, name="two", **changes)


def test_images_are_paired_by_name_whatever_their_order(evaluation):
    found = pair([evaluation, other(evaluation, rows=evaluation.rows[::-1])])
    assert found.tables[0].images == found.tables[1].images == IMAGES
    np.testing.assert_array_equal(found.tables[0].scores, found.tables[1].scores)
    assert found.notes == ()


def test_what_only_one_has_is_left_out_and_told(evaluation):
    rows = [row for row in evaluation.rows if row.image != "b" and row.family == "p1"]
    found = pair([evaluation, other(evaluation, rows=rows)])
    assert [table.images for table in found.tables] == [("a", "c")] * 2
    assert [table.families for table in found.tables] == [("p1",)] * 2
    assert found.tables[0].scores.tolist() == [[0.1], [0.5]]
    assert found.notes == (
        "1 of one's 3 images are not in every evaluation; left out.",
        "one's prompts p0 are not in every evaluation; left out.",
    )


def test_a_gap_in_one_is_a_gap_in_all(evaluation, make_row):
    rows = [replace(row, hd95=1.0) for row in evaluation.rows]
    gaps = [
        replace(row, hd95=None) if (row.image, row.family) in {("a", "p0"), ("b", "p0"), ("b", "p1")} else row
        for row in rows
    ]
    found = pair([replace(evaluation, rows=rows), other(evaluation, rows=gaps)], "hd95")
    assert found.tables[0].images == ("a", "c")
    assert np.isnan(found.tables[0].scores).tolist() == [[True, False], [False, False]]
    assert "1 of one's 3 images are not in every evaluation; left out." in found.notes
    assert "1 pairs of image and prompt have no HD95 in some evaluation; left out of all." in found.notes


def test_other_words_are_told(evaluation):
    rows = [replace(row, prompt="a polyp") if row.family == "p1" else row for row in evaluation.rows]
    (note,) = pair([evaluation, other(evaluation, rows=rows)]).notes
    assert note.startswith("two was asked in other words than one in 3 pairs of image and prompt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "/data/busi"}, r"different data .* one has 'kvasir', two 'busi'.* the same --data"),
        ({"split": "val"}, r"different splits .* one has 'test', two 'val'.* the same --split"),
        ({"rule": "threshold 0.4"}, "different rules"),
    ],
)
def test_evaluations_of_something_else_are_refused(evaluation, changes, message):
    with pytest.raises(DataError, match=message):
        pair([evaluation, other(evaluation, **changes)])


def test_the_same_data_elsewhere_are_the_same_data(evaluation):
    assert pair([evaluation, other(evaluation, data="/mnt/kvasir/")]).notes == ()


def test_masks_that_changed_are_refused(evaluation):
    rows = [replace(row, true_pixels=2000) if row.image == "b" else row for row in evaluation.rows]
    with pytest.raises(DataError, match=r"that of 'b' has 1 pixels in one and 2,000 in two"):
        pair([evaluation, other(evaluation, rows=rows)])


def test_too_little_in_common_is_refused(evaluation):
    with pytest.raises(DataError, match="one, two have 1 images with Dice in common; needs 2"):
        pair([evaluation, other(evaluation, rows=evaluation.rows[:2])])
    strangers = [replace(row, image=f"{row.image}2") for row in evaluation.rows]
    with pytest.raises(DataError, match="0 images"):
        pair([evaluation, other(evaluation, rows=strangers)])


def test_one_evaluation_is_nothing_to_compare(evaluation):
    with pytest.raises(ConfigError, match="two evaluations or more; got 1"):
        pair([evaluation])
