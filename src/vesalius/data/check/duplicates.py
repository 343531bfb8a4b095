"""Duplicates, and images that show the same but are outlined or prompted differently."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import Progress

from vesalius.data.annotations import SPLITS
from vesalius.data.check.facts import FileFacts, ImageFacts, Uses
from vesalius.data.check.findings import CheckFinding, Place, PlacedRecord
from vesalius.data.check.report import Leak
from vesalius.data.check.similar import (
    KEPT,
    ORIENTATIONS,
    SimilarPair,
    count_comparisons,
    find_similar,
    join_pairs,
    reorient,
)
from vesalius.data.check.wordings import find_contradiction
from vesalius.errors import join_first
from vesalius.imaging import read_mask
from vesalius.imaging.slices import mask_overlap
from vesalius.prompts import variants


@dataclass(frozen=True)
class Likeness:
    """Two image files that show the same."""

    first: str
    second: str
    similarity: float
    identical: bool
    """Whether every pixel is the same."""
    orientation: int
    """How the second lies, a number in `ORIENTATIONS`."""

    def to_dict(self) -> dict[str, object]:
        """For JSON and the page."""
        how = "identical pixels" if self.identical else ORIENTATIONS[self.orientation]
        return {"first": self.first, "second": self.second, "similarity": round(self.similarity, 4), "how": how}


def find_likenesses(images: Mapping[str, ImageFacts], min_similarity: float, bar: Progress) -> list[list[Likeness]]:
    """Groups of images that show the same, as the pairs that hold each together.

    Of identical images, one is compared with the others and the rest are paired with it.

    Args:
        images: Facts by path.
        min_similarity: Smallest similarity that counts, see `find_similar`.
        bar: Where progress is shown.
    """
    names = list(images)
    copies = _pair_copies([images[name].digest for name in names])
    paired = {pair.second for pair in copies}
    kept = [number for number, name in enumerate(names) if number not in paired and not images[name].blank]
    signatures = np.array([images[names[number]].signature for number in kept], np.float32).reshape(-1, KEPT, KEPT)
    task = bar.add_task("Comparing", total=count_comparisons(len(kept)))
    similar = find_similar(signatures, min_similarity, lambda count: bar.advance(task, count))
    near = [SimilarPair(kept[each.first], kept[each.second], each.similarity, each.orientation) for each in similar]
    return [_name_pairs(group, names, set(copies)) for group in join_pairs(copies + near)]


def check_duplicates(groups: Sequence[Sequence[Likeness]], images: Uses) -> Iterator[CheckFinding]:
    """A finding for each group, and for each image listed in several splits or twice alike."""
    for group in groups:
        files = files_of(group)
        rows = sorted(((file, row) for file in files for row in images[file]), key=_order)
        splits = [split for split in SPLITS if any(row.split == split for _, row in rows)]
        kind = "duplicate_across_splits" if len(splits) > 1 else "duplicate_in_split"
        message = f"{len(files)} images that show the same, in {' and '.join(splits)}: {join_first(files, 4)}."
        details = {"pairs": [pair.to_dict() for pair in group]}
        yield CheckFinding(kind, message, tuple(row.at(file) for file, row in rows), details)
    for file, uses in images.items():
        yield from _check_uses(file, uses)


def count_leaks(groups: Sequence[Sequence[Likeness]], images: Uses) -> list[Leak]:
    """For each split that is scored, how many of its images resemble one of a split that was seen before."""
    kin = {file: set(files_of(group)) for group in groups for file in files_of(group)}
    splits = {file: {row.split for row in uses} for file, uses in images.items()}
    counts = []
    for seen, scored in combinations(SPLITS, 2):
        asked = [file for file in images if scored in splits[file]]
        leaked = [file for file in asked if any(seen in splits[other] for other in kin.get(file, {file}))]
        if asked and any(seen in each for each in splits.values()):
            counts.append(Leak(seen, scored, len(leaked), len(asked)))
    return counts


def files_of(group: Sequence[Likeness]) -> list[str]:
    """The images of a group, each once."""
    return list(dict.fromkeys(file for pair in group for file in (pair.first, pair.second)))


def _pair_copies(digests: Sequence[str]) -> list[SimilarPair]:
    """Each repeated digest with the first picture that has it."""
    first_with: dict[str, int] = {}
    firsts = [first_with.setdefault(digest, number) for number, digest in enumerate(digests)]
    return [SimilarPair(first, number, 1.0) for number, first in enumerate(firsts) if first != number]


def _name_pairs(group: list[SimilarPair], names: Sequence[str], copies: set[SimilarPair]) -> list[Likeness]:
    return [
        Likeness(names[pair.first], names[pair.second], pair.similarity, pair in copies, pair.orientation)
        for pair in group
    ]


def _check_uses(file: str, uses: Sequence[PlacedRecord]) -> Iterator[CheckFinding]:
    splits = [split for split in SPLITS if any(row.split == split for row in uses)]
    if len(splits) > 1:
        message = f"{file} is listed in {' and '.join(splits)}."
        yield CheckFinding("image_across_splits", message, tuple(row.at(file) for row in uses))
    alike: dict[tuple[str, str, str], list[Place]] = {}
    for row in uses:
        alike.setdefault((row.split, row.mask, repr(sorted(row.record.prompts.items()))), []).append(row.at(file))
    for places in alike.values():
        if len(places) > 1:
            records = ", ".join(str(place.record) for place in places)
            twice = f"{file} is listed {len(places)} times in {places[0].split} with the same mask and prompts"
            yield CheckFinding("repeated_record", f"{twice}: records {records}.", tuple(places))


def _order(use: tuple[str, PlacedRecord]) -> tuple[int, int]:
    return SPLITS.index(use[1].split), use[1].number


ALIGNED = 0.9
"""Similarity from which two images show the same cut-out, so that their masks can be laid on each other; looser pairs,
such as later frames of a video, may well differ."""
AGREE = 0.5
"""Masks of the same question whose Dice is lower cannot both be right."""


def check_contradictions(
    root: Path, groups: Sequence[Sequence[Likeness]], images: Uses, facts: FileFacts
) -> Iterator[CheckFinding]:
    """Compare the records of each image, and of each pair of images that show the same."""
    for uses in images.values():
        for one, other in combinations(uses, 2):
            yield from _compare(root, one, other, 0, facts)
    for pair in (pair for group in groups for pair in group if pair.similarity >= ALIGNED):
        for one in images[pair.first]:
            for other in images[pair.second]:
                yield from _compare(root, one, other, pair.orientation, facts)


def _compare(
    root: Path, one: PlacedRecord, other: PlacedRecord, orientation: int, facts: FileFacts
) -> Iterator[CheckFinding]:
    names = f"{one.image} and {other.image}" if one.image != other.image else one.image
    words = find_contradiction(one.record.prompts, other.record.prompts)
    if words:
        message = f"{names}: prompted as {words}."
        yield CheckFinding("contradictory_prompts", message, (one.at(one.image), other.at(other.image)))
    if one.mask == other.mask or not _ask_the_same(one, other) or not {one.mask, other.mask} <= facts.masks.keys():
        return
    agreement = _agreement(read_mask(root / one.mask), read_mask(root / other.mask), orientation)
    if agreement < AGREE:
        message = f"{names}: masks agree by a Dice of {agreement:.2f} only, {one.mask} and {other.mask}."
        yield CheckFinding(
            "contradictory_masks", message, (one.at(one.mask), other.at(other.mask)), {"dice": agreement}
        )


def _ask_the_same(one: PlacedRecord, other: PlacedRecord) -> bool:
    """Whether they share a wording, the empty one aside."""
    first, second = (
        {each for family in row.record.prompts for each in variants(row.record.prompts, family)} for row in (one, other)
    )
    return bool(first & second - {""})


def _agreement(one: NDArray[np.bool_], other: NDArray[np.bool_], orientation: int) -> float:
    """Dice of two masks, the second laid and scaled like the first; 1 if both are empty."""
    laid = Image.fromarray(np.ascontiguousarray(reorient(other, orientation)))
    scaled = np.asarray(laid.resize((one.shape[1], one.shape[0]), Image.Resampling.NEAREST))
    return round(mask_overlap(one, scaled), 4)
