"""Whether what is present has higher scores than what is absent: ROC curve, its area, and average precision.

Equal scores are above a threshold together. Then the area counts a tie one half, and neither number depends on the
order of images. Areas are computed under many rows of weights at once, how often a bootstrap draw holds each image.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from vesalius.evaluation.anatomy.label_scores import Array, Bools, LabelScores

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
