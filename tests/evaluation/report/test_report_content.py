from dataclasses import replace

import pytest

from vesalius.evaluation.report.content import (
    build_score_tables,
    build_strips,
    describe_absence,
    first_wordings,
    flatten,
)
from vesalius.evaluation.rows import tabulate
from vesalius.evaluation.segmentation import Evaluation


def test_images_with_nothing_to_find_get_a_table_without_them(make_evaluation):
    everything, present = build_score_tables(make_evaluation().evaluation, None)
    assert everything.title == "All 12 images"
    assert present.title == "The 10 images that show something to find"
    assert "Left out: 4 answers" in present.note
    assert everything.columns == ("prompt", "Dice", "IoU", "Precision", "Recall", "NSD", "HD95 (px)")
    assert [row[0] for row in everything.rows] == ["all prompts", "p0", "p1"]
    assert present.rows[0][1].value == "0.550"


def test_where_all_show_something_there_is_one_table(make_evaluation):
    (table,) = build_score_tables(make_evaluation(absent=0).evaluation, None)
    assert "HD95 leaves out 24 of 24 answers" in table.note
    assert table.rows[0][-1] is None


def test_where_nothing_is_to_be_found_anywhere_there_is_one_table(make_evaluation):
    (table,) = build_score_tables(make_evaluation(absent=12).evaluation, None)
    assert table.rows[0][1].value == "0.500"


def test_one_image_may_be_asked_for_what_it_shows_and_for_what_it_does_not(make_row):
    rows = [make_row("a", "p1", 0.5), make_row("b", "p1", 0.7), make_row("a", "p1", 1.0, true_pixels=0)]
    everything, present = build_score_tables(Evaluation(tuple(rows)), None)
    assert (everything.rows[0][1].value, present.rows[0][1].value) == ("0.725", "0.600")
    assert present.title == "The 2 images that show something to find"


def test_pixels_and_millimetres_are_not_averaged(make_evaluation):
    first, *others = make_evaluation(absent=0).rows
    (table,) = build_score_tables(Evaluation((replace(first, distance_unit="mm"), *others)), None)
    assert table.columns == ("prompt", "Dice", "IoU", "Precision", "Recall")


def test_all_prompts_come_first_then_each_family(make_evaluation):
    one, two = make_evaluation(), make_evaluation("two", worse=0.1)
    tables = [tabulate(each.rows, present_only=True) for each in (one, two)]
    centres = [each.evaluation.summarise("dice", present_only=True).centres for each in (one, two)]
    groups = build_strips(["one", "two"], tables, centres, one.rows)
    assert [(group.title, group.example) for group in groups] == [("all prompts", ""), ("p0", ""), ("p1", "polyp")]
    first, second = groups[2].strips
    assert (first.name, first.series, second.name, second.series) == ("one", 0, "two", 1)
    assert first.mean.value - second.mean.value == pytest.approx(0.1)
    assert len(first.values) == 10


def test_the_wording_shown_is_one_for_what_is_there(make_row):
    rows = [make_row("a", "p1", 1.0, prompt="no polyp", true_pixels=0), make_row("b", "p1", 1.0, prompt="polyp")]
    assert first_wordings(rows) == {"p1": "polyp"}


def test_without_absent_targets_it_says_what_would_tell(make_evaluation):
    found = describe_absence([make_evaluation(absent=0)], None)
    assert found.table is None
    assert found.curves == ()
    assert "`vesalius audit`" in found.note


def test_a_model_without_scores_is_named(make_evaluation):
    silent = make_evaluation("unet", existence=False)
    assert describe_absence([silent], None).note == "unet gives no existence score."
    both = describe_absence([make_evaluation(), silent], None)
    assert "unet gives no existence score." in both.note
    assert [curve.name for curve in both.curves] == ["one"]


def test_the_curve_drawn_is_one_that_words_do_not_give_away(make_evaluation):
    found = describe_absence([make_evaluation()], None)
    assert found.curves[0].curve.family == "p0"
    assert [row[0] for row in found.table.rows] == ["all prompts †", "p0", "p1 †"]
    assert "the words alone give the answer away" in found.note
    assert "10 images show the target, 2 do not." in found.note


def test_where_words_tell_nothing_all_prompts_are_drawn(make_evaluation):
    found = describe_absence([make_evaluation(words="no polyp")], None)
    assert found.curves[0].curve.family is None
    assert "†" not in found.note


def test_several_evaluations_have_a_column_each(make_evaluation):
    one = describe_absence([make_evaluation()], None)
    two = describe_absence([make_evaluation(), make_evaluation("two")], None)
    assert one.table.columns == ("prompt", "AUC")
    assert two.table.columns == ("prompt", "one", "two")


def test_fields_within_fields_are_one_line():
    assert flatten({"a": {"b": {"c": 1}, "d": [1, 2]}, "e": None}) == {"a": "b.c 1 · d [1, 2]"}


def test_what_is_long_is_taken_apart_and_cut():
    lines = flatten({"training": {"epoch": 3, "notes": "word " * 100}})
    assert lines["training, epoch"] == "3"
    assert lines["training, notes"].endswith("word …")
    assert len(lines["training, notes"]) < 310
