"""Write pictures of heads without a tumour or haemorrhage, and of heads of equal halves, in the benchmark's layout.

Nearly every head that pocket learns from shows a tumour, a haemorrhage or MS lesions, so by itself it takes any head
for a sign of them. ``healthy_heads.toml`` names slices that show none. They come from other scanners than the tumours.
So that the scanner does not give the answer away, each training picture with a lesion on one side alone is given twice
more: its healthy half beside its mirror image, where nothing is to be found, and its other half beside its mirror
image, where all of it is to be found twice.

    python experiments/pocket/prepare_heads.py ../shared/data runs/data
"""

import argparse
import json
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pack_images import LeftOut, find_pictures
from PIL import Image
from scipy import ndimage

from vesalius.data.annotations import ImageRecord
from vesalius.data.prepare.journal import format_records
from vesalius.files import write_text
from vesalius.imaging import read_image, write_mask, write_rgb
from vesalius.prompts import find_target

HEADS = Path(__file__).with_name("healthy_heads.toml")
LACKS = ("brain_tumour", "brain_haemorrhage", "multiple_sclerosis_lesions", "nasopharyngeal_carcinoma")
LESIONS = {
    "brain_tumour_figshare": ("mr", "brain_tumour"),
    "brisc2025-braintumor": ("mr", "brain_tumour"),
    "brisc2026-brain-tumor": ("mr", "brain_tumour"),
    "multiclass-brats2023-subset": ("mr", "brain_tumour"),
    "brain-intracranial-hemorrhage": ("ct", "brain_haemorrhage"),
    "multiclass-brain-hemorrhage": ("ct", "brain_haemorrhage"),
}
"""Folder -> modality, and what its pictures show."""
SIDE = 320
COARSE = 80
"""Side at which the plane between the halves is looked for."""
LEAST_ALIKE = 0.7
"""Correlation of a picture and its mirror image, away from the lesion, under which it has no halves."""
LEAST_COMPARED = 0.1
"""Share of a picture that must be lit and away from the lesion for that."""
LEAST_LIT = 0.08
"""Share of a slice without which there is no head to see."""
Grey = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Head:
    """One picture, and what it shows and lacks."""

    name: str
    grey: Grey
    """[S, S] in [0, 1]."""
    targets: Mapping[str, Mask | None]
    """Rows of the prompt bank -> outline, or None where there is nothing."""


def healthy(series: Path, row: dict[str, Any]) -> Iterator[Head]:
    """Slices of one series; of CT in the usual window and in the brain's."""
    image = read_image(series / row["file"])
    first, last = row["slices"]
    targets = dict.fromkeys(row.get("lacks", LACKS))
    for window in (None, "brain") if row["modality"] == "ct" else (None,):
        stem = "_".join(filter(None, (row["file"].partition(".")[0], window)))
        slices = image.slices(window=window)
        for index in range(first, last + 1):
            grey = square(slices[index].rgb_square()[..., 0])
            if (grey > 0.1).mean() >= LEAST_LIT:
                yield Head(f"{stem}_{index:03d}", grey, targets)


def square(grey: NDArray[np.generic]) -> Grey:
    """To the side that pocket works on."""
    picture = Image.fromarray(np.asarray(grey, np.float32)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(picture, np.float32), 0, 1)


def doubled(root: Path, name: str, masks: list[Path], target: str) -> Iterator[Head]:
    """Both halves of one picture, each beside its mirror image; nothing where it has no ill and no healthy half."""
    grey = read_grey(root / "images" / name)
    lesion = np.any([read_grey(path) > 0.5 for path in masks], axis=0)
    for quarter in (0, 1):  # some pictures lie on their side
        turned, within = np.rot90(grey, quarter), np.rot90(lesion, quarter)
        alike, angle, shift = find_axis(turned, within)
        if alike >= LEAST_ALIKE:
            # Upright and centred, the plane between the halves lies in the middle.
            upright, marked = place(turned, angle, shift, 1), place(within.astype(np.float32), angle, shift, 0) > 0.5
            ill = [bool(half.any()) for half in np.split(marked, 2, axis=1)]
            for side in (0, 1) if sum(ill) == 1 else ():
                outline = np.rot90(beside_itself(marked, side), -quarter)
                picture = np.rot90(beside_itself(upright, side), -quarter)
                stem = f"{root.name}_{Path(name).stem}_{('left', 'right')[side]}"
                yield Head(stem, picture, {target: outline if ill[side] else None})
            return


def read_grey(path: Path) -> Grey:
    """A picture or mask, at pocket's side and in [0, 1]."""
    with Image.open(path) as opened:
        return square(np.asarray(opened.convert("L"), np.float32) / 255)


def beside_itself(picture: NDArray[np.generic], side: int) -> NDArray[np.generic]:
    """The left (0) or right half of a picture, and its mirror image as the other."""
    half = np.split(picture, 2, axis=1)[side]
    pair = (half[:, ::-1], half) if side else (half, half[:, ::-1])
    return np.concatenate(pair, axis=1)


def place(picture: NDArray[np.generic], angle: float, shift: float, order: int) -> Grey:
    """Turned by degrees about the middle, then moved sideways by a share of the side."""
    turned = ndimage.rotate(picture, angle, reshape=False, order=order)
    return np.asarray(ndimage.shift(turned, (0, shift * picture.shape[1]), order=order), np.float32)


def find_axis(grey: Grey, lesion: Mask) -> tuple[float, float, float]:
    """How alike the halves are at best, and the turn and shift after which they meet in the middle."""
    step = SIDE // COARSE
    small = np.asarray(grey[::step, ::step], np.float32)
    hidden = ndimage.binary_dilation(lesion[::step, ::step], iterations=3).astype(np.float32)
    near = max(find_shift(small, hidden, float(angle)) for angle in range(-24, 25, 3))
    return max(near, *(find_shift(small, hidden, near[1] + step) for step in (-2, -1, 1, 2)))


def find_shift(small: Grey, hidden: Grey, angle: float) -> tuple[float, float, float]:
    """The same for one turn."""
    turned, away = place(small, angle, 0, 1), place(hidden, angle, 0, 0) > 0.5
    best = (-1.0, 0.0, 0.0)
    for half_pixels in range(-20, 21):
        moved = np.roll(turned, half_pixels // 2, 1)
        moved = (moved + np.roll(moved, 1, 1)) / np.float32(2) if half_pixels % 2 else moved
        covered = np.roll(away, round(half_pixels / 2), 1)
        lit = ~(covered | covered[:, ::-1]) & ((moved > 0.05) | (moved[:, ::-1] > 0.05))
        if lit.mean() >= LEAST_COMPARED:
            alike = float(np.corrcoef(moved[lit], moved[:, ::-1][lit])[0, 1])
            best = max(best, (alike, angle, half_pixels / 2 / COARSE))
    return best


def write(heads: Iterator[tuple[str, Head]], out: Path) -> dict[str, int]:
    """Images, masks and annotations of one folder."""
    records: dict[str, list[ImageRecord]] = {"train": [], "val": [], "test": []}
    pictures: dict[str, int] = defaultdict(int)
    for split, head in heads:
        pictures[split] += 1
        write_rgb(out / "images" / f"{head.name}.png", np.repeat(head.grey[..., None], 3, axis=2))
        for target, outline in head.targets.items():
            mask = f"{target}/{head.name}.png"
            write_mask(out / "masks" / mask, np.zeros((SIDE, SIDE), bool) if outline is None else outline)
            asked = {"p1": find_target(target).phrases[0]}  # training asks in the bank's other words, too
            records[split].append(ImageRecord(f"{head.name}.png", mask, asked, target=target, absent=outline is None))
    for split, rows in records.items():
        write_text(out / "anns" / f"{split}.json", format_records(rows))
    return dict(pictures)


def find_heads(shared: Path, modality: str) -> Iterator[tuple[str, Head]]:
    """Split and picture, of all of a modality."""
    for row in tomllib.loads(HEADS.read_text(encoding="utf-8"))["series"]:
        if row["modality"] == modality:
            yield from ((row["split"], head) for head in healthy(shared / "anatomy" / "series", row))
    roots = [shared / "targets" / name for name, (kind, _) in LESIONS.items() if kind == modality]
    for root, packed, masks in find_pictures(roots, ("train",), LeftOut()):
        yield from (("train", head) for head in doubled(root, packed.name, masks, LESIONS[root.name][1]))


def main() -> None:
    """Write a folder for each modality."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    for modality in ("mr", "ct"):
        print(modality, json.dumps(write(find_heads(args.shared, modality), args.out / f"heads_{modality}")))


if __name__ == "__main__":
    main()
