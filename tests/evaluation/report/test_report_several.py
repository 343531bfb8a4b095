import pytest

from vesalius.errors import DataError
from vesalius.evaluation.report.builders import build_comparison_report

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def both(make_evaluation):
    return [make_evaluation("worse", worse=0.1), make_evaluation("better")]


@pytest.fixture(scope="module")
def built(both):
    """Their report and comparison; not to be changed."""
    return build_comparison_report(both, {})


def test_the_best_comes_first_everywhere_and_differences_are_tested(built):
    report, comparison = built
    assert report.title == "2 evaluations on kvasir, test"
    assert [name for name, _ in report.headline] == ["better, mean Dice", "worse, mean Dice"]
    ranking, differences = report.tables
    assert [row[0] for row in ranking.rows] == ["better", "worse"]
    assert "This order holds in 100.0% of them." in ranking.note
    assert differences.rows[0][:2] == ["worse − better", "all prompts"]
    assert differences.rows[0][2].value == "−0.083"
    assert [standing.name for standing in comparison.standings] == ["better", "worse"]


def test_ends_of_differences_cannot_be_mistaken_for_a_range(built):
    report, _ = built
    ends = report.tables[1].rows[0][2].ends
    assert " to −" in ends
    assert "-" not in ends


def test_of_three_or_more_the_differences_of_single_prompts_are_left_to_the_file(both, make_evaluation):
    report, comparison = build_comparison_report([*both, make_evaluation("worst", worse=0.2)], {})
    assert [row[1] for row in report.tables[1].rows] == ["all prompts"] * 3
    assert "Single prompts are in comparison.json." in report.tables[1].note
    assert len(comparison.differences) == 9


def test_pictures_are_in_the_single_reports(both):
    report, _ = build_comparison_report(both, {"worse": {}, "better": {"command": "x"}})
    assert report.gallery == ()
    assert report.gallery_note == "Pictures are in the report of each evaluation."
    assert report.manifests == {"better": {"command": "x"}}


def test_groups_are_drawn_if_all_evaluations_drew_them(both):
    manifest = {"settings": {"group_regex": "^."}}
    agreed, _ = build_comparison_report(both, {"worse": manifest, "better": manifest})
    assert "2 groups" in agreed.facts["Intervals"]
    differing, _ = build_comparison_report(both, {"worse": manifest, "better": {}})
    assert "bootstrap of images" in differing.facts["Intervals"]


def test_other_data_are_refused(both, make_evaluation):
    with pytest.raises(DataError):
        build_comparison_report([both[0], make_evaluation("other", absent=3)], {})
