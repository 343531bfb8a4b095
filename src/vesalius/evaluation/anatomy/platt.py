"""Scores to probabilities: one temperature and offset for all labels, or a slope and an offset for each (Platt, 1999).

p = σ(slope · score + offset), fitted by Newton's method on the log loss of known entries. A label's parameters are
drawn towards those of all labels together (half the squared distance is added to the loss, scores in units of their
spread), so rare labels keep to the common ones and the loss has one minimum, even where scores separate the kinds.
"""

import numpy as np
from scipy.special import expit

from vesalius.errors import DataError
from vesalius.evaluation.anatomy.label_scores import Array, Bools, LabelScores
from vesalius.models.calibration import PlattScaling

STEPS = 100
"""Of Newton's method; a handful suffice."""
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
