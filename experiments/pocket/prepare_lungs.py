"""Write slices of chest CTs with their lungs, found by their HU, in the benchmark's layout.

Air inside the body is lung where it is one of the largest pieces; bowel gas is smaller. The masks were looked at.
Slices are shown in windows for soft tissue, for lungs and for everything, as users' volumes are; slices away from the
lungs lack them. Nobody's series is in two splits.

    python experiments/pocket/prepare_lungs.py ../shared/data/anatomy runs/data/lungs_ct
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vesalius.data.annotations import ImageRecord
from vesalius.data.prepare.journal import format_records
from vesalius.files import write_text
from vesalius.imaging import read_image, write_mask, write_rgb

SERIES = {
    "train": ("lidc_0314_00", "cmb_crc_01068_00", "acrin_001_wb_00"),
    "val": ("waw_tace_1720_00",),
}
"""Under ``anatomy/series``."""
LOOKS = {"": None, "_lung": "lung", "_wide": "wide"}
"""Windows, and what they add to a picture's name."""
AIR = -400
"""HU under which a voxel holds air."""
LEAST_SHARE = 0.08
"""Of the largest piece of air, for a piece to be lung."""
SMALLEST, GONE = 0.01, 3
"""Share of a slice that a lung must take to be outlined; slices away from the last lung that surely have none."""


def find_lungs(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Lungs of a CT in HU, [D, H, W]."""
    air = np.stack([ndimage.binary_fill_holes(find_body(each)) for each in values]) & (values < AIR)
    pieces, sizes = measure_pieces(air)
    kept = np.isin(pieces, np.flatnonzero(sizes > LEAST_SHARE * sizes.max()))
    return np.stack([ndimage.binary_fill_holes(ndimage.binary_closing(each)) for each in kept])


def find_body(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The largest piece of tissue of a slice, which the table is not."""
    pieces, sizes = measure_pieces(ndimage.binary_opening(values > AIR, iterations=2))
    return pieces == sizes.argmax() if sizes.any() else np.zeros_like(pieces, bool)


def measure_pieces(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The number of each voxel's piece, 0 outside, and how many voxels each piece has; what is outside counts none."""
    pieces, _ = ndimage.label(mask)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return pieces, sizes


def slices_of(path: Path, out: Path) -> Iterator[ImageRecord]:
    """Write the slices of one CT."""
    image = replace(read_image(path), modality="CT")
    looks = {name: image.slices(window=look) for name, look in LOOKS.items()}
    lungs = find_lungs(np.asarray(looks[""].pixels, np.float64))
    sizes = lungs.mean(axis=(1, 2))
    near = ndimage.maximum_filter1d(sizes, 2 * GONE + 1, mode="nearest")
    for index, (size, around) in enumerate(zip(sizes, near, strict=True)):
        for look, slices in looks.items() if size >= SMALLEST or around == 0 else ():
            name = f"{path.name.partition('.')[0]}{look}_{index:03d}.png"
            write_rgb(out / "images" / name, slices[index].rgb)
            write_mask(out / "masks" / name, lungs[index] & (size >= SMALLEST))
            yield ImageRecord(name, name, {"p1": "lungs"}, target="lungs", absent=around == 0)


def main() -> None:
    """Write all series."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("anatomy", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    for split, names in SERIES.items():
        paths = [args.anatomy / "series" / f"{name}.nii.gz" for name in names]
        records = [record for path in paths for record in slices_of(path, args.out)]
        write_text(args.out / "anns" / f"{split}.json", format_records(records))
        print(f"{split}: {len(records)} slices, {sum(not each.absent for each in records)} with lungs")


if __name__ == "__main__":
    main()
