"""One score an image: is the first name right, as the paper counts, and is the set of names right."""

from dataclasses import dataclass

import numpy as np

from vesalius.evaluation.anatomy.label_scores import Array, Bools, LabelScores
from vesalius.evaluation.anatomy.ranking import Ranking


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
