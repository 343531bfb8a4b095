"""Results of an archive, as Python reads them: only what counts, wherever its files lie at the moment."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.archive.log import pending_of, place_of, read_records
from vesalius.archive.store import ArchiveStore
from vesalius.errors import require

if TYPE_CHECKING:
    import pyarrow as pa


def read_tables(out: str, table: str = "rows", columns: Sequence[str] | None = None) -> Iterator["pa.Table"]:
    """The table of one shard after the other.

    Args:
        out: Folder or URL of an archive.
        table: "rows" or "masks".
        columns: Columns to read; all by default.

    Raises:
        MissingPackageError: If pyarrow is not installed.
        OutputError: If something cannot be read.
    """
    require("pyarrow", extra="archive")
    import pyarrow.parquet as pq

    store = ArchiveStore(out)
    for number, record in read_records(store):
        if record["kind"] != "shard" or not record["shard"] or not record[table]:
            continue
        place = place_of(table, number)
        if not store.exists(place):  # committed, and not moved yet
            place = pending_of(table, record["shard"])
        yield pq.read_table(BytesIO(store.read(place)), columns=None if columns is None else list(columns))


def read_masks(out: str) -> Iterator[tuple[dict[str, object], NDArray[np.bool_]]]:
    """All masks that mark anything, each with what it is of: source, series_uid, stack, slice and phrase.

    Masks are [H, W] in the rows and columns of the file that the slice came from.

    Args:
        out: Folder or URL of an archive.

    Raises:
        MissingPackageError: If pyarrow is not installed.
        OutputError: If something cannot be read.
    """
    for table in read_tables(out, "masks"):
        for row in table.to_pylist():
            with Image.open(BytesIO(row.pop("png"))) as picture:
                yield row, np.asarray(picture).astype(np.bool_)
