from itertools import combinations

import numpy as np
import pytest
from torch import from_numpy

from vesalius.evaluation.calibration import BINS, Reliability, disagreement_map, risk_coverage, soft_dice_confidence
from vesalius.evaluation.statistics import Bootstrap

FEW = Bootstrap(resamples=200)


def draw(rng: np.random.Generator, images: int, *, bent: float = 1.0) -> Reliability:
    """Images whose pixels are inside as often as stated, or as often as ``stated ** bent``."""
    rows = []
    for _ in range(images):
        stated = rng.random((40, 50))
        rows.append(Reliability.count(stated, rng.random(stated.shape) < stated**bent))
    return Reliability.join(rows)


def test_errors_are_those_worked_out_by_hand():
    seen = Reliability.count(np.array([0.95, 0.95, 0.95, 0.95, 0.05]), np.array([True, True, True, False, False]))
    assert seen.ece() == pytest.approx((4 * abs(0.95 - 0.75) + 0.05) / 5)
    assert seen.brier() == pytest.approx((3 * 0.05**2 + 0.95**2 + 0.05**2) / 5)
    low, high = seen.curve()
    assert (low.count, low.stated, low.observed) == (1, pytest.approx(0.05), 0)
    assert (high.count, high.stated, high.observed) == (4, pytest.approx(0.95), pytest.approx(0.75))


def test_the_error_over_pixels_is_that_of_torchmetrics_where_the_likelier_answer_is_inside(rng, torchmetrics):
    # torchmetrics takes the confidence of the likelier class, which is ours above one half.
    stated = (0.5 + 0.5 * rng.random(5000)).astype(np.float32)
    inside = rng.random(5000) < stated**2
    theirs = torchmetrics.binary_calibration_error(from_numpy(stated), from_numpy(inside.astype(np.int64)), n_bins=BINS)
    assert Reliability.count(stated, inside).ece() == pytest.approx(theirs.item(), abs=1e-6)


def test_counting_images_one_by_one_is_counting_all_pixels_at_once(rng):
    stated, inside = rng.random((3, 8, 8)), rng.random((3, 8, 8)) < 0.5
    joined = Reliability.join([Reliability.count(*each) for each in zip(stated, inside, strict=True)])
    assert joined.ece() == pytest.approx(Reliability.count(stated, inside).ece())
    assert joined.brier() == pytest.approx(Reliability.count(stated, inside).brier())


def test_who_states_what_happens_has_no_error_and_who_overstates_has(rng):
    clusters = np.arange(20)
    honest, bold = (draw(rng, 20, bent=bent).summarise(clusters, FEW) for bent in (1.0, 2.0))
    assert honest.ece.value < 0.02
    assert bold.ece.value == pytest.approx(1 / 6, abs=0.02)  # the mean of p - p²
    assert bold.ece.low < bold.ece.value < bold.ece.high
    assert all(point.observed < point.stated for point in bold.curve[2:-1])


def test_a_weight_of_two_counts_an_image_twice(rng):
    two = draw(rng, 2)
    again = Reliability.join([two, Reliability(two.counts[:1], two.stated[:1], two.inside[:1], two.squares[:1])])
    weights = np.array([[2.0, 1.0]])
    assert two.ece(weights)[0] == pytest.approx(again.ece())
    assert two.brier(weights)[0] == pytest.approx(again.brier())


def test_what_is_sure_is_left_out_of_the_doubtful_error():
    sure = Reliability.count(np.array([0.0, 1.0]), np.array([False, False]))
    assert sure.ece() == pytest.approx(0.5)
    assert sure.summarise(np.array([0]), FEW).doubtful_ece is None
    both = Reliability.count(np.array([0.0, 1.0, 0.5]), np.array([False, False, True]))
    assert both.ece(doubtful=True) == pytest.approx(0.5)


def test_one_image_has_no_interval(rng):
    assert draw(rng, 1).summarise(np.array([0]), FEW).ece.low is None


def test_probabilities_and_truth_must_fit():
    with pytest.raises(ValueError, match="differ in shape"):
        Reliability.count(np.zeros((2, 2)), np.zeros((2, 3), bool))


class TestDisagreementMap:
    def test_it_is_the_share_of_pairs_that_differ(self, rng):
        masks = rng.random((5, 4, 6)) < 0.5
        pairs = [one ^ other for one, other in combinations(masks, 2)]
        np.testing.assert_allclose(disagreement_map(masks), np.mean(pairs, axis=0))

    def test_equal_masks_do_not_disagree(self, rng):
        masks = np.repeat(rng.random((1, 4, 6)) < 0.5, 3, axis=0)
        assert not disagreement_map(masks).any()

    def test_one_mask_cannot_disagree(self):
        with pytest.raises(ValueError, match="two masks or more, got 1"):
            disagreement_map(np.zeros((1, 4, 4), bool))


class TestSoftDiceConfidence:
    def test_it_is_the_dice_to_expect(self):
        assert soft_dice_confidence(np.array([[1.0, 1.0], [0.0, 0.0]])) == 1
        assert soft_dice_confidence(np.array([[0.8, 0.2]])) == pytest.approx(2 * 0.8 / (1.0 + 1))

    def test_an_empty_answer_is_as_sure_as_its_likeliest_pixel_is_unlikely(self):
        assert soft_dice_confidence(np.array([[0.1, 0.0]])) == pytest.approx(0.9)
        assert soft_dice_confidence(np.array([[0.5, 0.0]])) == pytest.approx(0.5)


class TestRiskCoverage:
    def test_the_area_is_that_worked_out_by_hand(self):
        found = risk_coverage([0.9, 0.5, 0.7], [0.0, 0.6, 0.3], settings=FEW)
        assert found.coverage == pytest.approx((1 / 3, 2 / 3, 1))
        assert found.risk == pytest.approx((0, 0.15, 0.3))
        assert found.aurc.value == pytest.approx(found.best) == pytest.approx(0.15)
        assert found.chance == pytest.approx(0.3)

    def test_nothing_is_better_than_the_best_where_errors_are_equal(self):
        found = risk_coverage([0.9, 0.8, 0.7, 0.6], [0, 0, 1, 1], settings=FEW)
        assert found.best == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
        assert found.aurc.value == pytest.approx(found.best)

    def test_doubt_that_knows_is_better_than_chance_and_doubt_that_is_wrong_is_worse(self, rng):
        risk = rng.random(60)
        knows, wrong = (risk_coverage(sign * risk, risk, settings=FEW) for sign in (-1, 1))
        assert knows.aurc.value == knows.best < knows.chance < wrong.aurc.value
        assert knows.aurc.low < knows.aurc.value < knows.aurc.high < knows.chance

    def test_random_doubt_is_chance_on_average(self, rng):
        risk = rng.random(40)
        areas = [risk_coverage(rng.random(40), risk, settings=Bootstrap(100)).aurc.value for _ in range(50)]
        assert np.mean(areas) == pytest.approx(risk.mean(), abs=0.03)

    def test_equal_doubt_is_no_help_whatever_the_order(self, rng):
        risk = rng.random(10)
        for order in (risk, risk[::-1], np.sort(risk)):
            found = risk_coverage(np.ones(10), order, settings=FEW)
            assert found.aurc.value == pytest.approx(found.chance)

    def test_images_of_a_patient_are_drawn_together(self, rng):
        risk = np.repeat(rng.random(10), 8)
        alone = risk_coverage(-risk, risk, settings=FEW).aurc
        together = risk_coverage(-risk, risk, np.repeat(np.arange(10), 8), FEW).aurc
        assert together.high - together.low > alone.high - alone.low

    def test_one_patient_has_no_interval(self):
        assert risk_coverage([1.0, 0.5], [0.1, 0.2], np.zeros(2, np.intp), FEW).aurc.low is None

    def test_confidences_and_risks_must_be_as_many(self):
        with pytest.raises(ValueError, match="got 2 and 1"):
            risk_coverage([0.1, 0.2], [0.1])
