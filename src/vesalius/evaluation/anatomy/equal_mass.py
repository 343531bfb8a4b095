"""Whether probabilities of labels mean what they say, in bins that hold as many entries each (equal mass)."""

import numpy as np

from vesalius.evaluation.anatomy.label_scores import Array, LabelScores
from vesalius.evaluation.calibration import BINS, Reliability


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
