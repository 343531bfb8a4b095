"""Write axial, coronal and sagittal slices of Colin27 with brain masks, in the benchmark's layout.

The atlas names grey matter and deep nuclei; the brain is those regions, closed by 10 mm and with the holes of every
slice filled, on voxels brighter than air. Half of the slices are skull-stripped, so that templates without a skull are
known too. Slices of one head cannot be split by patient: every tenth goes to validation, to watch training only.
A second folder, ``brain_absent``, has pictures of other parts of the body, from MedNIST's training part, and no masks.

    python experiments/pocket/prepare_brain.py ../shared/data/anatomy runs/data
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from mednist import read_mednist
from numpy.typing import NDArray
from scipy import ndimage

from vesalius.data.annotations import ImageRecord
from vesalius.data.prepare.journal import format_records
from vesalius.files import write_text
from vesalius.imaging import Plane, read_image, write_mask, write_rgb
from vesalius.imaging.lazy import Pixels
from vesalius.prompts import Variants, find_target

CLOSING_MM = 10
OTHERS = 40
"""Pictures of each other part of the body."""
STEP: Mapping[Plane, int] = {"axial": 2, "coronal": 3, "sagittal": 3}
PROMPTS = {
    "p0": "",
    "p1": "brain",
    "p2": ["brain in an MR image", "the brain on T1-weighted MRI"],
    "p3": ["whole brain", "human brain", "brain tissue in a magnetic resonance image of the head"],
}
Picture = NDArray[np.float32]
Mask = NDArray[np.bool_]


def brain_mask(regions: Pixels, t1: Pixels) -> Mask:
    """Grey-matter regions to one solid brain."""
    solid = close(np.pad(regions > 0, CLOSING_MM + 1))
    for axis in range(3):
        for section in np.moveaxis(solid, axis, 0):
            section[:] = ndimage.binary_fill_holes(section)
    inner = slice(CLOSING_MM + 1, -CLOSING_MM - 1)
    return np.asarray(solid[inner, inner, inner] & (t1 > 0))


def close(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Closing by a ball: grow by its radius, then shrink by it."""
    grown = ndimage.distance_transform_edt(~mask) <= CLOSING_MM
    shrunk: NDArray[np.bool_] = ndimage.distance_transform_edt(grown) > CLOSING_MM
    return shrunk


def head_slices(atlas: Path) -> Iterator[tuple[str, Picture, Mask]]:
    """Name, picture and mask of slices of the atlas."""
    t1, regions = read_image(atlas / "t1.nii.gz"), read_image(atlas / "regions.nii.gz")
    inside = brain_mask(np.asarray(regions.pixels), np.asarray(t1.pixels))
    brain = replace(t1, pixels=inside.astype(np.uint8) * 255)
    for plane, step in STEP.items():
        images, masks = t1.slices(plane), brain.slices(plane, window=(128, 256))
        for place, index in enumerate(range(0, len(images), step)):
            inside = masks[index].rgb[..., 0] > 0.5
            yield f"colin27_{plane}_{index:03d}", images[index].rgb * (inside[..., None] if place % 2 else 1), inside


def other_slices(mednist: Path) -> Iterator[tuple[str, Picture, Mask]]:
    """The same of pictures without a brain."""
    taken: dict[str, int] = {}
    for each in read_mednist(mednist):
        number = taken.get(each.series, 0)
        if each.test or not each.native or each.series.endswith("HeadCT") or number == OTHERS:
            continue
        taken[each.series] = number + 1
        yield f"{each.series.replace('/', '_')}_{number:03d}", each.rgb, np.zeros(each.picture.shape[:2], bool)


def write(slices: Iterator[tuple[str, Picture, Mask]], prompts: Mapping[str, Variants], out: Path) -> None:
    """Images, masks and annotations; every tenth is for validation, which stands in for the test split too."""
    records: dict[str, list[ImageRecord]] = {"train": [], "val": []}
    for place, (name, rgb, inside) in enumerate(slices):
        write_rgb(out / "images" / f"{name}.png", rgb)
        write_mask(out / "masks" / f"{name}.png", inside)
        records["val" if place % 10 == 5 else "train"].append(ImageRecord(f"{name}.png", f"{name}.png", prompts))
    for split, rows in (records | {"test": records["val"]}).items():
        write_text(out / "anns" / f"{split}.json", format_records(rows))


def main() -> None:
    """Write both folders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("anatomy", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    write(head_slices(args.anatomy / "brain_atlas"), PROMPTS, args.out / "brain_mr")
    # The catalog does not know this folder, so nothing else is said to be absent from chests and abdomens.
    asked = {f"p{place}": list(group) for place, group in enumerate(find_target("brain").wordings[:2], 1)}
    write(other_slices(args.anatomy / "mednist.tar"), asked, args.out / "brain_absent")


if __name__ == "__main__":
    main()
