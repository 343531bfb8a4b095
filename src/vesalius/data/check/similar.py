"""Pairs of pictures whose signatures agree, in any of eight orientations."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 512
"""Signatures compared with as many others at once; bounds the memory, not the result."""

ORIENTATIONS = (
    "the same way up",
    "mirrored left to right",
    "mirrored top to bottom",
    "turned by 180°",
    "mirrored along the diagonal",
    "turned by 90° to the left",
    "turned by 90° to the right",
    "mirrored along the other diagonal",
)
"""How the second picture lies in respect to the first; `reorient` does the same to an array."""


@dataclass(frozen=True)
class Pair:
    """Two pictures that look alike, by their numbers; the first is the smaller."""

    first: int
    second: int
    similarity: float
    """Correlation of the signatures, up to 1."""
    orientation: int = 0
    """Number in `ORIENTATIONS`."""


def find_similar(
    signatures: NDArray[np.float32],
    least: float,
    on_block: Callable[[int], None] = lambda _: None,
) -> Iterator[Pair]:
    """Every pair at least so similar; nothing is left to chance, as all pairs are compared by matrix products.

    Args:
        signatures: As `vesalius.data.check.signatures.signature` gives them, [N, KEPT, KEPT].
        least: Smallest similarity, in (0, 1].
        on_block: Told how many pairs were compared since the last call; all in all N².
    """
    straight, turned = _by_parity(signatures), _by_parity(signatures.transpose(0, 2, 1))
    starts = range(0, len(signatures), BLOCK)
    for start, other in ((start, other) for start in starts for other in starts if start <= other):
        rows, columns = slice(start, start + BLOCK), slice(other, other + BLOCK)
        best = np.maximum(
            _best_of_four(straight, straight, rows, columns), _best_of_four(straight, turned, rows, columns)
        )
        for first, second in np.argwhere(best >= least) + (start, other):
            if first < second:
                yield _describe_pair(signatures, int(first), int(second))
        on_block(best.size if start == other else 2 * best.size)


def count_comparisons(count: int) -> int:
    """What `find_similar` reports in all for so many pictures."""
    return count * count


def reorient(array: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Lay an array [H, W] as `ORIENTATIONS` says; doing it to the second picture of a pair makes it the first.

    >>> reorient(np.array([[1, 2], [3, 4]]), 1).tolist()
    [[2, 1], [4, 3]]
    """
    laid = array.T if orientation & 4 else array
    rows, columns = -1 if orientation & 2 else 1, -1 if orientation & 1 else 1
    return laid[::rows, ::columns]


def _describe_pair(signatures: NDArray[np.float32], first: int, second: int) -> Pair:
    similarities = [float(np.sum(signatures[first] * lay(signatures[second], way))) for way in range(len(ORIENTATIONS))]
    orientation = int(np.argmax(similarities))
    return Pair(first, second, min(similarities[orientation], 1.0), orientation)


def lay(signature: NDArray[np.float32], orientation: int) -> NDArray[np.float32]:
    """The signature that the picture would have if it were laid so."""
    laid = (signature.T if orientation & 4 else signature).copy()
    laid[1::2] *= -1 if orientation & 2 else 1
    laid[:, 1::2] *= -1 if orientation & 1 else 1
    return laid


def _by_parity(signatures: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Coefficients of even and odd rows and columns apart, each [N, (KEPT / 2)²]; mirroring turns the signs of some."""
    classes = [signatures[:, row::2, column::2] for row in (0, 1) for column in (0, 1)]
    return [np.ascontiguousarray(each).reshape(len(each), each.shape[1] * each.shape[2]) for each in classes]


def _best_of_four(
    mine: list[NDArray[np.float32]], theirs: list[NDArray[np.float32]], rows: slice, columns: slice
) -> NDArray[np.float32]:
    """Similarity of each pair of a block, as it is or mirrored, whichever is largest, [rows, columns].

    Mirroring left to right turns the sign of odd columns, top to bottom of odd rows, so four sums hold all.
    """
    even, odd_columns, odd_rows, odd = (a[rows] @ b[columns].T for a, b in zip(mine, theirs, strict=True))
    upright = even + odd_rows + np.abs(odd_columns + odd)
    upside_down = even - odd_rows + np.abs(odd_columns - odd)
    best: NDArray[np.float32] = np.maximum(upright, upside_down)
    return best
