"""NIfTI and FreeSurfer volumes; needs nibabel."""

import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from vesalius.errors import ImageError
from vesalius.files import writing
from vesalius.imaging.bids import read_sidecar
from vesalius.imaging.image import MedicalImage
from vesalius.imaging.orientation import Affine, nearest_plane, places_volume, plane_of, to_display_order, voxel_spacing

THICK_SLICES = 1.3
"""Voxels this much longer along one axis than along both others were scanned across that axis."""

CT_BELOW = -500
"""Whole numbers reaching down to this value are taken for HU."""


def read_nifti(path: Path, *, volume: int | None = None) -> MedicalImage:
    """Read a volume and turn it for display.

    Slices run across the only axis of length 1, else across the axis of thick slices, else they are axial. Of a 4-D
    file the first volume counts. Scaling is applied; NaN and infinities become 0. The header is that of a BIDS file,
    ``scan.json``, beside the volume. Where that does not name the modality, whole numbers with a minimum of −500 or
    less are taken for CT, and anything else stays unknown (None), shown like MR.

    Args:
        path: .nii, .nii.gz or .mgz file.
        volume: Which of several volumes, from 1; by default the first.

    Returns:
        Image [D, H, W] with its affine.

    Raises:
        ImageError: If the file is missing, damaged, of complex or colour values, or of no use as a volume.
    """
    stored, affine = _load(path, volume or 1)
    axis = _slice_axis(stored.shape, affine)
    values = _clean(stored)
    header = read_sidecar(path)
    is_ct = values.min() <= CT_BELOW and bool(np.all(values == np.rint(values)))
    shown, placed = to_display_order(values, affine, nearest_plane(affine, axis))
    return MedicalImage(
        pixels=np.ascontiguousarray(shown),
        source=path,
        affine=placed,
        modality=header.get("Modality") or ("CT" if is_ct else None),
        plane=plane_of(placed),
        header=header,
        source_affine=affine,
        source_shape=stored.shape,
    )


def read_label_volume(path: Path) -> tuple[NDArray[np.integer], Affine]:
    """Read numbers of labels, or a mask, without the detour over real numbers that an image takes.

    Args:
        path: .nii, .nii.gz or .mgz file.

    Returns:
        Whole numbers [D, H, W] in axial display order, and their affine.

    Raises:
        ImageError: If the file is missing, damaged, or of no use as a volume.
    """
    volume, affine = _load(path)
    if volume.dtype.kind == "f":
        volume = np.rint(_clean(volume)).astype(np.int32)
    elif volume.dtype.kind == "b":
        volume = volume.astype(np.uint8)
    shown, placed = to_display_order(volume, affine, "axial")
    return shown, placed  # type: ignore[return-value]  # float and bool are gone


def write_mask_volume(path: Path, masks: NDArray[np.bool_], affine: Affine | None) -> None:
    """Write a mask volume, whole or not at all; readers find it on the image it came from.

    Args:
        path: Where to; .nii.gz compresses.
        masks: [D, H, W], in the order of an image's slices.
        affine: Those slices' index to RAS+ millimetres [4, 4]; None for clips, which lie nowhere.

    Raises:
        OutputError: If it cannot be written.
    """
    volume = nib.Nifti1Image(masks.astype(np.uint8), np.eye(4) if affine is None else affine)
    with writing(path) as unfinished:
        nib.save(volume, unfinished)


def _load(path: Path, number: int = 1) -> tuple[NDArray[np.generic], Affine]:
    try:
        image = nib.load(path)
        volume = np.asanyarray(image.dataobj)
        affine = np.asarray(image.affine, np.float64)
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file; check the path.") from error
    except (ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        raise ImageError(
            f"{path}: cannot be read as a NIfTI or MGZ volume ({error}); it is damaged, incomplete or something else. "
            "Copy or convert it again."
        ) from error
    return _one_volume(volume, path, number), _checked(affine, path)


def _one_volume(volume: NDArray[np.generic], path: Path, number: int) -> NDArray[np.generic]:
    if volume.dtype.kind not in "iufb" or volume.ndim < 2 or not volume.size:
        raise ImageError(
            f"{path}: expected a grey volume of 2 or more dimensions, got {volume.dtype} {list(volume.shape)}; "
            "convert it."
        )
    volumes = volume.reshape((*volume.shape[:3], -1), order="F") if volume.ndim > 3 else volume[..., None]
    if not 1 <= number <= volumes.shape[-1]:
        raise ImageError(f"{path}: has no volume {number}; expected a number from 1 to {volumes.shape[-1]}.")
    one = volumes[..., number - 1]
    return one if one.ndim == 3 else one[..., None]


def _checked(affine: Affine, path: Path) -> Affine:
    if not places_volume(affine):
        raise ImageError(f"{path}: its affine places no volume in space; repair the header (sform or qform).")
    return affine


def _slice_axis(shape: tuple[int, ...], affine: Affine) -> int:
    if shape.count(1) == 1:
        return shape.index(1)
    spacing = np.array(voxel_spacing(affine))
    thickest = int(spacing.argmax())
    if (spacing[thickest] > THICK_SLICES * np.delete(spacing, thickest)).all():
        return thickest
    return [nearest_plane(affine, axis) for axis in range(3)].index("axial")


def _clean(volume: NDArray[np.generic]) -> NDArray[np.float32]:
    return np.nan_to_num(volume.astype(np.float32), copy=False, nan=0.0, posinf=0.0, neginf=0.0)
