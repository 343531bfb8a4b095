"""Write slices of strangers' CTs and MR images, and what they show and lack, in the benchmark's layout.

On CT lungs, brain and skull are found by their HU, hearts were outlined by looking (``hearts.toml``), and all masks
were looked at. Which slices lack these and other targets say the labels that naming learns from
(recipes/anatomy/people.toml), and which show some without an outline: shown.json lists these by picture. Slices of CT
that show one of the four are written in three windows, as users' volumes are shown. Nobody is in two splits. Brain and
skull of pictures with a haemorrhage are found alike, in the window in which they come.

    python experiments/pocket/prepare_people.py ../shared/data runs/data
"""

import argparse
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pack_images import SHOWN, LeftOut, find_pictures
from people import Row, label_of, read_rows
from PIL import Image, ImageDraw
from prepare_heads import SIDE, Grey, read_grey, square
from scipy import ndimage

from vesalius.data.annotations import SPLITS, ImageRecord
from vesalius.data.prepare.journal import format_records
from vesalius.files import write_json, write_text
from vesalius.imaging import read_image, write_mask, write_rgb
from vesalius.imaging.slices import SliceStack
from vesalius.prompts.anatomy import AnatomyLabel

HEARTS = Path(__file__).with_name("hearts.toml")
VAL = {"waw_1720", "cptac_01192", "ct_006", "ct_014", "niivue", "rorden_t1", "rorden_dwi"}
TEST = {"ct_003", "ct_007", "ct_016", "ct_026", "pycerr_hn", "fnndsc_sag", "seg3d"}
LEFT_OUT = {"onko_rt01", "onko_rt02", "ircad17"}
"""People whose outlines experiments/benchmarks/volumes.py compares with."""
LUNGS_UNSURE = ("rider_0117", "ct_009", "ct_023", "ct_024", "ct_028", "ct_030_4")
"""Files whose lungs are ill, cut off or beside much bowel gas, so that their HU do not tell."""
HAEMORRHAGES = ("brain-intracranial-hemorrhage", "multiclass-brain-hemorrhage")
HEAD_MM = 240.0
"""Side of their pictures, about."""
CHEST_LOOKS, HEAD_LOOKS = (None, "lung", "wide"), (None, "brain", "wide")
APART_MM = 8.0
"""Between slices of a series, at least."""
AIR, BONE = -400, 200
"""HU under which a voxel holds air, and over which it is bone."""
WATERY = (-30, 110)
"""HU of a brain with its fluid and blood."""
WHITE, BLACK = 0.97, 0.03
"""Shades of bone and of air where a picture comes in the brain's window."""
LEAST_SHARE = 0.08
"""Of the largest piece of air, for a piece to be lung."""
SMALLEST = 0.01
"""Share of a slice that lungs must take to be outlined."""
LEAST_BRAIN_MM2, LEAST_FILLED = 3000.0, 0.9
"""Area that a ring of bone must enclose, and the share of it that is watery, for all of that to be brain."""
RING_GAP_MM = 20.0
"""Gaps so wide in the ring, at sutures and thin places, are bridged."""
SKULL_MM = 25.0
"""Bone so near to the brain is skull."""
OUTLINED = {"lungs": "lungs", "heart": "heart", "brain": "brain", "skull": "head"}
"""Target -> the organ or part of the body by whose label a slice lacks it."""
LACKED = {
    "liver": "liver", "spleen": "liver", "stomach": "liver", "pancreas": "liver", "kidney": "kidneys",
    "intestine": "intestine", "colon": "intestine", "hip_bone": "pelvic bone", "bladder": "pelvic bone",
}  # fmt: skip
"""The same of targets that are not outlined, where the slice is away from their part of the body, too."""
PARTS = {"hip_bone": "pelvis", "bladder": "pelvis"}
"""Those that belong elsewhere than to the abdomen."""
TOLD = OUTLINED | {
    "liver": "liver", "kidney": "kidneys", "intestine": "intestine", "hip_bone": "pelvic bone",
}  # fmt: skip
"""Target -> the organ by whose label a slice of CT shows it, outlined or not."""
TOLD_MR = {"brain": "brain", "kidney": "kidneys", "intestine": "intestine"}
"""The same of MR: what is learnt from outlines there."""
Mask = NDArray[np.bool_]
HU = NDArray[np.float64]


def find_lungs(values: HU) -> Mask:
    """Lungs of a CT, [D, H, W]: the largest pieces of air inside the body; bowel gas is smaller."""
    air = np.stack([ndimage.binary_fill_holes(find_body(each)) for each in values]) & (values < AIR)
    pieces, sizes = measure_pieces(air)
    kept = np.isin(pieces, np.flatnonzero(sizes > LEAST_SHARE * sizes.max()))
    return np.stack([ndimage.binary_fill_holes(ndimage.binary_closing(each)) for each in kept])


def find_body(values: HU) -> Mask:
    """The largest piece of tissue of a slice, which the table is not."""
    return largest(ndimage.binary_opening(values > AIR, iterations=2))


def find_brain(bone: Mask, watery: Mask, spacing_mm: float) -> tuple[Mask, Mask] | None:
    """Brain and skull of a slice [H, W] on which a ring of bone encloses nothing but brain; None of others."""
    closed = ndimage.binary_closing(np.pad(bone, 12), disc(round(RING_GAP_MM / 2 / spacing_mm)))[12:-12, 12:-12]
    inside = largest(ndimage.binary_opening(ndimage.binary_fill_holes(closed) & ~bone, disc(round(4 / spacing_mm))))
    brain = ndimage.binary_opening(inside & watery, disc(1))
    if inside.sum() * spacing_mm**2 < LEAST_BRAIN_MM2 or brain.sum() < LEAST_FILLED * inside.sum():
        return None
    brain = ndimage.binary_fill_holes(largest(ndimage.binary_closing(brain, disc(2))))
    return brain, bone & (ndimage.distance_transform_edt(~brain) * spacing_mm < SKULL_MM)


def disc(radius: int) -> Mask:
    """A structuring element, at least 3 wide."""
    reach = np.arange(-max(1, radius), max(1, radius) + 1)
    return np.add.outer(reach**2, reach**2) <= max(1, radius) ** 2 + 0.5


def largest(mask: Mask) -> Mask:
    """The largest piece."""
    pieces, sizes = measure_pieces(mask)
    return pieces == sizes.argmax() if sizes.any() else np.zeros_like(mask, bool)


def measure_pieces(mask: Mask) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The number of each voxel's piece, 0 outside, and how many voxels each piece has; what is outside counts none."""
    pieces, _ = ndimage.label(mask)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return pieces, sizes


def draw_hearts(outlines: Mapping[int, list[tuple[float, float]]]) -> dict[int, Mask]:
    """Slice -> heart [S, S], of the outlined slices and, by their distances to both outlines, those between."""
    drawn = {index: fill(points) for index, points in sorted(outlines.items())}
    depths = {
        index: ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
        for index, mask in drawn.items()
    }
    for first, last in zip(list(depths), list(depths)[1:], strict=False):
        for index in range(first + 1, last):
            share = (index - first) / (last - first)
            drawn[index] = (1 - share) * depths[first] + share * depths[last] > 0
    return drawn


def fill(points: list[tuple[float, float]]) -> Mask:
    """A polygon whose corners are in percent."""
    picture = Image.new("1", (SIDE, SIDE))
    ImageDraw.Draw(picture).polygon([(x * SIDE / 100, y * SIDE / 100) for x, y in points], fill=1)
    return np.asarray(picture, bool)


@dataclass(frozen=True)
class Seen:
    """A slice, what it shows and what it lacks."""

    name: str
    looks: dict[str, Grey]
    """Window -> [S, S] in [0, 1]; the first is the usual one."""
    targets: dict[str, Mask | None]
    """Outlines, or None where there is nothing."""
    shown: tuple[str, ...] = ()
    """Targets that it shows, too, and nobody has outlined."""


def see_mr(anatomy: Path, row: Row) -> Iterator[Seen]:
    """Slices of one MR series."""
    slices = read_image(anatomy / "series" / row["file"]).slices()
    for index in spaced(slices):
        label = label_of(row, index)
        if label is not None:
            told = tuple(each for each, organ in TOLD_MR.items() if organ in label.organs)
            picture = {"usual": square(slices[index].rgb_square()[..., 0])}
            yield Seen(name_slice(row, index), picture, dict.fromkeys(find_lacked(label)), told)


def spaced(slices: SliceStack) -> range:
    """Numbers of slices that are far enough apart."""
    return range(0, len(slices), max(1, round(APART_MM / (slices.slice_spacing_mm or APART_MM))))


def name_slice(row: Row, index: int) -> str:
    """After its file and number."""
    return f"{row['file'].partition('.')[0]}_{index:03d}"


def see_ct(anatomy: Path, row: Row) -> Iterator[Seen]:
    """Slices of one CT."""
    file = row["file"]
    image = read_image(anatomy / ("ct_slices" if file.startswith("ct_") else "series") / file)
    slices = {look: replace(image, modality="CT").slices(window=look) for look in {*CHEST_LOOKS, *HEAD_LOOKS}}
    usual = slices[None]
    values = np.asarray(usual.pixels, np.float64)
    spacing = usual.pixel_spacing_mm or (1.0, 1.0)
    lungs = find_lungs(values)
    hearts = draw_hearts({int(key): value for key, value in read_hearts().get(file, {}).items()})
    for index in spaced(usual):
        label = label_of(row, index)
        if label is None:
            continue
        targets: dict[str, Mask | None] = dict.fromkeys(find_lacked(label))
        solid = square(values[index] > AIR) > 0.5
        if "lungs" in label.organs and lungs[index].mean() >= SMALLEST and not file.startswith(LUNGS_UNSURE):
            targets["lungs"] = square(lungs[index]) > 0.5
        if index in hearts:
            targets["heart"] = hearts[index] & solid
        if "brain" in label.organs:
            smooth = ndimage.gaussian_filter(values[index], 1)
            watery = (smooth > WATERY[0]) & (smooth < WATERY[1])
            targets |= outline_head(values[index] > BONE, watery, float(np.mean(spacing)))
        shown = [each for each, mask in targets.items() if mask is not None]
        looks = (HEAD_LOOKS if "brain" in shown else CHEST_LOOKS)[: None if shown else 1]
        if targets:
            pictures = {look or "usual": square(slices[look][index].rgb_square()[..., 0]) for look in looks}
            told = tuple(each for each, organ in TOLD.items() if organ in label.organs and each not in targets)
            yield Seen(name_slice(row, index), pictures, targets, told)


def outline_head(bone: Mask, watery: Mask, spacing_mm: float) -> dict[str, Mask]:
    """Brain and skull, [S, S]; nothing where they are not sure."""
    found = find_brain(bone, watery, spacing_mm)
    return {each: square(mask) > 0.5 for each, mask in zip(("brain", "skull"), found or (), strict=False)}


def see_haemorrhages(root: Path, split: str) -> Iterator[Seen]:
    """Pictures of one folder."""
    for _, packed, _ in find_pictures([root], (split,), LeftOut()):
        grey = read_grey(root / "images" / packed.name)
        targets = outline_head(grey > WHITE, (grey > BLACK) & (grey < WHITE), HEAD_MM / SIDE)
        if targets:
            yield Seen(f"{root.name}_{Path(packed.name).stem}", {"usual": grey}, dict(targets))


def find_lacked(label: AnatomyLabel) -> list[str]:
    """Targets that a slice surely does not show."""
    away = [each for each, organ in LACKED.items() if lacks(label, organ) and lacks(label, PARTS.get(each, "abdomen"))]
    return [*(each for each, organ in OUTLINED.items() if lacks(label, organ)), *away]


def lacks(label: AnatomyLabel, what: str) -> bool:
    """Whether a slice surely does not show an organ or a part of the body."""
    return what not in label.organs | label.stations | label.uncertain


@cache
def read_hearts() -> dict[str, dict[str, list[tuple[float, float]]]]:
    """File -> slice -> corners."""
    return tomllib.loads(HEARTS.read_text(encoding="utf-8"))


def split_of(patient: str) -> str:
    """Where somebody's pictures go."""
    return "val" if patient in VAL else "test" if patient in TEST else "train"


def name_of(seen: Seen, look: str) -> str:
    """Of the file of a slice in a window."""
    return f"{seen.name}_{look}.png"


def write(seen: Seen, out: Path) -> Iterator[ImageRecord]:
    """Pictures and masks of a slice."""
    for look, grey in seen.looks.items():
        yield from write_picture(out, name_of(seen, look), grey, seen.targets)


def write_picture(out: Path, name: str, grey: Grey, targets: Mapping[str, Mask | None]) -> Iterator[ImageRecord]:
    """One picture [S, S] and a mask a target, empty where there is nothing."""
    write_rgb(out / "images" / name, np.repeat(grey[..., None], 3, axis=2))
    for target, mask in targets.items():
        write_mask(out / "masks" / target / name, np.zeros((SIDE, SIDE), bool) if mask is None else mask)
        yield ImageRecord(name, f"{target}/{name}", {"p1": target}, target=target, absent=mask is None)


def write_folder(sights: Iterable[tuple[str, Seen]], out: Path) -> None:
    """Slices and their splits, as one data set."""
    records: dict[str, list[ImageRecord]] = {split: [] for split in SPLITS}
    shown: dict[str, tuple[str, ...]] = {}
    for split, seen in sights:
        records[split] += write(seen, out)
        shown |= {name_of(seen, look): seen.shown for look in seen.looks if seen.shown}
    write_json(out / SHOWN, shown)
    for split, rows in records.items():
        write_text(out / "anns" / f"{split}.json", format_records(rows))
        names = {each.img_name for each in rows}
        outlined = Counter(each.target for each in rows if not each.absent)
        told = Counter(target for name in names for target in shown.get(name, ()))
        print(f"{out.name}, {split}: {len(names)} pictures; outlined {dict(outlined)}, shown {dict(told)}")


def see_all(shared: Path, modality: str) -> Iterator[tuple[str, Seen]]:
    """Split and slice, of all of a modality."""
    for row in read_rows():
        if row["modality"] == modality and row["patient"] not in LEFT_OUT:
            see = see_ct if modality == "CT" else see_mr
            yield from ((split_of(row["patient"]), seen) for seen in see(shared / "anatomy", row))
    for folder in HAEMORRHAGES if modality == "CT" else ():
        for split in ("train", "val"):
            yield from ((split, seen) for seen in see_haemorrhages(shared / "targets" / folder, split))


def main() -> None:
    """Write a folder for each modality."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    for modality in ("CT", "MR"):
        write_folder(see_all(args.shared, modality), args.out / f"people_{modality.lower()}")


if __name__ == "__main__":
    main()
