from dataclasses import replace

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from vesalius.evaluation.calibration import BINS
from vesalius.evaluation.naming.fitting import fit_platt
from vesalius.evaluation.naming.label_scores import LabelScores
from vesalius.evaluation.naming.measures import (
    MEASURES,
    ConfusionCounts,
    Judged,
    chance_of_top1,
    count_equal_mass,
    count_errors,
    exact_match,
    fit_thresholds,
    set_f1,
    top1_in_set,
)


def judge(case: LabelScores, counted=None) -> Judged:
    everything = np.ones(len(case.labels), bool)
    thresholds, probabilities = fit_thresholds(case), fit_platt(case).probabilities(case.scores)
    return Judged(case, thresholds, probabilities, everything if counted is None else counted)


def values(judged: Judged, weights=None) -> dict[str, float]:
    rows = np.ones((1, len(judged.case.patients))) if weights is None else weights[None]
    return {name: drawn[0] for name, drawn in judged.measure(rows).overall.items()}


def test_there_is_one_value_for_each_measure(make_case):
    assert list(values(judge(make_case()))) == list(MEASURES)


def test_perfect_scores_give_one(make_case):
    case = make_case(uncertain=0.2)
    perfect = replace(case, scores=case.truth.astype(float))
    found = values(judge(perfect))
    assert {name: found[name] for name in list(MEASURES)[:6]} == dict.fromkeys(list(MEASURES)[:6], 1)


def test_the_order_of_images_changes_nothing(make_case, rng):
    case = make_case(images=60, uncertain=0.2)
    mixed = case.index_select(rng.permutation(60))
    assert values(judge(mixed)) == pytest.approx(values(judge(case)))


def test_what_is_uncertain_changes_nothing(make_case, rng):
    case = make_case(uncertain=0.3)
    other = replace(case, scores=np.where(case.known, case.scores, 50 * rng.normal(size=case.scores.shape)))
    assert values(judge(other)) == pytest.approx(values(judge(case)))


def test_a_weight_of_two_counts_an_image_twice(make_case, rng):
    judged = judge(make_case(images=30))
    weights = rng.integers(0, 3, 30)
    rows = np.repeat(np.arange(30), weights)
    again = Judged(judged.case.index_select(rows), judged.thresholds, judged.probabilities[rows], judged.counted)
    weighted, repeated = values(judged, weights.astype(float)), values(again)
    del weighted["ece"], repeated["ece"]  # bins of equal mass are those of the sample
    assert weighted == pytest.approx(repeated)


def test_macro_means_are_over_the_labels_that_count(make_case):
    case = make_case(labels=4)
    measured = judge(case, np.array([True, False, True, False])).measure(np.ones((1, 40)))
    assert measured.overall["macro_ap"][0] == pytest.approx(measured.ap[0, ::2].mean())
    assert measured.overall["macro_auroc"][0] == pytest.approx(measured.auroc[0, ::2].mean())
    assert np.isnan(judge(case, np.zeros(4, bool)).measure(np.ones((1, 40))).overall["macro_ap"]).all()


def test_a_macro_mean_is_as_sure_as_its_rarest_label(make_case):
    case = make_case(images=40, labels=2, uncertain=0)  # 20 patients
    truth = case.truth.copy()
    truth[:, 0] = np.arange(40) < 6  # three of them
    judged = judge(replace(case, truth=truth))
    assert judged.rarer_patients()[0] == 3
    assert (judged.deciding_patients("macro_ap"), judged.deciding_patients("set_f1")) == (3, 20)


def case_of(scores, truth) -> LabelScores:
    count = len(scores)
    labels = tuple("abcdef"[: len(scores[0])])
    return LabelScores(labels, np.array(scores, float), np.array(truth, np.int8), ("p",) * count, ("CT",) * count)


def test_the_first_name_is_right_if_it_is_one_of_those_that_show():
    case = case_of([[3, 2, 1], [1, 3, 2], [1, 2, 3]], [[1, 1, 0], [1, 0, 1], [0, 0, 0]])
    np.testing.assert_equal(top1_in_set(case), [1, 0, np.nan])


def test_names_that_share_the_top_share_the_score():
    np.testing.assert_equal(top1_in_set(case_of([[2, 2, 1]], [[1, 0, 1]])), [0.5])


def test_chance_is_the_share_of_labels_that_show_where_any_does():
    assert chance_of_top1(case_of(np.zeros((3, 4)), [[1, 1, 0, 0], [1, 0, -1, -1], [0] * 4])) == pytest.approx(0.5)
    assert np.isnan(chance_of_top1(case_of(np.zeros((1, 2)), [[0, 0]])))


def test_uncertain_labels_count_in_no_score_of_an_image(make_case, rng):
    case = make_case(uncertain=0.3)
    other = replace(case, scores=np.where(case.known, case.scores, 100 * rng.normal(size=case.scores.shape)))
    thresholds = fit_thresholds(case)
    np.testing.assert_equal(fit_thresholds(other), thresholds)
    np.testing.assert_equal(top1_in_set(other), top1_in_set(case))
    np.testing.assert_equal(set_f1(other, thresholds), set_f1(case, thresholds))
    np.testing.assert_equal(exact_match(other, thresholds), exact_match(case, thresholds))
    assert count_errors(other, thresholds) == count_errors(case, thresholds)


def test_sets_are_scored_as_worked_out_by_hand():
    case = case_of([[0.9, 0.8, 0.1], [0.1, 0.1, 0.1], [0.9, 0.1, 0.9]], [[1, 0, 1], [0, 0, 0], [1, 0, -1]])
    thresholds = np.array([0.5, 0.5, 0.5])
    np.testing.assert_allclose(set_f1(case, thresholds), [0.5, 1, 1])
    np.testing.assert_equal(exact_match(case, thresholds), [0, 1, 1])
    assert count_errors(case, thresholds) == [
        ConfusionCounts(2, 0, 0, 1),
        ConfusionCounts(0, 0, 1, 2),
        ConfusionCounts(0, 1, 0, 1),
    ]


def test_an_image_of_which_nothing_is_known_has_no_score():
    case = case_of([[1, 2]], [[-1, -1]])
    for score in (top1_in_set(case), set_f1(case, np.zeros(2)), exact_match(case, np.zeros(2))):
        assert np.isnan(score).all()


def test_the_threshold_of_a_label_gives_its_best_f1(make_case):
    case = make_case(images=60, labels=1, uncertain=0)
    scores, present = case.scores[:, 0], case.present[:, 0]

    def f1(threshold: float) -> float:
        named = scores >= threshold
        return 2 * (named & present).sum() / (named.sum() + present.sum())

    best = max(f1(value) for value in scores)
    assert f1(fit_thresholds(case)[0]) == pytest.approx(best)


def test_thresholds_lie_between_scores():
    assert fit_thresholds(case_of([[0.2], [0.4], [0.8]], [[0], [0], [1]])) == pytest.approx([0.6])


def test_a_label_that_never_shows_on_validation_has_the_threshold_of_all_together():
    case = case_of([[0.2, 0.1], [0.8, 0.3]], [[0, 0], [1, 0]])
    assert fit_thresholds(case) == pytest.approx([0.5, 0.55])
    assert fit_thresholds(case_of([[0.2]], [[0]])).tolist() == [np.inf]


def test_bins_hold_as_many_entries_each(make_case, rng):
    case = make_case(images=300, labels=5, uncertain=0)
    counts = [point.count for point in count_equal_mass(rng.random(case.scores.shape), case).curve()]
    assert len(counts) == BINS
    assert max(counts) - min(counts) <= 1


def test_errors_are_those_worked_out_in_sorted_bins(make_case, rng):
    case = make_case(images=30, labels=5, uncertain=0)  # 150 entries, 10 a bin
    stated = rng.random(case.scores.shape)
    order = np.argsort(stated.ravel())
    gaps = [abs((stated - case.present).ravel()[each].mean()) for each in np.split(order, BINS)]
    found = count_equal_mass(stated, case)
    assert found.ece() == pytest.approx(np.mean(gaps))
    assert found.brier() == pytest.approx(((stated - case.present) ** 2).mean())


def test_the_curve_is_that_of_scikit_learn(make_case, rng):
    case = make_case(images=40, labels=5, uncertain=0)
    stated = rng.random(case.scores.shape)
    curve = count_equal_mass(stated, case).curve()
    observed, mean = calibration_curve(case.present.ravel(), stated.ravel(), n_bins=BINS, strategy="quantile")
    np.testing.assert_allclose([[point.observed, point.stated] for point in curve], np.stack([observed, mean], axis=1))


def test_equal_probabilities_stay_together_and_uncertain_ones_are_left_out(make_case):
    case = make_case(uncertain=0.3)
    found = count_equal_mass(np.full(case.scores.shape, 0.25), case)
    (point,) = found.curve()
    assert (point.count, point.stated) == (case.known.sum(), 0.25)
    assert point.observed == pytest.approx(case.present.sum() / case.known.sum())
    nothing = count_equal_mass(case.scores, replace(case, truth=np.full_like(case.truth, -1)))
    assert np.isnan(nothing.ece())
