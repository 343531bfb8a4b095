from statistics import NormalDist

import numpy as np
import pytest
from torch import tensor

from vesalius.evaluation.ranking import find_existence_curves


@pytest.fixture
def answer(make_row):
    def make(image, present, existence, family="p1", prompt="polyp"):
        return make_row(image, family, 0.5, true_pixels=int(present), existence=existence, prompt=prompt)

    return make


def test_the_curve_is_that_of_torchmetrics(answer, torchmetrics):
    rng = np.random.default_rng(0)
    present = rng.random(60) < 0.6
    scores = (rng.random(60) * 0.7 + present * 0.3).round(1)  # with ties
    rows = [answer(f"{n}.png", there, score) for n, (there, score) in enumerate(zip(present, scores, strict=True))]
    overall, family = find_existence_curves(rows)
    expected = torchmetrics.binary_auroc(tensor(scores), tensor(present.astype(int))).item()
    assert family.area.value == pytest.approx(expected, abs=1e-6)
    assert overall.area.value == family.area.value
    fpr, tpr, _ = torchmetrics.binary_roc(tensor(scores), tensor(present.astype(int)))
    np.testing.assert_allclose(family.fpr, fpr.numpy(), atol=1e-6)
    np.testing.assert_allclose(family.tpr, tpr.numpy(), atol=1e-6)
    assert (family.present, family.absent) == (present.sum(), (~present).sum())
    assert family.area.low < family.area.value < family.area.high


def test_by_hand_two_of_three_pairs_are_in_order(answer):
    rows = [answer("a", True, 0.9), answer("b", True, 0.3), answer("c", True, 0.6), answer("d", False, 0.5)]
    assert find_existence_curves(rows)[0].area.value == pytest.approx(2 / 3)


def test_equal_scores_count_one_half(answer):
    rows = [answer("a", True, 0.5), answer("b", False, 0.5)]
    assert find_existence_curves(rows)[0].area.value == 0.5


def test_an_image_counts_once_with_the_mean_over_its_wordings(answer):
    rows = [answer("a", True, 0.9), answer("a", True, 0.1), answer("b", False, 0.4)]
    curve = find_existence_curves(rows)[0]
    assert (curve.present, curve.absent, curve.area.value) == (1, 1, 1.0)


def test_an_image_may_be_asked_for_both_what_it_shows_and_what_it_does_not(answer):
    rows = [answer("a", True, 0.9), answer("a", False, 0.1, prompt="lungs"), answer("b", True, 0.2)]
    curve = find_existence_curves(rows)[0]
    assert (curve.present, curve.absent, curve.area.n) == (2, 1, 3)


def test_words_that_give_the_answer_away_are_told(answer):
    rows = [answer("a", True, 0.9, "p0", ""), answer("b", False, 0.4, "p0", "")]
    rows += [answer("a", True, 0.9), answer("b", False, 0.1, prompt="no polyp")]
    told = {curve.family: curve.leaked_by_prompt for curve in find_existence_curves(rows)}
    assert told == {None: True, "p0": False, "p1": True}


def test_without_scores_or_without_absent_targets_there_is_no_curve(answer, make_row):
    assert find_existence_curves([make_row("a", "p1", 0.5), make_row("b", "p1", 0.0, true_pixels=0)]) == []
    assert find_existence_curves([answer("a", True, 0.9), answer("b", True, 0.8)]) == []


def test_groups_are_drawn_together(answer):
    rng = np.random.default_rng(1)
    rows = [answer(f"{n % 6}_{n}.png", n % 3 > 0, rng.random() + (n % 3 > 0) / 4) for n in range(60)]
    alone, grouped = (find_existence_curves(rows, group_regex=regex)[0].area for regex in (None, "^[0-9]"))
    assert alone.value == grouped.value
    assert (alone.low, alone.high) != (grouped.low, grouped.high)


def test_perfect_order_has_no_interval(answer):
    rows = [answer(f"{n}.png", n > 3, n / 10) for n in range(8)]
    area = find_existence_curves(rows)[0].area
    assert (area.value, area.low, area.high) == (1.0, None, None)


def test_one_image_of_a_kind_has_no_interval(answer):
    rows = [answer("a", True, 0.9), answer("b", True, 0.3), answer("c", True, 0.6), answer("d", False, 0.5)]
    assert find_existence_curves(rows)[0].area.low is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("present", "absent", "distance"), [(65, 13, 1.5), (65, 13, 2.5), (50, 50, 1.0), (200, 100, 3.0)]
)
def test_19_of_20_intervals_hold_the_true_area_or_a_few_more(answer, present, absent, distance):
    """Scores of two normal distributions, whose area is known; conservative where a kind is rare."""
    truth = NormalDist().cdf(distance / np.sqrt(2))
    rng, held, trials = np.random.default_rng(0), [], 600
    for _ in range(trials):
        scores = np.concatenate([rng.normal(distance, 1, present), rng.normal(0, 1, absent)])
        rows = [answer(f"{n}.png", n < present, float(score)) for n, score in enumerate(scores)]
        area = find_existence_curves(rows)[1].area
        held += [area.low <= truth <= area.high] if area.low is not None else []
    assert 0.93 <= np.mean(held) <= 0.985
