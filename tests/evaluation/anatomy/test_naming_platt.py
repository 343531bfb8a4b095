import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from vesalius.errors import DataError
from vesalius.evaluation.naming.fitting import fit_platt, fit_temperature
from vesalius.evaluation.naming.label_scores import LabelScores
from vesalius.evaluation.naming.measures import count_equal_mass
from vesalius.models.calibration import PlattScaling


def draw(rng, images, labels=2, slope=1.0, offset=0.0) -> LabelScores:
    """Log-odds that hold after a slope and an offset."""
    scores = rng.normal(0, 2, size=(images, labels))
    truth = (rng.random(scores.shape) < expit(slope * scores + offset)).astype(np.int8)
    return LabelScores(tuple("abcd"[:labels]), scores, truth, tuple(map(str, range(images))), ("CT",) * images)


def test_calibrated_log_odds_stay_nearly_what_they_are(rng):
    case = draw(rng, 4000)
    for fit in (fit_platt, fit_temperature):
        scaling = fit(case)
        np.testing.assert_allclose(scaling.slopes, 1, atol=0.12)
        np.testing.assert_allclose(scaling.offsets, 0, atol=0.12)


def test_a_slope_and_an_offset_are_found_and_help(rng):
    val, test = (draw(rng, 3000, slope=0.25, offset=-1) for _ in range(2))
    scaling = fit_platt(val)
    np.testing.assert_allclose(scaling.slopes, 0.25, atol=0.05)
    np.testing.assert_allclose(scaling.offsets, -1, atol=0.12)
    before, after = (count_equal_mass(p, test) for p in (expit(test.scores), scaling.probabilities(test.scores)))
    assert after.ece() < before.ece() / 3
    assert after.brier() < before.brier()


def test_newton_finds_what_a_general_optimiser_finds(rng):
    case = draw(rng, 200, labels=1, slope=0.5)
    centre, spread = case.scores.mean(), case.scores.std()

    def loss(found) -> float:
        logits = found[0] * (case.scores - centre) / spread + found[1]
        return (np.logaddexp(0, logits) - logits * case.present).sum() + (found**2).sum() / 2

    steep, level = minimize(loss, np.zeros(2), tol=1e-12).x
    scaling = fit_temperature(case)
    assert scaling.slopes[0] == pytest.approx(steep / spread, rel=1e-4)
    assert scaling.offsets[0] == pytest.approx(level - steep * centre / spread, rel=1e-4)


def test_a_label_that_hardly_shows_keeps_to_the_others(rng):
    case = draw(rng, 500, labels=2, slope=2)
    rare = case.truth.copy()
    rare[2:, 1] = -1
    shared, own = (fit(replace(case, truth=rare)) for fit in (fit_temperature, fit_platt))
    assert own.slopes[1] == pytest.approx(shared.slopes[1], rel=0.15)
    nothing = replace(case, truth=np.where(np.arange(2) == 1, -1, case.truth).astype(np.int8))
    assert fit_platt(nothing).slopes[1] == pytest.approx(fit_temperature(nothing).slopes[1])


def test_separable_scores_and_constant_ones_have_finite_parameters():
    truth = np.array([[0], [1]], np.int8)
    for scores in ([[-1e3], [1e3]], [[0.5], [0.5]]):
        case = LabelScores(("a",), np.array(scores), truth, ("p", "q"), ("CT", "CT"))
        for fit in (fit_platt, fit_temperature):
            assert np.isfinite((*fit(case).slopes, *fit(case).offsets)).all()


def test_the_scale_of_scores_does_not_matter(make_case):
    case = make_case()
    small = replace(case, scores=case.scores * 0.01 + 0.3)
    np.testing.assert_allclose(
        fit_platt(case).probabilities(case.scores), fit_platt(small).probabilities(small.scores), atol=1e-6
    )


def test_what_is_uncertain_changes_nothing(make_case, rng):
    case = make_case(uncertain=0.3)
    other = replace(case, scores=np.where(case.known, case.scores, np.nan))
    assert fit_platt(other) == fit_platt(case)


def test_parameters_survive_json(make_case):
    scaling = fit_platt(make_case())
    assert PlattScaling.from_dict(json.loads(json.dumps(scaling.to_dict()))) == scaling


@pytest.mark.parametrize(
    "content",
    [
        {"labels": ["a"], "slopes": [1]},
        {"labels": ["a"], "slopes": [1], "offsets": [True]},
        {"labels": ["a"], "slopes": [1], "offsets": [float("nan")]},
        {"labels": ["a"], "slopes": [1, 2], "offsets": [0]},
        {"labels": "a", "slopes": [1], "offsets": [0]},
    ],
)
def test_damaged_parameters_are_refused(content):
    with pytest.raises(DataError, match="calibration"):
        PlattScaling.from_dict(content)


def test_calibration_needs_something_known(make_case):
    with pytest.raises(DataError, match="all of these are uncertain"):
        fit_platt(make_case(uncertain=1.1))
