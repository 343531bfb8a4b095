"""Does the model know when there is nothing to find? Receiver operating characteristic of its existence score.

The interval of the area is the jackknife's over clusters, drawn on the scale of log odds, with Student's t of the rarer
kind's clusters less one. Bootstrap intervals are too narrow where a kind is rare or the area is near 1.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, stdtrit

from vesalius.evaluation.rows import Row, name_clusters
from vesalius.evaluation.statistics import Interval
from vesalius.prompts import sort_families

Array = NDArray[np.float64]
Case = tuple[str, bool]
"""An image, and whether it shows what it was asked for; it may be asked for things of both kinds."""


@dataclass(frozen=True)
class ExistenceCurve:
    """How well the existence score tells images with the target from those without."""

    family: str | None
    """None for the mean over families."""
    false_alarms: Sequence[float]
    """Share of the absent above each threshold, from 0 to 1."""
    hits: Sequence[float]
    """Share of the present above the same threshold."""
    area: Interval
    """Area under the curve: how often the score of a present target is above that of an absent one.

    Without an interval where all or none are in order, as nothing then varies, or where a kind has one cluster."""
    present: int
    absent: int
    told_by_words: bool
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
        told = any(map(_tells, words.values())) if family is None else _tells(words[family])
        if len({present for _, present in cases}) == 2:
            curves.append(_to_curve(family, cases, told, group_regex, confidence))
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


def _tells(words: Mapping[bool, set[str]]) -> bool:
    return not words[True] & words[False]


def _to_curve(
    family: str | None, cases: Mapping[Case, float], told: bool, group_regex: str | None, confidence: float
) -> ExistenceCurve:
    ordered = sorted(cases, key=lambda case: -cases[case])
    values = np.array([cases[case] for case in ordered])
    present = np.array([present for _, present in ordered])
    last = np.append(np.diff(values) != 0, True)  # equal scores are above a threshold together
    hits, alarms = _rates(present, last, np.ones((1, len(ordered))))
    _, clusters = np.unique(name_clusters([image for image, _ in ordered], group_regex), return_inverse=True)
    area, rarer = float(_areas(hits, alarms)[0]), min(len(np.unique(clusters[kind])) for kind in (present, ~present))
    low, high = None, None
    if 0 < area < 1 and rarer > 1:
        low, high = _find_ends(area, _leave_out(present, last, clusters), stdtrit(rarer - 1, (1 + confidence) / 2))
    interval = Interval(area, low, high, n=len(ordered))
    return ExistenceCurve(
        family, alarms[0].tolist(), hits[0].tolist(), interval, int(present.sum()), int((~present).sum()), told
    )


def _leave_out(present: NDArray[np.bool_], last: NDArray[np.bool_], clusters: NDArray[np.intp]) -> Array:
    """The area without each cluster in turn, [C]."""
    left_out = (clusters != number for number in range(clusters.max() + 1))
    return np.concatenate([_areas(*_rates(present, last, kept[None].astype(np.float64))) for kept in left_out])


def _find_ends(area: float, left_out: Array, quantile: float) -> tuple[float, float]:
    count = len(left_out)
    error = np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum())
    reach = quantile * error / (area * (1 - area))
    return float(expit(logit(area) - reach)), float(expit(logit(area) + reach))


def _rates(present: NDArray[np.bool_], last: NDArray[np.bool_], weights: Array) -> tuple[Array, Array]:
    """Hit and false alarm rates of each row of weights, [R, T], from 0 to 1; NaN where a kind has no weight."""
    rates = []
    for kind in (present, ~present):
        counts = np.cumsum(weights * kind, axis=1)[:, last]
        total = np.where(counts[:, -1:] > 0, counts[:, -1:], np.nan)
        rates.append(np.concatenate([np.zeros_like(total), counts], axis=1) / total)
    return rates[0], rates[1]


def _areas(hits: Array, alarms: Array) -> Array:
    """Trapezoids, so that equal scores count one half."""
    areas: Array = (np.diff(alarms, axis=1) * (hits[:, 1:] + hits[:, :-1]) / 2).sum(1)
    return areas
