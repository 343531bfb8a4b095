"""How unsure an answer is, and whether a model errs where it is unsure.

Two ways to be unsure: a single answer's probabilities (``soft_dice_confidence``), and several answers to one question,
of several prompts or models, that differ (``disagreement_map``). Either is good if throwing out what is unsure throws
out what is wrong, which ``RiskCoverage`` measures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vesalius.evaluation.bootstrap import Bootstrap, draw_weights, find_plain_ends
from vesalius.evaluation.statistics import Interval

Array = NDArray[np.float64]


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
