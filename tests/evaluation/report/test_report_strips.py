import pytest

from vesalius.evaluation.report.content import build_strips, first_wordings
from vesalius.evaluation.rows import tabulate


def test_all_prompts_come_first_then_each_family(make_evaluation):
    one, two = make_evaluation(), make_evaluation("two", worse=0.1)
    groups = build_strips(["one", "two"], [tabulate(each.rows, present_only=True) for each in (one, two)], one.rows)
    assert [(group.title, group.example) for group in groups] == [("all prompts", ""), ("p0", ""), ("p1", "polyp")]
    first, second = groups[2].strips
    assert (first.name, first.series, second.name, second.series) == ("one", 0, "two", 1)
    assert first.mean.value - second.mean.value == pytest.approx(0.1)
    assert len(first.values) == 10


def test_the_wording_shown_is_one_for_what_is_there(make_row):
    rows = [make_row("a", "p1", 1.0, prompt="no polyp", true_pixels=0), make_row("b", "p1", 1.0, prompt="polyp")]
    assert first_wordings(rows) == {"p1": "polyp"}
