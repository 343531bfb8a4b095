"""All that a labeller asks of a slice, in words, and the answers of vectors to it."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vesalius.errors import ModelError
from vesalius.evaluation.anatomy.encoding import ensemble_phrases
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.models.zero_shot import label_logits, logit_scale, phrase_vectors
from vesalius.naming.calibration import LABELS, Calibration
from vesalius.prompts.anatomy import phrases_of

Array = NDArray[np.float64]


class Phrasebook:
    """The phrases of every label as vectors of one model, computed once.

    A label is asked with all its phrases, stations and organs also with every caption that says just that (prompt
    ensembles, Radford et al., 2021); the mean of their vectors counts.

    Args:
        model: One whose image and text vectors share a space.
        calibration: Its own.

    Raises:
        ModelError: If it reads no text.
    """

    def __init__(self, model: VisionLanguageEncoder, calibration: Calibration) -> None:
        self.calibration = calibration
        own = {name: scaling.labels for name, scaling in calibration.scalings.items()}
        self.labels: dict[str, tuple[str, ...]] = {**LABELS, **own}
        self._scale = logit_scale(model)
        self._vectors = {name: _encode(model, name, labels) for name, labels in self.labels.items()}

    def odds(self, vectors: Tensor) -> dict[str, Tensor]:
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
        return {name: label_logits(vectors, rows, self._scale) for name, rows in self._vectors.items()}

    def probabilities(self, question: str, odds: Tensor) -> Array:
        """That labels show: calibrated where the model is, otherwise the labels' shares among themselves.

        Args:
            question: One of ``LABELS``.
            odds: [D, L].

        Returns:
            [D, L].
        """
        scaling = self.calibration.scalings.get(question)
        values = odds.double()
        return values.softmax(1).numpy() if scaling is None else scaling.probabilities(values.numpy())


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


def _encode(model: VisionLanguageEncoder, question: str, labels: tuple[str, ...]) -> Tensor:
    vectors = phrase_vectors(model, {label: ask_about(question, label) for label in labels})
    return vectors.float().cpu()
