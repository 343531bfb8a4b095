"""Calibration of probabilities, and how well confidence predicts errors.

Probabilities are counted in bins image by image, so only counts are kept; intervals draw images from those counts. The
probability is that of being inside, from 0 to 1, not that of the likelier answer.

Confidence is measured in two ways: by the probabilities of one answer (``soft_dice_confidence``), and by how far the
answers of several prompts or models differ (``disagreement_map``). ``RiskCoverage`` measures whether setting aside
what is uncertain sets aside what is wrong.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vesalius.evaluation.statistics import (
    USUAL_DRAWS,
    Array,
    Bootstrap,
    Interval,
    draw_weights,
    find_interval,
    over_draws,
    share,
)

BINS = 15
"""Bins of equal width; the first and last hold the confident probabilities."""


@dataclass(frozen=True)
class ReliabilityPoint:
    """One bin of a reliability curve."""

    count: int
    """Probabilities in it."""
    stated: float
    """Mean of the stated probabilities."""
    observed: float
    """Share of them that were inside."""


@dataclass(frozen=True)
class Calibration:
    """Errors of stated probabilities; 0 is best for all three."""

    ece: Interval
    """Expected calibration error: |stated - observed| of each bin, averaged over all that was counted."""
    doubtful_ece: Interval | None
    """The same without the first and last bin, which most pixels are in; None if nothing is left."""
    brier: Interval
    """Mean squared difference of probability and truth; also rewards being sure and right."""
    curve: tuple[ReliabilityPoint, ...]
    """Bins that hold something, lowest first."""


@dataclass(frozen=True, eq=False)
class Reliability:
    """Counts of probabilities in bins, a row an image; ``join`` puts rows together."""

    counts: Array
    """Probabilities in each bin, [I, BINS]."""
    stated: Array
    """Sum of the probabilities in each bin, [I, BINS]."""
    inside: Array
    """Pixels in each bin that were inside, [I, BINS]."""
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

    def summarise(self, clusters: NDArray[np.intp], settings: Bootstrap = USUAL_DRAWS) -> Calibration:
        """Errors with bootstrap intervals.

        Args:
            clusters: Number of each row's cluster, [I], from 0 without gaps.
            settings: Draws, confidence and seed.
        """
        drawn = over_draws(
            draw_weights(clusters, settings),
            lambda weights: (self.ece(weights), self.ece(weights, doubtful=True), self.brier(weights)),
        )
        values = [float(value) for value in (self.ece(), self.ece(doubtful=True), self.brier())]
        count = int(clusters.max()) + 1
        ece, doubtful, brier = (
            find_interval(value, each, count, len(clusters), settings.confidence)
            for value, each in zip(values, drawn, strict=True)
        )
        return Calibration(ece, None if np.isnan(doubtful.value) else doubtful, brier, self.curve())


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
    """Overlap of a mask with its own probabilities: near 1 for a confident mask.

    2·Σp·m / Σ(p + m) with m = p > 0.5 (Borges et al., "Soft Dice Confidence", 2024), an estimate of Dice that needs no
    truth.

    Args:
        probability: Of each pixel to be inside, any shape.

    Returns:
        0 to 1. For an empty mask, 1 minus the highest probability.
    """
    values = np.asarray(probability, np.float64)
    mask = values > 0.5
    if not mask.any():
        return 1 - float(values.max())
    return float(2 * values[mask].sum() / (values.sum() + mask.sum()))


@dataclass(frozen=True)
class RiskCoverage:
    """Mean risk over coverage as the least confident images are set aside (El-Yaniv and Wiener, 2010)."""

    coverage: tuple[float, ...]
    """Share of images kept, the most confident first, rising to 1."""
    risk: tuple[float, ...]
    """Mean risk of the images kept."""
    aurc: Interval
    """Area under the curve, the mean of ``risk``; lower is better."""
    best: float
    """The area if the images were sorted by their true risk, one by one."""
    chance: float
    """The area, on average, if they were sorted at random: the mean risk."""


def risk_coverage(
    confidence: Sequence[float],
    risk: Sequence[float],
    clusters: NDArray[np.intp] | None = None,
    settings: Bootstrap = USUAL_DRAWS,
    draws: Iterable[Array] | None = None,
) -> RiskCoverage:
    """Measure how well confidence predicts risk.

    Args:
        confidence: One an image, [I]. Equal ones are taken together, so their order does not matter.
        risk: Error of each answer, such as 1 - Dice.
        clusters: Number of each image's cluster, [I]; each its own by default.
        settings: Draws, confidence and seed.
        draws: How often each image is in each draw, in blocks [r, I]; by default clusters are drawn from all.
    """
    if len(confidence) != len(risk) or not len(risk):
        raise ValueError(f"expected as many confidences as risks, got {len(confidence)} and {len(risk)}")
    sure, wrong = np.asarray(confidence, np.float64), np.asarray(risk, np.float64)
    groups = np.arange(len(wrong)) if clusters is None else clusters
    kept, left = _curve(sure, wrong, np.ones((1, len(wrong))))
    draws = draw_weights(groups, settings) if draws is None else draws
    drawn = np.concatenate([_areas(sure, wrong, weights) for weights in draws])
    sorted_means = np.sort(wrong).cumsum() / np.arange(1, len(wrong) + 1)
    return RiskCoverage(
        coverage=tuple(kept[0].tolist()),
        risk=tuple(left[0].tolist()),
        aurc=find_interval(float(left.mean()), drawn, int(groups.max()) + 1, len(wrong), settings.confidence),
        best=float(sorted_means.mean()),
        chance=float(wrong.mean()),
    )


def _curve(sure: Array, wrong: Array, weights: Array) -> tuple[Array, Array]:
    """Coverage and risk after each image, both [R, I]; equally confident images share the risk of their last."""
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
