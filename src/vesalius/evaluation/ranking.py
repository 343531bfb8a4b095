"""ROC curves, areas under them, and average precision, of labels and of existence scores.

A row of weights says how often a bootstrap draw, or a jackknife, holds each image; many are computed at once. Equal
scores are above a threshold together: the area counts a tie one half, and neither area depends on the order of images.
scikit-learn's ``roc_auc_score`` and ``average_precision_score`` give the same areas to 1e-15, one row at a time.

Of existence scores, the interval of the area is the jackknife's over clusters, drawn on the scale of log odds, with
Student's t of the rarer kind's clusters less one. Bootstrap intervals are too narrow where a kind is rare or the area
is near 1.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import expit, logit, stdtrit

from vesalius.evaluation.rows import Row, number_clusters
from vesalius.evaluation.statistics import CELLS, Array, Bools, Interval, share
from vesalius.prompts import sort_families


class Areas(NamedTuple):
    """Areas under each row of weights, [R]; NaN where a draw lacks either kind."""

    ap: Array
    """Average precision: mean precision, each threshold weighing as much as what it newly finds; no interpolation.

    Where all scores are equal, it is the share that is present."""
    auroc: Array
    """Area under the ROC curve: how often what is present scores above what is absent."""


class RocCurve(NamedTuple):
    """Receiver operating characteristic."""

    fpr: Array
    """False positive rate at each threshold, from 0 to 1."""
    tpr: Array
    """True positive rate at the same threshold."""


class Thresholds(NamedTuple):
    """The T different scores, highest first, and what lies at or above each."""

    values: Array
    present: Array
    absent: Array


class _Steps(NamedTuple):
    """Entries of each image from one present score to the next, as matrices [T, N] that weights are multiplied with."""

    present: csr_array
    """Present entries at each of their T different scores, highest first."""
    absent: csr_array
    """Absent entries at or above it, but below the one before; a row more for those below the last, [T + 1, N]."""
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
    """Score of each entry, [M]."""
    present: Bools
    """Whether each entry is present, [M]."""
    images: NDArray[np.intp]
    """Image of each entry, [M]."""

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
        """Entries at or above each score, every image counted once."""
        order = np.argsort(-self.scores, kind="stable")
        last = np.append(np.diff(self.scores[order]) != 0, True)[: len(order)]
        present, absent = (kind[order].cumsum()[last].astype(float) for kind in (self.present, ~self.present))
        return Thresholds(self.scores[order][last], present, absent)

    def curve(self) -> RocCurve | None:
        """The ROC curve, every image counted once; None where a kind is lacking."""
        if self.present.all() or not self.present.any():
            return None
        _, present, absent = self.thresholds()
        points = np.stack([np.append(0, absent) / absent[-1], np.append(0, present) / present[-1]])
        steps = np.diff(np.stack([np.append(0, absent), np.append(0, present)]), axis=1)
        corners = (np.diff(steps, axis=1) != 0).any(0)  # equal steps run along one line
        return RocCurve(*points[:, np.concatenate([[True], corners, [True]])])

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
        turned, step = weights.T[: int(self.images.max()) + 1], max(1, CELLS // int(self.present.sum()))
        yield from (turned[:, start : start + step] for start in range(0, len(weights), step))


def _areas(steps: _Steps, turned: Array) -> Areas:
    found, absent, ties = (each @ turned for each in steps)  # [T, r]
    positives, negatives = found.cumsum(0), absent.cumsum(0)
    precision = np.divide(positives, positives + negatives[:-1], out=np.zeros_like(positives), where=positives > 0)
    below = (found * (negatives[-1] - negatives[:-1] + ties / 2)).sum(0)
    both = (positives[-1] > 0) & (negatives[-1] > 0)
    ap = share((found * precision).sum(0), positives[-1])
    return Areas(np.where(both, ap, np.nan), share(below, positives[-1] * negatives[-1]))


Case = tuple[str, bool]
"""An image, and whether it shows what it was asked for; it may be asked for things of both kinds."""


@dataclass(frozen=True)
class ExistenceCurve:
    """ROC curve of the existence score: images with the target against those without."""

    family: str | None
    """None for the mean over families."""
    fpr: Sequence[float]
    """False positive rate at each threshold, from 0 to 1."""
    tpr: Sequence[float]
    """True positive rate at the same threshold."""
    area: Interval
    """Area under the curve: how often the score of a present target is above that of an absent one.

    Without an interval where all or none are in order, as nothing then varies, or where a kind has one cluster."""
    present: int
    absent: int
    leaked_by_prompt: bool
    """Whether no wording of the family (of some family) was asked of both kinds: words alone then tell them apart."""


def find_existence_curves(
    rows: Iterable[Row], *, group_regex: str | None = None, confidence: float = 0.95
) -> list[ExistenceCurve]:
    """The curve over all families, then that of each; an image's score is the mean over its wordings.

    Args:
        rows: Rows of one evaluation.
        group_regex: Names the cluster in an image's file name, see ``name_clusters``.
        confidence: Share of intervals that should hold the truth.

    Returns:
        Nothing for a model without existence scores; no curve where the target is always present or always absent.

    Raises:
        ConfigError: If the expression does not fit the names.
    """
    scores, words = _collect(rows)
    families: list[str | None] = [None, *sort_families(list(scores))]
    curves = []
    for family in families:
        cases = _mean_over_families(scores) if family is None else scores[family]
        leaked = any(map(_leaks, words.values())) if family is None else _leaks(words[family])
        if len({present for _, present in cases}) == 2:
            curves.append(_to_curve(family, cases, leaked, group_regex, confidence))
    return curves


def _collect(rows: Iterable[Row]) -> tuple[dict[str, dict[Case, float]], dict[str, dict[bool, set[str]]]]:
    """Scores and wordings of each family."""
    scores: dict[str, dict[Case, list[float]]] = defaultdict(lambda: defaultdict(list))
    words: dict[str, dict[bool, set[str]]] = defaultdict(lambda: {True: set(), False: set()})
    for row in rows:
        if row.existence is not None:
            scores[row.family][row.image, row.true_pixels > 0].append(row.existence)
            words[row.family][row.true_pixels > 0].add(row.prompt)
    means = {family: {case: sum(all_) / len(all_) for case, all_ in cases.items()} for family, cases in scores.items()}
    return means, words


def _mean_over_families(scores: Mapping[str, Mapping[Case, float]]) -> dict[Case, float]:
    found: dict[Case, list[float]] = defaultdict(list)
    for cases in scores.values():
        for case, score in cases.items():
            found[case].append(score)
    return {case: sum(values) / len(values) for case, values in found.items()}


def _leaks(words: Mapping[bool, set[str]]) -> bool:
    return not words[True] & words[False]


def _to_curve(
    family: str | None, cases: Mapping[Case, float], leaked: bool, group_regex: str | None, confidence: float
) -> ExistenceCurve:
    present = np.array([there for _, there in cases])
    ranking = Ranking(np.array(list(cases.values())), present, np.arange(len(cases)))
    clusters = number_clusters([image for image, _ in cases], group_regex)
    area = float(ranking.areas(np.ones((1, len(cases)))).auroc[0])
    rarer = min(len(np.unique(clusters[kind])) for kind in (present, ~present))
    low, high = None, None
    if 0 < area < 1 and rarer > 1:
        left_out = clusters != np.arange(clusters.max() + 1)[:, None]  # each cluster in turn
        quantile = float(stdtrit(rarer - 1, (1 + confidence) / 2))
        low, high = _find_ends(area, ranking.areas(left_out.astype(np.float64)).auroc, quantile)
    _, positives, negatives = ranking.thresholds()
    return ExistenceCurve(
        family,
        fpr=[0.0, *(negatives / negatives[-1]).tolist()],
        tpr=[0.0, *(positives / positives[-1]).tolist()],
        area=Interval(area, low, high, n=len(cases)),
        present=int(present.sum()),
        absent=int((~present).sum()),
        leaked_by_prompt=leaked,
    )


def _find_ends(area: float, left_out: Array, quantile: float) -> tuple[float, float]:
    count = len(left_out)
    error = np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum())
    reach = quantile * error / (area * (1 - area))
    return float(expit(logit(area) - reach)), float(expit(logit(area) + reach))
