"""Evaluations compared on the same images: differences, paired tests, and whether the ranking is stable."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, wilcoxon

from vesalius.evaluation.pairing import pair
from vesalius.evaluation.rows import DECIMALS, LOWER_IS_BETTER, ScoreTable
from vesalius.evaluation.statistics import (
    USUAL_DRAWS,
    Array,
    Bootstrap,
    Centre,
    draw_weights,
    find_centres,
    weighted_means,
)
from vesalius.evaluation.stored import StoredEvaluation

COMPARISON_NAME = "comparison.json"
MIN_P = 0.001
"""Smallest p value that readers are told."""


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


def tell_p(value: float) -> str:
    """A p value for readers.

    >>> tell_p(0.00042), tell_p(0.0426)
    ('< 0.001', '0.043')
    """
    return f"< {MIN_P}" if value < MIN_P else f"{value:.3f}"


def _without_zeros(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    rounded = differences.round(DECIMALS)
    nonzero: NDArray[np.float64] = rounded[rounded != 0]
    return nonzero


@dataclass(frozen=True)
class Standing:
    """One evaluation among those compared, on the images that all have."""

    name: str
    model: str
    overall: Centre
    """Centre of each image's mean over families."""
    families: Mapping[str, Centre]
    first: float
    """Share of resamples in which it has the best mean; ties are shared."""


@dataclass(frozen=True)
class Difference:
    """First minus second, paired by image."""

    first: str
    second: str
    family: str | None
    """None for each image's mean over all families."""
    centre: Centre
    higher: int
    """Images on which the first has the larger value."""
    equal: int
    lower: int
    rank_biserial: float
    """Effect size, -1 to 1; above 0 where the first tends to have the larger value."""
    p: float
    """P value of Wilcoxon's signed-rank test over images, or over clusters' means where there are clusters."""
    p_holm: float
    """Corrected for all pairs of evaluations; of single families, for all pairs × families."""


@dataclass(frozen=True)
class Comparison:
    """The result of ``compare``."""

    metric: str
    unit: str | None
    """Unit of a distance; None for shares."""
    data: str
    split: str
    rule: str
    present_only: bool
    images: int
    clusters: int
    empty_truth: int
    """Images whose true mask is empty."""
    standings: tuple[Standing, ...]
    """Best mean first."""
    order_holds: float
    """Share of resamples in which the whole order is this one."""
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    """Sentences on what was left out or differs."""
    settings: Bootstrap

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return asdict(self)


def compare(
    evaluations: Sequence[StoredEvaluation],
    metric: str = "dice",
    *,
    present_only: bool = False,
    group_regex: str | None = None,
    settings: Bootstrap = USUAL_DRAWS,
    on_step: Callable[[], None] = lambda: None,
) -> Comparison:
    """Compare evaluations of the same data, split and rule, every one with every other.

    Args:
        evaluations: Two or more.
        metric: "dice", "iou", "precision", "recall", "hd95" or "nsd".
        present_only: Leave out images whose true mask is empty.
        group_regex: Names the patient in an image's file name; patients are then drawn and tested instead of images.
            By default that with which the evaluations were made.
        settings: Draws, confidence and seed.
        on_step: Called after each evaluation and each pair of them, for progress.

    Raises:
        ConfigError: If there are fewer than two, no such metric, or the expression does not fit the names or is not
            agreed on.
        DataError: If data, split, rule or true masks differ, or fewer than two images are left.
    """
    pairing = pair(evaluations, metric, present_only=present_only, group_regex=group_regex)
    tables, reference = pairing.tables, pairing.tables[0]
    direction = -1 if metric in LOWER_IS_BETTER else 1
    overall = direction * np.column_stack([table.overall() for table in tables])
    first, order_holds = find_stability(overall, reference.clusters, settings)
    standings = []
    for each, table, share in zip(evaluations, tables, first, strict=True):
        centres = find_centres(table, settings)
        families = {family: centre for family, centre in centres.items() if family is not None}
        standings.append(Standing(each.name, each.model, centres[None], families, share))
        on_step()
    standings.sort(key=lambda standing: -direction * standing.overall.mean.value)
    differences: list[Difference] = []
    for one, other in combinations(range(len(tables)), 2):
        names = evaluations[one].name, evaluations[other].name
        differences += _differ(tables[one], tables[other], names, settings)
        on_step()
    empty = {row.image for row in evaluations[0].rows if not row.true_pixels} & set(reference.images)
    return Comparison(
        metric=metric,
        unit=evaluations[0].rows[0].distance_unit if metric == "hd95" else None,
        data=evaluations[0].data,
        split=evaluations[0].split,
        rule=evaluations[0].rule,
        present_only=present_only,
        images=len(reference.images),
        clusters=reference.cluster_count,
        empty_truth=len(empty),
        standings=tuple(standings),
        order_holds=order_holds,
        differences=_correct(differences),
        notes=pairing.notes,
        settings=settings,
    )


def _differ(one: ScoreTable, other: ScoreTable, names: tuple[str, str], settings: Bootstrap) -> list[Difference]:
    """Over all families, then of each; p values not yet corrected."""
    table = replace(one, scores=one.scores - other.scores)
    centres = find_centres(table, settings, correct=False)
    columns: dict[str | None, Array] = {None: table.overall(), **dict(zip(table.families, table.scores.T, strict=True))}
    return [_test(*names, family, centre, columns[family], table.clusters) for family, centre in centres.items()]


def _test(
    first: str, second: str, family: str | None, centre: Centre, values: Array, clusters: NDArray[np.intp]
) -> Difference:
    known = ~np.isnan(values)
    signs = np.sign(values[known].round(DECIMALS))
    units = _cluster_means(values[known], clusters[known])
    p = signed_rank_test(units)
    higher, equal, lower = (int((signs == sign).sum()) for sign in (1, 0, -1))
    return Difference(first, second, family, centre, higher, equal, lower, rank_biserial(units), p, p)


def _cluster_means(values: Array, clusters: NDArray[np.intp]) -> Array:
    _, places = np.unique(clusters, return_inverse=True)
    return np.bincount(places, values) / np.bincount(places)


def _correct(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """Holm over the pairs, and over pairs × families: the second asks more questions, so its answers cost more."""
    corrected: dict[int, float] = {}
    for single in (False, True):
        places = [number for number, each in enumerate(differences) if (each.family is not None) is single]
        corrected |= zip(places, correct_holm([differences[place].p for place in places]), strict=True)
    return tuple(replace(each, p_holm=corrected[number]) for number, each in enumerate(differences))
