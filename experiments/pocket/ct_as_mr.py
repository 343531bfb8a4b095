"""Slices of CT as MR would show them, for naming.

Of the people with a body to look at most were examined by CT, so whoever is held out with MR of a neck, a spine or a
pelvis takes most of it along, and an axial slice of a lumbar spine on MR was called a chest. On CT the number says
which tissue a voxel is, and what MR sequences make of each is known. Every painting draws its shades anew, and every
fourth draws them by chance (Billot et al., SynthSeg, 2023). The table is taken away, and the coil's light falls off to
one side. A brain is one grey on CT: slices that show one are left to ``other_sequences.py``.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
from labelled_slice import LabelledSlice
from numpy.typing import NDArray
from other_sequences import Shades, changed, resample
from people import Row, cut_across, label_of, read_rows
from PIL import Image
from scipy import ndimage

from vesalius.data.slices.cutting import to_square
from vesalius.imaging import MedicalImage, read_image

Picture = NDArray[np.uint8]
TISSUES = (-1000.0, -300.0, -120.0, -60.0, 5.0, 30.0, 60.0, 120.0, 250.0, 700.0, 1500.0)
"""HU: air, lung, fat from and to, fluid, soft tissue, muscle, vessels with contrast, marrow, bone, dense bone."""
SEQUENCES = {
    "T1": (0.0, 0.05, 0.9, 0.85, 0.15, 0.38, 0.45, 0.5, 0.6, 0.15, 0.03),
    "T2": (0.0, 0.04, 0.75, 0.7, 1.0, 0.45, 0.22, 0.25, 0.45, 0.1, 0.02),
    "STIR": (0.0, 0.05, 0.1, 0.12, 1.0, 0.6, 0.35, 0.4, 0.18, 0.06, 0.02),
}
"""Shade of each of ``TISSUES``."""
CHANCE = "chance"
PAINTINGS = 2
"""Of each series."""
MOST = 12
"""Slices of a painting in the plane in which the series was taken; of others, half of those that are cut."""
SMOOTH_MM = 1.5
"""Standard deviation by which noise is smoothed, within slices, before numbers are read as tissues."""
BODY_HU, LEAST_BODY = -300.0, 0.2
"""Number above which there is body, and the least part of it, as a share of the largest."""
SIDES = (128, 320)
"""Pixels across, from and to."""
CROPPED, FIELD = 0.35, (0.45, 0.8)
"""Share of pictures that are cropped, and to which part of the body's width."""
LIGHT = 0.6
"""Most light that one side of the picture loses to the other, as a share."""
DARK = 25
"""Of 255: what is brighter is body."""
BRIGHTEST = 250.0
"""Stored value of a shade of 1."""


def read_painted(anatomy: Path, size: int) -> Iterator[LabelledSlice]:
    """Slices of people's CT, as they were taken and across, as sequences show them.

    Args:
        anatomy: Folder with series/ and ct_slices/.
        size: Side of the pictures.
    """
    sequences = cycle([*SEQUENCES, CHANCE])
    for number, row in enumerate(each for each in read_rows() if each["modality"] == "CT"):
        single = row["file"].startswith("ct_")
        image = read_image(anatomy / ("ct_slices" if single else "series") / row["file"])
        rng = np.random.default_rng(number)
        for _ in range(1 if single else PAINTINGS):
            protocol = next(sequences)
            name = f"{row['patient'] if single else row['file'].removesuffix('.nii.gz')} as MR {protocol}"
            yield from _slices({**row, "modality": "MR", "protocol": protocol}, image, name, size, rng)


def _slices(row: Row, image: MedicalImage, name: str, size: int, rng: np.random.Generator) -> Iterator[LabelledSlice]:
    painted = replace(image, pixels=paint(image, row["protocol"], rng), modality="MR", hounsfield=False)
    stack = painted.slices()
    shown = [(index, label) for index in range(len(stack)) if (label := label_of(row, index))]
    found = [
        LabelledSlice(to_square(stack[index].rgb_square(), size), label, name, row["patient"])
        for index, label in shown[:: -(-len(shown) // MOST)]
    ]
    found = [each for each in found if "brain" not in each.label.organs | each.label.uncertain]
    if len(found) > 1:  # or it is of a head, or a single slice
        found += [*cut_across(row, painted, name, size)][::2]
    for each in found:
        picture, label = each.picture, each.label
        if rng.random() < CROPPED:
            picture = crop(picture, rng)
            label = replace(label, organs=frozenset(), uncertain=label.uncertain | label.organs)
        yield replace(each, picture=light(picture, rng), label=label, series=name, native=False, made="painted")


def paint(image: MedicalImage, protocol: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """A volume of HU [D, H, W] as a sequence shows it."""
    assert image.spacing is not None
    smoothing = [SMOOTH_MM / each for each in image.spacing[1:]]
    curve = draw_curve(protocol, rng)
    found = np.empty(image.pixels.shape, np.float32)
    for index in range(len(found)):
        smooth = ndimage.gaussian_filter(image.pixels[index].astype(np.float32), smoothing)
        found[index] = BRIGHTEST * read_tissues(smooth, curve) * find_body(smooth)
    return found


def draw_curve(protocol: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """Shade of each of ``TISSUES``, drawn anew."""
    if protocol in SEQUENCES:
        return changed(SEQUENCES[protocol], rng)
    fat = rng.uniform(0.05, 1)
    return np.array([0.0, 0.05, fat, fat, *rng.uniform(0.1, 1, 5), 0.1, 0.02])


def read_tissues(hu: NDArray[np.float32], curve: NDArray[np.float64]) -> Shades:
    """What a sequence shows of HU."""
    return np.interp(hu, TISSUES, curve).astype(np.float32)


def find_body(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """The body in a slice, without table and clothes, 1 inside."""
    solid = ndimage.binary_opening(hu > BODY_HU, iterations=2)
    parts, count = ndimage.label(solid)
    if count == 0:
        return np.zeros_like(hu)
    areas = np.bincount(parts.ravel())[1:]
    kept = np.isin(parts, 1 + np.flatnonzero(areas >= LEAST_BODY * areas.max()))
    return np.asarray(ndimage.binary_dilation(ndimage.binary_fill_holes(kept), iterations=2), np.float32)


def crop(picture: Picture, rng: np.random.Generator) -> Picture:
    """What a small field of view has of a body, at the same size: which organs it still shows is not known."""
    side, rows, columns = len(picture), np.flatnonzero(picture.max(1) > DARK), np.flatnonzero(picture.max(0) > DARK)
    if not len(rows):
        return picture
    width = int(rng.uniform(*FIELD) * max(np.ptp(rows), np.ptp(columns)) + 1)
    middle = [int(rng.uniform(0.4, 0.6) * np.ptp(each) + each[0]) for each in (rows, columns)]
    top, left = (int(np.clip(each - width / 2, 0, max(0, side - width))) for each in middle)
    field = Image.fromarray(picture[top : top + width, left : left + width])
    return np.asarray(field.resize((side, side), Image.Resampling.BICUBIC))


def light(picture: Picture, rng: np.random.Generator) -> Picture:
    """The same in a coil's uneven light, from fewer pixels and with noise."""
    rows, columns = np.mgrid[-0.5 : 0.5 : len(picture) * 1j, -0.5 : 0.5 : len(picture) * 1j]
    turn, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, LIGHT)
    ramp = 1 - strength * (0.5 + np.cos(turn) * rows + np.sin(turn) * columns)
    shades = resample((picture * ramp / 255).astype(np.float32), SIDES, rng)
    return np.round(255 * shades.clip(0, 1)).astype(np.uint8)
