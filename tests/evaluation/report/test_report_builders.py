from dataclasses import replace

import pytest

from vesalius.errors import DataError
from vesalius.evaluation.report.builders import build_comparison_report, build_report, read_report
from vesalius.evaluation.report.gallery import Shown, choose_examples
from vesalius.evaluation.segmentation import Evaluation


def test_the_report_states_what_was_measured_how_on_how_many(report):
    assert report.title == "model of one on kvasir, test"
    assert report.facts["Images"] == "12, of which 2 show nothing to find"
    assert report.facts["Answers"] == "24, to 2 prompt families"
    assert report.facts["Rule"] == "threshold 0.5"
    assert report.facts["Intervals"] == "95%, bootstrap of images, 10,000 resamples, seed 0"
    assert [name for name, _ in report.headline] == [
        "mean Dice", "median Dice", "mean Dice where the target is", "mean NSD",
    ]  # fmt: skip
    assert all(number.ends for _, number in report.headline)


def test_patients_are_drawn_as_the_evaluation_did(make_evaluation):
    evaluation = replace(make_evaluation(), group_regex="^.")
    found = build_report(evaluation)
    assert "bootstrap of 2 groups of images" in found.facts["Intervals"]
    other = build_report(evaluation, group_regex="^..")
    assert "bootstrap of images" in other.facts["Intervals"]


def test_without_pictures_the_report_says_so(report):
    assert report.gallery == ()
    assert "No pictures" in report.gallery_note


@pytest.mark.slow
def test_pictures_of_other_rows_are_left_out(make_evaluation):
    evaluation = make_evaluation()
    example = choose_examples(evaluation.rows, 1)[0]
    mine, other = (Shown(each, {}) for each in (example, replace(example, row=replace(example.row, dice=0.123))))
    assert build_report(evaluation, [mine]).gallery == [mine]
    stale = build_report(evaluation, [other])
    assert stale.gallery == ()
    assert "of another evaluation" in stale.gallery_note


def test_a_folder_is_read_whole(store, make_evaluation, tmp_path):
    evaluation = make_evaluation()
    found = read_report(store(tmp_path / "e", evaluation.rows, manifest={"command": "x"}))
    assert found.title == "pocket on kvasir, test"
    assert found.manifests == {"e": {"command": "x"}}


def test_a_single_image_has_numbers_without_intervals(make_evaluation):
    evaluation = make_evaluation()
    found = build_report(replace(evaluation, evaluation=Evaluation(evaluation.rows[:1])))
    assert [number.ends for _, number in found.headline] == [None] * 3


def test_images_that_all_show_nothing_can_be_reported(make_evaluation):
    found = build_report(make_evaluation(absent=12))
    assert found.existence is None
    assert [name for name, _ in found.headline] == ["mean Dice", "median Dice", "mean NSD"]


@pytest.fixture(scope="module")
def both(make_evaluation):
    return [make_evaluation("worse", worse=0.1), make_evaluation("better")]


@pytest.fixture(scope="module")
def built(both):
    """Their report and comparison; not to be changed."""
    return build_comparison_report(both)


@pytest.mark.slow
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


@pytest.mark.slow
def test_ends_of_differences_cannot_be_mistaken_for_a_range(built):
    report, _ = built
    ends = report.tables[1].rows[0][2].ends
    assert " to −" in ends
    assert "-" not in ends


@pytest.mark.slow
def test_of_three_or_more_the_differences_of_single_prompts_are_left_to_the_file(both, make_evaluation):
    report, comparison = build_comparison_report([*both, make_evaluation("worst", worse=0.2)])
    assert [row[1] for row in report.tables[1].rows] == ["all prompts"] * 3
    assert "Single prompts are in comparison.json." in report.tables[1].note
    assert len(comparison.differences) == 9


@pytest.mark.slow
def test_pictures_are_in_the_single_reports(both):
    report, _ = build_comparison_report([both[0], replace(both[1], manifest={"command": "x"})])
    assert report.gallery == ()
    assert report.gallery_note == "Pictures are in the report of each evaluation."
    assert report.manifests == {"better": {"command": "x"}}


@pytest.mark.slow
def test_groups_are_drawn_as_the_evaluations_drew_them(both):
    worse, better = both
    report, comparison = build_comparison_report([replace(worse, group_regex="^."), better])
    assert "2 groups" in report.facts["Intervals"]
    assert comparison.clusters == 2
    assert "better: made without --group-regex" in report.tables[0].note


@pytest.mark.slow
def test_other_data_are_refused(both, make_evaluation):
    with pytest.raises(DataError):
        build_comparison_report([both[0], make_evaluation("other", absent=3)])
