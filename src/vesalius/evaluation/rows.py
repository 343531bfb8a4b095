"""Scores of single answers: one row an image, prompt family and wording, as tables, grouped by patient."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vesalius.data.annotations import compile_group_regex, find_group
from vesalius.errors import ConfigError, DataError, unknown_name
from vesalius.files import to_utf8, writing
from vesalius.prompts import sort_families


def name_clusters(images: Sequence[str], regex: str | None) -> list[str]:
    """The cluster of each image.

    Args:
        images: File names.
        regex: Searched in each name; its first bracket names the cluster, without brackets the whole match. None if
            every image stands for itself.

    Returns:
        As many names as images.

    Raises:
        ConfigError: If it is no regular expression, or does not match every name: an image that silently counted as a
            patient of its own would make intervals too narrow.

    >>> name_clusters(["ann_1.png", "ann_2.png", "bo_1.png"], "^[a-z]+")
    ['ann', 'ann', 'bo']
    """
    if regex is None:
        return list(images)
    pattern = compile_group_regex(regex)
    groups = [find_group(pattern, image) for image in images]
    lacking = [image for image, group in zip(images, groups, strict=True) if group is None]
    if lacking:
        raise ConfigError(
            f"--group-regex: '{regex}' must match every image's name; {len(lacking)} of {len(images)} are not matched, "
            f"the first is '{lacking[0]}'."
        )
    return [group for group in groups if group is not None]


def number_clusters(images: Sequence[str], regex: str | None = None) -> NDArray[np.intp]:
    """Number of each image's cluster, from 0 without gaps; arguments and errors as for ``name_clusters``."""
    return np.unique(np.array(name_clusters(images, regex), dtype=np.str_), return_inverse=True)[1]


TITLES = {
    "dice": "Dice",
    "iou": "IoU",
    "precision": "Precision",
    "recall": "Recall",
    "nsd": "NSD",
    "hd95": "HD95",
}
"""Metrics as readers know them."""
METRICS = tuple(TITLES)
"""Columns that say how good a mask was; all but the last lie in 0 to 1, and more is better."""
LARGEST = 10_000_000
"""Rows of a file that is still read; a damaged one may claim any number."""


@dataclass(frozen=True)
class Row:
    """One image and one wording of one family; metrics at native resolution, threshold 0.5."""

    image: str
    family: str
    variant: int
    """Which wording of the family, from 0."""
    prompt: str
    dice: float
    iou: float
    precision: float
    recall: float
    hd95: float | None
    """95th percentile of the distances between the outlines, in ``distance_unit``; None if just one mask is empty."""
    nsd: float
    """Share of both outlines that lies within the tolerance of the other."""
    distance_unit: str
    """"px" or "mm"."""
    true_pixels: int
    predicted_pixels: int
    existence: float | None
    """Probability that the image shows it, for models that say."""


_KINDS = {str: pa.string(), int: pa.int64(), float: pa.float64(), float | None: pa.float64()}
SCHEMA = pa.schema([
    pa.field(field.name, _KINDS[field.type], nullable=field.type == float | None)  # type: ignore[index]
    for field in fields(Row)
])  # fmt: skip


def write_rows(rows: Iterable[Row], path: Path) -> None:
    """Write rows as Parquet, whole or not at all.

    Raises:
        OutputError: If the file cannot be written.
    """
    table = pa.Table.from_pylist([to_utf8(asdict(row)) for row in rows], schema=SCHEMA)
    with writing(path) as unfinished:
        pq.write_table(table, unfinished)


def read_rows(path: Path) -> Sequence[Row]:
    """Read what ``write_rows`` wrote.

    Raises:
        DataError: If the file is missing, damaged or has other columns.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; `vesalius evaluate … --out DIR` writes it.")
    try:
        with pq.ParquetFile(path) as file:
            _check(file, path)
            return [Row(**row) for row in file.read().to_pylist()]
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: not a Parquet file, or a damaged one ({error}); evaluate again.") from error


def _check(file: pq.ParquetFile, path: Path) -> None:
    found = file.schema_arrow
    if not found.equals(SCHEMA):
        expected, got = (", ".join(f"{field.name} {field.type}" for field in each) for each in (SCHEMA, found))
        raise DataError(f"{path}: not the rows of an evaluation; expected columns {expected}; got {got}.")
    if file.metadata.num_rows > LARGEST:
        raise DataError(f"{path}: expected {LARGEST:,} rows at most, got {file.metadata.num_rows:,}.")


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
    return ScoreTable(images, families, scores, number_clusters(images, group_regex))


def _number(names: Sequence[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}
