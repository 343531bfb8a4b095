import numpy as np
import pytest
from scipy import stats

from vesalius.errors import ConfigError
from vesalius.evaluation.statistics import (
    Bootstrap,
    draw_weights,
    find_ends,
    find_plain_ends,
    leave_one_out_means,
    weighted_means,
    weighted_medians,
)

RNG = np.random.default_rng(0)
SCORES = RNG.random((9, 3))
SCORES[2, 1] = SCORES[5, 1] = np.nan
WEIGHTS = RNG.integers(0, 4, (50, 9)).astype(float)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(weighted_means, np.nanmean), (weighted_medians, np.nanmedian)], ids=["mean", "median"]
)
def test_weights_say_how_often_an_image_is_in_a_draw(ours, theirs):
    expected = [theirs(np.repeat(SCORES, row.astype(int), axis=0), axis=0) for row in WEIGHTS]
    np.testing.assert_allclose(ours(SCORES, WEIGHTS), expected, rtol=1e-12)


@pytest.mark.parametrize("statistic", [weighted_means, weighted_medians])
def test_a_draw_without_a_score_has_no_value(statistic):
    found = statistic(np.array([[np.nan], [0.5]]), np.array([[2.0, 0.0], [1.0, 1.0]]))
    np.testing.assert_array_equal(found, [[np.nan], [0.5]])


def test_whole_clusters_are_drawn():
    clusters = np.array([0, 1, 1, 2, 2, 2])
    weights = np.concatenate(list(draw_weights(clusters, Bootstrap(200))))
    assert weights.shape == (200, 6)
    assert (weights[:, 1] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(1) == 3).all()
    np.testing.assert_allclose(weights.mean(0), 1, atol=0.2)


def test_blocks_join_to_the_number_asked_for(monkeypatch):
    monkeypatch.setattr("vesalius.evaluation.statistics._CELLS", 70)
    blocks = list(draw_weights(np.arange(10), Bootstrap(100)))
    assert [len(block) for block in blocks] == [7] * 14 + [2]


def test_the_seed_decides():
    one, same, other = (np.concatenate(list(draw_weights(np.arange(5), Bootstrap(100, seed=s)))) for s in (0, 0, 1))
    assert (one == same).all()
    assert (one != other).any()


def test_each_cluster_is_left_out_once():
    clusters = np.array([0, 0, 1, 2])
    found = leave_one_out_means(np.array([[1.0], [2.0], [3.0], [6.0]]), clusters)
    np.testing.assert_allclose(found, [[4.5], [3.0], [2.0]])


def test_of_a_single_cluster_nothing_is_left():
    assert np.isnan(leave_one_out_means(np.array([[1.0], [2.0]]), np.array([0, 0]))).all()


def widen(confidence: float, count: int) -> float:
    """The confidence whose plain normal levels are the widened ones of ours."""
    low = np.sqrt(count / (count - 1)) * stats.t.ppf((1 - confidence) / 2, count - 1)
    return 1 - 2 * stats.norm.cdf(low)


def test_corrected_ends_equal_scipy_s_bca_at_the_widened_level():
    values = RNG.beta(5, 1, 40)
    drawn = weighted_means(values[:, None], np.concatenate(list(draw_weights(np.arange(40), Bootstrap(20_000)))))[:, 0]
    left_out = leave_one_out_means(values[:, None], np.arange(40))[:, 0]
    ends = find_ends(drawn, 40, 0.95, values.mean(), left_out)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="BCa", confidence_level=widen(0.95, 40),
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    np.testing.assert_allclose(ends, theirs, atol=0.002)


def test_plain_ends_are_quantiles_at_the_widened_level():
    drawn = RNG.random(5_000)
    tail = (1 - widen(0.9, 12)) / 2
    np.testing.assert_allclose(find_plain_ends(drawn, 12, 0.9), np.quantile(drawn, [tail, 1 - tail]))


def test_many_clusters_need_no_widening():
    drawn = np.linspace(0, 1, 100_001)
    np.testing.assert_allclose(find_plain_ends(drawn, 10**6, 0.95), [0.025, 0.975], atol=1e-4)


def test_scores_that_are_all_the_same_leave_no_doubt():
    same = np.full(100, 0.5)
    assert find_ends(same, 5, 0.95, 0.5, np.full(5, 0.5)) == (0.5, 0.5)


@pytest.mark.parametrize("setting", [{"resamples": 10}, {"confidence": 1.0}, {"confidence": 95}, {"seed": -1}])
def test_settings_out_of_range_are_refused(setting):
    (name,) = setting
    with pytest.raises(ConfigError, match=f"{name}: expected"):
        Bootstrap(**setting)
