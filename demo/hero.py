"""The README's picture: both jobs on images that may be redistributed, and nothing else.

python demo/hero.py
"""

import argparse
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont, ImageOps

from vesalius import AnatomyLabeller, MedicalImage, Predictor
from vesalius.console import say
from vesalius.demo.samples import DICOM_SAMPLES, Brain, Rgb, draw, enlarge, read_brain, read_dicom_sample
from vesalius.files import writing
from vesalius.imaging import Plane
from vesalius.imaging.slices import AMBER
from vesalius.naming.labeller import labeller_beside
from vesalius.prompts import AnatomyLabel

OUT = Path(__file__).parents[1] / "docs" / "images" / "demo.png"
SIDE, GAP, TEXT = 276, 24, 62
"""Of a tile, between tiles, and the height under one for its caption, in pixels."""
LINE, FONT = 27, 20
COLUMNS = 4
BACKGROUND, SOFT = (20, 24, 27), (162, 171, 177)
COLOURS = 96
"""Shades of the palette, which halves the file and is not seen."""
WRONG = (255, 138, 122)


class Tile(NamedTuple):
    """A picture, what was asked of it and what was answered."""

    picture: Rgb
    question: str
    answer: str
    wrong: bool = False


def main() -> None:
    """Ask, compose, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="pocket", help="a model's name, a checkpoint or a run's folder")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    predictor = Predictor(args.model)
    brain = read_brain()
    tiles = [*segment_tiles(predictor, brain), *name_tiles(labeller_beside(predictor, args.model), brain)]
    with writing(args.out) as unfinished:
        compose(tiles).quantize(COLOURS).save(unfinished, optimize=True)
    say(f"{args.out}: {args.out.stat().st_size / 1000:.0f} kB")


def segment_tiles(predictor: Predictor, brain: Brain) -> list[Tile]:
    """The brain in three planes (sagittal beside the gap between the hemispheres), and what is not there."""
    return [
        _segment(predictor, brain.image, "sagittal", "brain", place=0.4),
        _segment(predictor, brain.image, "coronal", "brain"),
        _segment(predictor, brain.image, "axial", "brain"),
        _segment(predictor, brain.image, "axial", "polyp"),
    ]


def name_tiles(labeller: AnatomyLabeller, brain: Brain) -> list[Tile]:
    """What the template and the DICOM files show; 693_J2KI.dcm is too damaged by its compression to look at."""
    pairs = [(brain.middle("sagittal"), AnatomyLabel.partial("MR", plane="sagittal", stations=["head"]))]
    for sample in DICOM_SAMPLES:
        image = read_dicom_sample(sample.file)
        if image is not None and sample.file != "693_J2KI.dcm":
            pairs.append((image, sample.truth))
    return [_name(labeller, image, truth) for image, truth in pairs]


def compose(tiles: list[Tile]) -> Image.Image:
    """Tiles with captions in rows of four."""
    rows = -(-len(tiles) // COLUMNS)
    size = COLUMNS * (SIDE + GAP) + GAP, rows * (SIDE + TEXT + GAP) + GAP
    sheet = Image.new("RGB", size, BACKGROUND)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT)
    for place, tile in enumerate(tiles):
        left, top = GAP + place % COLUMNS * (SIDE + GAP), GAP + place // COLUMNS * (SIDE + TEXT + GAP)
        sheet.paste(ImageOps.pad(Image.fromarray(tile.picture), (SIDE, SIDE), color=(0, 0, 0)), (left, top))
        pen.text((left, top + SIDE + 8), tile.question, SOFT, font)
        pen.text((left, top + SIDE + 8 + LINE), tile.answer, WRONG if tile.wrong else AMBER, font)
    return sheet


def _segment(predictor: Predictor, image: MedicalImage, plane: Plane, prompt: str, place: float = 0.5) -> Tile:
    slices = image.slices(plane)
    rgb = slices[round(place * len(slices))].rgb
    found = predictor.set_image(rgb).predict(prompt)
    return Tile(draw(rgb, found.mask), f"segment “{prompt}”", f"marks {100 * found.mask.mean():.0f} % of pixels")


def _name(labeller: AnatomyLabeller, image: MedicalImage, truth: AnatomyLabel) -> Tile:
    """A wrong answer is marked as such, in words too."""
    name = labeller.label(image)
    said = (name.modality.label, name.plane.label, name.slices[0].station.label)
    true = (truth.modality, truth.plane, truth.station)
    wrong = any(label not in (None, fact) for label, fact in zip(said, true, strict=True))
    answer = ", ".join(label or "unsure" for label in said)
    return Tile(enlarge(image.slices()[0].rgb_square()), "name", answer + " (wrong)" * wrong, wrong)


if __name__ == "__main__":
    main()
