"""Images that show the same, outlined or prompted differently."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.data.check.duplicates import Likeness
from vesalius.data.check.findings import Finding
from vesalius.data.check.folders import Uses
from vesalius.data.check.reading import FileFacts
from vesalius.data.check.rows import Row
from vesalius.data.check.similar import reorient
from vesalius.data.check.wordings import contradict
from vesalius.imaging import read_mask
from vesalius.prompts import variants

ALIGNED = 0.9
"""Similarity from which two images show the same cut-out, so that their masks can be laid on each other; looser pairs,
such as later frames of a video, may well differ."""
AGREE = 0.5
"""Masks of the same question whose Dice is lower cannot both be right."""


def check_contradictions(
    root: Path, groups: Sequence[Sequence[Likeness]], images: Uses, facts: FileFacts
) -> Iterator[Finding]:
    """Compare the records of each image, and of each pair of images that show the same."""
    for uses in images.values():
        for one, other in combinations(uses, 2):
            yield from _compare(root, one, other, 0, facts)
    for pair in (pair for group in groups for pair in group if pair.similarity >= ALIGNED):
        for one in images[pair.first]:
            for other in images[pair.second]:
                yield from _compare(root, one, other, pair.orientation, facts)


def _compare(root: Path, one: Row, other: Row, orientation: int, facts: FileFacts) -> Iterator[Finding]:
    names = f"{one.image} and {other.image}" if one.image != other.image else one.image
    words = contradict(one.record.prompts, other.record.prompts)
    if words:
        message = f"{names}: prompted as {words}."
        yield Finding("contradictory_prompts", message, (one.at(one.image), other.at(other.image)))
    if one.mask == other.mask or not _ask_the_same(one, other) or not {one.mask, other.mask} <= facts.masks.keys():
        return
    agreement = _agreement(read_mask(root / one.mask), read_mask(root / other.mask), orientation)
    if agreement < AGREE:
        message = f"{names}: masks agree by a Dice of {agreement:.2f} only, {one.mask} and {other.mask}."
        yield Finding("contradictory_masks", message, (one.at(one.mask), other.at(other.mask)), {"dice": agreement})


def _ask_the_same(one: Row, other: Row) -> bool:
    """Whether they share a wording, the empty one aside."""
    first, second = (
        {each for family in row.record.prompts for each in variants(row.record.prompts, family)} for row in (one, other)
    )
    return bool(first & second - {""})


def _agreement(one: NDArray[np.bool_], other: NDArray[np.bool_], orientation: int) -> float:
    """Dice of two masks, the second laid and scaled like the first; 1 if both are empty."""
    laid = Image.fromarray(np.ascontiguousarray(reorient(other, orientation)))
    scaled = np.asarray(laid.resize((one.shape[1], one.shape[0]), Image.Resampling.NEAREST))
    marked = int(one.sum()) + int(scaled.sum())
    return round(2 * int((one & scaled).sum()) / marked, 4) if marked else 1.0
