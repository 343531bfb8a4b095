"""`MedicalImage`, which every reader returns, whatever file it came from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import ImageError, unknown_name
from vesalius.imaging.formats import is_volume_file
from vesalius.imaging.header import Finding, HeaderFacts, find_purpose
from vesalius.imaging.intensity import WindowFunction, asked_range, default_range
from vesalius.imaging.lazy import LazyPixels, Pixels
from vesalius.imaging.orientation import (
    Affine,
    MaskGrid,
    Plane,
    grid_order,
    nearest_plane,
    obliquity,
    places_volume,
    to_display_order,
    to_grid,
    voxel_spacing,
)
from vesalius.imaging.safeguards import Notice
from vesalius.imaging.slices import SliceStack

__all__ = ["MedicalImage", "Pixels"]

NO_SHEAR = 1e-3
"""Cosine between voxel axes up to which they count as orthogonal."""
Frame = TypeVar("Frame")


@dataclass(frozen=True)
class SourceFrame:
    """Where one slice lies on disk."""

    path: Path
    """The DICOM file that it lies in."""
    index: int
    """Frame of the file, from 0."""
    whole: bool = True
    """Whether the slice is all of the frame, and not a tile of it, as in a Siemens mosaic."""


@dataclass(frozen=True, eq=False, repr=False)
class MedicalImage:
    """Values in display order, and their place in the patient.

    `pixels[d, row, column]` is the file's value after rescaling and before any window. Slices follow the
    plane the image was taken in (the nearest, if oblique) and are ordered for radiological display: the patient's right
    at image left, the head (axial: the front) up, in sagittal slices the front at image left. Slices themselves ascend:
    feet to head, back to front, left to right. Images without an affine keep the order of the file.

    Example:
        >>> grey = np.zeros((1, 4, 6), np.uint8)
        >>> MedicalImage(grey, source=Path("memory")).slices()[0].rgb.shape
        (4, 6, 3)
    """

    pixels: Pixels | LazyPixels
    """[D, H, W], or [D, H, W, 3] in colour: HU for CT, raw values for others, 0–255 or 0–65535 for pictures.

    Large images stay in their file: then ``pixels[index]`` reads one slice and ``numpy.asarray(pixels)`` all of them.
    """
    source: Path
    """File or folder that the image was read from."""
    affine: Affine | None = None
    """Index (d, row, column) to patient millimetres in RAS+ (nibabel's world), [4, 4]; None for plain pictures."""
    modality: str | None = None
    """DICOM code such as "CT", "MR", "DX", in capitals however it was given; None if unknown."""
    plane: Plane | None = None
    """Plane of the slices; "oblique" beyond 36.9° from every axis; None without an affine."""
    window: tuple[float, float] | None = None
    """Center and width of the file's window; the first if it has several."""
    inverted: bool = False
    """Whether large values are shown dark (MONOCHROME1)."""
    pixel_spacing: tuple[float, float] | None = None
    """Row and column distance in mm of an image without an affine, e.g. a radiograph; otherwise see `spacing`."""
    header: Mapping[str, str] = field(default_factory=dict)
    """Some attributes of the DICOM or BIDS header by keyword, e.g. BodyPartExamined; none names the patient."""
    window_function: WindowFunction = "LINEAR"
    """Function that applies the file's window."""
    hounsfield: bool | None = None
    """Whether values are HU; None if unknown, which counts as HU for CT."""
    notices: tuple[Notice, ...] = ()
    """What the reader left out or guessed."""
    slice_steps: tuple[float, ...] = ()
    """Where each slice lies along the stack, in the equal steps of `affine`, if slices are unevenly spaced; empty if
    each lies at its index."""
    source_affine: Affine | None = None
    """Index along the axes of the file's own array to patient millimetres in RAS+, [4, 4]: the file's affine for
    NIfTI; for DICOM, columns, rows and slices along their normal, as ITK orders them. None if it is `affine`."""
    source_shape: tuple[int, int, int] | None = None
    """Size of the file's own array; None if it is that of `pixels`."""
    source_frames: tuple[SourceFrame, ...] = ()
    """Frames of a DICOM image, one a slice along the last axis of `source_affine`, or of `pixels` if that is None."""

    def __post_init__(self) -> None:
        kinds = {"pixels": (np.ndarray, LazyPixels), "affine": (np.ndarray, NoneType), "modality": (str, NoneType)}
        for name, (wanted, other) in kinds.items():
            if not isinstance(value := getattr(self, name), (wanted, other)):
                raise ImageError(f"{self.source}: expected {name} as {wanted.__name__}, got {type(value).__name__}.")
        self._check_plane(self.plane)
        if self.modality is not None:
            object.__setattr__(self, "modality", self.modality.upper())
        shape = self.pixels.shape
        if 0 in shape or not (len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)):
            raise ImageError(f"{self.source}: expected pixels [D, H, W] or [D, H, W, 3], got {list(shape)}.")
        if self.affine is not None and not places_volume(self.affine):
            raise ImageError(f"{self.source}: the affine places no volume in space; the header is damaged.")

    def __repr__(self) -> str:
        facts = [self.modality, self.plane, f"{'×'.join(map(str, self.pixels.shape))} {self.pixels.dtype}"]
        facts += [] if self.spacing is None else [" × ".join(f"{each:.3g}" for each in self.spacing) + " mm"]
        return f"{type(self).__name__}({self.source.name!r}: {', '.join(each for each in facts if each)})"

    @property
    def sheared(self) -> bool:
        """Whether voxel axes are not orthogonal, as in CT with a tilted gantry; False without an affine."""
        if self.affine is None:
            return False
        axes = self.affine[:3, :3] / voxel_spacing(self.affine)
        return bool(np.abs(axes.T @ axes - np.eye(3)).max() > NO_SHEAR)

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """Distance in mm between slices, rows and columns; None without an affine."""
        return None if self.affine is None else voxel_spacing(self.affine)

    @property
    def obliquity(self) -> float | None:
        """Degrees between the slices and `nearest_plane`; None without an affine."""
        return None if self.affine is None else obliquity(self.affine)

    @property
    def nearest_plane(self) -> Plane | None:
        """Orthogonal plane closest to the slices, however oblique they are; None without an affine."""
        return None if self.affine is None else nearest_plane(self.affine)

    @property
    def is_placed(self) -> bool:
        """Whether the file says where it lies in the patient; a volume's file that does not still has an affine."""
        return (self.plane if is_volume_file(self.source) else self.affine) is not None

    @property
    def protocol(self) -> Finding | None:
        """Protocol of an MR series by its header; None for other modalities."""
        if self.modality != "MR":
            return None
        from vesalius.imaging.mr_protocol import find_protocol  # not needed for pictures

        return find_protocol(self.header)

    @property
    def purpose(self) -> Finding:
        """Whether the header calls this a localizer, a projection or a report, which show no slices of anatomy."""
        return find_purpose(HeaderFacts(self.header))

    @property
    def frames_in_display_order(self) -> tuple[SourceFrame, ...]:
        """Frame of each slice in display order; empty where slices do not come from a frame each."""
        return self.in_display_order(self.source_frames) if len(self.source_frames) == len(self.pixels) else ()

    def in_display_order(self, frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
        """What there is of each of `source_frames`, in the order in which slices are displayed."""
        if self.affine is not None and self.source_affine is not None:
            order, backwards = grid_order(self.affine, self.source_affine)
            return frames[::-1] if order[2] == 0 and backwards[2] else frames
        return frames

    @property
    def is_colour(self) -> bool:
        """Whether pixels are RGB."""
        return self.pixels.ndim == 4

    def slices(self, plane: Plane | None = None, window: tuple[float, float] | str | None = None) -> SliceStack:
        """The image as RGB slices in [0, 1], rendered one by one when asked for.

        All slices share one display range, see `default_range`. Volumes can be cut in another plane along their own
        voxel axes; nothing is interpolated, so pixels may not be square: see `Slice.rgb_square`.

        Args:
            plane: "axial", "coronal" or "sagittal"; by default the plane the image was taken in.
            window: Center and width in stored values, or for CT a name such as "lung"; by default `default_range`.

        Raises:
            ImageError: If a picture, a clip or a single slice is asked for another plane, the window does not fit, or
                another plane needs more memory than `safeguards.MEGABYTES`.
        """
        pixels, affine = self._cut(plane)
        if window is None:
            display_range = default_range(
                self.pixels,
                modality=self.modality,
                window=self.window,
                placed=self.affine is not None,
                hounsfield=self.hounsfield,
                function=self.window_function,
            )
        else:
            display_range = asked_range(
                window,
                modality=self.modality,
                colour=self.is_colour,
                source=self.source,
                hounsfield=self.hounsfield,
            )
        spacing = self.pixel_spacing if affine is None else voxel_spacing(affine)[1:]
        return SliceStack(
            pixels,
            affine,
            plane or self.plane,
            display_range,
            self.inverted,
            spacing,
            self.modality,
            self.source_affine,
            self.slice_steps if plane in (None, self.nearest_plane) else (),
            evenly_spaced=not self.slice_steps,
        )

    def mask_grid(self, slices: SliceStack) -> MaskGrid:
        """The grid of mask volumes: that of the file, but a straight one where a series is sheared.

        Args:
            slices: Slices of this image, in any plane.
        """
        depth, height, width = slices.pixels.shape[:3]
        straighten = self.sheared and not is_volume_file(self.source)
        return MaskGrid.of((depth, height, width), slices.affine, self.source_affine, straighten=straighten)

    def to_source_grid(
        self, mask: NDArray[np.generic], affine: Affine | None = None
    ) -> tuple[NDArray[np.generic], Affine | None]:
        """Bring a volume in display order back to the order of the file's own array.

        Nothing is interpolated: axes are exchanged and mirrored.

        Args:
            mask: Volume [D, H, W] on the grid of `pixels`, or of `slices` in another plane.
            affine: The affine of that grid, such as ``slices(plane).affine``; by default `affine`.

        Returns:
            The volume in the shape of `source_shape`, and `source_affine`; what was given, if the file has no other
            grid than the display's.

        Raises:
            ImageError: If the volume does not fit the file's grid.
        """
        shown = self.affine if affine is None else affine
        if shown is None or self.source_affine is None:
            return mask, shown
        restored = to_grid(mask, shown, self.source_affine)
        if self.source_shape is not None and restored.shape != self.source_shape:
            raise ImageError(
                f"{self.source}: a mask of {list(mask.shape)} does not fit the file's {list(self.source_shape)} voxels."
            )
        return restored, self.source_affine

    def _check_plane(self, plane: Plane | None, listed: Iterable[str] = get_args(Plane)) -> None:
        if plane not in (*get_args(Plane), None):
            raise ImageError(f"{self.source}: {unknown_name('plane', str(plane), listed)}")

    def _cut(self, plane: Plane | None) -> tuple[NDArray[np.generic] | LazyPixels, Affine | None]:
        self._check_plane(plane, ("axial", "coronal", "sagittal"))
        if plane is None or plane == self.plane:
            return self.pixels, self.affine
        if self.affine is None:
            raise ImageError(f"{self.source}: has no place in the patient, so no {plane} slices; leave the plane out.")
        if plane == "oblique":
            raise ImageError(f"{self.source}: is {self.plane}, not oblique; ask for axial, coronal or sagittal.")
        if len(self.pixels) == 1 and plane != nearest_plane(self.affine):
            raise ImageError(f"{self.source}: is a single {self.plane} slice; {plane} slices need a whole series.")
        whole = self.pixels.load_compact() if isinstance(self.pixels, LazyPixels) else self.pixels
        return to_display_order(whole, self.affine, plane)
