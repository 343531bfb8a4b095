"""ROC curves, areas under them, and average precision, under many rows of weights at once.

A row of weights says how often a bootstrap draw, or a jackknife, holds each image. Equal scores are above a threshold
together: the area counts a tie one half, and neither area depends on the order of images. scikit-learn's
``roc_auc_score`` and ``average_precision_score`` give the same areas to 1e-15, one row of weights at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from vesalius.evaluation.statistics import Array, share

Bools = NDArray[np.bool_]
_CELLS = 2**22
"""Numbers held in memory at a time; 32 MB."""


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
        turned, step = weights.T[: int(self.images.max()) + 1], max(1, _CELLS // int(self.present.sum()))
        yield from (turned[:, start : start + step] for start in range(0, len(weights), step))


def _areas(steps: _Steps, turned: Array) -> Areas:
    found, absent, ties = (each @ turned for each in steps)  # [T, r]
    positives, negatives = found.cumsum(0), absent.cumsum(0)
    precision = np.divide(positives, positives + negatives[:-1], out=np.zeros_like(positives), where=positives > 0)
    below = (found * (negatives[-1] - negatives[:-1] + ties / 2)).sum(0)
    both = (positives[-1] > 0) & (negatives[-1] > 0)
    ap = share((found * precision).sum(0), positives[-1])
    return Areas(np.where(both, ap, np.nan), share(below, positives[-1] * negatives[-1]))
