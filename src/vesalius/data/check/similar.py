"""Find pictures that show the same, in any of eight orientations, by short signatures.

The picture in grey is scaled to 64 × 64, and every pixel becomes its difference from its neighbourhood's mean in units
of the neighbourhood's standard deviation. This leaves structure and takes out brightness, contrast and the bright and
dark regions that all pictures of one kind share (the round field of an endoscope, the fan of an ultrasound probe). The
low frequencies of its cosine transform, scaled to length 1, are the signature; the product of two signatures is the
correlation of the two pictures. Mirroring a picture only changes signs in it and turning it by 90° transposes it, so
one signature serves all eight orientations.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import uniform_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Signature = NDArray[np.float32]
"""Cosine coefficients [KEPT, KEPT], of length 1; all zero for a picture of a single value."""

SIDE = 64
"""Pixels a side of the picture that is compared."""
KEPT = 24
"""Frequencies kept along each axis."""
RADIUS = 5
"""A neighbourhood reaches so many pixels in each direction."""
FLOOR = 3.0
"""Added to a neighbourhood's standard deviation (of 0–255), so that noise in flat regions stays small."""


def signature(levels: NDArray[np.uint8]) -> Signature:
    """The signature of a picture.

    Args:
        levels: Picture [H, W] or [H, W, 3], 0–255.
    """
    small = np.asarray(Image.fromarray(levels).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
    if small.min() == small.max():
        return np.zeros((KEPT, KEPT), np.float32)
    difference = small - _neighbourhood_mean(small)
    variance = np.maximum(_neighbourhood_mean(difference**2), 0)  # running sums leave a little less than nothing
    contrast = difference / (np.sqrt(variance) + FLOOR)
    coefficients: NDArray[np.float32] = dctn(contrast, norm="ortho")[:KEPT, :KEPT]
    return np.divide(coefficients, np.linalg.norm(coefficients), dtype=np.float32)


def _neighbourhood_mean(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of the square around every pixel, the picture mirrored at its edges."""
    mean: NDArray[np.float32] = uniform_filter(grey, 2 * RADIUS + 1, mode="mirror")
    return mean


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
class SimilarPair:
    """Two pictures that look alike, by their numbers; the first is the smaller."""

    first: int
    second: int
    similarity: float
    """Correlation of the signatures, up to 1."""
    orientation: int = 0
    """Number in `ORIENTATIONS`."""


def find_similar(
    signatures: NDArray[np.float32],
    min_similarity: float,
    on_block: Callable[[int], None] = lambda _: None,
) -> Iterator[SimilarPair]:
    """Every pair at least so similar: all pairs are compared, by matrix products.

    Args:
        signatures: As `vesalius.data.check.similar.signature` gives them, [N, KEPT, KEPT].
        min_similarity: Smallest similarity, in (0, 1].
        on_block: Told how many pairs were compared since the last call; all in all N².
    """
    straight, turned = _by_parity(signatures), _by_parity(signatures.transpose(0, 2, 1))
    starts = range(0, len(signatures), BLOCK)
    for start, other in ((start, other) for start in starts for other in starts if start <= other):
        rows, columns = slice(start, start + BLOCK), slice(other, other + BLOCK)
        best = np.maximum(
            _best_of_four(straight, straight, rows, columns), _best_of_four(straight, turned, rows, columns)
        )
        for first, second in np.argwhere(best >= min_similarity) + (start, other):
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


def _describe_pair(signatures: NDArray[np.float32], first: int, second: int) -> SimilarPair:
    similarities = [float(np.sum(signatures[first] * lay(signatures[second], way))) for way in range(len(ORIENTATIONS))]
    orientation = int(np.argmax(similarities))
    return SimilarPair(first, second, min(similarities[orientation], 1.0), orientation)


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


def join_pairs(pairs: Iterable[SimilarPair]) -> list[list[SimilarPair]]:
    """The pairs of each connected group, groups in the order of their first picture.

    >>> [len(group) for group in join_pairs([SimilarPair(0, 4, 1.0), SimilarPair(2, 3, 1.0), SimilarPair(4, 7, 1.0)])]
    [2, 1]
    """
    ordered = sorted(pairs, key=lambda pair: (pair.first, pair.second))
    size = 1 + max((pair.second for pair in ordered), default=0)
    ends = [pair.first for pair in ordered], [pair.second for pair in ordered]
    _, group_of = connected_components(coo_array((np.ones(len(ordered)), ends), (size, size)), directed=False)
    groups: dict[int, list[SimilarPair]] = {}
    for pair in ordered:
        groups.setdefault(int(group_of[pair.first]), []).append(pair)
    return list(groups.values())
