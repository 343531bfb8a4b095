"""Every measure of naming under rows of weights, so that one set of draws serves all of them.

Equal scores are above a threshold together. Then the area counts a tie one half, and neither number depends on the
order of images. Areas are computed under many rows of weights at once, how often a bootstrap draw holds each image.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from vesalius.evaluation.calibration import BINS, Reliability
from vesalius.evaluation.naming.label_scores import Array, Bools, LabelScores
from vesalius.evaluation.statistics import weighted_means


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


_CELLS = 2**22
"""Numbers held in memory at a time; 32 MB."""


class Areas(NamedTuple):
    """Of each row of weights, [R]; NaN where a draw lacks either kind."""

    ap: Array
    """Average precision: mean precision, each threshold weighing as much as what it newly finds; no interpolation.

    Where all scores are equal, it is the share that is present."""
    auroc: Array
    """Area under the ROC curve: how often what is present scores above what is absent."""


class RocCurve(NamedTuple):
    """Receiver operating characteristic."""

    false_alarms: Array
    """Share of the absent at or above each threshold, from 0 to 1."""
    hits: Array
    """Share of the present at or above the same threshold."""


class Thresholds(NamedTuple):
    """The T different scores, highest first, and what lies at or above each."""

    values: Array
    present: Array
    absent: Array


class _Steps(NamedTuple):
    """Entries of each image from one present score to the next, as matrices [T, N] that weights are multiplied with."""

    present: csr_array
    """At each of the T different scores of present entries, highest first."""
    absent: csr_array
    """At or above it, but below the one before; all that lie below the last in a row of their own, [T + 1, N]."""
    ties: csr_array
    """Absent entries of the very same score."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """M entries, each an image, what was asked of it, and a score.

    >>> ranking = Ranking(np.array([0.9, 0.4, 0.6]), np.array([True, True, False]), np.arange(3))
    >>> areas = ranking.areas(np.ones((1, 3)))
    >>> areas.auroc, areas.ap.round(3)
    (array([0.5]), array([0.833]))
    """

    scores: Array
    """[M]."""
    present: Bools
    """[M]."""
    images: NDArray[np.intp]
    """Which image each entry is of, [M]."""

    def areas(self, weights: Array) -> Areas:
        """Average precision and area under the ROC curve.

        Args:
            weights: How often each of N images counts, [R, N]; fastest in Fortran's order.
        """
        if self.present.all() or not self.present.any():
            return Areas(*np.full((2, len(weights)), np.nan))
        blocks = [_areas(self._steps, block) for block in self._blocks(weights)]
        return Areas(*(np.concatenate(each) for each in zip(*blocks, strict=True)))

    def thresholds(self) -> Thresholds:
        """What lies at or above each score, every image counted once."""
        order = np.argsort(-self.scores, kind="stable")
        last = np.append(np.diff(self.scores[order]) != 0, True)[: len(order)]
        present, absent = (kind[order].cumsum()[last].astype(float) for kind in (self.present, ~self.present))
        return Thresholds(self.scores[order][last], present, absent)

    def curve(self) -> RocCurve | None:
        """The ROC curve, every image counted once; None where a kind is lacking."""
        if self.present.all() or not self.present.any():
            return None
        _, present, absent = self.thresholds()
        hits, alarms = np.append(0, present), np.append(0, absent)
        steps = np.stack([np.diff(hits), np.diff(alarms)])
        corners = (np.diff(steps, axis=1) != 0).any(0)  # equal steps run along one line
        kept = np.concatenate([[True], corners, [True]])
        return RocCurve(alarms[kept] / alarms[-1], hits[kept] / hits[-1])

    @cached_property
    def _steps(self) -> _Steps:
        values = -np.unique(-self.scores[self.present])  # highest first
        places = np.searchsorted(-values, -self.scores, side="left")
        tied = ~self.present & (values[places.clip(max=len(values) - 1)] == self.scores)
        return _Steps(
            self._count(self.present, places, len(values)),
            self._count(~self.present, places, len(values) + 1),
            self._count(tied, places, len(values)),
        )

    def _count(self, chosen: Bools, places: NDArray[np.intp], rows: int) -> csr_array:
        """Chosen entries by place and image, [rows, N]."""
        entries = np.ones(int(chosen.sum())), (places[chosen], self.images[chosen])
        return csr_array(entries, shape=(rows, int(self.images.max()) + 1))

    def _blocks(self, weights: Array) -> Iterator[Array]:
        """Weights in blocks of draws, turned: [N, r]."""
        turned, step = weights.T[: int(self.images.max()) + 1], max(1, _CELLS // int(self.present.sum()))
        yield from (turned[:, start : start + step] for start in range(0, len(weights), step))


def rank_labels(case: LabelScores) -> tuple[Ranking, ...]:
    """A ranking for each label, of the images of which it is known."""
    columns = zip(case.scores.T, case.present.T, case.known.T, strict=True)
    return tuple(Ranking(scores[known], present[known], np.flatnonzero(known)) for scores, present, known in columns)


def _areas(steps: _Steps, turned: Array) -> Areas:
    found, alarms, ties = (each @ turned for each in steps)  # [T, r]
    hits, alarms = found.cumsum(0), alarms.cumsum(0)
    precision = np.divide(hits, hits + alarms[:-1], out=np.zeros_like(hits), where=hits > 0)
    below = (found * (alarms[-1] - alarms[:-1] + ties / 2)).sum(0)
    both = (hits[-1] > 0) & (alarms[-1] > 0)
    ap = share((found * precision).sum(0), hits[-1])
    return Areas(np.where(both, ap, np.nan), share(below, hits[-1] * alarms[-1]))


def share(part: Array, whole: Array) -> Array:
    """Part of the whole; NaN of nothing."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def top1_in_set(case: LabelScores) -> Array:
    """Whether the label with the highest score is one of those that show (the paper's accuracy).

    Args:
        case: Labels that are uncertain cannot be named.

    Returns:
        [N]; 1 or 0, between them where labels share the highest score and only some of them show; NaN where nothing
        shows.
    """
    best = best_labels(case)
    hits = (best & case.present).sum(1) / best.sum(1).clip(min=1)
    return np.where(case.present.any(1), hits, np.nan)


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
    values, hits, alarms = Ranking(scores, present, np.arange(len(scores))).thresholds()
    place = int(np.argmax(2 * hits / (hits + alarms + present.sum())))
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
class Counts:
    """Images of one label at its threshold."""

    found: int
    missed: int
    false_alarms: int
    rightly_silent: int


def count_errors(case: LabelScores, thresholds: Array) -> list[Counts]:
    """One for each label."""
    named = case.scores >= thresholds
    kinds = ((named, case.present), (~named, case.present), (named, ~case.present), (~named, ~case.present))
    sums = [(said & true & case.known).sum(0) for said, true in kinds]
    return [Counts(*(int(each) for each in column)) for column in zip(*sums, strict=True)]


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
