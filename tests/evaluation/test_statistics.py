import json
import time

import numpy as np
import pytest

from vesalius.evaluation.rows import tabulate
from vesalius.evaluation.statistics import Bootstrap, Interval, find_centres, summarise

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


def test_a_summary_is_json(rows):
    content = json.loads(json.dumps(summarise(rows, settings=QUICK).to_dict()))
    assert content["families"]["p1"]["mean"].keys() == {"value", "low", "high", "n"}


def test_ten_thousand_resamples_of_100_images_and_10_prompts_take_less_than_a_second(make_row):
    rows = [make_row(f"{image}", f"p{family}", RNG.random()) for image in range(100) for family in range(10)]
    table = tabulate(rows)
    start = time.process_time()
    find_centres(table, Bootstrap())
    assert time.process_time() - start < 1
