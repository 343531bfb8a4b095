"""Whether paired differences are more than chance: Wilcoxon's signed-rank test, Holm's correction, an effect size."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, wilcoxon

from vesalius.evaluation.score_table import DECIMALS


def signed_rank_test(differences: NDArray[np.float64]) -> float:
    """Two-sided p value of Wilcoxon's signed-rank test.

    Exact for up to 50 differences without ties and up to 13 with them, else the normal approximation with its
    correction for ties.

    Args:
        differences: One a pair, [N]; those of 0 are left out, as Wilcoxon did.

    Returns:
        1.0 where nothing differs.
    """
    nonzero = _without_zeros(differences)
    return float(wilcoxon(nonzero).pvalue) if len(nonzero) else 1.0


def rank_biserial(differences: NDArray[np.float64]) -> float:
    """Matched-pairs rank-biserial correlation (Kerby, Comprehensive Psychology 2014).

    The share of the rank sum that is positive minus the share that is negative: 1 where every difference is positive,
    -1 where every one is negative, 0 where they balance or nothing differs. Differences of 0 are left out.

    >>> rank_biserial(np.array([0.4, 0.3, 0.2, -0.1, 0.0]))
    0.8
    """
    nonzero = _without_zeros(differences)
    ranks = rankdata(abs(nonzero))
    return float((ranks * np.sign(nonzero)).sum() / ranks.sum()) if len(nonzero) else 0.0


def correct_holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for their number (Holm, 1979): small ones more than large ones, order kept.

    >>> correct_holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def _without_zeros(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    rounded = differences.round(DECIMALS)
    nonzero: NDArray[np.float64] = rounded[rounded != 0]
    return nonzero
