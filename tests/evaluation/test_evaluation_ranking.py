import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import from_numpy

from vesalius.evaluation.ranking import Ranking


def rank(scores, present) -> Ranking:
    return Ranking(np.asarray(scores), np.asarray(present), np.arange(len(scores)))


def areas(scores, present, weights=None) -> tuple[float, float]:
    found = rank(scores, present).areas(np.ones((1, len(scores))) if weights is None else weights[None])
    return found.ap[0], found.auroc[0]


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_areas_are_those_of_torchmetrics_ties_included(rng, decimals, torchmetrics):
    for _ in range(10):
        present = rng.random(60) < 0.3
        scores = ((rng.random(60) + 0.3 * present) / 1.3).round(decimals)
        theirs = from_numpy(scores), from_numpy(present.astype(np.int64))
        ap, auroc = areas(scores, present)
        assert ap == pytest.approx(torchmetrics.binary_average_precision(*theirs).item(), abs=1e-6)
        assert auroc == pytest.approx(torchmetrics.binary_auroc(*theirs).item(), abs=1e-6)


def test_areas_under_weights_are_those_of_scikit_learn(rng):
    for _ in range(20):
        scores, present = rng.normal(size=40).round(1), rng.random(40) < 0.4
        weights = rng.integers(0, 3, 40).astype(float)
        theirs = [each(present, scores, sample_weight=weights) for each in (average_precision_score, roc_auc_score)]
        assert areas(scores, present, weights) == pytest.approx(theirs, abs=1e-12)


def test_the_area_is_the_share_of_pairs_in_order_a_tie_counting_half(rng):
    scores, present = rng.integers(0, 5, 30).astype(float), rng.random(30) < 0.4
    above = np.sign(scores[present][:, None] - scores[~present])
    assert areas(scores, present)[1] == pytest.approx(((above + 1) / 2).mean())


def test_perfect_scores_give_one_and_reversed_ones_no_area():
    present = np.array([True, True, False, False, False])
    assert areas(present.astype(float), present) == (1, 1)
    assert areas(-present.astype(float), present)[1] == 0


def test_equal_scores_give_a_half_and_the_share_that_is_present():
    present = np.arange(10) < 3
    assert areas(np.full(10, 0.7), present) == pytest.approx((0.3, 0.5))


def test_monotone_transforms_and_the_order_of_images_change_nothing(rng):
    scores, present = rng.normal(size=50).round(1), rng.random(50) < 0.4
    order = rng.permutation(50)
    assert areas(np.exp(3 * scores), present) == areas(scores, present)
    assert areas(scores[order], present[order]) == areas(scores, present)


def test_a_weight_of_two_counts_an_image_twice(rng):
    scores, present = rng.normal(size=20).round(1), rng.random(20) < 0.4
    weights = rng.integers(0, 3, 20)
    repeated = np.repeat(np.arange(20), weights)
    assert areas(scores, present, weights.astype(float)) == pytest.approx(areas(scores[repeated], present[repeated]))


def test_an_area_needs_both_kinds():
    found = rank(np.array([0.1, 0.2]), np.array([True, False])).areas(np.array([[1.0, 0.0], [0.0, 1.0], [0, 0]]))
    assert np.isnan(found.ap).all()
    assert np.isnan(found.auroc).all()
    assert rank(np.array([0.1]), np.array([True])).curve() is None
    assert np.isnan(rank(np.array([]), np.array([], bool)).areas(np.ones((1, 4))).ap).all()


def test_the_curve_has_the_area_under_it_and_no_needless_points(rng):
    scores, present = rng.normal(size=80).round(1), rng.random(80) < 0.4
    curve = rank(scores, present).curve()
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(areas(scores, present)[1])
    assert (curve.tpr[0], curve.tpr[-1], curve.fpr[0], curve.fpr[-1]) == (0, 1, 0, 1)
    straight = rank(np.arange(10.0), np.arange(10) >= 5).curve()
    assert straight.tpr.tolist() == pytest.approx([0, 1, 1])
