from dataclasses import replace

from vesalius.evaluation.report.builders import build_report, read_report
from vesalius.evaluation.report.gallery import Shown, choose_examples


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
    found = build_report(make_evaluation(), {"settings": {"group_regex": "^."}})
    assert "bootstrap of 2 groups of images" in found.facts["Intervals"]
    other = build_report(make_evaluation(), {"settings": {"group_regex": "^."}}, group_regex="^..")
    assert "bootstrap of images" in other.facts["Intervals"]


def test_without_pictures_the_report_says_so(report):
    assert report.gallery == ()
    assert "No pictures" in report.gallery_note


def test_pictures_of_other_rows_are_left_out(make_evaluation):
    evaluation = make_evaluation()
    example = choose_examples(evaluation.rows, 1)[0]
    mine, other = (Shown(each, {}) for each in (example, replace(example, row=replace(example.row, dice=0.123))))
    assert build_report(evaluation, {}, [mine]).gallery == [mine]
    stale = build_report(evaluation, {}, [other])
    assert stale.gallery == ()
    assert "of another evaluation" in stale.gallery_note


def test_a_folder_is_read_whole(store, make_evaluation, tmp_path):
    evaluation = make_evaluation()
    found = read_report(store(tmp_path / "e", evaluation.rows, manifest={"command": "x"}))
    assert found.title == "pocket on kvasir, test"
    assert found.manifests == {"e": {"command": "x"}}


def test_a_single_image_has_numbers_without_intervals(make_evaluation):
    evaluation = make_evaluation()
    found = build_report(replace(evaluation, rows=evaluation.rows[:1]), {})
    assert [number.ends for _, number in found.headline] == [None] * 3


def test_images_that_all_show_nothing_can_be_reported(make_evaluation):
    found = build_report(make_evaluation(absent=12), {})
    assert found.existence is None
    assert [name for name, _ in found.headline] == ["mean Dice", "median Dice", "mean NSD"]
