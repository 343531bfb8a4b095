import numpy as np
import pytest

from vesalius.evaluation.compare import find_stability
from vesalius.evaluation.statistics import Bootstrap

DRAWS = Bootstrap(4_000)


def test_two_images_that_disagree_by_hand():
    # A quarter of the draws holds the first image twice, a quarter the second, and half hold both, which is a tie.
    first, holds = find_stability(np.array([[1.0, 0.0], [0.0, 1.0]]), np.arange(2), DRAWS)
    np.testing.assert_allclose(first, [0.5, 0.5], atol=0.03)
    assert holds == pytest.approx(0.75, abs=0.03)


def test_a_model_that_is_always_better_is_always_first():
    scores = np.random.default_rng(0).random((10, 1)) + [0.0, 0.2, 0.1]
    assert find_stability(scores, np.arange(10), DRAWS) == ([0, 1, 0], 1)


def test_equal_models_share_the_first_place():
    scores = np.repeat(np.random.default_rng(0).random((10, 1)), 3, axis=1)
    first, holds = find_stability(scores, np.arange(10), DRAWS)
    np.testing.assert_allclose(first, 1 / 3)
    assert holds == 1


def test_fewer_clusters_make_a_ranking_less_sure():
    scores = np.random.default_rng(0).normal([0.0, 0.05], 0.2, (4, 2)).repeat(10, axis=0)
    alone, grouped = (find_stability(scores, each, DRAWS)[1] for each in (np.arange(40), np.arange(4).repeat(10)))
    assert grouped < alone
