"""Directions of voxel axes, planes, and radiological display order.

World axes are nibabel's RAS+ millimetres: x grows to the patient's right, y to the front, z to the head. Along the
slices the world coordinate grows (axial: feet to head, coronal: back to front, sagittal: left to right); along rows and
columns it falls. That puts the patient's right at image left, the head (axial: the front) up and, in sagittal slices,
the front at image left: the radiological convention.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Plane = Literal["axial", "coronal", "sagittal", "oblique"]
Scalar = TypeVar("Scalar", bound=np.generic)
Affine = NDArray[np.float64]

WORLD_AXES: Mapping[Plane, tuple[int, int, int]] = MappingProxyType(
    {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}
)
"""Plane -> world axis (0 x, 1 y, 2 z) along slices, rows and columns."""

DISPLAY_SIGNS = (1, -1, -1)
"""Sign of the world coordinate's change along slices, rows and columns."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""World axes of DICOM, ITK and NRRD to nibabel's, and back."""

OBLIQUE_BELOW = 0.8
"""Largest component of the slice normal below which a plane is oblique (36.9°; Clunie's rule)."""

MAX_MM = 1e6
"""Largest distance from the world's origin, and between voxels; numbers beyond come from a damaged header."""
MIN_SPACING_MM = 1e-6
"""Smallest distance between voxels."""
SAME_PLACE_MM = 0.1
"""Difference of affines that is rounding, not another place."""
MIN_DETERMINANT = 1e-3
"""Smallest volume that unit vectors along the voxel axes span; 1 if they are orthogonal."""


def places_volume(affine: Affine) -> bool:
    """Whether an affine is a [4, 4] matrix of plausible numbers whose voxel axes are independent."""
    if affine.shape != (4, 4) or not (np.abs(affine) < MAX_MM).all():
        return False
    axes = affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    return bool(lengths.min() > MIN_SPACING_MM) and abs(float(np.linalg.det(axes / lengths))) > MIN_DETERMINANT


def same_place(one: Affine, other: Affine) -> bool:
    """Whether two affines [4, 4] place an array alike, but for rounding."""
    return np.allclose(one, other, rtol=0, atol=SAME_PLACE_MM)


def voxel_spacing(affine: Affine) -> tuple[float, float, float]:
    """Distance in mm between neighbouring voxels along each axis of an array placed by `affine` [4, 4]."""
    slices, rows, columns = np.linalg.norm(affine[:3, :3], axis=0)
    return float(slices), float(rows), float(columns)


def world_axes(affine: Affine) -> tuple[int, int, int]:
    """World axis nearest to each voxel axis, each world axis used once.

    Args:
        affine: Voxel index to world millimetres, [4, 4].

    Returns:
        For each voxel axis, 0 (x), 1 (y) or 2 (z).
    """
    directions = np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    x, y, z = max(itertools.permutations(range(3)), key=lambda axes: sum(directions[axes, range(3)]))
    return x, y, z


def slice_normal(affine: Affine) -> NDArray[np.float64]:
    """Unit normal [3] of the slices, in the sense in which the nearest world coordinate grows."""
    normal = np.cross(affine[:3, 1], affine[:3, 2])
    towards = normal[world_axes(affine)[0]]
    unit: NDArray[np.float64] = normal / np.linalg.norm(normal) * (1.0 if towards >= 0 else -1.0)
    return unit


def nearest_plane(affine: Affine, slice_axis: int = 0) -> Plane:
    """Orthogonal plane closest to the slices across `slice_axis`, however oblique they are."""
    world = world_axes(affine)[slice_axis]
    return next(plane for plane, axes in WORLD_AXES.items() if axes[0] == world)


def plane_of(affine: Affine) -> Plane:
    """Plane of the slices; "oblique" if the normal is more than 36.9° off every world axis."""
    oblique = np.abs(slice_normal(affine)).max() < OBLIQUE_BELOW
    return "oblique" if oblique else nearest_plane(affine)


def obliquity(affine: Affine) -> float:
    """Degrees between the slices and the nearest orthogonal plane, 0 to 54.7."""
    largest = float(np.abs(slice_normal(affine)).max())
    return float(np.degrees(np.arccos(min(1.0, largest))))


def common_plane(planes: Iterable[Plane | None]) -> Plane | None:
    """The plane of a series made of several stacks; None if they differ, as in localizers and radial series."""
    found = set(planes)
    return found.pop() if len(found) == 1 else None


def to_display_order(pixels: NDArray[Scalar], affine: Affine, plane: Plane) -> tuple[NDArray[Scalar], Affine]:
    """Transpose and flip a volume so that its first axis runs across `plane` and slices show radiologically.

    Nothing is interpolated: an oblique volume stays oblique, each voxel axis going to its nearest world axis.

    Args:
        pixels: Volume [A, B, C] or [A, B, C, 3], axes in any order.
        affine: Index along those axes to world millimetres (RAS+), [4, 4].
        plane: "axial", "coronal" or "sagittal".

    Returns:
        The volume [D, H, W] or [D, H, W, 3] (a view), and the affine of the new order.
    """
    nearest = world_axes(affine)
    order = [nearest.index(world) for world in WORLD_AXES[plane]]
    placed = affine[:, [*order, 3]].copy()
    shown = np.transpose(pixels, [*order, *range(3, pixels.ndim)])
    for axis, (world, sign) in enumerate(zip(WORLD_AXES[plane], DISPLAY_SIGNS, strict=True)):
        if placed[world, axis] * sign < 0:
            shown = np.flip(shown, axis)
            placed[:3, 3] += placed[:3, axis] * (shown.shape[axis] - 1)
            placed[:3, axis] *= -1
    return shown, placed


def to_grid(pixels: NDArray[Scalar], affine: Affine, target: Affine) -> NDArray[Scalar]:
    """Exchange and mirror the axes of a volume so that it lies on another grid over the same voxels.

    Args:
        pixels: Volume [A, B, C] placed by ``affine``.
        affine: Index along its axes to world millimetres, [4, 4].
        target: Affine of the other grid: the same axes in another order or sense.

    Returns:
        The volume (a view) with the axes of ``target``.
    """
    order, backwards = grid_order(affine, target)
    return flip_axes(np.transpose(pixels, order), backwards)


def flip_axes(array: NDArray[Scalar], backwards: Iterable[bool]) -> NDArray[Scalar]:
    """Mirror an array (a view) along its first axes, along each that runs backwards."""
    return np.flip(array, tuple(axis for axis, back in enumerate(backwards) if back))


def onto_grid(pixels: NDArray[Scalar], affine: Affine, target: Affine) -> NDArray[Scalar] | None:
    """The same as `to_grid`, but None where voxels would lie half a voxel or more beside those of the other grid.

    Args:
        pixels: Volume [A, B, C] placed by ``affine``.
        affine: Index along its axes to world millimetres, [4, 4].
        target: Affine of the other grid, whose number of voxels is not known here.
    """
    order, backwards = grid_order(affine, target)
    if sorted(order) != [0, 1, 2]:
        return None
    corners = np.array(list(itertools.product(*((0, size - 1) for size in pixels.shape)))).T
    ends = zip(order, backwards, strict=True)
    wanted = np.stack([pixels.shape[axis] - 1 - corners[axis] if back else corners[axis] for axis, back in ends])
    moved = np.linalg.inv(target) @ affine
    beside = np.abs(moved[:3, :3] @ corners + moved[:3, 3:] - wanted).max()
    return to_grid(pixels, affine, target) if beside < 0.5 else None


def grid_order(affine: Affine, target: Affine) -> tuple[list[int], list[bool]]:
    """The order and sense in which the axes of one grid become those of another over the same voxels.

    Args:
        affine: Index along the axes to world millimetres, [4, 4].
        target: Affine of the other grid.

    Returns:
        For each axis of the other grid, the axis of this one, 0 to 2, and whether it runs backwards.
    """
    steps = np.rint(np.linalg.inv(target)[:3, :3] @ affine[:3, :3]).astype(int)
    order = [int(np.abs(row).argmax()) for row in steps]
    return order, [bool(steps[axis, present] < 0) for axis, present in enumerate(order)]


@dataclass(frozen=True, eq=False)
class StraightGrid:
    """Slices that are sheared against each other, moved by whole pixels onto a grid whose axes are orthogonal."""

    affine: Affine
    """Index (i, j, k) to world millimetres, [4, 4]; k runs along the normal of the slices."""
    shape: tuple[int, int, int]
    """Voxels along i, j and k; enough to hold every moved slice."""
    corners: NDArray[np.intp]
    """Place of each slice's first pixel, (i, j) for each k, [K, 2]."""

    def move(self, planes: Iterable[NDArray[Scalar]]) -> Iterator[NDArray[Scalar]]:
        """Place masks or labels [j, i], one slice after the other, in the straight grid."""
        for (column, row), plane in zip(self.corners, planes, strict=True):
            moved = np.zeros((self.shape[1], self.shape[0]), plane.dtype)
            moved[row : row + plane.shape[0], column : column + plane.shape[1]] = plane
            yield moved

    def move_back(self, volume: NDArray[Scalar]) -> NDArray[Scalar]:
        """The slices of a volume [i, j, k] on the straight grid, each where it lay."""
        columns, rows = np.array(self.shape[:2]) - np.ptp(self.corners, axis=0)
        parts = (volume[i : i + columns, j : j + rows, k] for k, (i, j) in enumerate(self.corners))
        return np.stack(list(parts), axis=2)


def straight_grid(affine: Affine, shape: tuple[int, int, int]) -> StraightGrid:
    """The straight grid over slices that are sheared along k only, as in CT with a tilted gantry.

    Args:
        affine: Index (i, j, k) to world millimetres, [4, 4], with i orthogonal to j.
        shape: Voxels along i, j and k.

    Returns:
        The grid: pixels and distance of the slices stay, no slice moves by more than half a pixel from its place.
    """
    along, step = affine[:3, :2], affine[:3, 2]
    normal = np.cross(along[:, 0], along[:, 1])
    normal /= np.linalg.norm(normal)
    shift = (along / (along**2).sum(axis=0)).T @ step  # pixels along i and j from one slice to the next
    moved = np.rint(np.arange(shape[2])[:, None] * shift).astype(np.intp)
    start, room = moved.min(axis=0), np.ptp(moved, axis=0)
    straight = affine.copy()
    straight[:3, 2] = normal * (normal @ step)
    straight[:3, 3] += along @ start
    return StraightGrid(straight, (shape[0] + int(room[0]), shape[1] + int(room[1]), shape[2]), moved - start)


@dataclass(frozen=True, eq=False)
class MaskGrid:
    """The grid (i, j, k) of the mask volumes of an image, and how slices as displayed lie on it."""

    order: Sequence[int]
    """Axis of the slices [D, H, W], 0 to 2, for each of i, j and k."""
    backwards: Sequence[bool]
    """Whether that axis runs the other way, for each of i, j and k."""
    shape: tuple[int, int, int]
    """Voxels along i, j and k."""
    affine: Affine | None
    """Index (i, j, k) to world millimetres, [4, 4]; None without a place in space."""
    straight: StraightGrid | None
    """Where slices that are sheared against each other are moved; None if they stay."""

    @classmethod
    def of(
        cls, size: tuple[int, int, int], shown: Affine | None, source: Affine | None, *, straighten: bool
    ) -> "MaskGrid":
        """The grid of a file's own array.

        Args:
            size: Slices, rows and columns as displayed.
            shown: Index along these to world millimetres, [4, 4]; None without a place in space.
            source: The same for the file's own array; None if that has the axes as displayed, the last first.
            straighten: Whether the grid becomes a straight one.
        """
        if shown is None:
            return cls([2, 1, 0], [False] * 3, (size[2], size[1], size[0]), None, None)
        affine = shown[:, [2, 1, 0, 3]] if source is None else source
        order, backwards = grid_order(shown, affine)
        columns, rows, planes = (size[axis] for axis in order)
        straight = straight_grid(affine, (columns, rows, planes)) if straighten else None
        if straight is None:
            return cls(order, backwards, (columns, rows, planes), affine, None)
        return cls(order, backwards, straight.shape, straight.affine, straight)

    def to_display(self, volume: NDArray[Scalar]) -> NDArray[Scalar]:
        """A volume [i, j, k] of this grid as slices [D, H, W]."""
        stored = volume if self.straight is None else self.straight.move_back(volume)
        return flip_axes(stored, self.backwards).transpose(np.argsort(self.order))
