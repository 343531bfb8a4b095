import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from vesalius.errors import DataError
from vesalius.evaluation.naming.fitting import STRENGTHS, ProbeData, fit_probe, fit_with


def draw(rng, images: int, width: int = 6, labels: int = 2, noise: float = 0.0) -> ProbeData:
    """Labels that are linear in the vectors, but for noise."""
    vectors = rng.normal(3, 2, size=(images, width))
    directions = np.random.default_rng(7).normal(size=(width, labels))
    logits = (vectors - 3) @ directions + noise * rng.normal(size=(images, labels))
    return ProbeData(vectors, (logits > 0).astype(np.int8))


def test_it_finds_labels_that_are_linear_in_the_vectors(rng):
    train, val, test = (draw(rng, count) for count in (300, 100, 200))
    probe = fit_probe(train, val)
    assert ((probe.logits(test.vectors) > 0) == test.truth).mean() > 0.97
    assert probe.strength in STRENGTHS


def test_noise_asks_for_a_stronger_penalty(rng):
    clean, noisy = (fit_probe(*(draw(rng, 60, width=40, noise=noise) for _ in range(2))) for noise in (0, 60))
    assert noisy.strength < clean.strength


def test_weights_are_those_of_a_general_optimiser_for_one_label(rng):
    train = draw(rng, 50, labels=1)
    inputs = (train.vectors - train.vectors.mean(0)) / train.vectors.std(0)

    def loss(found) -> float:
        logits = inputs @ found[:-1] + found[-1]
        return 0.1 * (np.logaddexp(0, logits) - logits * train.truth[:, 0]).sum() + (found[:-1] ** 2).sum() / 2

    found = minimize(loss, np.zeros(7), tol=1e-10).x
    probe = fit_with(train, 0.1)
    np.testing.assert_allclose([*probe.weights[0], probe.offsets[0]], found, atol=1e-3)


@pytest.mark.parametrize("strength", [1e-3, 0.1, 10.0])
def test_logits_are_nearly_those_of_scikit_learn(rng, strength):
    train = draw(rng, 60, labels=1, noise=2)
    inputs = (train.vectors - train.vectors.mean(0)) / train.vectors.std(0)
    theirs = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-12).fit(inputs, train.truth[:, 0])
    ours = fit_with(train, strength).logits(train.vectors)[:, 0]
    np.testing.assert_allclose(ours, theirs.decision_function(inputs), atol=1e-2)


def test_uncertain_labels_change_nothing(rng):
    train = draw(rng, 80)
    truth = train.truth.copy()
    truth[:20, 0] = -1
    half = fit_with(ProbeData(train.vectors, truth), 0.1)
    np.testing.assert_allclose(half.weights[1], fit_with(train, 0.1).weights[1], atol=1e-3)
    assert np.abs(half.weights[0] - fit_with(train, 0.1).weights[0]).max() > 1e-3


def test_a_label_that_always_shows_is_likely_and_a_constant_feature_harmless(rng):
    train = draw(rng, 40)
    vectors = train.vectors.copy()
    vectors[:, 0] = 1
    probe = fit_with(ProbeData(vectors, np.ones_like(train.truth)), 1.0)
    assert (expit(probe.logits(vectors)) > 0.9).all()


def test_it_needs_something_known(rng):
    train = draw(rng, 10)
    nothing = ProbeData(train.vectors, np.full_like(train.truth, -1))
    with pytest.raises(DataError, match="training images of which"):
        fit_probe(nothing, train)
    with pytest.raises(DataError, match="validation images of which"):
        fit_probe(train, nothing)
