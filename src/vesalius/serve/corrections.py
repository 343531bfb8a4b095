"""A corrected mask with its image in the layout that training reads (docs/data.md): annotation feeds training."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import DataError, ImageError, PromptError
from vesalius.files import writing
from vesalius.imaging import MedicalImage, SliceStack, read_mask, to_square_pixels
from vesalius.imaging.formats import is_volume_file, reading
from vesalius.imaging.orientation import Affine, MaskGrid, onto_grid
from vesalius.imaging.raster import to_png
from vesalius.imaging.slices import to_bytes, to_file_order
from vesalius.results import slugs


class Correction(NamedTuple):
    """What was corrected, and by whom it is named."""

    stem: str
    """Beginning of the names of its files; says nothing of the patient."""
    phrase: str
    target: str | None
    """The learnt target that the phrase names."""


def write_correction(
    path: Path,
    image: MedicalImage,
    slices: SliceStack,
    mask: Path,
    correction: Correction,
    place: int | None = None,
) -> int:
    """Write image, mask and annotation as a zip file.

    Of a volume every slice with a mark becomes an image, with pixels as wide as high. A picture, or one slice that was
    asked for, may be without a mark: its record then says that the object is absent.

    Args:
        path: File to write.
        image: What was corrected.
        slices: Its slices.
        mask: A picture of one slice, or a volume (.nii.gz) on the grid of the image's masks.
        correction: What it is.
        place: Of a volume, the only slice to write, from 0 as displayed.

    Returns:
        Number of images written.

    Raises:
        DataError: If the mask does not fit the image, or marks nothing in a whole volume.
        ImageError: If it cannot be read.
        PromptError: If there is no phrase.
    """
    if not correction.phrase.strip():
        raise PromptError("phrase: is empty; say what the mask outlines.")
    if place is not None and not 0 <= place < len(slices):
        raise DataError(f"slice: expected 0 to {len(slices) - 1}, got {place}.")
    records, suffix = [], slugs([correction.phrase])[0]
    with writing(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
        for index, plane in _marked_slices(image, slices, mask, place):
            name = f"{correction.stem}_{index:04d}.png"
            mask_name = f"{correction.stem}_{index:04d}_{suffix}.png"
            rgb = to_square_pixels(slices[index].rgb, slices.pixel_spacing_mm)
            archive.writestr(f"images/{name}", to_png(to_bytes(rgb)))
            archive.writestr(f"masks/{mask_name}", to_png(_to_square(plane, slices).astype(np.uint8) * 255))
            records.append(_record(name, mask_name, correction, bool(plane.any())))
        if not records:
            raise DataError("mask: marks nothing; name a slice to say that the object is absent there.")
        archive.writestr("anns/train.json", json.dumps(records, indent=2))
    return len(records)


def _record(name: str, mask_name: str, correction: Correction, present: bool) -> dict[str, object]:
    record: dict[str, object] = {
        "img_name": name,
        "mask_name": mask_name,
        "prompts": {"p0": "", "p1": correction.phrase},
    }
    if correction.target is not None:
        record["target"] = correction.target
    return record if present else {**record, "absent": True}


def _marked_slices(
    image: MedicalImage, slices: SliceStack, mask: Path, place: int | None
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Masks of slices in display order."""
    size = slices.pixels.shape[1], slices.pixels.shape[2]
    if not is_volume_file(mask):
        if len(slices) > 1 and place is None:
            raise DataError(
                f"{mask.name}: is a picture, and the image a volume; name the slice, or send a .nii.gz mask."
            )
        plane = read_mask(mask)
        if len(slices) == 1:
            plane = _from_file_order(plane, slices)
        if plane.shape != size:
            found, expected = (f"{shape[1]} × {shape[0]}" for shape in (plane.shape, size))
            raise DataError(
                f"{mask.name}: expected a mask of {expected} pixels, got {found}; draw on the image as it is returned."
            )
        yield place or 0, plane
        return
    volume = _read_volume(image, slices, mask)
    chosen = range(len(slices)) if place is None else [place]
    for index in chosen:
        if place is not None or len(slices) == 1 or volume[index].any():
            yield index, volume[index]


def _from_file_order(plane: NDArray[np.bool_], slices: SliceStack) -> NDArray[np.bool_]:
    """The inverse of `to_file_order`, by following where each pixel went."""
    height, width = slices.pixels.shape[1], slices.pixels.shape[2]
    places = to_file_order(np.arange(height * width).reshape(height, width), slices)
    if places.shape != plane.shape:
        return plane
    shown = np.empty(height * width, np.bool_)
    shown[places] = plane
    return shown.reshape(height, width)


def _read_volume(image: MedicalImage, slices: SliceStack, mask: Path) -> NDArray[np.bool_]:
    """A mask volume in display order, [D, H, W]."""
    import nibabel as nib

    with reading(mask, "a mask volume"):
        content = nib.load(mask)
        if not isinstance(content, nib.Nifti1Image):
            raise ImageError(f"{mask.name}: is no NIfTI volume; save it as .nii.gz.")
        shape = tuple(int(each) for each in content.shape)
    grid = image.mask_grid(slices)
    if sorted(shape) != sorted(grid.shape):
        raise _misfit(mask, shape, grid)
    with reading(mask, "a mask volume"):
        values = np.asarray(content.dataobj) > 0
    if (place := _place_of(image, mask)) is not None and grid.affine is not None:
        turned = onto_grid(values, place, grid.affine)
        if turned is None:
            raise DataError(f"{mask.name}: lies elsewhere in the patient than the image; resample it onto the image.")
        values = turned
    if values.shape != grid.shape:
        raise _misfit(mask, values.shape, grid)
    return grid.to_display(values)


def _place_of(image: MedicalImage, mask: Path) -> Affine | None:
    """Affine of a mask volume; None where it or its image does not say where it lies in the patient.

    An identity says no more than that its program did not know.
    """
    from vesalius.imaging.nifti import read_nifti

    placed = read_nifti(mask)
    unknown = placed.source_affine is not None and np.array_equal(placed.source_affine, np.eye(4))
    return placed.source_affine if image.is_placed and placed.is_placed and not unknown else None


def _misfit(mask: Path, shape: tuple[int, ...], grid: MaskGrid) -> DataError:
    found, expected = (" × ".join(map(str, each)) for each in (shape, grid.shape))
    return DataError(f"{mask.name}: has {found} voxels, the image {expected}; draw on the image as it is returned.")


def _to_square(plane: NDArray[np.bool_], slices: SliceStack) -> NDArray[np.bool_]:
    """A mask with pixels as wide as high."""
    levels = to_square_pixels(plane[..., None].astype(np.float32), slices.pixel_spacing_mm)
    square: NDArray[np.bool_] = levels[..., 0] > 0.5
    return square
