"""Means and medians with bootstrap intervals over images or patients.

Whole clusters are drawn with replacement, so images of a patient stay together. A draw is a row of weights, how often
it holds each image; means are then one matrix product and medians one cumulative sum.

Ends of intervals are quantiles of the resampled values, at levels widened by √(n/(n-1)) and Student's t, as plain
bootstrap intervals are too narrow for few clusters (Hesterberg, The American Statistician 2015). For means of scores,
which crowd at one end of their range, the levels are also corrected for bias and skewness (BCa, Efron 1987).
docs/statistics.md has the coverage of each by simulation.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

from vesalius.errors import ConfigError
from vesalius.evaluation.rows import Row, ScoreTable, tabulate

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
CELLS = 2**22
"""Numbers held in memory at a time, such as weights; 32 MB."""
_DRAWS = 256
"""Draws whose medians are found together; they stay in the processor's cache."""


@dataclass(frozen=True)
class Bootstrap:
    """Settings of bootstrap intervals."""

    resamples: int = 10_000
    """Draws; the ends of intervals are good to about a hundredth of their length."""
    confidence: float = 0.95
    """Share of such intervals that should hold the truth."""
    seed: int = 0
    """Decides the draws; the same seed gives the same intervals."""

    def __post_init__(self) -> None:
        if not 100 <= self.resamples <= 1_000_000:
            raise ConfigError(f"resamples: expected 100 to 1,000,000, got {self.resamples}.")
        if not 0.5 <= self.confidence < 1:
            raise ConfigError(f"confidence: expected 0.5 to below 1, such as 0.95; got {self.confidence}.")
        if self.seed < 0:
            raise ConfigError(f"seed: expected 0 or more, got {self.seed}.")


USUAL_DRAWS = Bootstrap()


def draw_weights(clusters: NDArray[np.intp], settings: Bootstrap) -> Iterator[Array]:
    """How often each image is in each draw, in blocks.

    Args:
        clusters: Number of each image's cluster, [I].
        settings: Number of draws and seed.

    Yields:
        Weights [r, I], ``settings.resamples`` rows in all.
    """
    generator, count = np.random.default_rng(settings.seed), int(clusters.max()) + 1
    block = max(1, CELLS // len(clusters))
    for start in range(0, settings.resamples, block):
        rows = min(block, settings.resamples - start)
        drawn = generator.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        yield weights[:, clusters].astype(np.float64)


def over_draws(draws: Iterable[Array], measure: Callable[[Array], Sequence[Array]]) -> list[Array]:
    """What is measured under each row of weights, the blocks of ``draw_weights`` together.

    Args:
        draws: Weights in blocks, [r, I].
        measure: Arrays of a block, [r, …] each.

    Returns:
        As many arrays, [R, …] each.
    """
    return [np.concatenate(blocks) for blocks in zip(*map(measure, draws), strict=True)]


def weighted_means(scores: Array, weights: Array) -> Array:
    """Mean of each column under each row of weights.

    Args:
        scores: [I, F]; NaN where there is no score.
        weights: [R, I], 0 or more.

    Returns:
        [R, F]; NaN where a draw holds no score.
    """
    known = ~np.isnan(scores)
    return share(weights @ np.where(known, scores, 0), weights @ known.astype(np.float64))


def weighted_medians(scores: Array, weights: Array) -> Array:
    """Median of each column under each row of whole-number weights; arguments and result as for ``weighted_means``."""
    turned = weights.T.astype(np.int32)  # sums down short columns of small numbers are the fastest
    blocks = [np.ascontiguousarray(turned[:, start : start + _DRAWS]) for start in range(0, len(weights), _DRAWS)]
    return np.stack([_weighted_median(column, blocks) for column in scores.T], axis=1)


def _weighted_median(column: Array, blocks: Sequence[NDArray[np.int32]]) -> Array:
    """The middle value of each draw, [R], or the mean of the two in the middle; weights in blocks [I, r]."""
    order = np.argsort(column)[: np.count_nonzero(~np.isnan(column))]  # NaN sorts last
    return np.concatenate([_middle(column[order], weights[order]) for weights in blocks])


def _middle(values: Array, weights: NDArray[np.int32]) -> Array:
    """The median of sorted values [I] under each column of weights [I, r]."""
    places = weights.cumsum(0, dtype=np.int32)
    total, last = places[-1], len(values) - 1
    lower, upper = (np.count_nonzero(places < middle, axis=0) for middle in ((total + 1) // 2, total // 2 + 1))
    medians = (values[lower.clip(max=last)] + values[upper.clip(max=last)]) / 2
    return np.where(total > 0, medians, np.nan)


def leave_one_out_means(scores: Array, clusters: NDArray[np.intp]) -> Array:
    """Mean of each column without each cluster in turn, [C, F]; NaN where nothing is left."""
    known = ~np.isnan(scores)
    total, count = np.zeros((2, int(clusters.max()) + 1, scores.shape[1]))
    np.add.at(total, clusters, np.where(known, scores, 0))
    np.add.at(count, clusters, known)
    return share(total.sum(0) - total, count.sum(0) - count)


def share(part: Array, whole: Array) -> Array:
    """`part` / `whole`; NaN where `whole` is 0."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def find_bca_ends(drawn: Array, count: int, confidence: float, value: float, left_out: Array) -> tuple[float, float]:
    """Ends of an interval, corrected for bias and skewness and widened for few clusters.

    Args:
        drawn: The statistic of each draw, [R]; NaN are left out.
        count: Number of clusters that have a score, 2 or more.
        confidence: Share of such intervals that should hold the truth.
        value: The statistic of the sample itself.
        left_out: The statistic without each cluster in turn, [C]; NaN are left out.
    """
    drawn, left_out = drawn[~np.isnan(drawn)], left_out[~np.isnan(left_out)]
    below = ((drawn < value).mean() + (drawn <= value).mean()) / 2
    bias = float(ndtri(np.clip(below, 1 / len(drawn), 1 - 1 / len(drawn))))
    pull = left_out.mean() - left_out
    spread = 6 * float((pull**2).sum()) ** 1.5
    skewness = float((pull**3).sum()) / spread if spread > 0 else 0.0
    levels = [_adjust(normal, bias, skewness) for normal in _normal_levels(count, confidence)]
    return _quantiles(drawn, levels)


def find_percentile_ends(drawn: Array, count: int, confidence: float) -> tuple[float, float]:
    """Ends of an interval, widened for few clusters but not corrected; arguments as for ``find_bca_ends``."""
    levels = [float(ndtr(normal)) for normal in _normal_levels(count, confidence)]
    return _quantiles(drawn[~np.isnan(drawn)], levels)


def _normal_levels(count: int, confidence: float) -> tuple[float, float]:
    low = float(np.sqrt(count / (count - 1)) * stdtrit(count - 1, (1 - confidence) / 2))
    return low, -low


def _adjust(normal: float, bias: float, skewness: float) -> float:
    shifted = bias + normal
    scale = 1 - skewness * shifted
    return float(ndtr(bias + shifted / scale)) if scale > 0 else float(shifted > 0)


def _quantiles(drawn: Array, levels: list[float]) -> tuple[float, float]:
    low, high = np.quantile(drawn, levels)
    return float(low), float(high)


@dataclass(frozen=True)
class Interval:
    """A value and the bootstrap interval around it."""

    value: float
    low: float | None
    """None where a single cluster leaves nothing to draw from."""
    high: float | None
    n: int
    """Images behind it."""

    def __str__(self) -> str:
        """Such as 0.812 [0.779, 0.840]."""
        if self.low is None or self.high is None:
            return f"{self.value:.3f} [–]"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def find_interval(value: float, drawn: Array, clusters: int, images: int, confidence: float) -> Interval:
    """A value and its interval, widened for few clusters but not corrected.

    Args:
        value: Of all images.
        drawn: The same of each draw, [R]; NaN are left out.
        clusters: Clusters that decide the value; fewer than two leave nothing to draw, and the interval has no ends.
        images: Images behind it.
        confidence: Share of such intervals that should hold the truth.
    """
    if clusters < 2 or np.isnan(drawn).all():
        return Interval(value, None, None, images)
    return Interval(value, *find_percentile_ends(drawn, clusters, confidence), images)


@dataclass(frozen=True)
class Centre:
    """Mean and median of the scores of images; each image counts once, with the mean over its wordings."""

    mean: Interval
    median: Interval


@dataclass(frozen=True)
class Summary:
    """One metric of one evaluation."""

    metric: str
    images: int
    clusters: int
    overall: Centre | None
    """Centre of each image's mean over its families; None if no image has a score."""
    families: Mapping[str, Centre]

    @property
    def centres(self) -> Mapping[str | None, Centre]:
        """All centres by family, that over all families under None."""
        overall: dict[str | None, Centre] = {} if self.overall is None else {None: self.overall}
        return overall | dict(self.families)


def summarise(
    rows: Iterable[Row],
    metric: str = "dice",
    *,
    present_only: bool = False,
    group_regex: str | None = None,
    settings: Bootstrap = USUAL_DRAWS,
) -> Summary:
    """Mean and median of a metric with bootstrap intervals.

    Args:
        rows: Rows of one evaluation.
        metric: "dice", "iou", "precision", "recall", "hd95" or "nsd". Images without a HD95 (just one mask is empty)
            are left out of it; ``Interval.n`` tells.
        present_only: Leave out images whose true mask is empty.
        group_regex: Names the patient in an image's file name: its first bracket, or all that matches. Patients are
            then drawn instead of images.
        settings: Draws, confidence and seed; 10,000, 95 % and 0 by default.

    Raises:
        ConfigError: If there is no such metric, or the expression does not fit the names.
        DataError: If distances are in mm in some rows and in pixels in others.
    """
    table = tabulate(rows, metric, present_only=present_only, group_regex=group_regex)
    centres = find_centres(table, settings) if table.images else {}
    overall = centres.pop(None, None)
    families = {name: centre for name, centre in centres.items() if name is not None}
    return Summary(metric, len(table.images), table.cluster_count, overall, families)


def find_centres(table: ScoreTable, settings: Bootstrap, *, correct: bool = True) -> dict[str | None, Centre]:
    """Mean and median of every family; those of images' means over families under None.

    Args:
        table: At least one score in every row and column.
        settings: Draws, confidence and seed.
        correct: Correct intervals of means for bias and skewness. It helps scores, which crowd at one end, and harms
            differences, whose few large values on both sides make a sample's skewness arbitrary.
    """
    scores = np.column_stack([table.overall(), table.scores])
    means, medians = over_draws(
        draw_weights(table.clusters, settings),
        lambda weights: (weighted_means(scores, weights), weighted_medians(scores, weights)),
    )
    left_out = leave_one_out_means(scores, table.clusters)
    centres: dict[str | None, Centre] = {}
    for place, name in enumerate((None, *table.families)):
        known = ~np.isnan(scores[:, place])
        values, count = scores[known, place], len(np.unique(table.clusters[known]))
        mean = find_interval(float(values.mean()), means[:, place], count, len(values), settings.confidence)
        if correct and count > 1:
            ends = find_bca_ends(means[:, place], count, settings.confidence, mean.value, left_out[:, place])
            mean = Interval(mean.value, *ends, mean.n)
        median = find_interval(float(np.median(values)), medians[:, place], count, len(values), settings.confidence)
        centres[name] = Centre(mean, median)
    return centres
