"""What is known of one answer: one image, one wording of one prompt family, and how good the mask was."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vesalius.errors import DataError
from vesalius.files import to_utf8, writing

METRICS = ("dice", "iou", "precision", "recall", "nsd", "hd95")
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
