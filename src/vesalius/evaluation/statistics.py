"""Means and medians that say how sure they are, for each prompt family and over all of them."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from vesalius.evaluation.bootstrap import (
    Array,
    Bootstrap,
    draw_weights,
    find_ends,
    find_plain_ends,
    leave_one_out_means,
    weighted_means,
    weighted_medians,
)
from vesalius.evaluation.rows import Row
from vesalius.evaluation.score_table import ScoreTable, tabulate


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


@dataclass(frozen=True)
class Centre:
    """Where the scores of images lie; each image counts once, with the mean over its wordings."""

    mean: Interval
    median: Interval


@dataclass(frozen=True)
class Summary:
    """One metric of one evaluation."""

    metric: str
    images: int
    clusters: int
    overall: Centre | None
    """Of each image's mean over its families; None if no image has a score."""
    families: Mapping[str, Centre]

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return asdict(self)


def summarise(
    rows: Iterable[Row],
    metric: str = "dice",
    *,
    present_only: bool = False,
    group_regex: str | None = None,
    settings: Bootstrap | None = None,
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
    centres = find_centres(table, settings or Bootstrap()) if table.images else {}
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
    blocks = [
        (weighted_means(scores, weights), weighted_medians(scores, weights))
        for weights in draw_weights(table.clusters, settings)
    ]
    means, medians = (np.concatenate(kind) for kind in zip(*blocks, strict=True))
    left_out = leave_one_out_means(scores, table.clusters)
    centres: dict[str | None, Centre] = {}
    for place, name in enumerate((None, *table.families)):
        known = ~np.isnan(scores[:, place])
        values, count = scores[known, place], len(np.unique(table.clusters[known]))
        around = partial(_around, images=len(values), clusters=count, confidence=settings.confidence)
        centres[name] = Centre(
            around(float(values.mean()), means[:, place], left_out[:, place] if correct else None),
            around(float(np.median(values)), medians[:, place]),
        )
    return centres


def _around(
    value: float, drawn: Array, left_out: Array | None = None, *, images: int, clusters: int, confidence: float
) -> Interval:
    if clusters < 2:
        return Interval(value, None, None, images)
    if left_out is None:
        return Interval(value, *find_plain_ends(drawn, clusters, confidence), images)
    return Interval(value, *find_ends(drawn, clusters, confidence, value, left_out), images)
