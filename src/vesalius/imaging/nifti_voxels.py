"""Where the voxels of a NIfTI or FreeSurfer file lie: in the file itself, or unpacked into memory or onto the disk."""

import gzip
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import ImageError
from vesalius.imaging.formats import is_gzip, read_start
from vesalius.imaging.safeguards import BYTES_PER_MEGABYTE, KEPT_MEGABYTES, megabytes

READ_AT_ONCE = 2**20
"""Bytes that are unpacked at a time."""
MOST_TRAILING = 16 * READ_AT_ONCE
"""Bytes that may follow the voxels of a compressed file."""


def find_voxels(
    path: Path, offset: int, dtype: np.dtype[np.generic], shape: tuple[int, int, int], which: tuple[int, int]
) -> tuple[Callable[[], NDArray[np.generic]], IO[bytes] | None]:
    """Find one volume of a file.

    Args:
        path: The file, compressed or not.
        offset: Bytes before the voxels, unpacked.
        dtype: Type of a voxel.
        shape: Voxels along i, j and k.
        which: Number of the volume, from 0, and how many there are.

    Returns:
        A view of the volume, and the unpacked file to close when the view is no longer used.

    Raises:
        ImageError: If the file is too short, or there is no room to unpack it.
        EOFError: If a compressed file ends too early; gzip raises errors of its own.
        ValueError: If it goes on after its voxels.
    """
    number, volumes = which
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    start, end = offset + number * size, offset + volumes * size
    if not is_gzip(read_start(path)):
        present = path.stat().st_size
        if present < end:
            raise ImageError(
                f"{path}: cannot be read as a NIfTI or MGZ volume: it has {present:,} bytes of {end:,}. It is "
                "incomplete; copy or export it again."
            )
        return lambda: np.memmap(path, dtype, "r", start, shape, order="F"), None
    if megabytes(size) <= KEPT_MEGABYTES.value:
        unpacked = b"".join(_unpack(path, start, size, end))
        return lambda: np.frombuffer(unpacked, dtype).reshape(shape, order="F"), None
    file = _unpack_to_disk(path, start, size, end)
    return lambda: np.memmap(file, dtype, "r", 0, shape, order="F"), file


def _unpack_to_disk(path: Path, start: int, size: int, end: int) -> IO[bytes]:
    home = tempfile.gettempdir()
    free = shutil.disk_usage(home).free
    if free < size:
        raise ImageError(
            f"{path}: unpacking it needs {megabytes(size):,} megabytes in {home}, which has "
            f"{free // BYTES_PER_MEGABYTE:,} free; make room, or name another folder in the variable TMPDIR."
        )
    file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the volume
    try:
        file.writelines(_unpack(path, start, size, end))
        file.flush()
    except BaseException:
        file.close()
        raise
    return file


def _unpack(path: Path, start: int, size: int, end: int) -> Iterator[bytes]:
    """Pieces of one part of a compressed file; all of it is read, so that its checksum is compared."""
    at = 0
    with gzip.open(path) as packed:
        while at < end:
            part = packed.read(min(READ_AT_ONCE, end - at))
            if not part:
                raise EOFError(f"it ends after {at:,} bytes of {end:,}")
            yield part[max(0, start - at) : max(0, start + size - at)]
            at += len(part)
        while more := packed.read(READ_AT_ONCE):
            at += len(more)
            if at > end + MOST_TRAILING:
                raise ValueError(f"it goes on after {end:,} bytes, where its header says that it ends")
