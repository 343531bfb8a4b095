from itertools import product

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from vesalius.evaluation.compare import correct_holm, rank_biserial, signed_rank_test

RNG = np.random.default_rng(0)


def test_the_p_value_is_the_share_of_signs_at_least_as_extreme():
    differences = np.array([0.5, 0.4, -0.1, 0.3, 0.2, 0.7])
    # Ranks 5 4 1 3 2 6; the sum of the negative ones is 1.
    ranks = np.array([5, 4, 1, 3, 2, 6])
    sums = np.array(
        [sum(rank for rank, sign in zip(ranks, signs, strict=True) if sign) for signs in product((0, 1), repeat=6)]
    )
    expected = ((sums <= 1) | (sums >= 20)).mean()
    assert signed_rank_test(differences) == pytest.approx(expected)


def test_pairs_that_do_not_differ_say_nothing():
    differences = RNG.normal(0.2, 1, 20)
    padded = np.concatenate([differences, np.zeros(30), [1e-15]])
    assert signed_rank_test(padded) == signed_rank_test(differences)
    assert rank_biserial(padded) == rank_biserial(differences)


def test_nothing_that_differs_is_no_evidence():
    assert signed_rank_test(np.zeros(5)) == 1
    assert rank_biserial(np.zeros(5)) == 0


def test_the_effect_has_a_sign_and_two_ends():
    positive = RNG.random(9) + 0.1
    assert rank_biserial(positive) == 1
    assert rank_biserial(-positive) == -1
    differences = RNG.normal(0.3, 1, 30)
    assert rank_biserial(differences) == pytest.approx(-rank_biserial(-differences))


def test_holm_by_hand():
    assert correct_holm([0.04, 0.01, 0.03, 0.5]) == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert correct_holm([0.9, 0.8]) == [1, 1]
    assert correct_holm([0.3]) == [0.3]
    assert correct_holm([]) == []


def test_holm_lies_between_no_correction_and_bonferroni():
    p_values = RNG.random(30) ** 3
    corrected = np.array(correct_holm(p_values.tolist()))
    assert (corrected >= p_values).all()
    assert (corrected <= np.minimum(1, 30 * p_values)).all()
    assert (corrected >= false_discovery_control(p_values) - 1e-12).all()
    assert (np.argsort(corrected, kind="stable")[:5] == np.argsort(p_values)[:5]).all()
