from dataclasses import replace

import numpy as np
import pytest

from vesalius.errors import ConfigError, DataError, PromptError
from vesalius.evaluation.naming.label_scores import LabelScores, NamingSettings, draw_patients, truth_of
from vesalius.evaluation.statistics import Bootstrap, find_interval
from vesalius.prompts.anatomy import AnatomyLabel


def test_truth_says_present_absent_and_uncertain():
    chest = AnatomyLabel(
        "CT", stations=frozenset({"chest"}), organs=frozenset({"heart"}), uncertain=frozenset({"lungs", "abdomen"})
    )
    unknown = AnatomyLabel.partial("MR")
    assert truth_of([chest, unknown], "organs", ["lungs", "heart", "brain"]).tolist() == [[-1, 1, 0], [-1, -1, -1]]
    assert truth_of([chest, unknown], "stations", ["head", "chest", "abdomen"]).tolist() == [[0, 1, -1], [-1, -1, -1]]


def test_a_label_that_does_not_exist_is_named():
    with pytest.raises(PromptError, match="Did you mean 'liver'"):
        truth_of([AnatomyLabel("CT")], "organs", ["livr"])


def test_patients_of_counts_each_patient_once(make_case):
    case = make_case(images=10, uncertain=0)
    assert case.patients_of(np.ones_like(case.present)).tolist() == [5, 5, 5]
    assert case.patients_of(np.zeros_like(case.present)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": np.zeros((2, 3), np.int8)}, r"got \(2, 2\), \(2, 3\)"),
        ({"groups": ("CT",)}, "1 groups"),
        ({"truth": np.full((2, 2), 2, np.int8)}, "found other numbers"),
        ({"scores": np.array([[0, 1], [np.nan, 0]])}, "image 1 of 'bo'"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    facts = {
        "labels": ("a", "b"), "scores": np.zeros((2, 2)), "truth": np.zeros((2, 2), np.int8),
        "patients": ("ann", "bo"), "groups": ("CT", "MR"),
    }  # fmt: skip
    with pytest.raises(DataError, match=message):
        LabelScores(**{**facts, **change})


def test_a_score_of_what_is_uncertain_may_be_anything():
    truth = np.array([[1, -1]], np.int8)
    assert LabelScores(("a", "b"), np.array([[0.5, np.nan]]), truth, ("ann",), ("CT",)).known.tolist() == [
        [True, False]
    ]


FEW = Bootstrap(resamples=200)


def weights_of(case, *, stratified: bool) -> np.ndarray:
    return np.concatenate(list(draw_patients(case, FEW, stratified=stratified)))


def test_images_of_a_patient_stay_together(make_case):
    for stratified in (False, True):
        weights = weights_of(make_case(), stratified=stratified)
        assert weights.shape == (200, 40)
        np.testing.assert_equal(weights[:, ::2], weights[:, 1::2])


def test_stratified_draws_hold_as_many_patients_of_each_group(make_case):
    case = make_case()
    chosen = np.array(case.groups) == "CT"
    assert set(weights_of(case, stratified=True)[:, chosen].sum(1)) == {20}
    assert len(set(weights_of(case, stratified=False)[:, chosen].sum(1))) > 5


def test_a_patient_with_two_kinds_of_images_belongs_to_the_commoner(make_case):
    case = replace(
        make_case(images=8), patients=tuple("aaabbcdd"), groups=("MR", "CT", "CT", *["CT", "CT"], *["MR"] * 3)
    )
    weights = weights_of(case, stratified=True)
    np.testing.assert_equal(weights[:, 0] + weights[:, 3], 2)  # a and b
    np.testing.assert_equal(weights[:, 5] + weights[:, 6], 2)  # c and d


def test_a_lonely_patient_of_a_group_varies_too(make_case):
    case = replace(make_case(images=6), groups=("CT",) * 4 + ("MR",) * 2)
    assert len(set(weights_of(case, stratified=True)[:, 5])) > 1


def test_the_seed_decides_and_patients_weigh_one_on_average(make_case):
    case = make_case()
    np.testing.assert_equal(weights_of(case, stratified=True), weights_of(case, stratified=True))
    assert weights_of(case, stratified=True).mean() == pytest.approx(1)


def test_the_interval_of_a_constant_is_that_constant():
    interval = find_interval(0.25, np.full(200, 0.25), 8, 20, FEW.confidence)
    assert (interval.value, interval.low, interval.high, interval.n) == (0.25, 0.25, 0.25, 20)


def test_without_a_draw_that_has_a_value_or_a_second_patient_there_is_no_interval():
    assert find_interval(0.5, np.zeros(200), 1, 20, FEW.confidence).low is None
    assert find_interval(0.5, np.full(200, np.nan), 8, 20, FEW.confidence).high is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_patients": 0}, "min_patients: expected 1 or more, got 0"),
        ({"caption_wordings": 0}, "caption_wordings"),
        ({"stations": ("head", "cest")}, "Did you mean 'chest'"),
        ({"stations": ("head",)}, "two or more"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        NamingSettings(**change)
