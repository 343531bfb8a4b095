"""Whether probabilities mean what they say, and whether a model errs where it is unsure.

Probabilities are counted in bins as they come, image by image, so nothing but the counts is kept; intervals draw
images from those counts. The probability is that of being inside, from 0 to 1, not that of the likelier answer.

Two ways to be unsure: a single answer's probabilities (``soft_dice_confidence``), and several answers to one question,
of several prompts or models, that differ (``disagreement_map``). Either is good if throwing out what is unsure throws
out what is wrong, which ``RiskCoverage`` measures.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from vesalius.evaluation.statistics import Array, Bootstrap, Interval, draw_weights, find_plain_ends, share

BINS = 15
"""Bins of equal width; the first and last hold what a model is sure of."""


@dataclass(frozen=True)
class ReliabilityPoint:
    """One bin of a reliability curve."""

    count: int
    """Probabilities in it."""
    stated: float
    """Their mean."""
    observed: float
    """Share of them that were inside."""


@dataclass(frozen=True)
class Calibration:
    """How well stated probabilities fit what was observed; 0 is best for all three numbers."""

    ece: Interval
    """Expected calibration error: |stated - observed| of each bin, averaged over all that was counted."""
    doubtful_ece: Interval | None
    """The same without the first and last bin, which most pixels are in; None if nothing is left."""
    brier: Interval
    """Mean squared difference of probability and truth; also rewards being sure and right."""
    curve: tuple[ReliabilityPoint, ...]
    """Bins that hold something, lowest first."""

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Reliability:
    """What was counted, a row an image; ``join`` puts rows together."""

    counts: Array
    """Probabilities in each bin, [I, BINS]."""
    stated: Array
    """Their sum, [I, BINS]."""
    inside: Array
    """How many of them were inside, [I, BINS]."""
    squares: Array
    """Sum of squared differences between probability and truth, [I]."""

    @staticmethod
    def count(probability: NDArray[np.floating], truth: NDArray[np.bool_]) -> "Reliability":
        """Count one image.

        Args:
            probability: Of being inside, 0 to 1, any shape.
            truth: What is inside, same shape.

        >>> seen = Reliability.count(np.array([0.9, 0.9, 0.9, 0.9]), np.array([True, True, True, False]))
        >>> round(float(seen.ece()), 6)
        0.15
        """
        if probability.shape != truth.shape:
            raise ValueError(f"probabilities {probability.shape} and truth {truth.shape} differ in shape")
        values, inside = probability.ravel().astype(np.float64), truth.ravel().astype(np.float64)
        bins = np.minimum((values * BINS).astype(np.intp), BINS - 1)
        ones = np.ones_like(values)
        counts, stated, found = (np.bincount(bins, each, BINS).astype(float) for each in (ones, values, inside))
        square = ((values - inside) ** 2).sum()
        return Reliability(counts[None], stated[None], found[None], np.array([square]))

    @staticmethod
    def join(several: Sequence["Reliability"]) -> "Reliability":
        """All rows of several, in order."""
        return Reliability(
            np.concatenate([each.counts for each in several]),
            np.concatenate([each.stated for each in several]),
            np.concatenate([each.inside for each in several]),
            np.concatenate([each.squares for each in several]),
        )

    def ece(self, weights: Array | None = None, *, doubtful: bool = False) -> Array:
        """Expected calibration error of all images together.

        Args:
            weights: How often each image counts, [R, I]; once by default.
            doubtful: Leave out the first and last bin.

        Returns:
            [R], or a single number without weights; NaN where nothing was counted.
        """
        drawn = np.ones((1, len(self.counts))) if weights is None else weights
        kept = slice(1, -1) if doubtful else slice(None)
        counts, gaps = (drawn @ each[:, kept] for each in (self.counts, self.stated - self.inside))
        errors = share(abs(gaps).sum(1), counts.sum(1))
        return errors if weights is not None else errors[0]

    def brier(self, weights: Array | None = None) -> Array:
        """Mean squared difference of probability and truth; arguments and result as for ``ece``."""
        drawn = np.ones((1, len(self.counts))) if weights is None else weights
        scores = share(drawn @ self.squares, drawn @ self.counts.sum(1))
        return scores if weights is not None else scores[0]

    def curve(self) -> tuple[ReliabilityPoint, ...]:
        """Points of all images together, empty bins left out."""
        counts, stated, inside = (each.sum(0) for each in (self.counts, self.stated, self.inside))
        return tuple(
            ReliabilityPoint(int(counts[bin_]), float(stated[bin_] / counts[bin_]), float(inside[bin_] / counts[bin_]))
            for bin_ in np.flatnonzero(counts)
        )

    def summarise(self, clusters: NDArray[np.intp], settings: Bootstrap | None = None) -> Calibration:
        """Errors with bootstrap intervals.

        Args:
            clusters: Number of each row's cluster, [I], from 0 without gaps.
            settings: Draws, confidence and seed.
        """
        settings = settings or Bootstrap()
        blocks = [
            (self.ece(weights), self.ece(weights, doubtful=True), self.brier(weights))
            for weights in draw_weights(clusters, settings)
        ]
        drawn = [np.concatenate(kind) for kind in zip(*blocks, strict=True)]
        values = [float(value) for value in (self.ece(), self.ece(doubtful=True), self.brier())]
        ece, doubtful, brier = (
            _around(value, each, clusters, settings) for value, each in zip(values, drawn, strict=True)
        )
        return Calibration(ece, None if np.isnan(doubtful.value) else doubtful, brier, self.curve())


def _around(value: float, drawn: Array, clusters: NDArray[np.intp], settings: Bootstrap) -> Interval:
    count = int(clusters.max()) + 1
    if count < 2 or np.isnan(value):
        return Interval(value, None, None, len(clusters))
    low, high = find_plain_ends(drawn, count, settings.confidence)
    return Interval(value, low, high, len(clusters))


def disagreement_map(masks: NDArray[np.bool_]) -> Array:
    """Chance that two different answers, drawn at random, disagree about a pixel.

    Args:
        masks: Answers to the same question, [P, H, W], two or more.

    Returns:
        [H, W]; 0 where all agree, at most P / (2·(P - 1)) where they are split in halves, which is 1 for two masks.

    >>> disagreement_map(np.array([[[True, False]], [[True, True]]]))
    array([[0., 1.]])
    """
    if len(masks) < 2:
        raise ValueError(f"disagreement needs two masks or more, got {len(masks)}")
    count, votes = len(masks), masks.sum(0, dtype=np.float64)
    chance: Array = 2 * votes * (count - votes) / (count * (count - 1))
    return chance


def soft_dice_confidence(probability: NDArray[np.floating]) -> float:
    """Overlap of an answer's mask with its own probabilities: near 1 if it is sure of what it marks.

    2·Σp·m / Σ(p + m) with m = p > 0.5 (Borges et al., "Soft Dice Confidence", 2024), an estimate of Dice that needs no
    truth.

    Args:
        probability: Of each pixel to be inside, any shape.

    Returns:
        0 to 1. Where nothing is marked, the highest probability taken from 1: an empty answer is as sure as it is that
        no pixel is inside.
    """
    values = np.asarray(probability, np.float64)
    mask = values > 0.5
    if not mask.any():
        return 1 - float(values.max())
    return float(2 * values[mask].sum() / (values.sum() + mask.sum()))


@dataclass(frozen=True)
class RiskCoverage:
    """What is left to err when the least sure images are set aside (El-Yaniv and Wiener, 2010)."""

    coverage: tuple[float, ...]
    """Share of images kept, the surest first, rising to 1."""
    risk: tuple[float, ...]
    """Mean risk of those."""
    aurc: Interval
    """Area under the curve, the mean of ``risk``; lower is better."""
    best: float
    """The area if the images were sorted by their true risk."""
    chance: float
    """The area, on average, if they were sorted at random: the mean risk."""


def risk_coverage(
    confidence: Sequence[float],
    risk: Sequence[float],
    clusters: NDArray[np.intp] | None = None,
    settings: Bootstrap | None = None,
) -> RiskCoverage:
    """Measure whether confidence tells which answers are bad.

    Args:
        confidence: One an image, [I]; higher is surer. Equal ones are taken together, so their order does not matter.
        risk: What is wrong with each answer, such as 1 - Dice.
        clusters: Number of each image's cluster, [I]; each its own by default.
        settings: Draws, confidence and seed.
    """
    if len(confidence) != len(risk) or not len(risk):
        raise ValueError(f"expected as many confidences as risks, got {len(confidence)} and {len(risk)}")
    settings, sure = settings or Bootstrap(), np.asarray(confidence, np.float64)
    wrong = np.asarray(risk, np.float64)
    groups = np.arange(len(wrong)) if clusters is None else clusters
    once = np.ones((1, len(wrong)))
    kept, left = _curve(sure, wrong, once)
    aurc = float(left.mean())
    low = high = None
    if (count := int(groups.max()) + 1) > 1:
        drawn = np.concatenate([_areas(sure, wrong, weights) for weights in draw_weights(groups, settings)])
        low, high = find_plain_ends(drawn, count, settings.confidence)
    best = float(_areas(-wrong, wrong, once)[0])
    return RiskCoverage(
        coverage=tuple(kept[0].tolist()),
        risk=tuple(left[0].tolist()),
        aurc=Interval(aurc, low, high, len(wrong)),
        best=best,
        chance=float(wrong.mean()),
    )


def _curve(sure: Array, wrong: Array, weights: Array) -> tuple[Array, Array]:
    """Coverage and risk after each image, both [R, I]; images as sure as each other share the risk of their last."""
    order = np.argsort(-sure, kind="stable")
    last = np.searchsorted(-sure[order], -sure[order], side="right") - 1
    counted = weights[:, order].cumsum(1)
    total = (weights[:, order] * wrong[order]).cumsum(1)
    risks = np.divide(total, counted, out=np.zeros_like(total), where=counted > 0)
    return counted / counted[:, -1:], risks[:, last]


def _areas(sure: Array, wrong: Array, weights: Array) -> Array:
    """Area under the curve of each draw, [R]: the mean over what was drawn."""
    _, risks = _curve(sure, wrong, weights)
    own = weights[:, np.argsort(-sure, kind="stable")]
    areas: Array = (risks * own).sum(1) / own.sum(1)
    return areas
