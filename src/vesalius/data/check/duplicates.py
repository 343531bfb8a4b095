"""Images that show the same: one file listed twice, identical pixels, and copies that were changed a little."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from rich.progress import Progress

from vesalius.data.check.findings import Finding, Place
from vesalius.data.check.folders import Uses
from vesalius.data.check.groups import join_pairs
from vesalius.data.check.image_facts import ImageFacts
from vesalius.data.check.report import Leak
from vesalius.data.check.rows import SPLITS, Row
from vesalius.data.check.signatures import KEPT
from vesalius.data.check.similar import ORIENTATIONS, Pair, count_comparisons, find_similar


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


def find_likenesses(images: Mapping[str, ImageFacts], least: float, bar: Progress) -> list[list[Likeness]]:
    """Groups of images that show the same, as the pairs that hold each together.

    Of identical images, one is compared with the others and the rest are paired with it.

    Args:
        images: Facts by path.
        least: Smallest similarity that counts, see `find_similar`.
        bar: Where progress is shown.
    """
    names = list(images)
    copies = _pair_copies([images[name].digest for name in names])
    paired = {pair.second for pair in copies}
    kept = [number for number, name in enumerate(names) if number not in paired and not images[name].blank]
    signatures = np.array([images[names[number]].signature for number in kept], np.float32).reshape(-1, KEPT, KEPT)
    task = bar.add_task("Comparing", total=count_comparisons(len(kept)))
    similar = find_similar(signatures, least, lambda count: bar.advance(task, count))
    near = [Pair(kept[each.first], kept[each.second], each.similarity, each.orientation) for each in similar]
    return [_name_pairs(group, names, set(copies)) for group in join_pairs(copies + near)]


def check_duplicates(groups: Sequence[Sequence[Likeness]], images: Uses) -> Iterator[Finding]:
    """A finding for each group, and for each image listed in several splits or twice alike."""
    for group in groups:
        files = files_of(group)
        rows = sorted(((file, row) for file in files for row in images[file]), key=_order)
        splits = [split for split in SPLITS if any(row.split == split for _, row in rows)]
        kind = "duplicate_across_splits" if len(splits) > 1 else "duplicate_in_split"
        message = f"{len(files)} images that show the same, in {' and '.join(splits)}: {_shorten(files)}."
        details = {"pairs": [pair.to_dict() for pair in group]}
        yield Finding(kind, message, tuple(row.at(file) for file, row in rows), details)
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


def _pair_copies(digests: Sequence[str]) -> list[Pair]:
    """Each repeated digest with the first picture that has it."""
    first_with: dict[str, int] = {}
    firsts = [first_with.setdefault(digest, number) for number, digest in enumerate(digests)]
    return [Pair(first, number, 1.0) for number, first in enumerate(firsts) if first != number]


def _name_pairs(group: list[Pair], names: Sequence[str], copies: set[Pair]) -> list[Likeness]:
    return [
        Likeness(names[pair.first], names[pair.second], pair.similarity, pair in copies, pair.orientation)
        for pair in group
    ]


def _check_uses(file: str, uses: Sequence[Row]) -> Iterator[Finding]:
    splits = [split for split in SPLITS if any(row.split == split for row in uses)]
    if len(splits) > 1:
        message = f"{file} is listed in {' and '.join(splits)}."
        yield Finding("image_across_splits", message, tuple(row.at(file) for row in uses))
    alike: dict[tuple[str, str, str], list[Place]] = {}
    for row in uses:
        alike.setdefault((row.split, row.mask, repr(sorted(row.record.prompts.items()))), []).append(row.at(file))
    for places in alike.values():
        if len(places) > 1:
            records = ", ".join(str(place.record) for place in places)
            twice = f"{file} is listed {len(places)} times in {places[0].split} with the same mask and prompts"
            yield Finding("repeated_record", f"{twice}: records {records}.", tuple(places))


def _order(use: tuple[str, Row]) -> tuple[int, int]:
    return SPLITS.index(use[1].split), use[1].number


def _shorten(files: Sequence[str]) -> str:
    shown = ", ".join(files[:4])
    return shown if len(files) <= 4 else f"{shown} and {len(files) - 4} more"
