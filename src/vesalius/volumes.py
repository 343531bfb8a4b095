"""What one phrase names in a whole volume or series: masks and probabilities on the file's own grid."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vesalius.console import html_figure
from vesalius.errors import ImageError
from vesalius.imaging import MedicalImage, SliceStack, write_rgb
from vesalius.imaging.mask_volumes import TILE_SIDE, PackedMasks, contact_sheet, volume_of, write_volume
from vesalius.imaging.orientation import Affine, Scalar, flip_axes, grid_order
from vesalius.imaging.raster import to_png
from vesalius.imaging.safeguards import MEGABYTES, megabytes, warn_of
from vesalius.knowledge import Understanding
from vesalius.segmentation import Segmentation, best_gate, check_files, describe_existence

NOTEBOOK_TILE_SIDE = 128
"""Pixels: slices at least twice as long are drawn smaller on a contact sheet in a notebook."""


@dataclass(frozen=True, eq=False, repr=False)
class VolumeSegmentation:
    """What one phrase names in a volume or series.

    ``mask`` and ``probability`` lie on the grid of the file: the same voxels in the same order, [I, J, K] as nibabel
    reads a NIfTI file; of a DICOM series columns, rows and slices along their normal, as ITK orders them. Images
    without a place in space (clips, TIFF, arrays) keep the order of `MedicalImage.pixels`, [D, H, W]. Both are computed
    when asked for; stored are the answers at the model's resolution (100 kB a slice for pocket), and one bit a voxel
    for the mask.
    """

    prompt: str
    image: MedicalImage
    """Image that was segmented."""
    slices: SliceStack
    """Slices of the image, in the plane in which it was segmented."""
    answers: tuple[Segmentation, ...]
    """One answer for each slice, in display order."""

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
        return best_gate(each.gate for each in self.answers)

    @property
    def slice_existence(self) -> tuple[float | None, ...]:
        """Existence in each slice looked at alone, in display order."""
        return tuple(each.existence for each in self.answers)

    @property
    def affine(self) -> Affine | None:
        """Maps indices of ``mask`` to patient millimetres in RAS+, [4, 4]; None for images without a place in space."""
        return self.image.affine if self.image.source_affine is None else self.image.source_affine

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Voxels more likely inside than outside, on the file's grid.

        Raises:
            ImageError: If a byte a voxel is more than `safeguards.MEGABYTES`.
        """
        return self._put_together(self._packed, np.dtype(np.bool_))

    @property
    def probability(self) -> NDArray[np.float32]:
        """Probability of each voxel to be part of it, on the file's grid; computed slice by slice each time.

        To save memory, use the ``probability`` of each of the ``answers``, which is that of one slice.

        Raises:
            ImageError: If four bytes a voxel are more than `safeguards.MEGABYTES`.
        """
        return self._put_together((each.probability for each in self.answers), np.dtype(np.float32))

    @property
    def share(self) -> float:
        """Share of all voxels that are marked, 0 to 1."""
        return self._packed.share

    @property
    def volume_ml(self) -> float | None:
        """Volume of the marked voxels; None where their spacing is unknown."""
        return volume_of(self.slices, self._packed)

    def contact_sheet(self, tile_side: int = TILE_SIDE) -> NDArray[np.uint8]:
        """Overlays of up to 12 slices that show it, RGB [H, W, 3], 0–255.

        Args:
            tile_side: Pixels; slices at least twice as long are drawn smaller.
        """
        return contact_sheet(self.slices, self._packed, tile_side)

    def save(self, path: str | Path, overlay_path: str | Path | None = None, *, overwrite: bool = False) -> None:
        """Write the mask as a NIfTI volume of 0 and 1 on the file's grid, slice by slice.

        A sheared grid (a CT with a tilted gantry), which few programs read, becomes a straight one; a warning of the
        category `ImageNotice` says so.

        Args:
            path: Ending in .nii.gz or .nii.
            overlay_path: File for a contact sheet, if one is wanted.
            overwrite: Replace existing files.

        Raises:
            ImageError: If a file's name says another format.
            OutputError: If a file is there, cannot be written, or is to hold both.
        """
        target, *sheets = check_files(path, overlay_path, overwrite)
        if not target.name.lower().endswith((".nii.gz", ".nii")):
            raise ImageError(f"{target}: masks of volumes are written as NIfTI; end the name in .nii.gz.")
        warn_of(write_volume(target, self.image, self.slices, self._packed), self.image.source)
        for sheet in sheets:
            write_rgb(sheet, self.contact_sheet())

    @cached_property
    def _packed(self) -> PackedMasks:
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
        for place, plane in zip(flip_axes(whole, backwards).transpose(np.argsort(order)), planes, strict=True):
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
