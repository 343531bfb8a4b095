"""Images and label maps as files on the grid of an image's masks: values as stored, and labels as NIfTI or NRRD."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import ConfigError, PromptError
from vesalius.files import writing
from vesalius.imaging import MedicalImage, SliceStack
from vesalius.imaging.lazy import LazyPixels, fits_int16
from vesalius.imaging.mask_volumes import Values, is_volume, write_volume
from vesalius.imaging.orientation import LPS_TO_RAS, Affine
from vesalius.imaging.safeguards import MEGABYTES, megabytes
from vesalius.imaging.slices import to_file_order
from vesalius.masks import LabelMasks

LABEL_SUFFIXES = (".nii.gz", ".nrrd")
LABEL_TYPES = {"uint8": "unsigned char", "uint16": "unsigned short"}
"""Types of label maps, and what they are called in NRRD."""


def on_screen(slices: SliceStack) -> Affine:
    """Where an image without a place is put, from columns, rows and slices to RAS+: as its pictures lie on a screen.

    Columns go to the patient's left, which viewers show on the right, rows to the back, slices to the head. Distances
    are the file's; where it has none, they are 1, and slices are as far apart as columns.
    """
    rows, columns = slices.pixel_spacing_mm or (1.0, 1.0)
    return np.diag([-columns, -rows, columns, 1.0])


def read_values(image: MedicalImage) -> Values:
    """All stored values: whole numbers as int16 where they fit, colours as grey."""
    MEGABYTES.check(megabytes(image.pixels.size * 4), image.source)
    whole = image.pixels.load_compact() if isinstance(image.pixels, LazyPixels) else np.asarray(image.pixels)
    if image.is_colour:
        grey: NDArray[np.float32] = whole.mean(axis=3, dtype=np.float32)
        return np.rint(grey).astype(np.uint8 if whole.dtype == np.uint8 else np.float32)
    if whole.dtype in (np.uint8, np.int16):
        return whole.astype(whole.dtype, copy=False)
    real = whole.astype(np.float32, copy=False)
    return real.astype(np.int16) if fits_int16(real) else real


def in_file_order(rgb: NDArray[np.float32], slices: SliceStack) -> NDArray[np.float32]:
    """A picture [H, W, 3] in the rows and columns of its file, see `to_file_order`."""
    return np.stack([to_file_order(rgb[..., channel], slices) for channel in range(3)], axis=-1)


def number_labels(names: Sequence[str], learnt: Sequence[str]) -> dict[str, int]:
    """A label for each name: its number among what was learnt, from 1, and behind those for others.

    >>> number_labels(["spleen", "lump"], ["liver", "spleen"])
    {'spleen': 2, 'lump': 3}

    Raises:
        PromptError: If a name stands twice.
    """
    known = {name: number for number, name in enumerate(learnt, 1)}
    others = iter(range(len(learnt) + 1, len(learnt) + len(names) + 1))
    numbers = {name: known.get(name) or next(others) for name in names}
    if len(numbers) < len(names):
        raise PromptError("phrases: name the same target twice; name each once.")
    return numbers


def write_label_map(
    path: Path, image: MedicalImage, slices: SliceStack, masks: LabelMasks, kind: str = "uint8"
) -> None:
    """Write labels on the grid of the image's file, pictures as volumes of one slice.

    Args:
        path: File to write, ending in one of ``LABEL_SUFFIXES``.
        image: What was segmented.
        slices: Its slices.
        masks: Masks that share no pixel, and their labels.
        kind: One of ``LABEL_TYPES``.

    Raises:
        ConfigError: If the name ends otherwise, or there is no such type.
        OutputError: If it cannot be written.
    """
    if not path.name.endswith(LABEL_SUFFIXES):
        raise ConfigError(f"result_extension: expected {' or '.join(LABEL_SUFFIXES)}, got '{path.suffix[:20]}'.")
    if kind not in LABEL_TYPES:
        raise ConfigError(f"result_dtype: expected {' or '.join(LABEL_TYPES)}, got '{kind[:20]}'.")
    from vesalius.imaging.nifti import write_mask_volume

    volume = path if path.name.endswith(LABEL_SUFFIXES[0]) else path.with_name(f"{path.name}.nii")
    if is_volume(image, slices):
        write_volume(volume, image, slices, masks, kind, screen=on_screen(slices))
    else:
        plane = to_file_order(masks[0], slices)
        size = plane.shape[1], plane.shape[0], 1
        write_mask_volume(volume, [plane], size, None, dtype=kind, screen=on_screen(slices))
    if volume != path:
        _write_nrrd(path, *_read_labels(volume, kind))
        volume.unlink()


def _read_labels(path: Path, kind: str) -> tuple[NDArray[np.integer], Affine]:
    """Labels [i, j, k], and their place in RAS+."""
    import nibabel as nib

    content = nib.load(path)
    assert isinstance(content, nib.Nifti1Image)
    return np.asarray(content.dataobj, np.dtype(kind)), np.asarray(content.affine, np.float64)


def _write_nrrd(path: Path, labels: NDArray[np.integer], affine: Affine) -> None:
    """Write labels [i, j, k] without compression, which some viewers do not read."""
    placed = LPS_TO_RAS @ affine  # the same matrix in either direction
    columns = (placed[:3, axis] for axis in range(4))
    *directions, origin = ("(" + ",".join(f"{value:.12g}" for value in each) + ")" for each in columns)
    header = {
        "type": LABEL_TYPES[labels.dtype.name],
        "dimension": 3,
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, labels.shape)),
        "space directions": " ".join(directions),
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": "raw",
        "space origin": origin,
    }
    lines = ["NRRD0004", *(f"{name}: {value}" for name, value in header.items()), "", ""]
    with writing(path) as unfinished, unfinished.open("wb") as file:
        file.write("\n".join(lines).encode())
        file.write(labels.astype(labels.dtype.newbyteorder("<"), copy=False).tobytes(order="F"))
