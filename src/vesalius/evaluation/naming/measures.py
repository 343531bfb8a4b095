"""Every measure of naming under rows of weights, so that one set of draws serves all of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vesalius.evaluation.calibration import BINS, Reliability
from vesalius.evaluation.naming.label_scores import LabelScores
from vesalius.evaluation.ranking import Ranking
from vesalius.evaluation.statistics import Array, Bools, share, weighted_means


def count_equal_mass(probabilities: Array, case: LabelScores) -> Reliability:
    """Count the known entries of all labels, image by image.

    Equal probabilities stay in one bin, so there may be fewer bins than 15 and the order of images does not matter.

    Args:
        probabilities: That labels show, [N, L].
        case: What is true.

    Returns:
        A row an image; its ``ece``, ``brier`` and ``curve`` are those of equal-mass bins.
    """
    values, truth = probabilities[case.known], case.present[case.known].astype(np.float64)
    images = np.nonzero(case.known)[0]
    edges = np.unique(np.quantile(values, np.arange(1, BINS) / BINS)) if values.size else values
    cells = images * BINS + np.searchsorted(edges, values, side="left")
    shape = (len(case.patients), BINS)
    ones = np.ones_like(values)
    counts, stated, shown = (
        np.bincount(cells, each, shape[0] * BINS).astype(float).reshape(shape) for each in (ones, values, truth)
    )
    squares = np.bincount(images, (values - truth) ** 2, shape[0]).astype(float)
    return Reliability(counts, stated, shown, squares)


def rank_labels(case: LabelScores) -> tuple[Ranking, ...]:
    """A ranking for each label, of the images of which it is known."""
    columns = zip(case.scores.T, case.present.T, case.known.T, strict=True)
    return tuple(Ranking(scores[known], present[known], np.flatnonzero(known)) for scores, present, known in columns)


def top1_in_set(case: LabelScores) -> Array:
    """Whether the label with the highest score is one of those that show (the paper's accuracy).

    Args:
        case: Labels that are uncertain cannot be named.

    Returns:
        [N]; 1 or 0, between them where labels share the highest score and only some of them show; NaN where nothing
        shows.
    """
    best = best_labels(case)
    right = (best & case.present).sum(1) / best.sum(1).clip(min=1)
    return np.where(case.present.any(1), right, np.nan)


def best_labels(case: LabelScores) -> Bools:
    """Which known labels have an image's highest score, [N, L]."""
    scores = np.where(case.known, case.scores, -np.inf)
    return np.asarray((scores == scores.max(1, keepdims=True)) & case.known)


def chance_of_top1(case: LabelScores) -> float:
    """Accuracy of naming a label at random: the mean share of known labels that show; NaN where nothing ever shows."""
    counted = case.present.any(1)
    shares = case.present[counted].sum(1) / case.known[counted].sum(1)
    return float(shares.mean()) if counted.any() else float("nan")


def fit_thresholds(val: LabelScores) -> Array:
    """The threshold of each label that gives the best F1, [L]; scores at or above it count as present.

    A label without present and absent images has the one threshold that is best for all labels together.

    Args:
        val: Other images than those that will be tested.
    """
    together = _best_threshold(val.scores[val.known], val.present[val.known])
    thresholds = []
    for scores, present, known in zip(val.scores.T, val.present.T, val.known.T, strict=True):
        told = 0 < present.sum() < known.sum()
        thresholds.append(_best_threshold(scores[known], present[known]) if told else together)
    return np.array(thresholds)


def _best_threshold(scores: Array, present: Bools) -> float:
    """Midway between the lowest score to take and the next one; infinite where nothing is present."""
    if not present.any():
        return float("inf")
    values, positives, negatives = Ranking(scores, present, np.arange(len(scores))).thresholds()
    place = int(np.argmax(2 * positives / (positives + negatives + present.sum())))
    return float(values[place : place + 2].mean())


def set_f1(case: LabelScores, thresholds: Array) -> Array:
    """Overlap of named and true set, 2·|P∩T| / (|P|+|T|), [N]; 1 where both are empty, NaN where nothing is known."""
    named = (case.scores >= thresholds) & case.known
    sizes = named.sum(1) + case.present.sum(1)
    scores = np.where(sizes > 0, 2 * (named & case.present).sum(1) / sizes.clip(min=1), 1.0)
    return np.where(case.known.any(1), scores, np.nan)


def exact_match(case: LabelScores, thresholds: Array) -> Array:
    """Whether every known label is judged right, [N]; NaN where nothing is known."""
    right = ((case.scores >= thresholds) == case.present) | ~case.known
    return np.where(case.known.any(1), right.all(1), np.nan)


@dataclass(frozen=True)
class ConfusionCounts:
    """Images of one label at its threshold."""

    true_positives: int
    false_negatives: int
    false_positives: int
    true_negatives: int


def count_errors(case: LabelScores, thresholds: Array) -> list[ConfusionCounts]:
    """Counts of each label."""
    named = case.scores >= thresholds
    kinds = ((named, case.present), (~named, case.present), (named, ~case.present), (~named, ~case.present))
    sums = [(predicted & true & case.known).sum(0) for predicted, true in kinds]
    return [ConfusionCounts(*map(int, column)) for column in zip(*sums, strict=True)]


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
        """All measures under each row of weights.

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
        """Ranking of each label, over the images of which it is known."""
        return rank_labels(self.case)

    @cached_property
    def reliability(self) -> Reliability:
        """Reliability of all labels together, in bins of equal mass."""
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
