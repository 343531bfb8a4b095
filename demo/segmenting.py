"""Phrases asked of pictures: the MNI152 brain, and held-out test images where they are at hand."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from findings import Answer, Part, Strip
from numpy.typing import NDArray
from pictures import Album, Mask, draw, enlarge
from samples import Brain

from vesalius import Predictor
from vesalius.data.catalog import read_catalog
from vesalius.data.datasets import SegmentationDataset
from vesalius.evaluation.metrics import dice
from vesalius.prompts import find_target

WRONG_PHRASES = {
    "kvasir_polyp": "lungs",
    "clinicdb_polyp": "lungs",
    "bkai_polyp": "breast tumour",
    "busi": "polyp",
    "cxr_lungs": "brain",
}
"""Data sets of ../shared/data/segmentation, and what is certainly not on their images."""
IMAGES_EACH = 4
Progress = Callable[[], None]


def segment_brain(predictor: Predictor, brain: Brain, album: Album, on_image: Progress) -> Part:
    """Ask for the brain, and for two things that no head shows, on the middle axial slices of MNI152."""
    slices = brain.image.slices("axial")
    strips = []
    for place in brain.middle_slices:
        questions = {"brain": brain.mask[place], "polyp": None, "lungs": None}
        title = f"Axial slice at z = {slices[place].position_mm:.0f} mm".replace("-", "−")
        strips.append(ask(predictor, album, title, f"mni152-{place:03d}", slices[place].rgb, questions))
        on_image()
    intro = (
        "The average T1 image of 152 healthy heads, as nilearn carries it. It is skull-stripped: everything but the "
        "brain is black already, so this is an easy case. The truth is nilearn's own brain mask. “polyp” and “lungs” "
        "name nothing that is there: their masks should be empty."
    )
    return Part("MNI152 T1 template", intro, tuple(strips))


def segment_held_out(predictor: Predictor, folder: Path, album: Album, on_image: Progress) -> Part:
    """The right and a wrong phrase on a few test images of a data set, none of which the model was trained on."""
    dataset = SegmentationDataset(folder, "test")
    target = find_target(read_catalog()[folder.name].target).phrases[0]
    strips, empty = [], 0
    for place in spread(len(dataset)):
        sample = dataset[place]
        rgb, truth = sample.image.numpy().transpose(1, 2, 0), sample.mask[0].numpy() > 0.5
        questions = {target: truth, WRONG_PHRASES[folder.name]: None}
        empty += not truth.any()
        name = f"{folder.name}-{place:03d}"
        strips.append(ask(predictor, album, sample.record.img_name, name, rgb, questions))
        on_image()
    title = read_catalog()[folder.name].title
    intro = (
        f"{len(strips)} of {len(dataset)} test images, spread evenly over the list and not chosen by result; "
        f"vesalius evaluate scores all of them. “{WRONG_PHRASES[folder.name]}” is not on any of them."
    )
    if empty:
        intro += f" On {empty} there is no {target}: there an empty mask scores 1 and any mark 0."
    return Part(title, intro, tuple(strips))


def ask(
    predictor: Predictor,
    album: Album,
    title: str,
    name: str,
    rgb: NDArray[np.floating],
    questions: Mapping[str, Mask | None],
) -> Strip:
    """Ask all phrases of one picture.

    Args:
        predictor: The model.
        album: Takes the pictures.
        title: Of the picture, for people.
        name: Of its files.
        rgb: [H, W, 3] in [0, 1].
        questions: Phrases and their true masks [H, W]; None for what the picture does not show.
    """
    answers = []
    for number, found in enumerate(predictor.set_image(rgb).predict(list(questions))):
        truth = questions[found.prompt]
        overlap = None if truth is None else overlap_of(found.mask, truth)
        picture = album.add(f"{name}-{number}", draw(rgb, found.mask, truth))
        answers.append(Answer(found.prompt, float(found.mask.mean()), overlap, picture))
    return Strip(title, album.add(name, enlarge(rgb)), tuple(answers))


def overlap_of(found: Mask, truth: Mask) -> float:
    """Dice of two masks [H, W]; 1 where both are empty."""
    return dice(torch.from_numpy(found)[None], torch.from_numpy(truth)[None]).item()


def spread(count: int) -> list[int]:
    """The middles of equal parts of a list.

    >>> spread(100)
    [12, 37, 62, 87]
    """
    return [count * (2 * part + 1) // (2 * IMAGES_EACH) for part in range(IMAGES_EACH)]
