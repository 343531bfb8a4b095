"""One metric of an evaluation as a table, images × prompt families: what statistics are made of."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import ConfigError, DataError, unknown_name
from vesalius.evaluation.clusters import name_clusters
from vesalius.evaluation.rows import METRICS, Row
from vesalius.prompts import sort_families

TITLES = {
    "dice": "Dice",
    "iou": "IoU",
    "precision": "Precision",
    "recall": "Recall",
    "nsd": "NSD",
    "hd95": "HD95",
}
"""How people write the metrics of a row."""
LOWER_IS_BETTER = frozenset({"hd95"})
DISTANCES = frozenset({"hd95", "nsd"})
"""Metrics that depend on the unit of distances."""
DECIMALS = 12
"""Values that agree so far are equal; the same sum in another order has other last digits."""


@dataclass(frozen=True)
class ScoreTable:
    """Scores of images × families."""

    images: tuple[str, ...]
    families: tuple[str, ...]
    scores: NDArray[np.float64]
    """Mean over the wordings of a family, [I, F]; NaN where nothing was asked or the metric is undefined."""
    clusters: NDArray[np.intp]
    """Number of the cluster that each image belongs to, [I], from 0 without gaps."""

    @property
    def cluster_count(self) -> int:
        """Clusters, which is what chance draws; the number of images where each stands for itself."""
        return int(self.clusters.max(initial=-1)) + 1

    def overall(self) -> NDArray[np.float64]:
        """Each image's mean over its families, [I]."""
        known = ~np.isnan(self.scores)
        means: NDArray[np.float64] = np.where(known, self.scores, 0).sum(1) / known.sum(1)
        return means


def tabulate(
    rows: Iterable[Row], metric: str = "dice", *, present_only: bool = False, group_regex: str | None = None
) -> ScoreTable:
    """Arrange one metric of all rows.

    Args:
        rows: Rows of one evaluation.
        metric: One of ``rows.METRICS``.
        present_only: Leave out rows whose true mask is empty.
        group_regex: How a name tells the cluster, see ``name_clusters``.

    Returns:
        Images in the order of the rows, families in the benchmark's; images without any score are left out.

    Raises:
        ConfigError: If there is no such metric, or the expression does not fit the names.
        DataError: If distances are in mm in some rows and in pixels in others.
    """
    if metric not in METRICS:
        raise ConfigError(unknown_name("metric", metric, METRICS))
    kept = [row for row in rows if row.true_pixels or not present_only]
    units = sorted({row.distance_unit for row in kept})
    if metric in DISTANCES and len(units) > 1:
        raise DataError(f"{metric} cannot be averaged: some images have distances in {' and some in '.join(units)}.")
    cells: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in kept:
        value: float | None = getattr(row, metric)
        if value is not None:
            cells[row.image, row.family].append(value)
    return _arrange({place: sum(values) / len(values) for place, values in cells.items()}, group_regex)


def select(table: ScoreTable, images: Sequence[str], families: Sequence[str]) -> ScoreTable:
    """The table of some images and families, in the order given; all must be in it."""
    rows, columns = _number(table.images), _number(table.families)
    kept = [rows[image] for image in images]
    _, clusters = np.unique(table.clusters[kept], return_inverse=True)
    scores = table.scores[np.ix_(kept, [columns[family] for family in families])]
    return ScoreTable(tuple(images), tuple(families), scores, clusters)


def _arrange(cells: dict[tuple[str, str], float], group_regex: str | None) -> ScoreTable:
    images = tuple(dict.fromkeys(image for image, _ in cells))
    families = tuple(sort_families(list({family for _, family in cells})))
    rows, columns = _number(images), _number(families)
    scores = np.full((len(images), len(families)), np.nan)
    for (image, family), value in cells.items():
        scores[rows[image], columns[family]] = value
    _, clusters = np.unique(np.array(name_clusters(images, group_regex), dtype=np.str_), return_inverse=True)
    return ScoreTable(images, families, scores, clusters)


def _number(names: Sequence[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}
