"""Finds files by the expressions of the catalog and gives them their prepared names."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from vesalius.data.catalog import DataSetCard, FilePattern
from vesalius.data.prepare.matching import Match, expression, match_files
from vesalius.data.prepare.report import Problem
from vesalius.data.prepare.side import Sides
from vesalius.data.prepare.sources import Source
from vesalius.prompts import find_target


@dataclass(frozen=True)
class Layout:
    """A download in one of the layouts that the catalog knows for it."""

    card: DataSetCard
    pattern: FilePattern
    source: Source
    sides: Sides

    @cached_property
    def images(self) -> Mapping[str, Match]:
        """Prepared stem -> image."""
        return {name: matches[0] for name, matches in self._named(self.pattern.image).items()}

    @cached_property
    def masks(self) -> Mapping[str, list[Match]]:
        """Prepared stem of the image -> its masks; the same file unpacked and in an archive counts once."""
        return {name: _distinct(matches) for name, matches in self._named(self.pattern.mask).items()}

    @property
    def phrase(self) -> str:
        """What p1 calls the object."""
        return self.card.phrase or find_target(self.card.target).phrases[0]

    @property
    def target(self) -> str:
        """What masks outline, in plain words."""
        return (self.card.target or self.card.phrase).replace("_", " ")

    def group(self, name: str) -> str:
        """What must not cross splits: the group of an image, by default the image."""
        pattern = self.pattern.group
        return self.sides.groups.get(name, pattern.format(**self.images[name].words) if pattern else name)

    def split(self, name: str) -> str | None:
        """Where the authors put an image; None if they leave that open."""
        told = self.sides.splits.get(name) or self.sides.splits.get(self.group(name))
        is_test = self.pattern.test and expression(self.pattern.test).fullmatch(self.images[name].path)
        return told or ("test" if is_test else None)

    def mask_stem(self, name: str) -> str:
        """Prepared stem of an image's mask, a label's place left open."""
        return (self.pattern.mask_name or self.pattern.name).format(
            label="{label}", name="{name}", **self.images[name].words
        )

    def kind(self, name: str) -> str:
        """Class of an image."""
        return self.pattern.kind.format(**self.images[name].words)

    def half_pairs(self) -> list[Problem]:
        """Images without masks, masks without images, and other images of a name that is taken."""
        describe, found = self.source.describe, []
        for name, matches in self._named(self.pattern.image).items():
            if name not in self.masks:
                found.append(Problem(describe(matches[0].path), "has no mask, so the image is left out."))
            others = _distinct(matches)[1:]
            first = describe(matches[0].path)
            found += [Problem(describe(each.path), f"is left out; its name is that of {first}.") for each in others]
        for name in self.masks.keys() - self.images.keys():
            masks = self.masks[name]
            found += [Problem(describe(mask.path), "has no image, so the mask is left out.") for mask in masks]
        return sorted(found, key=lambda problem: problem.place)

    def _named(self, pattern: str) -> dict[str, list[Match]]:
        named: dict[str, list[Match]] = {}
        for match in match_files(pattern, self.source):
            named.setdefault(self.pattern.name.format(**match.words), []).append(match)
        return named


def _distinct(matches: list[Match]) -> list[Match]:
    """The first of several files of one name in one folder."""
    first: dict[tuple[str, ...], Match] = {}
    for match in matches:
        first.setdefault(PurePosixPath(match.path).parts[-2:], match)
    return list(first.values())
