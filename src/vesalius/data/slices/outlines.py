"""What is outlined in a volume, one mask a structure or one label map, each kept as the box it fills."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vesalius.data.prepare.volumes import read_label_names
from vesalius.data.slices.sources import LabelledVolume
from vesalius.errors import DataError, ImageError
from vesalius.imaging.nifti import read_label_volume
from vesalius.imaging.orientation import Affine, same_place, voxel_spacing

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
    """Map from indices in that order to RAS+ mm."""
    regions: Mapping[str, Region]
    """Structure -> its voxels; empty where it was looked for and not found."""
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


MASK_SUFFIX = ".nii.gz"
LARGEST_LABEL = 65535


def read_structures(
    volume: LabelledVolume,
    values: NDArray[np.generic],
    affine: Affine,
    wanted: frozenset[str],
    on_mask: Callable[[], None] = lambda: None,
) -> Structures:
    """Read the structures that the rules ask for, one at a time.

    Args:
        volume: The volume, with outlines.
        values: Its values [D, H, W] in axial display order; their smallest is blank background.
        affine: Of that order.
        wanted: Names of structures.
        on_mask: Called after each file, for progress.

    Raises:
        ImageError: If a file is damaged, or of another size or place than the volume.
        DataError: If no wanted structure was looked for.
    """
    blank = values <= values.min()
    regions: dict[str, Region] = {}
    for name, region in _read(volume, values.shape, affine, wanted):
        regions[name] = region
        on_mask()
    if not regions:
        some = ", ".join(sorted(wanted)[:5])
        raise DataError(f"{volume.outlines}: names none of the structures that tell organs, such as {some}.")
    shape = (values.shape[0], values.shape[1], values.shape[2])
    solid = {name: _without(region, blank) for name, region in regions.items()}
    return Structures(shape, affine, regions, solid, volume.predicted)


def _read(
    volume: LabelledVolume, shape: tuple[int, ...], affine: Affine, wanted: frozenset[str]
) -> Iterator[tuple[str, Region]]:
    assert volume.outlines is not None
    if volume.names is None:
        for path in mask_files(volume.outlines, wanted):
            labels = _read_placed(path, shape, affine)
            yield path.name.removesuffix(MASK_SUFFIX), crop(labels > 0)
        return
    names = read_label_names(volume.names)
    labels = _read_placed(volume.outlines, shape, affine)
    if labels.min() < 0 or labels.max() > LARGEST_LABEL:
        raise DataError(f"{volume.outlines}: labels run from {labels.min()} to {labels.max()}; expected 0 to 65535.")
    boxes = ndimage.find_objects(labels)
    for number, name in names.items():
        if name in wanted:
            box = boxes[number - 1] if number <= len(boxes) else None
            yield name, EMPTY if box is None else Region(labels[box] == number, _corner(box))


def mask_files(folder: Path, wanted: frozenset[str]) -> list[Path]:
    """The mask volumes of wanted structures that a folder holds."""
    return sorted(path for path in folder.glob(f"*{MASK_SUFFIX}") if path.name.removesuffix(MASK_SUFFIX) in wanted)


def _corner(box: tuple[slice, ...]) -> tuple[int, int, int]:
    return int(box[0].start), int(box[1].start), int(box[2].start)


def _read_placed(path: Path, shape: tuple[int, ...], affine: Affine) -> NDArray[np.integer]:
    labels, place = read_label_volume(path)
    if labels.shape != shape:
        raise ImageError(f"{path}: a mask of another size; expected the volume's {list(shape)}, got {labels.shape}.")
    if not same_place(place, affine):
        raise ImageError(f"{path}: lies elsewhere in the patient than the volume; resample it.")
    return labels


def _without(region: Region, blank: Mask) -> Region:
    box = tuple(slice(at, at + size) for at, size in zip(region.start, region.mask.shape, strict=True))
    return Region(region.mask & ~blank[box], region.start)
