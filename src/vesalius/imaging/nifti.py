"""NIfTI and FreeSurfer volumes: images and label volumes read slice by slice, masks written; needs nibabel.

Readers and the writer first, then what a header says of a place, then the guess of the modality.
"""

import gzip
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import nibabel as nib
import numpy as np
from numpy.typing import DTypeLike, NDArray

from vesalius.errors import ImageError
from vesalius.files import writing
from vesalius.imaging.formats import is_gzip, read_start, reading, refuse_other_formats
from vesalius.imaging.header import read_sidecar
from vesalius.imaging.image import MedicalImage
from vesalius.imaging.intensity import REACHES_AIR, looks_like_hounsfield, zero_missing
from vesalius.imaging.lazy import LazyPixels, Pixels, keep_small
from vesalius.imaging.nifti_voxels import find_voxels
from vesalius.imaging.orientation import (
    Affine,
    Plane,
    nearest_plane,
    places_volume,
    plane_of,
    to_display_order,
    voxel_spacing,
)
from vesalius.imaging.safeguards import (
    FRAMES,
    MEGABYTES,
    PIXELS,
    Notice,
    megabytes,
    overheard,
)

THICK_SLICES = 1.3
"""Ratio of voxel lengths from which the longest axis counts as that across the slices."""

SAMPLED_SLICES = 24
"""Number of evenly spread slices from which units are guessed."""

PLACING_FIELDS = ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y",
                  "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units")  # fmt: skip
"""Fields of a NIfTI header that place the voxels, beside the first four of pixdim."""

HEADER_SIZES = tuple(size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big"))
"""First bytes of a NIfTI file that is not compressed."""

KINDS = {"Cifti2Image": "CIFTI-2 file (values on surfaces and parts of the brain)"}
"""Other files of the same suffixes, by nibabel's class."""

SAMPLED_PIXELS = 2**20
"""Most pixels of a slice from which units are guessed."""

MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
"""Units of lengths, by nibabel's names, in millimetres; any other is taken for millimetres."""

LONGEST_VOXEL_MM = 100.0
"""A longer voxel shows that the header's unit of lengths is wrong."""


@dataclass(frozen=True, eq=False)
class StoredVolume:
    """One volume of a file, whose voxels stay there until they are asked for."""

    path: Path
    shape: tuple[int, int, int]
    """Voxels along the file's axes i, j and k."""
    affine: Affine
    """Index (i, j, k) to RAS+ millimetres, [4, 4]."""
    dtype: np.dtype[np.generic]
    """Type of the stored values."""
    slope: float
    intercept: float
    view: Callable[[], NDArray[np.generic]]
    """Gives stored values [i, j, k], which are read when they are used."""
    volumes: int
    """Number of volumes in the file."""
    repaired: tuple[str, ...]
    """Faults of the header and their repairs, in nibabel's words."""
    is_placed: bool
    """Whether the header says where the voxels lie in the patient."""
    unit: str
    """The header's unit of lengths, where it is none that was used."""

    @property
    def is_colour(self) -> bool:
        """Whether values are red, green and blue."""
        return self.dtype.names is not None

    @property
    def is_scaled(self) -> bool:
        """Whether stored values are rescaled."""
        return (self.slope, self.intercept) != (1.0, 0.0)

    def values(self, stored: NDArray[np.generic]) -> Pixels:
        """Convert stored values to scaled float32 without NaN and infinities, or to RGB bytes along a last axis."""
        if self.is_colour:
            channels: NDArray[np.void] = stored.view(np.ndarray)  # of named bytes
            return np.stack([channels[name] for name in ("R", "G", "B")], axis=-1)
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large becomes infinite, and that 0
            scaled = stored.astype(np.float64) * self.slope + self.intercept if self.is_scaled else stored
            return zero_missing(scaled.astype(np.float32))


def read_nifti(path: Path, *, volume: int | None = None) -> MedicalImage:
    """Read a volume and turn it for display.

    Slices run across the only axis of length 1, else across the axis of thick slices, else they are axial. Of a file
    with more than three dimensions one volume is read. Scaling is applied; NaN and infinities become 0. The header is
    that of a BIDS file, ``scan.json``, beside the volume. If it does not name the modality, a volume whose values look
    like HU counts as CT (see `looks_like_hounsfield`); any other stays unknown (None) and is shown like MR. The image's
    notices list what was left out or guessed. Large volumes are read slice by slice.

    Args:
        path: .nii, .nii.gz or .mgz file.
        volume: Number of the volume, from 1; by default the first.

    Returns:
        Image [D, H, W], or [D, H, W, 3] in colour, with its affine; without a plane where the header gives no place.

    Raises:
        ImageError: If the file is missing, damaged, of complex values, has no such volume, or is of no use as one.
    """
    stored = _open(path, 1 if volume is None else volume)
    plane = nearest_plane(stored.affine, _slice_axis(stored.shape, stored.affine))
    pixels, placed = _display_pixels(stored, plane)
    header, notices = read_sidecar(path)
    modality = header.get("Modality")
    notices += _volumes_left_out(stored.volumes, volume)
    notices += tuple(_tell_place(stored))
    if stored.repaired:
        notices += (Notice("header is damaged and was read as well as it goes", "; ".join(stored.repaired)),)
    if not modality and not stored.is_colour:
        modality, guesses = _guess_modality(pixels)
        notices += guesses
    return MedicalImage(
        pixels=keep_small(pixels),
        source=path,
        affine=placed,
        modality=modality or None,
        plane=plane_of(placed) if stored.is_placed else None,
        header=header,
        notices=notices,
        source_affine=stored.affine,
        source_shape=stored.shape,
    )


def read_label_volume(path: Path) -> tuple[NDArray[np.integer], Affine]:
    """Read label numbers, or a mask, without converting them to real numbers.

    Args:
        path: .nii, .nii.gz or .mgz file.

    Returns:
        Whole numbers [D, H, W] in axial display order, and their affine.

    Raises:
        ImageError: If the file is missing, damaged, of no use as a volume, or too large to be held in memory.
    """
    stored = _open(path, 1)
    if stored.is_colour:
        raise ImageError(f"{path}: expected whole numbers, got colours; convert it.")
    MEGABYTES.check(megabytes(int(np.prod(stored.shape, dtype=np.int64)) * stored.dtype.itemsize), path)
    with reading(path, "a NIfTI or MGZ volume"):
        labels = np.array(stored.view())
    if stored.is_scaled or labels.dtype.kind == "f":
        labels = np.rint(stored.values(labels)).astype(np.int32)
    elif labels.dtype.kind == "b":
        labels = labels.astype(np.uint8)
    shown, placed = to_display_order(labels, stored.affine, "axial")
    return shown, placed


def write_mask_volume(
    path: Path,
    planes: Iterable[NDArray[np.bool_ | np.uint8 | np.int16 | np.float32]],
    shape: tuple[int, int, int],
    affine: Affine | None,
    *,
    like: Path | None = None,
    dtype: DTypeLike = np.uint8,
    slope: float | None = None,
    screen: Affine | None = None,
) -> None:
    """Write a mask volume slice by slice, whole or not at all, on the grid of the image it belongs to.

    Args:
        path: File to write; .nii.gz compresses.
        planes: Masks, labels or other values [j, i] for each k.
        shape: Voxels along i, j and k.
        affine: Index (i, j, k) to RAS+ millimetres [4, 4]; None for clips, which have no place.
        like: Volume on the same grid, whose header's placement is copied.
        dtype: Type of the values in the file, which must hold those of the planes.
        slope: What readers multiply the stored values by; None for values that are meant as they are.
        screen: How viewers are to show what has no place, in place of ``affine``, and marked as no scanner's; None
            for a header that says nothing.

    Raises:
        ImageError: If ``like`` cannot be read.
        OutputError: If the mask cannot be written.
    """
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    header.set_slope_inter(slope, None if slope is None else 0)
    if affine is not None:
        header.set_sform(affine, code="scanner")
        header.set_qform(affine, code="scanner", strip_shears=True)
    elif screen is not None:
        header.set_sform(screen, code="aligned")
    if like is not None:
        _copy_place(like, header)
    with writing(path) as unfinished, unfinished.open("wb") as target, ExitStack() as stack:
        file: IO[bytes] = target
        if path.name.endswith(".gz"):
            packed = gzip.GzipFile("", "wb", compresslevel=1, fileobj=target, mtime=0)
            file = cast(IO[bytes], stack.enter_context(packed))
        header.write_to(file)
        for plane in planes:
            file.write(np.ascontiguousarray(plane, dtype).tobytes())


def _is_placed(header: object) -> bool:
    """Whether it says where the volume lies in the patient; NIfTI may leave that open, FreeSurfer never does."""
    return not isinstance(header, nib.Nifti1Header) or bool(header["qform_code"] > 0 or header["sform_code"] > 0)


def _tell_place(stored: StoredVolume) -> Iterator[Notice]:
    """What the header leaves open, or says wrongly, of the place of the voxels."""
    if not stored.is_placed:
        why = "the header has neither sform nor qform"
        yield Notice("place in the patient unknown", why, "Slices are taken as stored")
    if stored.unit:
        why = f"in {stored.unit}s, voxels would be longer than {LONGEST_VOXEL_MM:g} mm"
        yield Notice("lengths taken for millimetres", why)


def _to_millimetres(affine: Affine, header: object) -> tuple[Affine, str]:
    """The affine in millimetres, and the header's unit of lengths if it cannot be true."""
    unit = header.get_xyzt_units()[0] if isinstance(header, nib.Nifti1Header) else "mm"
    scaled = affine * np.array([[MILLIMETRES.get(unit, 1.0)]] * 3 + [[1.0]])
    if unit in MILLIMETRES and max(voxel_spacing(scaled)) > LONGEST_VOXEL_MM:
        return affine, unit
    return scaled, ""


def _guess_modality(pixels: LazyPixels) -> tuple[str | None, tuple[Notice, ...]]:
    chosen = np.unique(np.linspace(0, len(pixels) - 1, SAMPLED_SLICES).round().astype(int)).tolist()
    stride = max(1, pixels.shape[1] * pixels.shape[2] // SAMPLED_PIXELS)
    sample = np.concatenate([pixels[index].ravel()[::stride] for index in chosen]).astype(np.float32, copy=False)
    hounsfield, reason = looks_like_hounsfield(sample)
    remedy = 'A file beside the volume, of the same name but .json, with {"Modality": "CT"} or "MR" settles it'
    if hounsfield:
        return "CT", (Notice("units guessed to be HU", reason, remedy),)
    if float(sample.min()) <= REACHES_AIR:
        return None, (Notice("units unknown", reason, remedy),)
    return None, ()


def _volumes_left_out(volumes: int, asked: int | None) -> tuple[Notice, ...]:
    if asked is not None or volumes == 1:
        return ()
    why = "the file holds several, and the first is read"
    remedy = "Choose another with volume=2 in Python, --volume 2 on the command line"
    return (Notice("volumes left out", why, remedy, volumes - 1, volumes),)


def _display_pixels(stored: StoredVolume, plane: Plane) -> tuple[LazyPixels, Affine]:
    shown, placed = to_display_order(stored.view(), stored.affine, plane)
    PIXELS.check(shown.shape[1] * shown.shape[2], stored.path)
    FRAMES.check(len(shown), stored.path)

    def read(index: int) -> Pixels:
        # Opened anew each time, so that what was read of a file does not add up in memory.
        with reading(stored.path, "a NIfTI or MGZ volume"):
            return stored.values(np.array(to_display_order(stored.view(), stored.affine, plane)[0][index]))

    colour = (3,) * stored.is_colour
    kind = np.uint8 if stored.is_colour else np.float32
    return LazyPixels(len(shown), read, (*shown.shape[1:], *colour), kind, stored.path), placed


def _open(path: Path, number: int) -> StoredVolume:
    with reading(path, "a NIfTI or MGZ volume"), np.errstate(all="ignore"), overheard("nibabel.global") as repaired:
        start = read_start(path)
        refuse_other_formats(path, start)
        _check_compression(path, start)
        image = nib.load(path)
        if not isinstance(image, (nib.Nifti1Image, nib.Nifti2Image, nib.MGHImage)):
            kind = KINDS.get(type(image).__name__, type(image).__name__)
            raise ImageError(f"{path}: is a {kind}, not a volume of voxels; export one as NIfTI.")
        proxy = image.dataobj
        shape, dtype = tuple(int(each) for each in proxy.shape), np.dtype(proxy.dtype)
        _check_values(shape, dtype, path)
        volumes = int(np.prod(shape[3:], dtype=object))
        if not 1 <= number <= volumes:
            raise ImageError(f"{path}: has no volume {number}; expected a number from 1 to {volumes}.")
        one = (shape[0], shape[1], shape[2] if len(shape) > 2 else 1)
        view, file = find_voxels(path, int(proxy.offset), dtype, one, (number - 1, volumes))
        affine, unit = _to_millimetres(np.asarray(image.affine, np.float64), image.header)
        if not places_volume(affine):
            raise ImageError(f"{path}: its affine places no volume in space; repair the header (sform or qform).")
        scale = float(proxy.slope), float(proxy.inter)
        placed = _is_placed(image.header)
        found = StoredVolume(path, one, affine, dtype, *scale, view, volumes, tuple(repaired), placed, unit)
        if file is not None:
            weakref.finalize(found, file.close)
    return found


def _check_compression(path: Path, start: bytes) -> None:
    name, packed = path.name.lower(), is_gzip(start)
    if packed and name.endswith(".nii"):
        raise ImageError(f"{path}: is compressed by gzip, which its name does not say; rename it to end in .nii.gz.")
    if start.startswith(HEADER_SIZES) and name.endswith(".nii.gz"):
        raise ImageError(f"{path}: is not compressed by gzip, as its name says; rename it to end in .nii.")


def _check_values(shape: tuple[int, ...], dtype: np.dtype[np.generic], path: Path) -> None:
    colour = dtype.names is not None and {"R", "G", "B"} <= set(dtype.names)
    if (dtype.kind in "iufb" or colour) and len(shape) >= 2 and min(shape) >= 1:
        return
    raise ImageError(
        f"{path}: expected a grey or RGB volume of 2 or more dimensions, got {dtype} {list(shape)}; convert it."
    )


def _copy_place(source: Path, header: nib.Nifti1Header) -> None:
    with reading(source, "a NIfTI or MGZ volume"), overheard("nibabel.global"):
        image = nib.load(source)
        if not isinstance(image, (nib.Nifti1Image, nib.Nifti2Image)):
            return
        for name in PLACING_FIELDS:
            header[name] = image.header[name]
        header["pixdim"][:4] = image.header["pixdim"][:4]
        if len(image.shape) == 2:
            header.set_data_shape(image.shape)


def _slice_axis(shape: tuple[int, ...], affine: Affine) -> int:
    if shape.count(1) == 1:
        return shape.index(1)
    spacing = np.array(voxel_spacing(affine))
    thickest = int(spacing.argmax())
    if (spacing[thickest] > THICK_SLICES * np.delete(spacing, thickest)).all():
        return thickest
    return [nearest_plane(affine, axis) for axis in range(3)].index("axial")
