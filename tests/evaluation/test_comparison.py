import json

import numpy as np
import pytest
from scipy import stats

from vesalius.evaluation.compare import compare
from vesalius.evaluation.statistics import Bootstrap
from vesalius.evaluation.stored import StoredEvaluation

QUICK = Bootstrap(1_000)
FAMILIES = ("p0", "p1", "p2")
BASE = np.random.default_rng(0).beta(6, 2, 24)


@pytest.fixture
def make(make_row):
    """An evaluation of 24 images of 8 patients, so much better or worse than another."""

    def make(name: str, shift: float, *, seed: int = 0, noise: float = 0.03, **others: object) -> StoredEvaluation:
        rng = np.random.default_rng(seed)
        rows = [
            make_row(f"{number // 3}_{number}", family, float(base + shift + rng.normal(0, noise)), **others)
            for number, base in enumerate(BASE)
            for family in FAMILIES
        ]
        return StoredEvaluation(name, f"model of {name}", "/data/kvasir", "test", "threshold 0.5", rows)

    return make


def overall(found):
    return [each for each in found.differences if each.family is None]


def test_a_clear_difference_is_found_and_has_the_right_sign(make):
    found = compare([make("weak", 0), make("strong", 0.1, seed=1)], settings=QUICK)
    (difference,) = overall(found)
    assert (difference.first, difference.second) == ("weak", "strong")
    assert difference.centre.mean.high < 0
    assert difference.centre.mean.value == pytest.approx(-0.1, abs=0.02)
    assert difference.rank_biserial < -0.9
    assert (difference.higher, difference.equal, difference.lower) == (0, 0, 24)
    assert difference.p < 0.001
    assert [each.name for each in found.standings] == ["strong", "weak"]
    assert [each.first for each in found.standings] == [1, 0]
    assert found.order_holds == 1


def test_pairing_makes_a_difference_surer_than_the_values_themselves(make):
    found = compare([make("one", 0), make("two", 0.02, seed=1)], settings=QUICK)
    (difference,) = overall(found)
    lengths = [each.overall.mean.high - each.overall.mean.low for each in found.standings]
    assert difference.centre.mean.high - difference.centre.mean.low < min(lengths) / 3


def test_equal_evaluations_do_not_differ_and_share_the_first_place(make):
    found = compare([make("one", 0), make("two", 0)], settings=QUICK)
    for each in found.differences:
        assert (each.centre.mean.low, each.centre.mean.high) == (0, 0)
        assert (each.higher, each.equal, each.lower) == (0, 24, 0)
        assert each.p == each.p_holm == 1
        assert each.rank_biserial == 0
    assert [each.first for each in found.standings] == [0.5, 0.5]
    assert found.order_holds == 1


def test_every_pair_is_tested_over_all_prompts_and_for_each(make):
    found = compare([make("a", 0), make("b", 0.01, seed=1), make("c", 0.02, seed=2)], settings=QUICK)
    assert [(each.first, each.second) for each in overall(found)] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert len(found.differences) == 3 * (1 + len(FAMILIES))
    smallest = min(overall(found), key=lambda each: each.p)
    assert smallest.p_holm == pytest.approx(min(1, 3 * smallest.p))
    single = min((each for each in found.differences if each.family), key=lambda each: each.p)
    assert single.p_holm == pytest.approx(min(1, 9 * single.p))


def test_p_values_are_scipy_s_over_images_and_over_patients_means(make):
    one, two = make("one", 0), make("two", 0.02, seed=1)
    images, patients = (compare([one, two], group_regex=regex, settings=QUICK) for regex in (None, r"^\d+"))
    scores = np.array([[row.dice for row in each.rows] for each in (one, two)]).reshape(2, 24, 3).mean(2)
    by_image = scores[0] - scores[1]
    by_patient = by_image.reshape(8, 3).mean(1)
    assert overall(images)[0].p == pytest.approx(stats.wilcoxon(by_image).pvalue)
    assert overall(patients)[0].p == pytest.approx(stats.wilcoxon(by_patient).pvalue)
    assert (images.clusters, patients.clusters) == (24, 8)
    assert overall(images)[0].centre.mean.value == overall(patients)[0].centre.mean.value


def test_of_distances_the_smaller_is_first(make):
    near, far = make("near", 0, hd95=3.0), make("far", 0, hd95=9.0)
    found = compare([far, near], "hd95", settings=QUICK)
    assert [each.name for each in found.standings] == ["near", "far"]
    assert found.standings[0].first == 1
    assert overall(found)[0].centre.mean.value == 6
    assert found.unit == "px"


def test_images_without_the_target_are_counted_and_can_be_left_out(make, make_row):
    one, two = make("one", 0), make("two", 0.01, seed=1)
    for each in (one, two):
        each.rows.extend(make_row("9_normal", family, 1.0, true_pixels=0) for family in FAMILIES)
    found = compare([one, two], settings=QUICK)
    assert (found.images, found.empty_truth, overall(found)[0].equal) == (25, 1, 1)
    found = compare([one, two], present_only=True, settings=QUICK)
    assert (found.images, found.empty_truth) == (24, 0)


def test_progress_is_told_for_each_evaluation_and_pair(make):
    steps = []
    compare(
        [make(name, 0, seed=seed) for seed, name in enumerate("abc")], settings=QUICK, on_step=lambda: steps.append(1)
    )
    assert len(steps) == 6


def test_a_comparison_is_json_and_the_seed_decides(make):
    pair = [make("one", 0), make("two", 0.02, seed=1)]
    one, same = (json.dumps(compare(pair, settings=QUICK).to_dict()) for _ in range(2))
    assert one == same
    assert json.loads(one)["settings"] == {"resamples": 1000, "confidence": 0.95, "seed": 0}
