"""Outlined structures of one volume, each kept as the box it fills."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from vesalius.imaging.orientation import Affine, voxel_spacing

Mask = NDArray[np.bool_]
Areas = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Region:
    """A structure within the smallest box around it, of a volume in axial display order."""

    mask: Mask
    """[d, h, w]."""
    start: tuple[int, int, int]
    """Slice, row and column of the box's first voxel."""

    def counts(self, axis: int, length: int, slab: int = 1) -> NDArray[np.int64]:
        """Voxels on each slice across an axis, seen through `slab` slices (odd), [length]."""
        stack, half = np.moveaxis(self.mask, axis, 0), slab // 2
        seen = np.zeros((len(stack) + 2 * half, *stack.shape[1:]), np.bool_)
        for shift in range(slab):
            seen[shift : shift + len(stack)] |= stack
        counts = np.zeros(length + 2 * half, np.int64)
        first = self.start[axis]
        counts[first : first + len(seen)] = np.count_nonzero(seen, axis=(1, 2))
        return counts[half : half + length]

    def at_levels(self, levels: Mask) -> "Region":
        """What of it lies in some axial slices, `levels` [D]."""
        own = levels[self.start[0] : self.start[0] + len(self.mask)]
        return Region(self.mask & own[:, None, None], self.start)

    def level_range(self) -> tuple[int, int] | None:
        """First and last axial slice; None if it is empty."""
        own = np.flatnonzero(self.mask.any(axis=(1, 2)))
        return (self.start[0] + int(own[0]), self.start[0] + int(own[-1])) if own.size else None


EMPTY = Region(np.zeros((0, 0, 0), np.bool_), (0, 0, 0))


def crop(mask: Mask) -> Region:
    """The box around a mask [D, H, W]."""
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        inside = np.flatnonzero(mask.any(axis=others))
        if not inside.size:
            return EMPTY
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return Region(mask[tuple(box)].copy(), (box[0].start, box[1].start, box[2].start))


def unite(regions: Iterable[Region]) -> Region:
    """One region of all."""
    return reduce(_unite, (region for region in regions if region.mask.size), EMPTY)


def _unite(one: Region, other: Region) -> Region:
    if not one.mask.size:
        return other
    start = np.minimum(one.start, other.start)
    end = np.maximum(np.add(one.start, one.mask.shape), np.add(other.start, other.mask.shape))
    mask = np.zeros(tuple(end - start), np.bool_)
    for each in (one, other):
        corner = np.subtract(each.start, start)
        mask[tuple(slice(at, at + size) for at, size in zip(corner, each.mask.shape, strict=True))] |= each.mask
    return Region(mask, (int(start[0]), int(start[1]), int(start[2])))


@dataclass(frozen=True, eq=False)
class Structures:
    """What is outlined in a volume, and what was looked for."""

    shape: tuple[int, int, int]
    """Slices, rows and columns in axial display order."""
    affine: Affine
    """Of that order, to RAS+ mm."""
    regions: Mapping[str, Region]
    """Name -> where it is; empty where it was looked for in vain."""
    solid: Mapping[str, Region]
    """The same without voxels on blank background."""
    predicted: bool
    """Outlined by a model, which fails on the first and last slice."""

    def knows(self, names: Iterable[str]) -> bool:
        """Whether any of these structures was looked for."""
        return any(name in self.regions for name in names)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between slices, rows and columns, mm."""
        return voxel_spacing(self.affine)

    def pixel_cm2(self, axis: int) -> float:
        """Area of a pixel of slices across an axis."""
        return float(np.prod(np.delete(self.spacing, axis))) / 100

    def slab(self, axis: int, slab_mm: float) -> int:
        """Odd number of slices that make a slab; axial slices are looked at singly."""
        return 1 if axis == 0 else 1 + 2 * max(0, round((slab_mm / self.spacing[axis] - 1) / 2))
