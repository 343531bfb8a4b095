"""What is fitted: calibration (Platt), and the baselines of a linear probe and of prevalence.

p = σ(slope · score + offset), fitted by Newton's method on the log loss of known entries. A label's parameters are
drawn towards those of all labels together (half the squared distance is added to the loss, scores in units of their
spread), so rare labels keep to the common ones and the loss has one minimum, even where scores separate the kinds.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from vesalius.errors import DataError
from vesalius.evaluation.naming.label_scores import PRESENT, UNCERTAIN, LabelScores
from vesalius.evaluation.statistics import Array, Bools
from vesalius.models.calibration import PlattScaling

STEPS = 100
"""Iterations of Newton's method, at most; a handful suffice."""
TOLERANCE = 1e-10


def fit_temperature(val: LabelScores) -> PlattScaling:
    """One slope (the inverse of a temperature) and one offset for all labels; cosines have no natural zero.

    Args:
        val: Other images than those that will be tested.

    Raises:
        DataError: If nothing is known of them.
    """
    slope, offset = _fit_together(val)
    return PlattScaling(val.labels, (slope,) * len(val.labels), (offset,) * len(val.labels))


def fit_platt(val: LabelScores) -> PlattScaling:
    """A slope and an offset for each label; arguments as for ``fit_temperature``."""
    centre, spread = _scale_of(val)
    slope, offset = _fit_together(val)
    prior = np.array([slope * spread, offset + slope * centre])
    rows = [
        _fit((scores[known] - centre) / spread, present[known], prior)
        for scores, present, known in zip(val.scores.T, val.present.T, val.known.T, strict=True)
    ]
    slopes = [float(row[0] / spread) for row in rows]
    offsets = [float(row[1] - row[0] * centre / spread) for row in rows]
    return PlattScaling(val.labels, tuple(slopes), tuple(offsets))


def _fit_together(val: LabelScores) -> tuple[float, float]:
    centre, spread = _scale_of(val)
    steep, level = _fit((val.scores[val.known] - centre) / spread, val.present[val.known], np.zeros(2))
    return float(steep / spread), float(level - steep * centre / spread)


def _scale_of(val: LabelScores) -> tuple[float, float]:
    """Mean and spread of the known scores: the prior means the same for cosines and for logits."""
    if not val.known.any():
        raise DataError("calibration needs images of which some labels are known; all of these are uncertain.")
    scores = val.scores[val.known]
    return float(scores.mean()), float(scores.std()) or 1.0


def _fit(scores: Array, present: Bools, prior: Array) -> Array:
    """Slope and offset, [2], of least log loss plus half the squared distance from the prior."""
    inputs, found = np.stack([scores, np.ones_like(scores)], axis=1), prior.copy()
    for _ in range(STEPS):
        stated = expit(inputs @ found)
        gradient = inputs.T @ (stated - present) + found - prior
        curvature = (inputs * (stated * (1 - stated))[:, None]).T @ inputs + np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        found = found - _shorten(step, found, inputs, present, prior) * step
        if np.abs(step).max() < TOLERANCE:
            break
    return found


def _shorten(step: Array, found: Array, inputs: Array, present: Bools, prior: Array) -> float:
    """The largest of 1, 1/2, 1/4 … by which the step does not lead uphill."""
    length, before = 1.0, _loss(found, inputs, present, prior)
    while length > TOLERANCE and _loss(found - length * step, inputs, present, prior) > before:
        length /= 2
    return length


def _loss(found: Array, inputs: Array, present: Bools, prior: Array) -> float:
    logits = inputs @ found
    return float((np.logaddexp(0, logits) - logits * present).sum() + ((found - prior) ** 2).sum() / 2)


def score_by_prevalence(train: LabelScores, case: LabelScores) -> LabelScores:
    """Scores that are the share of known training images on which a label shows; 0 where none is known.

    Top-1 is then the accuracy of always naming the commonest label.

    Args:
        train: Images of which only the truth matters.
        case: Images to score, of the same labels.
    """
    shares = train.present.sum(0) / train.known.sum(0).clip(min=1)
    return replace(case, scores=np.tile(shares, (len(case.patients), 1)))


STRENGTHS = tuple(10.0**power for power in range(-4, 4))
"""Inverse penalties to choose from: C of the common notation, C · log loss + ½·|weights|²."""
ITERATIONS = 500


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """A linear classifier of L labels."""

    mean: Array
    """Mean of training vectors, subtracted first, [E]."""
    spread: Array
    """Standard deviation of training vectors, divided by, [E]."""
    weights: Array
    """Weights of each label, [L, E]."""
    offsets: Array
    """Offset of each label, [L]."""
    strength: float
    """C of the fit."""

    def logits(self, vectors: Array) -> Array:
        """Log-odds that labels show, [N, E] -> [N, L]."""
        logits: Array = (vectors - self.mean) / self.spread @ self.weights.T + self.offsets
        return logits


@dataclass(frozen=True, eq=False)
class ProbeData:
    """Images to fit a probe on, or to choose its C on."""

    vectors: Array
    """Vectors of the images, [N, E]."""
    truth: NDArray[np.int8]
    """1 present, 0 absent, -1 uncertain (left out), [N, L]."""


def fit_probe(train: ProbeData, val: ProbeData) -> LinearProbe:
    """Fit all labels at once by L-BFGS, with the C of ``STRENGTHS`` that gives the least log loss on validation images.

    Raises:
        DataError: If nothing is known of either.
    """
    for name, data in (("training", train), ("validation", val)):
        if not (data.truth != UNCERTAIN).any():
            raise DataError(f"a linear probe needs {name} images of which some labels are known; there are none.")
    probes = [fit_with(train, strength) for strength in STRENGTHS]
    return min(probes, key=lambda probe: _log_losses(probe.logits(val.vectors), val.truth).sum())


def fit_with(train: ProbeData, strength: float) -> LinearProbe:
    """Fit with one C: of least C · log loss + ½·|weights|², offsets free."""
    mean, spread = train.vectors.mean(0), train.vectors.std(0)
    spread = np.where(spread > 0, spread, 1.0)
    inputs, labels = (train.vectors - mean) / spread, train.truth.shape[1]
    shape = (labels, inputs.shape[1] + 1)

    def loss(flat: Array) -> tuple[float, Array]:
        """And its gradient."""
        weights, offsets = np.split(flat.reshape(shape), [-1], axis=1)
        logits = inputs @ weights.T + offsets.T
        errors = np.where(train.truth != UNCERTAIN, expit(logits) - (train.truth == PRESENT), 0)
        gradient = np.column_stack([strength * errors.T @ inputs + weights, strength * errors.sum(0)])
        total = strength * _log_losses(logits, train.truth).sum() + (weights**2).sum() / 2
        return float(total), gradient.ravel()

    found = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS})
    weights, offsets = np.split(found.x.reshape(shape), [-1], axis=1)
    return LinearProbe(mean, spread, weights, offsets[:, 0], strength)


def _log_losses(logits: Array, truth: NDArray[np.int8]) -> Array:
    """Log losses of known entries."""
    losses = np.logaddexp(0, logits) - logits * (truth == PRESENT)
    known: Array = losses[truth != UNCERTAIN]
    return known
