"""Write slices of a labelled volume of the trunk in the benchmark's layout, one folder an organ.

Each organ is shown on slices where it is there, spread over its extent, and on about a quarter as many where it is
surely not, whose mask is empty. Every ninth slice goes to validation: it is of the patient that trains, so it serves to
watch training only. There is no p0: without words, a slice of many organs asks for none of them.

    python recipes/pocket/prepare_abdomen.py ../shared/data/anatomy/abdomen_pelvis_ct runs/data

A volume of another patient tests, on every axial slice:

    python recipes/pocket/prepare_abdomen.py ../shared/data/anatomy/abdomen_mr runs/data/mr --test
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vesalius.console import progress_bar
from vesalius.data.annotations import ImageRecord
from vesalius.data.prepare.writing import write_records
from vesalius.errors import DataError
from vesalius.imaging import MedicalImage, Plane, read_image, write_mask, write_rgb
from vesalius.prompts import Variants, find_target

ORGANS = {
    "liver": ("liver",),
    "kidney": ("kidney_",),
    "spleen": ("spleen",),
    "bladder": ("urinary_bladder",),
    "hip_bone": ("hip_",),
    "femur": ("femur_",),
    "aorta": ("aorta",),
    "spine": ("vertebrae", "sacrum"),
    "stomach": ("stomach",),
    "colon": ("colon",),
}
"""Targets of the prompt bank, and how the names of the labels begin that make them up."""
MODALITIES = {"ct.nii.gz": "CT", "mr.nii.gz": "MR"}
SHOWN: dict[Plane, int] = {"axial": 12, "coronal": 8, "sagittal": 8}
"""Slices of each plane on which an organ is there."""
ABSENT_SHARE = 4
"""One slice without the organ comes with so many that show it."""
SMALLEST = 12
"""Pixels; slices that show less of an organ neither show it nor lack it."""
MARGIN = 5
"""So many slices around an organ are not said to lack it, for labels end too early, and discs part vertebrae."""
LOOKS = ("soft tissue", "wide", "soft tissue", "spine")
"""Windows of CT that take turns."""
VALIDATION = 9
"""One slice of so many; not a multiple of 4, so that every window is among them."""


@dataclass(frozen=True)
class Labelled:
    """A volume, and where the labels are in it."""

    image: MedicalImage
    labels: MedicalImage
    names: dict[str, int]
    """Label -> its number."""

    def organ(self, target: str) -> MedicalImage:
        """A target's mask as a volume, 0 and 255."""
        numbers = [number for name, number in self.names.items() if name.startswith(ORGANS[target])]
        return replace(self.labels, pixels=np.isin(self.labels.pixels, numbers).astype(np.uint8) * 255)


@dataclass(frozen=True)
class Place:
    """A slice that is to be written."""

    plane: Plane
    index: int
    look: str | None
    split: str


def read_labelled(folder: Path) -> Labelled:
    """Read ``ct.nii.gz`` or ``mr.nii.gz`` with ``segmentation.nii.gz`` and ``labels.json``.

    Raises:
        DataError: If the folder has neither volume.
    """
    name = next((name for name in MODALITIES if (folder / name).exists()), None)
    if name is None:
        raise DataError(f"{folder}: expected ct.nii.gz or mr.nii.gz beside segmentation.nii.gz and labels.json.")
    named = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    numbers = {label: int(number) for number, label in named.items()}
    image = replace(read_image(folder / name), modality=MODALITIES[name])
    return Labelled(image, read_image(folder / "segmentation.nii.gz"), numbers)


def training_places(volume: Labelled, organ: MedicalImage) -> Iterator[Place]:
    """Slices of all planes, each plane's present ones before its absent ones."""
    chosen = []
    for plane, number in SHOWN.items():
        pixels = count_pixels(organ, plane)
        inside = count_pixels(volume.labels, plane)
        shown = np.flatnonzero(pixels >= SMALLEST)
        lacking = np.flatnonzero(surely_lacking(pixels) & (inside > 0))
        chosen += [(plane, index) for index in spread(shown, number) + spread(lacking, number // ABSENT_SHARE)]
    for number, (plane, index) in enumerate(chosen):
        look = LOOKS[number % len(LOOKS)] if volume.image.modality == "CT" else None
        yield Place(plane, index, look, "val" if number % VALIDATION == VALIDATION // 2 else "train")


def testing_places(organ: MedicalImage) -> Iterator[Place]:
    """Every axial slice, but those of which it is hard to tell."""
    pixels = count_pixels(organ, "axial")
    for index in np.flatnonzero(surely_lacking(pixels) | (pixels >= SMALLEST)):
        yield Place("axial", int(index), None, "test")


def count_pixels(mask: MedicalImage, plane: Plane) -> NDArray[np.intp]:
    """How many pixels of each slice are not 0."""
    pixels: NDArray[np.intp] = np.count_nonzero(mask.slices(plane).pixels, axis=(1, 2))
    return pixels


def surely_lacking(pixels: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which slices have nothing of the organ, nor has any within ``MARGIN`` of them."""
    near: NDArray[np.bool_] = ndimage.maximum_filter1d(pixels, 2 * MARGIN + 1, mode="constant") > 0
    return ~near


def spread(indices: NDArray[np.intp], number: int) -> list[int]:
    """So many of them, evenly spaced and off the ends; all where there are no more."""
    steps = (np.arange(number) + 0.5) * (len(indices) / number)
    return [int(index) for index in (indices[steps.astype(np.intp)] if len(indices) > number else indices)]


def write_organ(volume: Labelled, target: str, out: Path, *, test: bool) -> dict[str, int]:
    """Write one organ's folder; how many records each split has."""
    organ = volume.organ(target)
    records: dict[str, list[ImageRecord]] = {}
    for place in testing_places(organ) if test else training_places(volume, organ):
        name = f"{volume.image.source.name.split('.')[0]}_{place.plane}_{place.index:03d}.png"
        rgb = volume.image.slices(place.plane, place.look)[place.index].rgb_square()
        inside = organ.slices(place.plane, window=(128, 256))[place.index].rgb_square()[..., 0] > 0.5
        write_rgb(out / "images" / name, rgb)
        write_mask(out / "masks" / name, inside)
        prompts = wordings(target, str(volume.image.modality))
        records.setdefault(place.split, []).append(ImageRecord(name, name, prompts))
    for split, rows in records.items():
        write_records(out / "anns" / f"{split}.json", rows)
    return {split: len(rows) for split, rows in records.items()}


def wordings(target: str, modality: str) -> dict[str, Variants]:
    """Families p1 and p2: the plain name, and in what kind of picture."""
    name = find_target(target).phrases[0]
    return {"p1": name, "p2": [f"{name} in {modality}", f"{name} on {modality} of the trunk"]}


def main() -> None:
    """Write the folders of all organs that the volume has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--test", action="store_true")
    args = parser.parse_args()
    volume = read_labelled(args.volume)
    there = [target for target in ORGANS if volume.organ(target).pixels.any()]
    with progress_bar() as bar:
        written = {
            target: write_organ(volume, target, args.out / f"abdomen_{target}", test=args.test)
            for target in bar.track(there, description="organs")
        }
    for target, counts in written.items():
        print(f"abdomen_{target}: {', '.join(f'{number} {split}' for split, number in counts.items())}")


if __name__ == "__main__":
    main()
