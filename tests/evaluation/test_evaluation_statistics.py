import time

import numpy as np
import pytest
from scipy import stats

from vesalius.errors import ConfigError
from vesalius.evaluation.rows import tabulate
from vesalius.evaluation.statistics import (
    Bootstrap,
    Interval,
    draw_weights,
    find_bca_ends,
    find_centres,
    find_percentile_ends,
    leave_one_out_means,
    summarise,
    weighted_means,
    weighted_medians,
)

QUICK = Bootstrap(1_000)
RNG = np.random.default_rng(0)


@pytest.fixture
def rows(make_row):
    """Twenty images of five patients, two families with two wordings."""
    return [
        make_row(f"patient{image // 4}_{image}", family, score)
        for image, base in enumerate(RNG.beta(8, 2, 20))
        for family in ("p0", "p1")
        for score in np.clip(base + RNG.normal(0, 0.02, 2), 0, 1)
    ]


def test_values_are_those_of_the_images_and_lie_in_their_intervals(rows):
    summary = summarise(rows, settings=QUICK)
    table = tabulate(rows)
    assert list(summary.families) == ["p0", "p1"]
    for column, centre in enumerate(summary.families.values()):
        assert centre.mean.value == pytest.approx(table.scores[:, column].mean())
        assert centre.median.value == pytest.approx(np.median(table.scores[:, column]))
    assert summary.overall.mean.value == pytest.approx(table.scores.mean())
    for centre in (summary.overall, *summary.families.values()):
        for interval in (centre.mean, centre.median):
            assert 0 <= interval.low <= interval.value <= interval.high <= 1
            assert interval.n == summary.images == 20


def test_images_that_resemble_each_other_make_intervals_wider(make_row):
    rows = [
        make_row(f"{patient}_{view}", "p1", score) for patient, score in enumerate(RNG.random(12)) for view in "abc"
    ]
    alone, grouped = summarise(rows, settings=QUICK), summarise(rows, group_regex=r"\d+", settings=QUICK)
    assert (alone.clusters, grouped.clusters) == (36, 12)
    assert alone.overall.mean.value == grouped.overall.mean.value
    lengths = [each.overall.mean.high - each.overall.mean.low for each in (alone, grouped)]
    assert lengths[1] > 1.5 * lengths[0]


def test_images_without_the_target_can_be_left_out(make_row):
    rows = [make_row("a", "p1", 0.5), make_row("b", "p1", 0.7), make_row("normal", "p1", 1.0, true_pixels=0)]
    assert summarise(rows, settings=QUICK).overall.mean.value == pytest.approx(2.2 / 3)
    assert summarise(rows, present_only=True, settings=QUICK).overall.mean.value == pytest.approx(0.6)
    nothing = summarise(rows[2:], present_only=True, settings=QUICK)
    assert (nothing.images, nothing.overall, nothing.families) == (0, None, {})


def test_a_single_image_has_a_value_but_no_interval(make_row):
    mean = summarise([make_row("a", "p1", 0.5)], settings=QUICK).overall.mean
    assert mean == Interval(0.5, None, None, 1)
    assert str(mean) == "0.500 [–]"


def test_two_images_are_enough_for_every_number(make_row):
    summary = summarise([make_row("a", "p1", 0.25), make_row("b", "p1", 0.75)], settings=QUICK)
    assert str(summary.overall.mean) == "0.500 [0.250, 0.750]"


def test_a_family_that_some_images_lack_counts_those_that_have_it(make_row):
    rows = [make_row("a", "p1", 0.2), make_row("b", "p1", 0.4), make_row("c", "p1", 0.4), make_row("c", "p2", 0.8)]
    summary = summarise(rows, settings=QUICK)
    assert summary.families["p1"].mean.n == 3
    assert summary.families["p2"].mean == Interval(0.8, None, None, 1)
    assert summary.overall.mean.value == pytest.approx((0.2 + 0.4 + 0.6) / 3)


def test_the_same_seed_gives_the_same_summary(rows):
    one, other = (summarise(rows, settings=Bootstrap(500, seed=seed)) for seed in (0, 1))
    assert one == summarise(rows, settings=Bootstrap(500, seed=0))
    assert one != other


def test_only_means_are_corrected_and_only_if_asked(rows):
    table = tabulate(rows)
    corrected, plain = (find_centres(table, QUICK, correct=correct) for correct in (True, False))
    assert corrected[None].median == plain[None].median
    assert corrected[None].mean.value == plain[None].mean.value
    assert corrected[None].mean.low < plain[None].mean.low  # a tail towards 0 pulls both ends down


def test_ten_thousand_resamples_of_100_images_and_10_prompts_take_a_moment(make_row):
    rows = [make_row(f"{image}", f"p{family}", RNG.random()) for image in range(100) for family in range(10)]
    table = tabulate(rows)
    start = time.process_time()
    find_centres(table, Bootstrap())
    assert time.process_time() - start < 5  # a quarter of a second, of a slow processor a whole one


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
    monkeypatch.setattr("vesalius.evaluation.statistics.CELLS", 70)
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
    ends = find_bca_ends(drawn, 40, 0.95, values.mean(), left_out)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="BCa", confidence_level=widen(0.95, 40),
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    np.testing.assert_allclose(ends, theirs, atol=0.002)


def test_plain_ends_are_quantiles_at_the_widened_level():
    drawn = RNG.random(5_000)
    tail = (1 - widen(0.9, 12)) / 2
    np.testing.assert_allclose(find_percentile_ends(drawn, 12, 0.9), np.quantile(drawn, [tail, 1 - tail]))


def test_many_clusters_need_no_widening():
    drawn = np.linspace(0, 1, 100_001)
    np.testing.assert_allclose(find_percentile_ends(drawn, 10**6, 0.95), [0.025, 0.975], atol=1e-4)


def test_scores_that_are_all_the_same_leave_no_doubt():
    same = np.full(100, 0.5)
    assert find_bca_ends(same, 5, 0.95, 0.5, np.full(5, 0.5)) == (0.5, 0.5)


@pytest.mark.parametrize("setting", [{"resamples": 10}, {"confidence": 1.0}, {"confidence": 95}, {"seed": -1}])
def test_settings_out_of_range_are_refused(setting):
    (name,) = setting
    with pytest.raises(ConfigError, match=f"{name}: expected"):
        Bootstrap(**setting)
