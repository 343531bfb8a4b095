"""Write T1-weighted heads as other MR sequences would show them, with brains and skulls, in the benchmark's layout.

Brains are outlined in T1-weighted heads alone, and were found badly in others. What other sequences make of a tissue
is known (``other_sequences.py``), so pictures of training are painted anew, each in five ways, and keep their outlines;
the fifth has shades by chance, as no table knows all sequences (Billot et al., SynthSeg, 2023). So are T1-weighted
heads of strangers whom ``healthy_heads.toml`` gives to training; the model outlines their brains, where that is one
piece. One painting of each picture is written without all that lies outside of the brain, too, as many heads come; and
of pictures that come so, the brain is what is not black.

    python experiments/pocket/prepare_sequences.py runs/pocket/outlined.safetensors ../shared/data runs/data
"""

import argparse
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from anatomy import outline_brain
from numpy.typing import NDArray
from other_sequences import LEAST_BRAIN, LEAST_SOLID, OUTSIDE, SEQUENCES, TISSUES, Contrast, grow, paint, solidity
from pack_images import LeftOut, find_pictures
from people import read_rows
from prepare_heads import HEADS, read_grey, square
from prepare_people import disc, largest, write_picture
from scipy import ndimage

from vesalius.data.annotations import ImageRecord
from vesalius.data.prepare.journal import format_records
from vesalius.files import write_text
from vesalius.imaging import read_image
from vesalius.models.checkpoints import load_segmenter
from vesalius.models.pocket import PocketSegmenter

FOLDER = "brain_sequences"
T1 = {"T1", "T1CE"}
STRIPPED = "multiclass-brats2023-subset"
"""Folder whose heads come without their skulls."""
LEAST_LIT = 0.05
"""Shade of a stripped head over which there is brain."""
EVERY = 2
"""One outlined picture of training in so many is painted; neighbours look alike."""
PAINTINGS = (*SEQUENCES, "chance")
Picture = tuple[str, NDArray[np.float32], dict[str, NDArray[np.bool_]]]
"""Name, shades [S, S] in [0, 1], and target -> outline."""


def read_outlined(shared: Path, made: Path, split: str) -> Iterator[Picture]:
    """Pictures whose brain somebody has outlined."""
    roots = [shared / "targets" / "full-head-t1w", made / "brain_mr"]
    found = [
        (root, packed, masks) for root, packed, masks in find_pictures(roots, (split,), LeftOut()) if packed.targets
    ]
    for root, packed, masks in found[::EVERY]:
        outlines = {
            target or "brain": read_grey(path) > 0.5 for target, path in zip(packed.targets, masks, strict=True)
        }
        if "brain" in outlines:
            yield f"{root.name}_{Path(packed.name).stem}", read_grey(root / "images" / packed.name), outlines


def read_strangers(model: PocketSegmenter, shared: Path) -> Iterator[Picture]:
    """Slices of strangers' T1-weighted heads, outlined by the model."""
    protocols = {row["file"]: row.get("protocol") for row in read_rows()}
    outline = partial(outline_brain, model)
    for row in tomllib.loads(HEADS.read_text(encoding="utf-8"))["series"]:
        if row["split"] != "train" or protocols[row["file"]] not in T1:
            continue
        slices = read_image(shared / "anatomy" / "series" / row["file"]).slices()
        for index in range(row["slices"][0], row["slices"][1] + 1):
            grey = square(slices[index].rgb_square()[..., 0])
            yield (
                f"{row['file'].partition('.')[0]}_{index:03d}",
                grey,
                {"brain": outline(np.repeat(grey[..., None], 3, 2))},
            )


def read_stripped(shared: Path, split: str) -> Iterator[Picture]:
    """Heads without their skulls."""
    for root, packed, _ in find_pictures([shared / "targets" / STRIPPED], (split,), LeftOut()):
        grey = read_grey(root / "images" / packed.name)
        brain = ndimage.binary_fill_holes(largest(ndimage.binary_opening(grey > LEAST_LIT, disc(2))))
        yield f"{root.name}_{Path(packed.name).stem}", grey, {"brain": np.asarray(brain)}


def repaint(picture: Picture) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Name and shades in each of five ways; none where the brain is small or in pieces."""
    name, grey, outlines = picture
    brain = grow(outlines["brain"])
    if brain.mean() < LEAST_BRAIN or solidity(brain) < LEAST_SOLID:
        return
    rng = np.random.default_rng(list(name.encode()))
    by_chance = Contrast(
        tuple(rng.random(len(TISSUES))), tuple(0.7 * rng.random(len(OUTSIDE)) * (np.arange(len(OUTSIDE)) > 0))
    )
    for sequence, contrast in zip(PAINTINGS, (*SEQUENCES.values(), by_chance), strict=True):
        yield f"{name}_{sequence.lower()}.png", paint(grey, brain, contrast, rng).clip(0, 1)


def write(pictures: Iterator[Picture], out: Path) -> Iterator[ImageRecord]:
    """All paintings of some pictures, and of each picture one without the skull, of every sequence in turn."""
    for turn, picture in enumerate(pictures):
        targets = {target: outline if outline.any() else None for target, outline in picture[2].items()}
        for number, (name, shades) in enumerate(repaint(picture)):
            yield from write_picture(out, name, square(shades), targets)
            if number == turn % len(PAINTINGS):
                brain = ndimage.binary_fill_holes(picture[2]["brain"])
                yield from write_picture(
                    out, f"stripped_{name}", square(shades * brain), {"brain": brain, "skull": None}
                )


def write_stripped(pictures: Iterator[Picture], out: Path) -> Iterator[ImageRecord]:
    """Pictures without a skull as they are."""
    for name, grey, outlines in pictures:
        yield from write_picture(out, f"{name}.png", grey, {**outlines, "skull": None})


def main() -> None:
    """Write training and validation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="pocket of the cycles before")
    parser.add_argument("shared", type=Path)
    parser.add_argument("made", type=Path)
    args = parser.parse_args()
    model = load_segmenter(args.model).eval()
    assert isinstance(model, PocketSegmenter)
    out = args.made / FOLDER
    records = {split: [*write(read_outlined(args.shared, args.made, split), out)] for split in ("train", "val")}
    records["train"] += write(read_strangers(model, args.shared), out)
    for split, rows in records.items():
        rows += write_stripped(read_stripped(args.shared, split), out)
        write_text(out / "anns" / f"{split}.json", format_records(rows))
        print(
            f"{split}: {len({each.img_name for each in rows})} pictures, {dict(Counter(each.target for each in rows))}"
        )


if __name__ == "__main__":
    main()
