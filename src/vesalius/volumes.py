"""What one phrase names in a whole volume or series: masks and probabilities on the file's own grid."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vesalius.console import html_figure
from vesalius.errors import ImageError
from vesalius.files import check_absent
from vesalius.imaging import MedicalImage, SliceStack, overlay, to_square_pixels, write_rgb
from vesalius.imaging.formats import VOLUME_SUFFIXES
from vesalius.imaging.orientation import Affine, Scalar, grid_order, straight_grid
from vesalius.imaging.raster import to_png
from vesalius.imaging.safeguards import MEGABYTES, Notice, megabytes, warn_of
from vesalius.knowledge import Understanding
from vesalius.segmentation import ASK_OVERWRITE, Segmentation, describe_existence

SHEET_SLICES = 12
SHEET_COLUMNS = 4
TILE_SIDE = 512
"""Slices on a sheet at least twice as long are drawn smaller."""
NOTEBOOK_TILE_SIDE = 128
"""The same in a notebook."""
BLOCK = 8
"""Slices of a mask volume put together at a time; a byte holds so many of its pixels."""

STRAIGHTENED = Notice(
    "mask moved to a straight grid",
    "the slices are sheared against each other, as with a tilted gantry, which mask volumes cannot express; each slice "
    "of the mask was moved by whole pixels",
)


class Planes(Protocol):
    """A volume of masks or labels that can be gone through in any order."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """[D, H, W]."""
        ...

    def planes(self, order: Sequence[int], backwards: Sequence[bool]) -> Iterator[NDArray[np.bool_ | np.uint8]]:
        """See `PackedMasks.planes`."""
        ...


@dataclass(eq=False)
class PackedMasks:
    """Masks [H, W] of one slice after the other, a bit a pixel."""

    size: tuple[int, int]
    """H and W."""
    rows: list[NDArray[np.uint8]] = field(default_factory=list)
    marked: list[int] = field(default_factory=list)
    """Pixels of each."""

    def append(self, mask: NDArray[np.bool_]) -> None:
        """Take the next slice's mask."""
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

    def cut(self, axis: int, part: slice) -> NDArray[np.bool_]:
        """A part of the volume along one axis, all of it along the others.

        Args:
            axis: 0 (slices), 1 (rows) or 2 (columns).
            part: From where to where.

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
            order: For each new axis i, j and k the present one, 0 to 2.
            backwards: Whether it runs the other way.

        Yields:
            Masks [j, i] for each k.
        """
        length = self.shape[order[2]]
        for start in range(0, length, BLOCK):
            stop = min(start + BLOCK, length)
            part = slice(length - stop, length - start) if backwards[2] else slice(start, stop)
            block = np.transpose(self.cut(order[2], part), order[::-1])
            yield from np.flip(block, tuple(axis for axis, turned in enumerate(reversed(backwards)) if turned))


@dataclass(frozen=True, eq=False, repr=False)
class VolumeSegmentation:
    """What one phrase names in a volume or series.

    ``mask`` and ``probability`` lie on the grid of the file: the same voxels in the same order, [I, J, K] as nibabel
    reads a NIfTI file; of a DICOM series columns, rows and slices along their normal, as ITK orders them. What lies
    nowhere in space (clips, TIFF, arrays) keeps the order of `MedicalImage.pixels`, [D, H, W]. Both are computed when
    asked for: kept are the answers, which are as small as the model gave them (100 kB a slice for pocket), and a bit a
    voxel for the mask.
    """

    prompt: str
    image: MedicalImage
    """What was asked about."""
    slices: SliceStack
    """Of it, in the plane in which it was gone through."""
    answers: tuple[Segmentation, ...]
    """One a slice, in display order."""

    @property
    def understanding(self) -> Understanding | None:
        """How the phrase was understood, see `vesalius.knowledge`."""
        return self.answers[0].understanding

    @property
    def known(self) -> bool:
        """Whether the model learnt what the phrase names, on images of this kind; if not, nothing is marked."""
        return self.answers[0].known

    @property
    def existence(self) -> float | None:
        """Probability that the volume shows it at all: that of its best run of slices, see `gate_by_runs`.

        None for models that do not say, and for phrases that the model did not learn.
        """
        found = (each.gate for each in self.answers)
        return max((each for each in found if each is not None), default=None)

    @property
    def slice_existence(self) -> tuple[float | None, ...]:
        """The same of each slice looked at alone, in display order."""
        return tuple(each.existence for each in self.answers)

    @property
    def affine(self) -> Affine | None:
        """Index along the axes of ``mask`` to patient millimetres in RAS+, [4, 4]; None where nothing is placed."""
        return self.image.affine if self.image.source_affine is None else self.image.source_affine

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Voxels more likely inside than outside, on the file's grid.

        Raises:
            ImageError: If a byte a voxel is more than `limits.MEGABYTES`.
        """
        return self._put_together(self._packed, np.dtype(np.bool_))

    @property
    def probability(self) -> NDArray[np.float32]:
        """Of each voxel to be part of it, on the file's grid; computed anew each time, slice by slice into the array.

        For less memory go through ``answers``, whose ``probability`` is that of one slice.

        Raises:
            ImageError: If four bytes a voxel are more than `limits.MEGABYTES`.
        """
        return self._put_together((each.probability for each in self.answers), np.dtype(np.float32))

    @property
    def share(self) -> float:
        """Of all voxels that are marked, 0 to 1."""
        return sum(self._packed.marked) / float(np.prod(self._packed.shape))

    @property
    def volume_ml(self) -> float | None:
        """Of the marked voxels; None where their spacing is unknown."""
        return volume_of(self.slices, self._packed)

    def contact_sheet(self, tile_side: int = TILE_SIDE) -> NDArray[np.uint8]:
        """Overlays of up to 12 slices that show it, RGB [H, W, 3], 0–255.

        Args:
            tile_side: Slices at least twice as long are drawn smaller.
        """
        return contact_sheet(self.slices, self._packed, tile_side)

    def save(self, path: str | Path, overlay_path: str | Path | None = None, *, overwrite: bool = False) -> None:
        """Write the mask as a NIfTI volume of 0 and 1 on the file's grid, slice by slice.

        A sheared grid (a CT with a tilted gantry), which few programs read, becomes a straight one; a warning of the
        category `ImageNotice` says so.

        Args:
            path: Ending in .nii.gz or .nii.
            overlay_path: Where a contact sheet goes, if one is wanted.
            overwrite: Replace files that are there.

        Raises:
            ImageError: If the file's name says another format.
            OutputError: If a file is there, or cannot be written.
        """
        target = Path(path)
        if not target.name.lower().endswith((".nii.gz", ".nii")):
            raise ImageError(f"{target}: masks of volumes are written as NIfTI; end the name in .nii.gz.")
        check_absent([target, *([] if overlay_path is None else [Path(overlay_path)])], overwrite, ASK_OVERWRITE)
        warn_of(write_volume(target, self.image, self.slices, self._packed), self.image.source)
        if overlay_path is not None:
            write_rgb(Path(overlay_path), self.contact_sheet())

    @cached_property
    def _packed(self) -> "PackedMasks":
        packed = PackedMasks(self.answers[0].size)
        for each in self.answers:
            packed.append(each.mask)
        return packed

    def _put_together(self, planes: Iterable[NDArray[Scalar]], dtype: np.dtype[Scalar]) -> NDArray[Scalar]:
        shape = (len(self.answers), *self.answers[0].size)
        MEGABYTES.check(megabytes(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize), self.image.source)
        shown, stored = self.slices.affine, self.affine
        order, backwards = ([0, 1, 2], [False] * 3) if shown is None or stored is None else grid_order(shown, stored)
        whole = np.empty([shape[axis] for axis in order], dtype)
        turned = np.flip(whole, tuple(axis for axis, back in enumerate(backwards) if back))
        for place, plane in zip(turned.transpose(np.argsort(order)), planes, strict=True):
            place[...] = plane
        return whole

    def __repr__(self) -> str:
        verdict = describe_existence(self.existence, self.understanding)
        size = "×".join(map(str, (len(self.answers), *self.answers[0].size)))
        return f"{type(self).__name__}({self.prompt!r}, {self.image.source.name!r}, {size}, {verdict})"

    def _repr_png_(self) -> bytes:
        return to_png(self.contact_sheet(NOTEBOOK_TILE_SIDE))

    def _repr_html_(self) -> str:
        marked = "" if self.volume_ml is None or not self.known else f", {self.volume_ml:.1f} ml"
        verdict = describe_existence(self.existence, self.understanding)
        return html_figure(self._repr_png_(), f"“{self.prompt}”: {verdict}{marked}")


def write_volume(path: Path, image: MedicalImage, slices: SliceStack, masks: Planes) -> tuple[Notice, ...]:
    """Write a volume of masks or labels on the grid of the file that an image came from.

    Args:
        path: Where to; .nii.gz compresses.
        image: What was segmented.
        slices: Of it, in the plane in which it was gone through.
        masks: Of each slice.

    Returns:
        What was done to the mask that nobody asked for.

    Raises:
        OutputError: If it cannot be written.
    """
    # Volumes alone need nibabel, which takes a fifth of a second to load.
    from vesalius.imaging.nifti import write_mask_volume

    shown, source = slices.affine, image.source_affine
    if shown is None:
        order, backwards, target = [2, 1, 0], [False] * 3, None
    else:
        target = shown[:, [2, 1, 0, 3]] if source is None else source
        order, backwards = grid_order(shown, target)
    depth, rows, columns = (masks.shape[axis] for axis in reversed(order))
    planes = masks.planes(order, backwards)
    notices: tuple[Notice, ...] = ()
    is_volume_file = image.source.name.lower().endswith(VOLUME_SUFFIXES)
    like = image.source if is_volume_file and image.source.is_file() else None
    if target is not None and image.sheared and not is_volume_file:
        grid = straight_grid(target, (columns, rows, depth))
        planes, target, (columns, rows, depth) = grid.move(planes), grid.affine, grid.shape
        notices = (STRAIGHTENED,)
    write_mask_volume(path, planes, (columns, rows, depth), target, like=like)
    return notices


def volume_of(slices: SliceStack, masks: PackedMasks) -> float | None:
    """Millilitres of the marked voxels; None where their spacing is unknown."""
    if slices.affine is None:
        return None
    return float(sum(masks.marked) * abs(np.linalg.det(slices.affine[:3, :3])) / 1000)


def contact_sheet(slices: SliceStack, masks: PackedMasks, tile_side: int = TILE_SIDE) -> NDArray[np.uint8]:
    """Overlays of up to 12 slices, evenly spread over those with a mark (or over all, if none has one).

    Args:
        slices: D slices.
        masks: Of each.
        tile_side: Slices at least twice as long are drawn smaller.

    Returns:
        RGB, 0–255, slices in reading order.
    """
    marked = np.flatnonzero(masks.marked)
    first, last = (marked[0], marked[-1]) if len(marked) else (0, len(masks) - 1)
    chosen = sorted({int(each) for each in np.linspace(first, last, SHEET_SLICES).round()})
    tiles = [_tile(slices, each, masks[each], tile_side) for each in chosen]
    columns = min(SHEET_COLUMNS, len(tiles))
    grid = tiles + [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(grid[start : start + columns], axis=1) for start in range(0, len(grid), columns)]
    return np.concatenate(rows)


def _tile(slices: SliceStack, index: int, mask: NDArray[np.bool_], side: int) -> NDArray[np.uint8]:
    """The overlay with pixels as wide as high."""
    rgb = slices.render_small(index, side)
    factor = max(1, max(mask.shape) // side)
    drawn = np.divide(overlay(rgb, mask[::factor, ::factor]), 255, dtype=np.float32)
    return np.rint(to_square_pixels(drawn, slices.pixel_spacing_mm) * 255).astype(np.uint8)
