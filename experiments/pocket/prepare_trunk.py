"""Write slices of a labelled volume of the trunk as one folder of many targets, each present or absent on every slice.

    python experiments/pocket/prepare_trunk.py ../shared/data/anatomy/abdomen_pelvis_ct runs/data/trunk_ct

A slice lacks an organ only if none of it lies within some slices of it, for labels end too early; where that is not
sure the slice has no record of it. Every ninth slice goes to validation: it is of the patient that trains, so it serves
to watch training only.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vesalius.data.annotations import ImageRecord
from vesalius.data.prepare.journal import format_records
from vesalius.files import write_text
from vesalius.imaging import MedicalImage, Plane, read_image, write_mask, write_rgb

ORGANS = {
    "liver": ("liver",),
    "kidneys": ("kidney_",),
    "spleen": ("spleen",),
    "pancreas": ("pancreas",),
    "bladder": ("urinary_bladder",),
    "hip bones": ("hip_",),
    "femur": ("femur_",),
    "aorta": ("aorta",),
    "vertebrae": ("vertebrae", "sacrum"),
    "stomach": ("stomach",),
    "colon": ("colon",),
    "intestine": ("colon", "small_bowel", "duodenum"),
    "lungs": ("lung_",),
}
"""Targets, and how the names of the labels begin that make them up."""
EVERY: dict[Plane, int] = {"axial": 2, "coronal": 4, "sagittal": 4}
"""One slice of so many is taken."""
SMALLEST = 12
"""Pixels; slices that show less of an organ neither show it nor lack it."""
MARGIN = 5
"""So many slices around an organ are not said to lack it."""
LOOKS = ("soft tissue", "wide", "soft tissue", "spine")
"""Windows that take turns."""
VALIDATION = 9
"""One slice of so many; not a multiple of 4, so that every window is among them."""


@dataclass(frozen=True)
class Labelled:
    """A CT, and where the labels are in it."""

    image: MedicalImage
    labels: MedicalImage
    names: dict[str, int]
    """Label -> its number."""

    def organ(self, target: str) -> MedicalImage:
        """A target's mask as a volume, 0 and 255."""
        numbers = [number for name, number in self.names.items() if name.startswith(ORGANS[target])]
        return replace(self.labels, pixels=np.isin(np.asarray(self.labels.pixels), numbers).astype(np.uint8) * 255)


def read_labelled(folder: Path) -> Labelled:
    """Read ``ct.nii.gz``, ``segmentation.nii.gz`` and ``labels.json``."""
    named = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    image = replace(read_image(folder / "ct.nii.gz"), modality="CT")
    numbers = {label: int(number) for number, label in named.items()}
    return Labelled(image, read_image(folder / "segmentation.nii.gz"), numbers)


def surely_lacking(pixels: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which slices have nothing of the organ, nor has any within ``MARGIN`` of them."""
    near: NDArray[np.bool_] = ndimage.maximum_filter1d(pixels, 2 * MARGIN + 1, mode="nearest") > 0
    return ~near


def slice_records(volume: Labelled, plane: Plane, out: Path) -> Iterator[tuple[str, ImageRecord]]:
    """Write the slices of a plane; split and record of each target on each."""
    cut = {target: volume.organ(target).slices(plane, window=(128, 256)) for target in ORGANS}
    pixels = {target: np.count_nonzero(np.asarray(each.pixels), axis=(1, 2)) for target, each in cut.items()}
    lacking = {target: surely_lacking(each) for target, each in pixels.items()}
    shown = np.count_nonzero(np.asarray(volume.labels.slices(plane).pixels), axis=(1, 2)) > 0
    looks = [volume.image.slices(plane, look) for look in LOOKS]
    for place, index in enumerate(range(0, len(shown), EVERY[plane])):
        if not shown[index]:
            continue
        name = f"ct_{plane}_{index:03d}.png"
        write_rgb(out / "images" / name, looks[place % len(LOOKS)][index].rgb_square())
        split = "val" if place % VALIDATION == VALIDATION // 2 else "train"
        for target, organ in cut.items():
            if not lacking[target][index] and pixels[target][index] < SMALLEST:
                continue
            file = f"{target}/{name}"
            write_mask(out / "masks" / file, organ[index].rgb_square()[..., 0] > 0.5)
            yield split, ImageRecord(name, file, {"p1": target}, bool(lacking[target][index]), target)


def main() -> None:
    """Write all planes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    volume = read_labelled(args.volume)
    records: dict[str, list[ImageRecord]] = {"train": [], "val": []}
    for plane in EVERY:
        for split, record in slice_records(volume, plane, args.out):
            records[split].append(record)
    for split, rows in records.items():
        write_text(args.out / "anns" / f"{split}.json", format_records(rows))
        print(f"{split}: {len({row.img_name for row in rows})} slices, {len(rows)} records")


if __name__ == "__main__":
    main()
