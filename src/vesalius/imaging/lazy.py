"""Pixels that stay in their file until a slice is asked for."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vesalius.imaging.safeguards import KEPT_MEGABYTES, MEGABYTES, megabytes

INT16 = np.iinfo(np.int16)
Pixels = NDArray[np.float32 | np.uint8 | np.uint16]


class LazyPixels:
    """Slices [H, W] or [H, W, 3] that are read one by one and not kept.

    They behave like a read-only array [D, H, W] or [D, H, W, 3] as far as readers of slices need: ``len``, ``shape``,
    ``dtype``, iteration, ``pixels[index]`` for one slice. ``numpy.asarray`` loads all of them, and so does any index
    other than a whole number.

    Args:
        count: Number of slices.
        read: Reads the slice of an index, from 0.
        slice_shape: Shape of one slice, [H, W] or [H, W, 3].
        dtype: Type of the values.
        source: File or folder, for messages.

    Example:
        >>> pixels = LazyPixels(3, lambda index: np.full((4, 6), index, np.uint8), (4, 6), np.uint8, Path("memory"))
        >>> pixels.shape, int(pixels[2].max())
        ((3, 4, 6), 2)
    """

    def __init__(
        self,
        count: int,
        read: Callable[[int], NDArray[np.generic]],
        slice_shape: tuple[int, ...],
        dtype: DTypeLike,
        source: Path,
    ) -> None:
        self.shape: tuple[int, ...] = (count, *slice_shape)
        self.dtype: np.dtype[np.generic] = np.dtype(dtype)
        self.source = source
        self._read = read

    @property
    def ndim(self) -> int:
        """3, or 4 in colour."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes that all slices take in memory."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[np.generic]:  # noqa: ANN401 - whatever NumPy takes
        if not isinstance(index, int | np.integer):
            chosen: NDArray[np.generic] = np.asarray(self)[index]
            return chosen
        return self._read(range(len(self))[int(index)]).astype(self.dtype, copy=False)

    def __iter__(self) -> Iterator[NDArray[np.generic]]:
        return (self[index] for index in range(len(self)))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[np.generic]:
        """Load all slices.

        Raises:
            ImageError: If they take more than `safeguards.MEGABYTES`.
        """
        kind = self.dtype if dtype is None else np.dtype(dtype)
        MEGABYTES.check(megabytes(self.size * kind.itemsize), self.source)
        whole = np.empty(self.shape, kind)
        for index in range(len(self)):
            whole[index] = self[index]
        return whole

    def load_compact(self) -> NDArray[np.generic]:
        """Load all slices, in half the memory if they hold only whole numbers of 16 bit, as CT does.

        Returns:
            int16 if that loses nothing, else `dtype`.

        Raises:
            ImageError: If they take more than `safeguards.MEGABYTES`.
        """
        if self.dtype != np.float32:
            return np.asarray(self)
        MEGABYTES.check(megabytes(self.size * 2), self.source)
        whole = np.empty(self.shape, np.int16)
        for index, values in enumerate(self):
            if not fits_int16(values):
                return np.asarray(self)
            whole[index] = values
        return whole


def fits_int16(values: NDArray[np.generic]) -> bool:
    """Whether all values are whole numbers of 16 bit."""
    return bool(values.min() >= INT16.min and values.max() <= INT16.max and (values == np.rint(values)).all())


def keep_small(pixels: LazyPixels) -> Pixels | LazyPixels:
    """Load pixels that take no more than `safeguards.KEPT_MEGABYTES`; leave larger ones in their file."""
    if megabytes(pixels.nbytes) > KEPT_MEGABYTES.value:
        return pixels
    return np.asarray(pixels)
