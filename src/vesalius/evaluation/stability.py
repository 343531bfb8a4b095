"""Whether a ranking would be the same with other images."""

import numpy as np
from numpy.typing import NDArray

from vesalius.evaluation.bootstrap import Array, Bootstrap, draw_weights, weighted_means
from vesalius.evaluation.score_table import DECIMALS


def find_stability(scores: Array, clusters: NDArray[np.intp], settings: Bootstrap) -> tuple[list[float], float]:
    """How often each of several models is first when other images are drawn, and how often their order is the same.

    Args:
        scores: Larger is better, images × models [I, K].
        clusters: Number of each image's cluster, [I].
        settings: Draws and seed.

    Returns:
        Share of draws in which each model has the best mean, ties shared between them; and the share in which no model
        overtakes one that stands before it.
    """
    drawn = np.concatenate([weighted_means(scores, weights) for weights in draw_weights(clusters, settings)])
    drawn = drawn.round(DECIMALS)
    best = drawn == drawn.max(1, keepdims=True)
    ordered = drawn[:, np.argsort(-scores.mean(0), kind="stable")]
    holds = (np.diff(ordered, axis=1) <= 0).all(1)
    return (best / best.sum(1, keepdims=True)).mean(0).tolist(), float(holds.mean())
