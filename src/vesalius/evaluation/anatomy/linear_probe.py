"""The supervised baseline: logistic regression of every label on a frozen encoder's vectors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from vesalius.errors import DataError
from vesalius.evaluation.anatomy.label_scores import PRESENT, UNCERTAIN, Array

STRENGTHS = tuple(10.0**power for power in range(-4, 4))
"""Inverse penalties to choose from: C of the common notation, C · log loss + ½·|weights|²."""
ITERATIONS = 500


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """Weights of L labels."""

    mean: Array
    """Of training vectors, subtracted first, [E]."""
    spread: Array
    """Of training vectors, divided by, [E]."""
    weights: Array
    """[L, E]."""
    offsets: Array
    """[L]."""
    strength: float
    """C with which it was fitted."""

    def logits(self, vectors: Array) -> Array:
        """Log-odds that labels show, [N, E] -> [N, L]."""
        logits: Array = (vectors - self.mean) / self.spread @ self.weights.T + self.offsets
        return logits


@dataclass(frozen=True, eq=False)
class ProbeData:
    """Images to fit or to choose with."""

    vectors: Array
    """[N, E]."""
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
    """Of known entries."""
    losses = np.logaddexp(0, logits) - logits * (truth == PRESENT)
    known: Array = losses[truth != UNCERTAIN]
    return known
