from dataclasses import replace

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from vesalius.evaluation.calibration import BINS
from vesalius.evaluation.naming.measures import count_equal_mass


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
