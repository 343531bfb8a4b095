import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from vesalius.errors import DataError
from vesalius.evaluation.naming.fitting import (
    STRENGTHS,
    ProbeData,
    fit_platt,
    fit_probe,
    fit_temperature,
    fit_with,
    score_by_prevalence,
)
from vesalius.evaluation.naming.label_scores import LabelScores
from vesalius.evaluation.naming.measures import count_equal_mass, top1_in_set
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


def draw_linear(rng, images: int, width: int = 6, labels: int = 2, noise: float = 0.0) -> ProbeData:
    """Labels that are linear in the vectors, but for noise."""
    vectors = rng.normal(3, 2, size=(images, width))
    directions = np.random.default_rng(7).normal(size=(width, labels))
    logits = (vectors - 3) @ directions + noise * rng.normal(size=(images, labels))
    return ProbeData(vectors, (logits > 0).astype(np.int8))


def test_it_finds_labels_that_are_linear_in_the_vectors(rng):
    train, val, test = (draw_linear(rng, count) for count in (300, 100, 200))
    probe = fit_probe(train, val)
    assert ((probe.logits(test.vectors) > 0) == test.truth).mean() > 0.97
    assert probe.strength in STRENGTHS


def test_noise_asks_for_a_stronger_penalty(rng):
    clean, noisy = (fit_probe(*(draw_linear(rng, 60, width=40, noise=noise) for _ in range(2))) for noise in (0, 60))
    assert noisy.strength < clean.strength


def test_weights_are_those_of_a_general_optimiser_for_one_label(rng):
    train = draw_linear(rng, 50, labels=1)
    inputs = (train.vectors - train.vectors.mean(0)) / train.vectors.std(0)

    def loss(found) -> float:
        logits = inputs @ found[:-1] + found[-1]
        return 0.1 * (np.logaddexp(0, logits) - logits * train.truth[:, 0]).sum() + (found[:-1] ** 2).sum() / 2

    found = minimize(loss, np.zeros(7), tol=1e-10).x
    probe = fit_with(train, 0.1)
    np.testing.assert_allclose([*probe.weights[0], probe.offsets[0]], found, atol=1e-3)


@pytest.mark.parametrize("strength", [1e-3, 0.1, 10.0])
def test_logits_are_nearly_those_of_scikit_learn(rng, strength):
    train = draw_linear(rng, 60, labels=1, noise=2)
    inputs = (train.vectors - train.vectors.mean(0)) / train.vectors.std(0)
    theirs = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-12).fit(inputs, train.truth[:, 0])
    ours = fit_with(train, strength).logits(train.vectors)[:, 0]
    np.testing.assert_allclose(ours, theirs.decision_function(inputs), atol=1e-2)


def test_uncertain_labels_change_nothing(rng):
    train = draw_linear(rng, 80)
    truth = train.truth.copy()
    truth[:20, 0] = -1
    half = fit_with(ProbeData(train.vectors, truth), 0.1)
    np.testing.assert_allclose(half.weights[1], fit_with(train, 0.1).weights[1], atol=1e-3)
    assert np.abs(half.weights[0] - fit_with(train, 0.1).weights[0]).max() > 1e-3


def test_a_label_that_always_shows_is_likely_and_a_constant_feature_harmless(rng):
    train = draw_linear(rng, 40)
    vectors = train.vectors.copy()
    vectors[:, 0] = 1
    probe = fit_with(ProbeData(vectors, np.ones_like(train.truth)), 1.0)
    assert (expit(probe.logits(vectors)) > 0.9).all()


def test_it_needs_something_known(rng):
    train = draw_linear(rng, 10)
    nothing = ProbeData(train.vectors, np.full_like(train.truth, -1))
    with pytest.raises(DataError, match="training images of which"):
        fit_probe(nothing, train)
    with pytest.raises(DataError, match="validation images of which"):
        fit_probe(train, nothing)


def test_every_image_gets_how_often_known_labels_show(make_case):
    train, case = make_case(uncertain=0.3, seed=3), make_case(images=6)
    scored = score_by_prevalence(train, case)
    shares = [train.present[:, label].sum() / train.known[:, label].sum() for label in range(3)]
    np.testing.assert_allclose(scored.scores, np.tile(shares, (6, 1)))
    assert scored.truth is case.truth


def test_top1_is_that_of_always_naming_the_commonest(make_case):
    case = make_case(uncertain=0)
    commonest = case.present.mean(0).argmax()
    shows = case.present.any(1)
    expected = case.present[shows, commonest].mean()
    assert np.nanmean(top1_in_set(score_by_prevalence(case, case))) == pytest.approx(expected)
