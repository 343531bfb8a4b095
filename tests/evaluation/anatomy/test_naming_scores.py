from dataclasses import replace

import numpy as np
import pytest

from vesalius.evaluation.naming.label_scores import LabelScores
from vesalius.evaluation.naming.measures import (
    ConfusionCounts,
    chance_of_top1,
    count_errors,
    exact_match,
    fit_thresholds,
    set_f1,
    top1_in_set,
)


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


def test_what_is_uncertain_changes_nothing(make_case, rng):
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
