"""Masks as parts: where each lies, how large it is, and what outline the largest has."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label
from scipy.spatial import ConvexHull

TOUCHING = np.ones((3, 3), dtype=int)
"""Pixels that share a corner belong together."""


@dataclass(frozen=True, eq=False)
class Part:
    """One connected piece of a mask."""

    top: int
    """First row of its box."""
    left: int
    """First column of its box."""
    pixels: NDArray[np.bool_]
    """The piece alone, [h, w], as large as its box."""
    image_size: tuple[int, int]
    """Height and width of the whole mask."""

    @cached_property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.pixels))

    @property
    def share(self) -> float:
        """Fraction of the image it covers."""
        return self.area / (self.image_size[0] * self.image_size[1])

    @property
    def centre(self) -> tuple[float, float]:
        """Row and column of the middle of its box, in pixels from the image's corner."""
        height, width = self.pixels.shape
        return self.top + height / 2, self.left + width / 2

    @cached_property
    def cells(self) -> NDArray[np.float64]:
        """Fraction of its pixels in each cell of a 3 × 3 grid over the image, [3, 3]."""
        rows, columns = (self._count_thirds(axis) for axis in (0, 1))
        counts = [[np.count_nonzero(self.pixels[row, column]) for column in columns] for row in rows]
        return np.array(counts, dtype=np.float64) / self.area

    def _count_thirds(self, axis: int) -> list[slice]:
        """The image's thirds along one axis, as ranges of `pixels`."""
        start, length = (self.top, self.left)[axis], self.image_size[axis]
        edges = [max(0, round(length * third / 3) - start) for third in range(4)]
        return [slice(low, high) for low, high in zip(edges, edges[1:], strict=False)]


@dataclass(frozen=True)
class Outline:
    """Shape of a part, from its convex hull and the smallest box around it, however tilted; all in (0, 1]."""

    solidity: float
    """Area over the hull's."""
    fill: float
    """Area over the box's: 1 for a rectangle, π/4 for an ellipse, 1/2 for a triangle."""
    ratio: float
    """Short over long side of the box."""


def find_parts(mask: NDArray[np.bool_]) -> tuple[Part, ...]:
    """The 8-connected pieces of a mask [H, W], in reading order of their first pixels; none if it is empty."""
    numbers, _ = label(mask, TOUCHING)
    size = (mask.shape[0], mask.shape[1])
    boxes = enumerate(find_objects(numbers), start=1)
    return tuple(Part(box[0].start, box[1].start, numbers[box] == number, size) for number, box in boxes)


def trace_outline(part: Part) -> Outline:
    """Measure the shape of a part."""
    hull = ConvexHull(_corners(part.pixels))
    long, short = _smallest_box(hull.points[hull.vertices])
    return Outline(solidity=part.area / hull.volume, fill=part.area / (long * short), ratio=short / long)


def _corners(pixels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Corners of the first and last pixel of every row, [N, 2]: they hold the hull's, as every row has a pixel."""
    rows = np.arange(len(pixels))
    first, last = pixels.argmax(axis=1), pixels.shape[1] - pixels[:, ::-1].argmax(axis=1)
    ends = [np.stack([row, column], axis=1) for row in (rows, rows + 1) for column in (first, last)]
    return np.concatenate(ends).astype(np.float64)


def _smallest_box(corners: NDArray[np.float64]) -> tuple[float, float]:
    """Long and short side of the smallest box around a convex polygon; one of its sides lies on the polygon's.

    Args:
        corners: In order, [N, 2].
    """
    edges = np.roll(corners, -1, axis=0) - corners
    along = edges / np.linalg.norm(edges, axis=1, keepdims=True)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    lengths, widths = (np.ptp(corners @ direction.T, axis=0) for direction in (along, across))
    best = int((lengths * widths).argmin())
    sides = float(lengths[best]), float(widths[best])
    return max(sides), min(sides)
