"""What a system said of images, label by label, beside what is true: all that the metrics here need."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import DataError
from vesalius.prompts.anatomy import AnatomyLabel, Aspect
from vesalius.prompts.anatomy_wording import say_only
from vesalius.prompts.entailment import match_statements

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
PRESENT, ABSENT, UNCERTAIN = 1, 0, -1


@dataclass(frozen=True, eq=False)
class LabelScores:
    """N images and L labels.

    Raises:
        DataError: If shapes do not fit together, a truth is none, or a score is not finite.
    """

    labels: tuple[str, ...]
    scores: Array
    """Cosine similarities, logits or probabilities, [N, L]; higher is surer. Only their order matters to most."""
    truth: NDArray[np.int8]
    """1 present, 0 absent, -1 uncertain, [N, L]; what is uncertain counts nowhere."""
    patients: tuple[str, ...]
    """Whose each image is; intervals draw patients."""
    groups: tuple[str, ...]
    """Modality of each image, say: what is told apart in the result, and kept in proportion when drawing."""

    def __post_init__(self) -> None:
        shape = (len(self.patients), len(self.labels))
        if self.scores.shape != shape or self.truth.shape != shape or len(self.groups) != shape[0]:
            raise DataError(
                f"{shape[0]} patients and {shape[1]} labels need scores and truth {shape} and a group for each image; "
                f"got {self.scores.shape}, {self.truth.shape} and {len(self.groups)} groups."
            )
        if not shape[0] or not shape[1]:
            raise DataError(f"nothing to evaluate: {shape[0]} images and {shape[1]} labels.")
        if not np.isin(self.truth, (PRESENT, ABSENT, UNCERTAIN)).all():
            raise DataError("truth is 1 (present), 0 (absent) or -1 (uncertain); found other numbers.")
        if not np.isfinite(self.scores[self.known]).all():
            place = int(np.flatnonzero(~np.isfinite(np.where(self.known, self.scores, 0)).all(1))[0])
            raise DataError(f"scores must be finite numbers; image {place} of '{self.patients[place]}' has others.")

    @cached_property
    def present(self) -> Bools:
        """[N, L]."""
        return np.asarray(self.truth == PRESENT)

    @cached_property
    def known(self) -> Bools:
        """[N, L]; False where uncertain."""
        return np.asarray(self.truth != UNCERTAIN)

    @cached_property
    def clusters(self) -> NDArray[np.intp]:
        """Number of each image's patient, [N], from 0 without gaps."""
        numbers: NDArray[np.intp] = np.unique(self.patients, return_inverse=True)[1]
        return numbers

    def patients_of(self, chosen: Bools) -> NDArray[np.intp]:
        """Number of patients with a chosen image, for each column of [N, L]."""
        return np.array([len(np.unique(self.clusters[column])) for column in chosen.T])

    def take(self, rows: NDArray[np.intp]) -> "LabelScores":
        """Some of the images."""
        patients, groups = (tuple(each[row] for row in rows) for each in (self.patients, self.groups))
        return LabelScores(self.labels, self.scores[rows], self.truth[rows], patients, groups)


def truth_of(shown: Sequence[AnatomyLabel], aspect: Aspect, labels: Sequence[str]) -> NDArray[np.int8]:
    """Which labels are present.

    >>> slice_shows = AnatomyLabel("CT", organs=frozenset({"liver"}), uncertain=frozenset({"lungs"}))
    >>> truth_of([slice_shows], "organs", ["liver", "lungs", "brain"])
    array([[ 1, -1,  0]], dtype=int8)

    Args:
        shown: What N images show.
        aspect: What the labels are.
        labels: L organs or stations.

    Returns:
        1 present, 0 absent, -1 uncertain, [N, L].

    Raises:
        PromptError: If a label does not exist.
    """
    matched = match_statements(shown, [say_only(aspect, label) for label in labels])
    return np.where(matched.known, matched.true, UNCERTAIN).astype(np.int8)
