from itertools import combinations

import numpy as np
import pytest

from vesalius.evaluation.calibration import disagreement_map, risk_coverage, soft_dice_confidence
from vesalius.evaluation.statistics import Bootstrap

FEW = Bootstrap(resamples=200)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


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
