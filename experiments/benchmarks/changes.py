"""Mean change of a score over images, with its interval."""

import numpy as np
from numpy.typing import NDArray

from vesalius.evaluation.rows import ScoreTable
from vesalius.evaluation.statistics import Bootstrap, Interval, find_centres


def mean_change(change: NDArray[np.float64]) -> Interval:
    """Mean and 95 % bootstrap interval over images.

    Args:
        change: One number an image, [N].
    """
    images = np.arange(len(change))
    table = ScoreTable(tuple(map(str, images)), ("difference",), change[:, None], images)
    return find_centres(table, Bootstrap(), correct=False)[None].mean
