"""Write abdomens as MR shows them, with livers, spleens, kidneys and more, in the benchmark's layout.

Sets of abdominal MR mark one or two organs each, and none marks livers or spleens. So these and some kidneys and
stomachs were outlined by looking on pictures of three sets (``abdomens.toml``), each in the split that it has.

Organs are marked on CT, too: its pictures of training are painted as MR would show them, and keep their outlines. On CT
the shade says what is fat, soft tissue and bone, and each outlined organ gets a shade of its own; of every second
painting all shades are drawn by chance, as no table knows all sequences (Billot et al., SynthSeg, 2023). Many sets come
in a window in which fat is as black as air: what is black between the organs is painted as fat there.

    python experiments/pocket/prepare_abdomens.py ../shared/data runs/data
"""

import argparse
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from other_sequences import changed, resample
from pack_images import LeftOut, find_pictures
from pack_words import TARGETS
from prepare_heads import SIDE, Grey, read_grey, square
from prepare_people import Mask, disc, fill, largest, write_picture
from scipy import ndimage

from vesalius.data.annotations import SPLITS, ImageRecord
from vesalius.data.prepare.journal import format_records
from vesalius.files import write_text

OUTLINED, PAINTED = "abdomens_mr", "abdomens_painted"
OUTLINES = Path(__file__).with_name("abdomens.toml")
SOURCES = {
    "curvas-abdominal-multiorgan": 1, "liver_ct": 4, "spleen": 1, "ircad-digestive-cancer-liver": 1, "trunk_ct": 1,
}  # fmt: skip
"""Folder of CT -> one picture in so many is painted; neighbours look alike."""
BLACK = 0.04
"""Shade of CT under which there is air, or fat where the window leaves it black, too."""
LEAST_FAT = 0.06
"""Shade that at most a tenth of a body is darker than where the window shows fat."""
WIDE = 22
"""Pixels: what is black and wider than twice as much is a lung or gas, not fat between or around organs."""
ANCHORS = (0.0, 0.5, 0.85, 1.05, 1.5, 2.2)
"""Shades of CT in those of a solid organ: fat up to the second, muscle at the next two, vessels with contrast, bone."""
SIDES = (150, 320)
"""Pixels across what is painted, from and to."""


@dataclass(frozen=True)
class Contrast:
    """How a sequence shows what CT shows."""

    tissues: tuple[float, ...]
    """Shade of each of ``ANCHORS``."""
    organs: dict[str, float]
    """Row of the prompt bank -> shade."""


SEQUENCES = {
    "t1": Contrast(
        (0.85, 0.85, 0.35, 0.35, 0.3, 0.45),
        {"liver": 0.5, "spleen": 0.33, "kidney": 0.35, "pancreas": 0.5, "stomach": 0.3, "bladder": 0.12,
         "intestine": 0.35, "aorta": 0.1},
    ),
    "t1_contrast": Contrast(
        (0.15, 0.15, 0.35, 0.35, 0.9, 0.2),
        {"liver": 0.6, "spleen": 0.65, "kidney": 0.85, "pancreas": 0.6, "stomach": 0.3, "bladder": 0.15,
         "intestine": 0.45, "aorta": 0.95},
    ),
    "t2": Contrast(
        (0.75, 0.75, 0.15, 0.15, 0.08, 0.4),
        {"liver": 0.28, "spleen": 0.5, "kidney": 0.6, "pancreas": 0.42, "stomach": 0.6, "bladder": 1.0,
         "intestine": 0.45, "aorta": 0.05},
    ),
    "t2_fat_suppressed": Contrast(
        (0.12, 0.12, 0.18, 0.18, 0.1, 0.15),
        {"liver": 0.3, "spleen": 0.65, "kidney": 0.8, "pancreas": 0.45, "stomach": 0.7, "bladder": 1.0,
         "intestine": 0.5, "aorta": 0.06},
    ),
}  # fmt: skip
ORGANS = tuple(SEQUENCES["t1"].organs)
"""What is kept of outlines."""
Picture = tuple[str, Grey, Mapping[str, Mask | None]]
"""Name, shades [S, S] in [0, 1], and row of the prompt bank -> outline, or None where there is nothing."""


def read_by_looking(shared: Path, split: str) -> Iterator[Picture]:
    """Pictures of MR and what was outlined on them by looking."""
    for folder, outlines in tomllib.loads(OUTLINES.read_text(encoding="utf-8")).items():
        root = shared / "targets" / folder
        for _, packed, _ in find_pictures([root], (split,), LeftOut()):
            if packed.name in outlines:
                drawn = {target: join(pieces) for target, pieces in outlines[packed.name].items()}
                yield f"{folder}_{Path(packed.name).stem}.png", read_grey(root / "images" / packed.name), drawn


def join(pieces: list[list[tuple[float, float]]]) -> Mask | None:
    """One outline of all polygons, whose corners are in percent; None of none."""
    return np.any([fill(each) for each in pieces], axis=0) if pieces else None


def read_painted(shared: Path, made: Path, split: str) -> Iterator[Picture]:
    """Pictures of CT as MR would show them, each in a sequence's contrast and in one by chance."""
    names = tomllib.loads(TARGETS.read_text(encoding="utf-8"))
    sequences = cycle(SEQUENCES.items())
    for folder, every in SOURCES.items():
        root = next(parent / folder for parent in (made, shared / "targets") if (parent / folder).exists())
        for _, packed, masks in [*find_pictures([root], (split,), LeftOut())][::every]:
            grey = read_grey(root / "images" / packed.name)
            outlines = {
                names[folder]["targets"][target]: read_grey(path) > 0.5
                for target, path in zip(packed.targets, masks, strict=True)
            }
            if not any(outlines[each].any() for each in ORGANS if each in outlines):
                continue
            stem = f"{folder}_{Path(packed.name).stem}"
            rng = np.random.default_rng(list(stem.encode()))
            kept = {each: mask if mask.any() else None for each, mask in outlines.items() if each in ORGANS}
            for name, contrast in (next(sequences), ("chance", by_chance(rng))):
                yield f"{stem}_{name}.png", paint(grey, outlines, contrast, rng), kept


def by_chance(rng: np.random.Generator) -> Contrast:
    """All shades drawn, those of muscle alike."""
    fat, muscle, blood, bone = rng.uniform(0.05, 1, 4)
    return Contrast((fat, fat, muscle, muscle, blood, bone), {each: rng.uniform(0.1, 1) for each in ORGANS})


def paint(grey: Grey, outlines: Mapping[str, Mask], contrast: Contrast, rng: np.random.Generator) -> Grey:
    """A slice of CT [S, S] in [0, 1] as MR would show it."""
    body = find_body(grey)
    found = np.interp(grey / solid_shade(grey, outlines, body), ANCHORS, changed(contrast.tissues, rng))
    for organ, outline in outlines.items():
        if organ in contrast.organs and outline.any():
            edge = ndimage.gaussian_filter(outline.astype(np.float32), 1)
            texture = (grey - np.median(grey[outline])) * rng.uniform(-0.7, 0.7)
            found = edge * (contrast.organs[organ] * rng.uniform(0.8, 1.2) + texture) + (1 - edge) * found
    found[~body | find_air(grey, outlines, body)] = 0.05 * rng.random()
    coil = ndimage.zoom(rng.uniform(0.65, 1.25, (4, 4)), SIDE / 4, order=1, mode="nearest", grid_mode=True)
    lit = ndimage.gaussian_filter(found, 0.5) * coil
    return square(resample((lit / max(0.4, float(np.quantile(lit, 0.995)))).astype(np.float32), SIDES, rng))


def find_body(grey: Grey) -> Mask:
    """What is not black and hangs together, with the fat that a window leaves black around it; the table is thin."""
    lit = np.pad(ndimage.binary_opening(grey > BLACK, disc(2)), 2 * WIDE)
    closed = ndimage.distance_transform_edt(ndimage.distance_transform_edt(~lit) < WIDE) > WIDE
    return largest(np.asarray(ndimage.binary_fill_holes(closed)))[2 * WIDE : -2 * WIDE, 2 * WIDE : -2 * WIDE]


def solid_shade(grey: Grey, outlines: Mapping[str, Mask], body: Mask) -> float:
    """Of liver and spleen, or of what is not black."""
    solid = np.any([mask for name, mask in outlines.items() if name in ("liver", "spleen")] or [np.zeros_like(body)], 0)
    return max(0.1, float(np.median(grey[solid if solid.any() else body & (grey > BLACK)])))


def find_air(grey: Grey, outlines: Mapping[str, Mask], body: Mask) -> Mask:
    """All that is black where the window shows fat; else outlined lungs, and what is black and wide."""
    black = grey < BLACK
    if np.quantile(grey[body], 0.1) > LEAST_FAT:
        return black
    deep = ndimage.distance_transform_edt(black & body) > WIDE
    wide = ndimage.distance_transform_edt(~deep) < WIDE if deep.any() else deep
    return np.asarray(black & (wide | outlines.get("lungs", deep)))


def write(folder: Path, pictures: Mapping[str, Iterator[Picture]]) -> None:
    """Pictures of all splits, as one data set."""
    for split, some in pictures.items():
        rows: list[ImageRecord] = [row for picture in some for row in write_picture(folder, *picture)]
        write_text(folder / "anns" / f"{split}.json", format_records(rows))
        outlined = Counter(each.target for each in rows if not each.absent)
        print(f"{folder.name}, {split}: {len({each.img_name for each in rows})} pictures, {dict(outlined)}")


def main() -> None:
    """Write both folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("made", type=Path)
    args = parser.parse_args()
    write(args.made / OUTLINED, {split: read_by_looking(args.shared, split) for split in SPLITS})
    write(args.made / PAINTED, {split: read_painted(args.shared, args.made, split) for split in ("train", "val")})


if __name__ == "__main__":
    main()
