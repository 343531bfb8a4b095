"""ROC curves of the existence score: does the model know when there is nothing to find?

The interval of the area is the jackknife's over clusters, drawn on the scale of log odds, with Student's t of the rarer
kind's clusters less one. Bootstrap intervals are too narrow where a kind is rare or the area is near 1.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, stdtrit

from vesalius.evaluation.ranking import Ranking
from vesalius.evaluation.rows import Row, number_clusters
from vesalius.evaluation.statistics import Array, Interval
from vesalius.prompts import sort_families

Case = tuple[str, bool]
"""An image, and whether it shows what it was asked for; it may be asked for things of both kinds."""


@dataclass(frozen=True)
class ExistenceCurve:
    """ROC curve of the existence score: images with the target against those without."""

    family: str | None
    """None for the mean over families."""
    fpr: Sequence[float]
    """False positive rate at each threshold, from 0 to 1."""
    tpr: Sequence[float]
    """True positive rate at the same threshold."""
    area: Interval
    """Area under the curve: how often the score of a present target is above that of an absent one.

    Without an interval where all or none are in order, as nothing then varies, or where a kind has one cluster."""
    present: int
    absent: int
    leaked_by_prompt: bool
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
        leaked = any(map(_leaks, words.values())) if family is None else _leaks(words[family])
        if len({present for _, present in cases}) == 2:
            curves.append(_to_curve(family, cases, leaked, group_regex, confidence))
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


def _leaks(words: Mapping[bool, set[str]]) -> bool:
    return not words[True] & words[False]


def _to_curve(
    family: str | None, cases: Mapping[Case, float], leaked: bool, group_regex: str | None, confidence: float
) -> ExistenceCurve:
    present = np.array([there for _, there in cases])
    ranking = Ranking(np.array(list(cases.values())), present, np.arange(len(cases)))
    clusters = number_clusters([image for image, _ in cases], group_regex)
    area = float(ranking.areas(np.ones((1, len(cases)))).auroc[0])
    rarer = min(len(np.unique(clusters[kind])) for kind in (present, ~present))
    low, high = None, None
    if 0 < area < 1 and rarer > 1:
        left_out = clusters != np.arange(clusters.max() + 1)[:, None]  # each cluster in turn
        quantile = float(stdtrit(rarer - 1, (1 + confidence) / 2))
        low, high = _find_ends(area, ranking.areas(left_out.astype(np.float64)).auroc, quantile)
    _, positives, negatives = ranking.thresholds()
    return ExistenceCurve(
        family,
        fpr=[0.0, *(negatives / negatives[-1]).tolist()],
        tpr=[0.0, *(positives / positives[-1]).tolist()],
        area=Interval(area, low, high, n=len(cases)),
        present=int(present.sum()),
        absent=int((~present).sum()),
        leaked_by_prompt=leaked,
    )


def _find_ends(area: float, left_out: Array, quantile: float) -> tuple[float, float]:
    count = len(left_out)
    error = np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum())
    reach = quantile * error / (area * (1 - area))
    return float(expit(logit(area) - reach)), float(expit(logit(area) + reach))
