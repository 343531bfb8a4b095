import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import stats
from scipy.stats import false_discovery_control

from vesalius.errors import ConfigError, DataError
from vesalius.evaluation.compare import compare, correct_holm, find_stability, rank_biserial, signed_rank_test
from vesalius.evaluation.pairing import pair
from vesalius.evaluation.segmentation import Evaluation
from vesalius.evaluation.statistics import Bootstrap
from vesalius.evaluation.stored import StoredEvaluation

QUICK = Bootstrap(1_000)
FAMILIES = ("p0", "p1", "p2")
SHIFTED = (("one", 0, 0), ("two", 0.02, 1))
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
        return StoredEvaluation(
            name, f"model of {name}", "/data/kvasir", "test", "threshold 0.5", Evaluation(tuple(rows))
        )

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


def test_patients_are_tested_as_the_evaluations_name_them(make):
    one, two = (replace(make(name, shift, seed=seed), group_regex=r"^\d+") for name, shift, seed in SHIFTED)
    found = compare([one, two], settings=QUICK)
    assert found.clusters == 8
    assert found == compare([one, two], group_regex=r"^\d+", settings=QUICK)
    other = compare([one, replace(two, group_regex=None)], settings=QUICK)
    assert other.clusters == 8
    assert other.notes == (r"two: made without --group-regex; patients are named by '^\d+', as in the others.",)
    assert compare([one, two], group_regex=".*", settings=QUICK).clusters == 24


def test_evaluations_that_name_patients_differently_ask_for_the_expression(make):
    one, two = (replace(make(name, 0), group_regex=regex) for name, regex in (("one", r"^\d+"), ("two", "^.")))
    with pytest.raises(ConfigError, match=r"one by '\^\\d\+', two by '\^\.'\. Choose one .* --group-regex"):
        compare([one, two], settings=QUICK)
    assert compare([one, two], group_regex="^.", settings=QUICK).clusters == 8


def test_of_distances_the_smaller_is_first(make):
    near, far = make("near", 0, hd95=3.0), make("far", 0, hd95=9.0)
    found = compare([far, near], "hd95", settings=QUICK)
    assert [each.name for each in found.standings] == ["near", "far"]
    assert found.standings[0].first == 1
    assert overall(found)[0].centre.mean.value == 6
    assert found.unit == "px"


def test_images_without_the_target_are_counted_and_can_be_left_out(make, make_row):
    normal = tuple(make_row("9_normal", family, 1.0, true_pixels=0) for family in FAMILIES)
    one, two = (of_rows(each, each.rows + normal) for each in (make("one", 0), make("two", 0.01, seed=1)))
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


IMAGES, PAIRED_FAMILIES = ("a", "b", "c"), ("p0", "p1")


@pytest.fixture
def evaluation(make_row):
    """Three images, two families; scores count up."""
    scores = iter(range(6))
    rows = [make_row(image, family, next(scores) / 10) for image in IMAGES for family in PAIRED_FAMILIES]
    return StoredEvaluation("one", "pocket", "/data/kvasir", "test", "threshold 0.5", Evaluation(tuple(rows)))


def other(evaluation, rows=None, **changes):
    return replace(of_rows(evaluation, evaluation.rows if rows is None else rows), name="two", **changes)


def of_rows(evaluation, rows):
    return replace(evaluation, evaluation=Evaluation(tuple(rows)))


def test_images_are_paired_by_name_whatever_their_order(evaluation):
    found = pair([evaluation, other(evaluation, rows=evaluation.rows[::-1])])
    assert found.tables[0].images == found.tables[1].images == IMAGES
    np.testing.assert_array_equal(found.tables[0].scores, found.tables[1].scores)
    assert found.notes == ()


def test_what_only_one_has_is_left_out_and_told(evaluation):
    rows = [row for row in evaluation.rows if row.image != "b" and row.family == "p1"]
    found = pair([evaluation, other(evaluation, rows=rows)])
    assert [table.images for table in found.tables] == [("a", "c")] * 2
    assert [table.families for table in found.tables] == [("p1",)] * 2
    assert found.tables[0].scores.tolist() == [[0.1], [0.5]]
    assert found.notes == (
        "1 of one's 3 images are not in every evaluation; left out.",
        "one's prompts p0 are not in every evaluation; left out.",
    )


def test_a_gap_in_one_is_a_gap_in_all(evaluation, make_row):
    rows = [replace(row, hd95=1.0) for row in evaluation.rows]
    gaps = [
        replace(row, hd95=None) if (row.image, row.family) in {("a", "p0"), ("b", "p0"), ("b", "p1")} else row
        for row in rows
    ]
    found = pair([of_rows(evaluation, rows), other(evaluation, rows=gaps)], "hd95")
    assert found.tables[0].images == ("a", "c")
    assert np.isnan(found.tables[0].scores).tolist() == [[True, False], [False, False]]
    assert "1 of one's 3 images are not in every evaluation; left out." in found.notes
    assert "1 pairs of image and prompt have no HD95 in some evaluation; left out of all." in found.notes


def test_other_words_are_told(evaluation):
    rows = [replace(row, prompt="a polyp") if row.family == "p1" else row for row in evaluation.rows]
    (note,) = pair([evaluation, other(evaluation, rows=rows)]).notes
    assert note.startswith("two was asked in other words than one in 3 pairs of image and prompt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "/data/busi"}, r"different data .* one has 'kvasir', two 'busi'.* the same --data"),
        ({"split": "val"}, r"different splits .* one has 'test', two 'val'.* the same --split"),
        ({"rule": "threshold 0.4"}, "different rules"),
    ],
)
def test_evaluations_of_something_else_are_refused(evaluation, changes, message):
    with pytest.raises(DataError, match=message):
        pair([evaluation, other(evaluation, **changes)])


def test_the_same_data_elsewhere_are_the_same_data(evaluation):
    assert pair([evaluation, other(evaluation, data="/mnt/kvasir/")]).notes == ()


def test_masks_that_changed_are_refused(evaluation):
    rows = [replace(row, true_pixels=2000) if row.image == "b" else row for row in evaluation.rows]
    with pytest.raises(DataError, match=r"that of 'b' has 1 pixels in one and 2,000 in two"):
        pair([evaluation, other(evaluation, rows=rows)])


def made_with(evaluation, **hashes):
    return replace(evaluation, manifest={"data": {"files_sha256": "f", "annotations_sha256": "a", **hashes}})


def test_other_files_of_the_same_names_are_refused(evaluation):
    with pytest.raises(DataError, match=r"different data .* images and masks of one have other names or sizes .* two"):
        pair([made_with(evaluation), made_with(other(evaluation), files_sha256="g")])
    assert pair([made_with(evaluation), other(evaluation)]).notes == ()  # nobody knows of which files


def test_other_annotations_of_the_same_files_are_told(evaluation):
    (note,) = pair([made_with(evaluation), made_with(other(evaluation), annotations_sha256="b")]).notes
    assert note == "two was made with other annotations than one; the words are the same."


def test_evaluations_that_share_no_prompt_are_told_what_each_asked(evaluation):
    rows = [replace(row, family="p9") for row in evaluation.rows]
    with pytest.raises(DataError, match=r"No prompt was asked in all .*two asked p9.*same --prompts"):
        pair([evaluation, other(evaluation, rows=rows)])


def test_too_little_in_common_is_refused(evaluation):
    with pytest.raises(DataError, match="one, two have 1 images with Dice in common; needs 2"):
        pair([evaluation, other(evaluation, rows=evaluation.rows[:2])])
    strangers = [replace(row, image=f"{row.image}2") for row in evaluation.rows]
    with pytest.raises(DataError, match="0 images"):
        pair([evaluation, other(evaluation, rows=strangers)])


def test_one_evaluation_is_nothing_to_compare(evaluation):
    with pytest.raises(ConfigError, match="two evaluations or more; got 1"):
        pair([evaluation])


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
