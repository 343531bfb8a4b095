"""Reads what is outlined in a volume: one mask volume a structure, or one label map."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vesalius.data.anatomy.regions import EMPTY, Mask, Region, Structures, crop
from vesalius.data.anatomy.sources import LabelledVolume
from vesalius.data.prepare.labels import read_label_names
from vesalius.errors import DataError, ImageError
from vesalius.imaging.nifti import read_label_volume
from vesalius.imaging.orientation import Affine

MASK_SUFFIX = ".nii.gz"
SAME_PLACE_MM = 0.1
"""Difference of affines that is rounding, not another place."""
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
    if not np.allclose(place, affine, rtol=0, atol=SAME_PLACE_MM):
        raise ImageError(f"{path}: lies elsewhere in the patient than the volume; resample it.")
    return labels


def _without(region: Region, blank: Mask) -> Region:
    box = tuple(slice(at, at + size) for at, size in zip(region.start, region.mask.shape, strict=True))
    return Region(region.mask & ~blank[box], region.start)
