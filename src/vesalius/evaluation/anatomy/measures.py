"""Every measure of naming under rows of weights, so that one set of draws serves all of them, and pairs of systems."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vesalius.evaluation.anatomy.equal_mass import count_equal_mass
from vesalius.evaluation.anatomy.label_scores import Array, Bools, LabelScores
from vesalius.evaluation.anatomy.naming_scores import exact_match, set_f1, top1_in_set
from vesalius.evaluation.anatomy.ranking import Ranking, rank_labels, share
from vesalius.evaluation.bootstrap import weighted_means
from vesalius.evaluation.calibration import Reliability

MACRO = ("macro_ap", "macro_auroc")
PER_IMAGE = ("top1", "set_f1", "exact_match")
MEASURES: Mapping[str, str] = {
    "top1": "top-1 in set",
    "macro_ap": "macro mAP",
    "macro_auroc": "macro AUROC",
    "micro_ap": "micro AP",
    "set_f1": "set F1",
    "exact_match": "exact match",
    "ece": "ECE",
    "brier": "Brier",
}
"""Measures over all labels, and how people write them."""


class Measured(NamedTuple):
    """Under each of R rows of weights; NaN where a draw leaves a measure undefined."""

    overall: Mapping[str, Array]
    """Name in ``MEASURES`` -> [R]."""
    ap: Array
    """Average precision of each label, [R, L]."""
    auroc: Array
    """Area under the ROC curve of each label, [R, L]."""


@dataclass(frozen=True, eq=False)
class Judged:
    """Test images of one system, and what its validation images decided."""

    case: LabelScores
    thresholds: Array
    """Scores at or above them count as present, [L]."""
    probabilities: Array
    """Calibrated, [N, L]."""
    counted: Bools
    """Labels that enter macro means, [L]."""

    def measure(self, weights: Array) -> Measured:
        """Everything.

        Args:
            weights: How often each image counts, [R, N].
        """
        weights = np.asfortranarray(weights)
        ap, auroc = (
            np.stack(each, axis=1) for each in zip(*(one.areas(weights) for one in self.rankings), strict=True)
        )
        means = dict(zip(PER_IMAGE, weighted_means(self._per_image, weights).T, strict=True))
        overall = {
            "top1": means["top1"],
            "macro_ap": _mean(ap[:, self.counted]),
            "macro_auroc": _mean(auroc[:, self.counted]),
            "micro_ap": self._together.areas(weights).ap,
            "set_f1": means["set_f1"],
            "exact_match": means["exact_match"],
            "ece": self.reliability.ece(weights),
            "brier": self.reliability.brier(weights),
        }
        return Measured(overall, ap, auroc)

    @cached_property
    def rankings(self) -> tuple[Ranking, ...]:
        """One for each label, of the images of which it is known."""
        return rank_labels(self.case)

    @cached_property
    def reliability(self) -> Reliability:
        """Of all labels together, in bins of equal mass."""
        return count_equal_mass(self.probabilities, self.case)

    @cached_property
    def _together(self) -> Ranking:
        known = self.case.known
        return Ranking(self.case.scores[known], self.case.present[known], np.nonzero(known)[0])

    @cached_property
    def _per_image(self) -> Array:
        """Scores [N, 3] in the order of ``PER_IMAGE``."""
        sets = [measure(self.case, self.thresholds) for measure in (set_f1, exact_match)]
        return np.stack([top1_in_set(self.case), *sets], axis=1)

    def deciding_patients(self, measure: str) -> int:
        """Patients who decide a measure over all labels; of a macro mean, those of the rarest kind of its labels."""
        if measure in MACRO:
            return int(self.rarer_patients()[self.counted].min(initial=len(self.case.patients)))
        return len(np.unique(self.case.clusters[self.images_of(measure)]))

    def rarer_patients(self) -> NDArray[np.intp]:
        """Patients of each label's rarer kind, present or absent, [L]."""
        kinds = self.case.present, self.case.known & ~self.case.present
        return np.minimum(*(self.case.patients_of(kind) for kind in kinds))

    def images_of(self, measure: str) -> Bools:
        """Images that take part in a measure, [N]."""
        if measure in PER_IMAGE:
            return np.asarray(~np.isnan(self._per_image[:, PER_IMAGE.index(measure)]))
        return np.asarray(self.case.known.any(1))


def _mean(values: Array) -> Array:
    """Over the columns that have a value, [R]; NaN where none has."""
    known = ~np.isnan(values)
    return share(np.where(known, values, 0).sum(1), known.sum(1).astype(np.float64))
