"""Slices as a model sees them, RGB in [0, 1] with square pixels on request, the way back for masks, and overlays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.errors import ImageError
from vesalius.imaging.intensity import DisplayRange, to_display_values
from vesalius.imaging.lazy import LazyPixels
from vesalius.imaging.orientation import Affine, Plane, Scalar, flip_axes, grid_order, slice_normal, voxel_spacing

MAX_SPACING_RATIO = 100.0
"""Ratio of pixel spacings beyond which the header is damaged."""

BAND_PIXELS = 2**20
"""Pixels that are rendered at a time, so that a large slice lies in memory once and not several times."""


@dataclass(frozen=True, eq=False, repr=False)
class Slice:
    """One slice, displayed radiologically and at its native pixels."""

    rgb: NDArray[np.float32]
    """Display values [H, W, 3] in [0, 1]."""
    index: int
    """Index in the stack, from 0."""
    plane: Plane | None
    """Plane of the slice; None for pictures."""
    position_mm: float | None
    """Distance from the world's origin along the slice normal (axial: towards the head)."""
    pixel_spacing_mm: tuple[float, float] | None
    """Distance between rows, and between columns; None if unknown."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.index}, {self.plane or 'no plane'}, {'×'.join(map(str, self.rgb.shape))})"

    def rgb_square(self) -> NDArray[np.float32]:
        """`rgb` with pixels as wide as high; unchanged where the spacing is unknown."""
        return to_square_pixels(self.rgb, self.pixel_spacing_mm)


@dataclass(frozen=True, eq=False, repr=False)
class SliceStack(Sequence[Slice]):
    """The slices of an image, each rendered when asked for, so a long series never lies in memory as RGB."""

    pixels: NDArray[np.generic] | LazyPixels
    """Stored values [D, H, W] or [D, H, W, 3] in display order of `plane`; of large images read slice by slice."""
    affine: Affine | None
    """Index (d, row, column) to world millimetres [4, 4]."""
    plane: Plane | None
    display_range: DisplayRange
    """Stored values that are shown as black and white, the same for all slices."""
    inverted: bool
    """Whether large values are dark (MONOCHROME1)."""
    pixel_spacing_mm: tuple[float, float] | None
    """Distance between rows, and between columns; None if unknown."""
    modality: str | None = None
    """Modality of the image, see `MedicalImage.modality`."""
    source_affine: Affine | None = None
    """Affine of the image's file, see `MedicalImage.source_affine`."""
    slice_steps: tuple[float, ...] = ()
    """Where each slice lies, see `MedicalImage.slice_steps`; empty in another plane."""
    evenly_spaced: bool = True
    """Whether the slices of the image, in the plane in which it was taken, lie equally far apart."""

    def __repr__(self) -> str:
        size = "×".join(map(str, self.pixels.shape[1:]))
        return f"{type(self).__name__}({len(self)} slices, {self.plane or 'no plane'}, {size})"

    def __len__(self) -> int:
        return len(self.pixels)

    @overload
    def __getitem__(self, index: int) -> Slice: ...
    @overload
    def __getitem__(self, index: slice) -> list[Slice]: ...
    def __getitem__(self, index: int | slice) -> Slice | list[Slice]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        rgb = self._to_rgb(self.pixels[place])
        return Slice(rgb, place, self.plane, self.position_mm(place), self.pixel_spacing_mm)

    def render_small(self, index: int, longest: int) -> NDArray[np.float32]:
        """Render one slice no larger than needed, without ever holding all of it as real numbers.

        Args:
            index: Slice, from 0.
            longest: Least number of pixels of the longer side; the slice is reduced by the largest whole factor that
                leaves so many, each pixel being the mean of those it covers.

        Returns:
            RGB [ceil(H / factor), ceil(W / factor), 3] in [0, 1]; the same as `Slice.rgb` if the factor is 1.
        """
        stored = self.pixels[range(len(self))[index]]
        factor = max(1, max(stored.shape[:2]) // longest)
        if factor == 1:
            return self._to_rgb(stored)
        band = factor * max(1, BAND_PIXELS // (stored.shape[1] * factor))
        starts = range(0, stored.shape[0], band)
        return np.concatenate([_reduce(self._to_rgb(stored[start : start + band]), factor) for start in starts])

    def _to_rgb(self, stored: NDArray[np.generic]) -> NDArray[np.float32]:
        values = np.nan_to_num(to_display_values(stored, self.display_range), copy=False, nan=0.0)
        if self.inverted:
            values = 1 - values
        return values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)

    @property
    def slice_spacing_mm(self) -> float | None:
        """Distance between slices; None if unknown."""
        return None if self.affine is None else voxel_spacing(self.affine)[0]

    def position_mm(self, index: int) -> float | None:
        """Position of a slice, see `Slice.position_mm`; nothing is rendered."""
        if self.affine is None:
            return None
        corner = self.affine[:3, 3] + (self.slice_steps or range(len(self)))[index] * self.affine[:3, 0]
        return float(corner @ slice_normal(self.affine))


def _reduce(rgb: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Means over squares of pixels; those at the lower and right edge may be smaller."""
    rows, columns = (np.arange(0, length, factor) for length in rgb.shape[:2])
    sums = np.add.reduceat(np.add.reduceat(rgb, rows, axis=0), columns, axis=1)
    sizes = np.outer(*(np.diff([*at, length]) for at, length in zip((rows, columns), rgb.shape[:2], strict=True)))
    reduced: NDArray[np.float32] = (sums / sizes[..., None]).astype(np.float32)
    return reduced


def to_square_pixels(rgb: NDArray[np.float32], spacing_mm: tuple[float, float] | None) -> NDArray[np.float32]:
    """Stretch the coarser axis by linear interpolation until pixels are as wide as high.

    Args:
        rgb: Picture [H, W, C].
        spacing_mm: Distance between rows, and between columns; None leaves the picture as it is.

    Returns:
        Picture [H', W', C] with one axis unchanged and the other at least as long.

    Raises:
        ImageError: If the spacings are not positive or differ by more than `MAX_SPACING_RATIO`.
    """
    if spacing_mm is None:
        return rgb
    finest, coarsest = min(spacing_mm), max(spacing_mm)
    if not 0 < coarsest <= finest * MAX_SPACING_RATIO:
        raise ImageError(
            f"Pixel spacing {spacing_mm} mm: expected two positive numbers no more than {MAX_SPACING_RATIO:g} "
            "times apart; the file's header is damaged."
        )
    axis = 0 if spacing_mm[0] > spacing_mm[1] else 1
    return _stretch(rgb, axis, round(rgb.shape[axis] * coarsest / finest))


def from_square_pixels(mask: NDArray[np.generic], native_shape: tuple[int, int]) -> NDArray[np.generic]:
    """Bring a mask on square pixels back to the file's pixels, each of which takes the value at its centre.

    Args:
        mask: Mask or map [H', W'] of any type.
        native_shape: Rows and columns of the file.

    Returns:
        Array [H, W] of the same type.
    """
    rows, columns = (
        np.floor((np.arange(native) + 0.5) * (square / native)).astype(np.intp)
        for native, square in zip(native_shape, mask.shape, strict=True)
    )
    return mask[np.ix_(rows, columns)]


def _stretch(rgb: NDArray[np.float32], axis: int, length: int) -> NDArray[np.float32]:
    present = rgb.shape[axis]
    if length == present:
        return rgb
    at = np.clip((np.arange(length) + 0.5) * (present / length) - 0.5, 0, present - 1)
    below = np.floor(at).astype(np.intp)
    above = np.minimum(below + 1, present - 1)
    weight = np.expand_dims((at - below).astype(np.float32), (1, 2) if axis == 0 else (0, 2))
    stretched: NDArray[np.float32] = np.take(rgb, below, axis) * (1 - weight) + np.take(rgb, above, axis) * weight
    return stretched


def to_bytes(rgb: NDArray[np.floating] | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Display values in [0, 1], of any shape, as 0–255, those beyond cut off; bytes stay as they are."""
    if rgb.dtype == np.uint8:
        return rgb.astype(np.uint8, copy=False)
    levels: NDArray[np.uint8] = np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    return levels


AMBER = (255, 176, 0)
"""Visible on grey and on mucosa, and to colour-blind readers."""

SKY = (86, 180, 233)
"""A blue that colour-blind readers tell from amber."""

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Colours that colour-blind readers tell apart (Okabe and Ito)."""


def series_colour(number: int) -> str:
    """The colour of the series of this number; colours repeat after the last."""
    return PALETTE[number % len(PALETTE)]


THICK_FROM = 512
"""Pictures whose shorter side has this many pixels get an outline of 2 pixels, smaller ones of 1."""


def overlay(
    rgb: NDArray[np.floating] | NDArray[np.uint8],
    mask: NDArray[np.bool_],
    colour: tuple[int, int, int] = AMBER,
    alpha: float = 0.25,
) -> NDArray[np.uint8]:
    """Draw a mask over a picture: its outline opaque, its inside transparent.

    Args:
        rgb: Picture [H, W, 3], in [0, 1] if real numbers, 0–255 if bytes.
        mask: Object [H, W]; an empty one leaves the picture as it is.
        colour: Red, green and blue of outline and fill, 0–255.
        alpha: Weight of the colour inside, 0 (outline only) to 1 (opaque).

    Returns:
        Picture [H, W, 3], 0–255.

    Raises:
        ImageError: If mask and picture differ in size.
    """
    if mask.shape != rgb.shape[:2]:
        raise ImageError(
            f"The mask is {list(mask.shape)}, the picture {list(rgb.shape[:2])}; resize one of them first."
        )
    scale = 1.0 if rgb.dtype == np.uint8 else 255.0
    canvas = rgb.astype(np.float32) * scale
    paint = np.array(colour, np.float32)
    canvas[mask] = canvas[mask] * (1 - alpha) + paint * alpha
    canvas[outline(mask, thickness=1 + (min(mask.shape) >= THICK_FROM))] = paint
    drawn: NDArray[np.uint8] = np.rint(np.clip(canvas, 0, 255)).astype(np.uint8)
    return drawn


def to_file_order(mask: NDArray[Scalar], slices: SliceStack) -> NDArray[Scalar]:
    """A mask of a slice in the rows and columns of its file, of which the display may have exchanged or turned some.

    Args:
        mask: As displayed, [H, W].
        slices: What the slice is one of.

    Returns:
        The same values as the file orders them; as displayed, where the slice is cut across the file's own or the file
        does not say where it lies.
    """
    if slices.affine is None or slices.source_affine is None:
        return mask
    order, backwards = grid_order(slices.affine, slices.source_affine)
    if order[2] != 0:  # cut across the file's own slices
        return mask
    stored = mask if order[1] == 1 else mask.T  # rows j, columns i
    return np.ascontiguousarray(flip_axes(stored, (backwards[1], backwards[0])))


def shrink(levels: NDArray[np.uint8], side: int, how: Image.Resampling) -> NDArray[np.uint8]:
    """Shrink a picture [H, W] or [H, W, 3] until its longer side has ``side`` pixels; smaller ones stay as they are."""
    height, width = levels.shape[:2]
    factor = min(1.0, side / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(levels).resize(size, how))


def outline(mask: NDArray[np.bool_], thickness: int = 1) -> NDArray[np.bool_]:
    """The object's outermost pixels [H, W]; the edge of the picture does not count as an outline."""
    core = mask.astype(bool)
    for _ in range(thickness):
        padded = np.pad(core, 1, mode="edge")
        core = core & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    edge: NDArray[np.bool_] = mask.astype(bool) & ~core
    return edge


def mask_overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Dice of two masks of one shape, 2·|A∩B| / (|A|+|B|); 1 where both are empty.

    >>> mask_overlap(np.array([True, True]), np.array([True, False]))
    0.6666666666666666
    """
    marked = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / marked if marked else 1.0
