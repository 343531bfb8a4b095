"""All that a labeller asks of a slice, in words, and the answers of vectors to it."""

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import ModelError
from vesalius.naming.calibration import LABELS, Calibration
from vesalius.prompts.anatomy import phrases_of
from vesalius.prompts.anatomy_wording import ensemble_phrases
from vesalius.runtime.contract import Floats, Runtime

Array = NDArray[np.float64]

TINY = 1e-12
"""Keeps the length of an empty vector from dividing by 0."""


class Phrasebook:
    """The phrases of every label as vectors of one model, computed once.

    A label is asked with all its phrases, stations and organs also with every caption that says just that (prompt
    ensembles, Radford et al., 2021); the mean of their vectors counts.

    Args:
        runtime: Of a model whose image and text vectors share a space.
        calibration: Its own.

    Raises:
        ModelError: If it reads no text.
    """

    def __init__(self, runtime: Runtime, calibration: Calibration) -> None:
        self.calibration = calibration
        own = {name: scaling.labels for name, scaling in calibration.scalings.items()}
        self.labels: dict[str, tuple[str, ...]] = {**LABELS, **own}
        self._scale = runtime.logit_scale
        self._vectors = {name: _encode(runtime, name, labels) for name, labels in self.labels.items()}

    def odds(self, vectors: Floats) -> dict[str, Floats]:
        """Log-odds of every question's labels.

        Args:
            vectors: Unit image vectors [D, E].

        Returns:
            Question -> [D, L].

        Raises:
            ModelError: If image and text vectors are no neighbours in one space.
        """
        for rows in self._vectors.values():
            if rows.shape[1] != vectors.shape[1] or not rows.shape[1]:
                raise ModelError(
                    "This model outlines, but its image and text vectors share no space, so it cannot name; "
                    "use --model pocket, or a model that encodes (vesalius models lists them)."
                )
        return {name: np.asarray(self._scale * vectors @ rows.T, np.float32) for name, rows in self._vectors.items()}

    def probabilities(self, question: str, odds: Floats) -> Array:
        """That labels show: calibrated where the model is, otherwise the labels' shares among themselves.

        Args:
            question: One of ``LABELS``.
            odds: [D, L].

        Returns:
            [D, L].
        """
        scaling = self.calibration.scalings.get(question)
        values = odds.astype(np.float64)
        if scaling is not None:
            return scaling.probabilities(values)
        shares = np.exp(values - values.max(1, keepdims=True))
        return np.asarray(shares / shares.sum(1, keepdims=True))


def ask_about(question: str, label: str) -> tuple[str, ...]:
    """Everything a label is asked with.

    >>> ask_about("modality", "CT")
    ('a CT image', 'a computed tomography slice')
    """
    match question:
        case "stations" | "organs":
            return ensemble_phrases(question, label)  # those of the evaluation, which calibrates
        case _:
            return phrases_of(question)[label]


def list_naming_phrases() -> list[str]:
    """Everything that a labeller asks."""
    return [phrase for question, labels in LABELS.items() for label in labels for phrase in ask_about(question, label)]


def _encode(runtime: Runtime, question: str, labels: tuple[str, ...]) -> Floats:
    """One unit vector a label, the mean of its phrases' vectors, [L, E]."""
    means = np.stack([runtime.encode_text(ask_about(question, label)).vectors.mean(0) for label in labels])
    return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), TINY))
