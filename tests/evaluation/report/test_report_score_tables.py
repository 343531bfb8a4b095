from dataclasses import replace

from vesalius.evaluation.report.content import build_score_tables
from vesalius.evaluation.segmentation import Evaluation


def test_images_with_nothing_to_find_get_a_table_without_them(make_evaluation):
    everything, present = build_score_tables(Evaluation(make_evaluation().rows), None)
    assert everything.title == "All 12 images"
    assert present.title == "The 10 images that show something to find"
    assert "Left out: 4 answers" in present.note
    assert everything.columns == ("prompt", "Dice", "IoU", "Precision", "Recall", "NSD", "HD95 (px)")
    assert [row[0] for row in everything.rows] == ["all prompts", "p0", "p1"]
    assert present.rows[0][1].value == "0.550"


def test_where_all_show_something_there_is_one_table(make_evaluation):
    (table,) = build_score_tables(Evaluation(make_evaluation(absent=0).rows), None)
    assert "HD95 leaves out 24 of 24 answers" in table.note
    assert table.rows[0][-1] is None


def test_where_nothing_is_to_be_found_anywhere_there_is_one_table(make_evaluation):
    (table,) = build_score_tables(Evaluation(make_evaluation(absent=12).rows), None)
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
