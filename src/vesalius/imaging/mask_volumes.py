"""Masks of all slices of an image: held at one bit a pixel, written on the grid of the image's file, shown on a sheet.

`PackedMasks` holds them, `write_masks` writes them as the file that the image came from asks, and `contact_sheet` draws
the slices that show something.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vesalius.imaging.formats import is_volume_file
from vesalius.imaging.image import MedicalImage
from vesalius.imaging.orientation import Affine, flip_axes
from vesalius.imaging.raster import write_labels, write_mask
from vesalius.imaging.safeguards import Notice
from vesalius.imaging.slices import SliceStack, overlay, to_file_order, to_square_pixels

SHEET_SLICES = 12
"""Slices on a contact sheet at most."""
SHEET_COLUMNS = 4
"""Slices beside each other on a contact sheet."""
TILE_SIDE = 512
"""Pixels: slices at least twice as long are drawn smaller on a contact sheet."""
BLOCK = 8
"""Slices of a mask volume unpacked at a time: the pixels that a byte holds."""

STRAIGHTENED = Notice(
    "mask moved to a straight grid",
    "the slices are sheared against each other, as with a tilted gantry, which mask volumes cannot express; each slice "
    "of the mask was moved by whole pixels",
)

Values = NDArray[np.bool_ | np.uint8 | np.int16 | np.float32]


class Planes(Protocol):
    """A volume of masks, labels or other values whose slices can be read in any order."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """[D, H, W]."""

    def __getitem__(self, index: int) -> Values:
        """One slice, [H, W]."""

    def planes(self, order: Sequence[int], backwards: Sequence[bool]) -> Iterator[Values]:
        """See `PackedMasks.planes`."""


@dataclass(eq=False)
class PackedMasks:
    """Masks [H, W] of one slice after the other, a bit a pixel."""

    size: tuple[int, int]
    """Height and width of a slice."""
    rows: list[NDArray[np.uint8]] = field(default_factory=list)
    """Packed rows of each slice."""
    marked: list[int] = field(default_factory=list)
    """Number of marked pixels of each slice."""

    def append(self, mask: NDArray[np.bool_]) -> None:
        """Add the mask of the next slice."""
        self.rows.append(np.packbits(mask, axis=1))
        self.marked.append(int(np.count_nonzero(mask)))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> NDArray[np.bool_]:
        mask: NDArray[np.bool_] = self._unpack(self.rows[index][None], self.size[1])[0]
        return mask

    def __iter__(self) -> Iterator[NDArray[np.bool_]]:
        return (self[index] for index in range(len(self)))

    @property
    def shape(self) -> tuple[int, int, int]:
        """[D, H, W]."""
        return len(self.rows), *self.size

    @property
    def share(self) -> float:
        """Share of all pixels that are marked, 0 to 1."""
        return sum(self.marked) / float(np.prod(self.shape))

    def cut(self, axis: int, part: slice) -> NDArray[np.bool_]:
        """A part of the volume along one axis, all of it along the others.

        Args:
            axis: 0 (slices), 1 (rows) or 2 (columns).
            part: First index, and the one after the last.

        Returns:
            Boolean array of three dimensions.
        """
        if axis == 0:
            return self._unpack(np.stack(self.rows[part]), self.size[1])
        if axis == 1:
            return self._unpack(np.stack([rows[part] for rows in self.rows]), self.size[1])
        first, last = part.start // 8, -(-part.stop // 8)
        block = self._unpack(np.stack([rows[:, first:last] for rows in self.rows]), None)
        inside: NDArray[np.bool_] = block[..., part.start - first * 8 : part.stop - first * 8]
        return inside

    @staticmethod
    def _unpack(packed: NDArray[np.uint8], columns: int | None) -> NDArray[np.bool_]:
        bits: NDArray[np.bool_] = np.unpackbits(packed, axis=2, count=columns).view(np.bool_)
        return bits

    def planes(self, order: Sequence[int], backwards: Sequence[bool]) -> Iterator[NDArray[np.bool_]]:
        """The volume in another order, slice after slice along the last of the new axes.

        Args:
            order: For each new axis i, j and k the present axis, 0 to 2.
            backwards: For each new axis, whether it runs the other way.

        Yields:
            Masks [j, i] for each k.
        """
        length = self.shape[order[2]]
        for start in range(0, length, BLOCK):
            stop = min(start + BLOCK, length)
            part = slice(length - stop, length - start) if backwards[2] else slice(start, stop)
            block = np.transpose(self.cut(order[2], part), order[::-1])
            yield from flip_axes(block, reversed(backwards))


class StackedPlanes:
    """Values of a whole volume whose slices can be read in any order.

    Args:
        values: [D, H, W].
    """

    def __init__(self, values: Values) -> None:
        self._values = values

    @property
    def shape(self) -> tuple[int, int, int]:
        """[D, H, W]."""
        depth, height, width = self._values.shape
        return depth, height, width

    def __getitem__(self, index: int) -> Values:
        plane: Values = self._values[index]
        return plane

    def planes(self, order: Sequence[int], backwards: Sequence[bool]) -> Iterator[Values]:
        """See `PackedMasks.planes`."""
        turned = flip_axes(self._values.transpose(order), backwards)
        return (turned[:, :, index].T for index in range(turned.shape[2]))


def write_volume(
    path: Path,
    image: MedicalImage,
    slices: SliceStack,
    masks: Planes,
    dtype: DTypeLike = np.uint8,
    slope: float | None = None,
    screen: Affine | None = None,
) -> tuple[Notice, ...]:
    """Write a volume of masks or labels on the grid of the file that an image came from.

    Args:
        path: File to write; .nii.gz compresses.
        image: Image that was segmented.
        slices: Its slices, in the plane in which it was segmented.
        masks: A mask, labels or other values for each slice.
        dtype: Type of the values in the file, which must hold those of the slices.
        slope: What readers multiply the stored values by.
        screen: How viewers are to show an image without a place in space, see `write_mask_volume`.

    Returns:
        Changes of the mask that the user did not ask for.

    Raises:
        OutputError: If it cannot be written.
    """
    # Only volumes need nibabel, which takes a fifth of a second to load.
    from vesalius.imaging.nifti import write_mask_volume

    grid = image.mask_grid(slices)
    planes = masks.planes(grid.order, grid.backwards)
    if grid.straight is not None:
        planes = grid.straight.move(planes)
    like = image.source if is_volume_file(image.source) and image.source.is_file() else None
    write_mask_volume(path, planes, grid.shape, grid.affine, like=like, dtype=dtype, slope=slope, screen=screen)
    return () if grid.straight is None else (STRAIGHTENED,)


def is_volume(image: MedicalImage, slices: SliceStack) -> bool:
    """Whether the mask of an image is a volume: for series, clips and volume files, but not for single pictures."""
    return len(slices) > 1 or is_volume_file(image.source)


def write_masks(path: Path, image: MedicalImage, slices: SliceStack, masks: Planes) -> tuple[Notice, ...]:
    """Write masks or labels on the grid of the file that an image came from: a volume, or a picture of one slice.

    Args:
        path: File to write: .nii.gz if `is_volume`, otherwise .png.
        image: Image that was segmented.
        slices: Its slices, in the plane in which it was segmented.
        masks: A mask or labels for each slice.

    Returns:
        As `write_volume`.

    Raises:
        OutputError: If it cannot be written.
    """
    if is_volume(image, slices):
        return write_volume(path, image, slices, masks)
    plane = to_file_order(masks[0], slices)
    if plane.dtype == np.bool_:
        write_mask(path, plane.astype(np.bool_))
    else:
        write_labels(path, plane.astype(np.uint8))
    return ()


def volume_of(slices: SliceStack, masks: PackedMasks) -> float | None:
    """Millilitres of the marked voxels; None for a single slice and where it is not known how far apart they are.

    Unevenly spaced slices each reach halfway to their neighbours, the outermost as far to the other side. Cut across,
    they have no volume here.
    """
    if slices.affine is None or len(slices) == 1 or not (slices.evenly_spaced or slices.slice_steps):
        return None
    depths = np.gradient(slices.slice_steps or range(len(slices)))
    return float(np.array(masks.marked) @ depths * abs(np.linalg.det(slices.affine[:3, :3])) / 1000)


def contact_sheet(slices: SliceStack, masks: PackedMasks, tile_side: int = TILE_SIDE) -> NDArray[np.uint8]:
    """Overlays of up to 12 slices, see `choose_shown_slices`.

    Args:
        slices: D slices.
        masks: A mask for each slice.
        tile_side: Pixels; slices at least twice as long are drawn smaller.

    Returns:
        RGB [H, W, 3], 0–255, slices in reading order.
    """
    return arrange_tiles([_tile(slices, each, masks[each], tile_side) for each in choose_shown_slices(masks.marked)])


def choose_shown_slices(marked: Sequence[int]) -> list[int]:
    """Up to 12 slices, evenly spread over those with a mark; over all, if none has one.

    Args:
        marked: Marked pixels of each slice.

    >>> choose_shown_slices([0, 3, 2, 0]), choose_shown_slices([0, 0, 0])
    ([1, 2], [0, 1, 2])
    """
    shown = np.flatnonzero(marked)
    first, last = (shown[0], shown[-1]) if len(shown) else (0, len(marked) - 1)
    return sorted({int(each) for each in np.linspace(first, last, SHEET_SLICES).round()})


def arrange_tiles(tiles: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures of one size [H, W, 3] in rows of four; what is left of the last row is black."""
    columns = min(SHEET_COLUMNS, len(tiles))
    grid = [*tiles, *[np.zeros_like(tiles[0])] * (-len(tiles) % columns)]
    rows = [np.concatenate(grid[start : start + columns], axis=1) for start in range(0, len(grid), columns)]
    return np.concatenate(rows)


def _tile(slices: SliceStack, index: int, mask: NDArray[np.bool_], side: int) -> NDArray[np.uint8]:
    """The overlay with pixels as wide as high."""
    rgb = slices.render_small(index, side)
    factor = max(1, max(mask.shape) // side)
    drawn = np.divide(overlay(rgb, mask[::factor, ::factor]), 255, dtype=np.float32)
    return np.rint(to_square_pixels(drawn, slices.pixel_spacing_mm) * 255).astype(np.uint8)
