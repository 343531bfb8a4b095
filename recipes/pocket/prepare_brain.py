"""Write axial, coronal and sagittal slices of Colin27 with brain masks, in the benchmark's layout.

The atlas names grey matter and deep nuclei; the brain is those regions, closed by 10 mm and with the holes of every
slice filled, on voxels brighter than air. Half of the slices are skull-stripped, so that templates without a skull are
known too. Slices of one head cannot be split by patient: every tenth goes to validation, to watch training only.
Nothing here is for testing.

    python recipes/pocket/prepare_brain.py ../shared/data/anatomy/brain_atlas runs/data/brain_mr
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vesalius.imaging import read_image, write_mask, write_rgb

CLOSING_MM = 10
STEP = {"axial": 2, "coronal": 3, "sagittal": 3}
PROMPTS = {
    "p0": "",
    "p1": "brain",
    "p2": ["brain in an MR image", "the brain on T1-weighted MRI"],
    "p3": ["whole brain", "human brain", "brain tissue in a magnetic resonance image of the head"],
}


def brain_mask(regions: NDArray[np.generic], t1: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Grey-matter regions to one solid brain."""
    solid = close(np.pad(regions > 0, CLOSING_MM + 1))
    for axis in range(3):
        for section in np.moveaxis(solid, axis, 0):
            section[:] = ndimage.binary_fill_holes(section)
    inner = slice(CLOSING_MM + 1, -CLOSING_MM - 1)
    return solid[inner, inner, inner] & (t1 > 0)


def close(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Closing by a ball: grow by its radius, then shrink by it."""
    grown = ndimage.distance_transform_edt(~mask) <= CLOSING_MM
    shrunk: NDArray[np.bool_] = ndimage.distance_transform_edt(grown) > CLOSING_MM
    return shrunk


def main() -> None:
    """Write images, masks and annotations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("atlas", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    t1, regions = read_image(args.atlas / "t1.nii.gz"), read_image(args.atlas / "regions.nii.gz")
    mask = brain_mask(regions.pixels, t1.pixels)
    brain = replace(t1, pixels=mask.astype(np.uint8) * 255)
    for folder in ("images", "masks", "anns"):
        (args.out / folder).mkdir(parents=True, exist_ok=True)
    records: dict[str, list[dict[str, object]]] = {"train": [], "val": [], "test": []}
    for plane, step in STEP.items():
        images, masks = t1.slices(plane), brain.slices(plane, window=(128, 256))
        for place, index in enumerate(range(0, len(images), step)):
            inside = masks[index].rgb[..., 0] > 0.5
            rgb = images[index].rgb * (inside[..., None] if place % 2 else 1)
            name = f"colin27_{plane}_{index:03d}.png"
            write_rgb(args.out / "images" / name, rgb)
            write_mask(args.out / "masks" / name, inside)
            records["val" if place % 10 == 5 else "train"].append(
                {"img_name": name, "mask_name": name, "prompts": PROMPTS}
            )
    records["test"] = records["val"]
    for split, rows in records.items():
        (args.out / "anns" / f"{split}.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
