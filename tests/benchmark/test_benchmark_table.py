from vesalius.benchmark.recipe import Publication
from vesalius.benchmark.report import Score, arrange
from vesalius.evaluation.statistics import Interval

PAPER = Publication("paper", "Them", "mean Dice", {})


def score(label, data, value=0.5, **changes):
    mean = Interval(value, value - 0.1, value + 0.1, 9)
    return Score(**{
        "label": label, "model": label, "data": data, "mean": mean, "present": None, "seeds": {0: value},
        "published": None, "failures": (), **changes,
    })  # fmt: skip


def test_a_row_a_model_and_two_columns_a_data_set():
    table = arrange(
        [score("a", "busi", published=0.75), score("b", "busi", 0.6), score("a", "x"), score("b", "x")], PAPER
    )
    assert table.columns == ("model", "Breast Ultrasound Images (BUSI)", "paper", "x", "paper")
    assert table.rows == (
        ("a", "0.500 [0.400, 0.600]", "0.750", "0.500 [0.400, 0.600]", "–"),
        ("b", "0.600 [0.500, 0.700]", "–", "0.500 [0.400, 0.600]", "–"),
    )
    assert table.notes == ()


def test_without_a_publication_there_is_no_column_for_it():
    assert arrange([score("a", "x")]).columns == ("model", "x")


def test_several_seeds_show_how_far_they_lie_apart():
    (row,) = arrange([score("a", "x", seeds={0: 0.45, 1: 0.55})]).rows
    assert row[1] == "0.500 [0.400, 0.600]; seeds 0.450 to 0.550"


def test_what_is_missing_is_a_dash_with_a_note():
    failed = [score("a", "x", mean=None, seeds={}, failures=("s0", "s1")), score("b", "x", failures=("s2",))]
    table = arrange(failed, PAPER)
    assert table.rows == (("a", "–¹ ²", "–"), ("b", "0.500 [0.400, 0.600]³", "–"))
    assert table.notes == ("s0", "s1", "s2")


def test_the_second_table_has_means_over_images_that_show_something():
    table = arrange([score("a", "x", present=Interval(0.3, None, None, 1))], present_only=True)
    assert table.rows == (("a", "0.300 [–]"),)
