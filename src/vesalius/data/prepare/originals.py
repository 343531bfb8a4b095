"""Samples of a download whose layout the catalog knows: pictures, volumes, and CheXlocalize's run lengths."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.data.catalog import DataSetCard, FilePattern
from vesalius.data.prepare.pictures import PictureSample, read_picture
from vesalius.data.prepare.samples import FoundSamples, Outline, Problem, plain_prompts, to_phrase, to_slug
from vesalius.data.prepare.sources import Match, Source, expression, match_files
from vesalius.data.prepare.splitting import SourceMetadata, read_metadata
from vesalius.data.prepare.volumes import SliceConfig, Structure, VolumeSample
from vesalius.errors import DataError, unknown_name
from vesalius.files import parse_json
from vesalius.prompts import find_target


def decode_rle(counts: str | Sequence[int], size: Sequence[int]) -> NDArray[np.bool_]:
    """Unpack a mask.

    Args:
        counts: Lengths of runs of 0 and 1 in turn, beginning with 0, down the first column, then the second …; a list,
            or text in which each number takes as many characters as it needs, five bits each, low bits first, from
            the third on as the difference to the number two before.
        size: Rows and columns.

    Returns:
        Mask [H, W].

    Raises:
        DataError: If the runs do not fill the size.

    Example:
        >>> decode_rle([1, 2, 1], [2, 2]).tolist()
        [[False, True], [True, False]]
    """
    height, width = _check_size(size)
    runs = _unpack(counts) if isinstance(counts, str) else [int(run) for run in counts]
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise DataError(f"run lengths sum up to {sum(runs)}, expected {height} × {width} = {height * width}.")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape((height, width), order="F")


def _check_size(size: Sequence[int]) -> tuple[int, int]:
    whole = len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)
    if not whole or size[0] * size[1] > (Image.MAX_IMAGE_PIXELS or 2**31):
        raise DataError(f"expected the size [height, width] of a picture, got {list(size)}.")
    return size[0], size[1]


def _unpack(text: str) -> list[int]:
    runs: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise DataError(f"run lengths hold {character!r}, which COCO's packed text cannot.")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        signed = number - (1 << shift) if bits & 16 else number
        runs.append(signed + (runs[-2] if len(runs) > 2 else 0))
        number = shift = 0
    return runs


@dataclass(frozen=True)
class OriginalLayout:
    """A download in one of the layouts that the catalog knows for it."""

    card: DataSetCard
    pattern: FilePattern
    source: Source
    metadata: SourceMetadata

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
        return self.metadata.groups.get(name, pattern.format(**self.images[name].words) if pattern else name)

    def split(self, name: str) -> str | None:
        """Where the authors put an image; None if they leave that open."""
        told = self.metadata.splits.get(name) or self.metadata.splits.get(self.group(name))
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


@dataclass(frozen=True)
class FindingsSample:
    """A radiograph and its findings."""

    key: str
    image: str
    annotations: str
    """Path of the JSON file."""
    findings: Mapping[str, object]
    """Name -> size and counts; those without a pixel give no outline."""
    mask_stem: str
    group: str
    split: str | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The radiograph; the JSON file has been read."""
        return (self.image,)

    @property
    def mask_stems(self) -> tuple[str, ...]:
        """One name a finding."""
        return tuple(self._stem(finding) for finding in self.findings)

    def outlines(self, source: Source) -> Iterator[Outline | Problem]:
        """Read the radiograph and unpack its findings.

        Raises:
            ImageError: If the radiograph is damaged.
        """
        with source.open(self.image) as path:
            picture = read_picture(path)
            for finding, packed in self.findings.items():
                try:
                    mask = _read_mask(packed)
                    if mask.shape != picture.shape:
                        raise DataError(f"is {list(mask.shape)}, expected the image's {list(picture.shape)}.")
                except DataError as error:
                    place = f"{source.describe(self.annotations)}, '{self.key}', '{finding}'"
                    yield Problem(place, f"left out; {error}")
                    continue
                if mask.any():
                    phrase = to_phrase(finding)
                    yield Outline(self.key, picture, self._stem(finding), mask, plain_prompts(phrase), phrase, phrase)

    def _stem(self, finding: str) -> str:
        return self.mask_stem.replace("{name}", to_slug(finding))


def find_findings(layout: OriginalLayout) -> FoundSamples:
    """Every radiograph that a JSON file of the source names, with its findings."""
    samples: list[FindingsSample] = []
    problems: list[Problem] = []
    for match in match_files(layout.pattern.mask, layout.source):
        place = layout.source.describe(match.path)
        try:
            found = _read_findings(layout.source, match.path)
        except DataError as error:
            problems.append(Problem(place, str(error)))
            continue
        for name, findings in found.items():
            if name not in layout.images:
                problems.append(Problem(f"{place}, '{name}'", "has no image, so its findings are left out."))
            elif not isinstance(findings, dict):
                problems.append(Problem(f"{place}, '{name}'", "expected an object of findings."))
            else:
                image, group, split = layout.images[name].path, layout.group(name), layout.split(name)
                stem = layout.mask_stem(name)
                samples.append(FindingsSample(name, image, match.path, findings, stem, group, split))
    if not samples and not problems:
        raise DataError(f"{layout.source.root}: has images but no findings; expected {layout.card.layout}.")
    return FoundSamples(tuple(samples), tuple(problems))


def _read_findings(source: Source, path: str) -> Mapping[str, object]:
    place = source.describe(path)
    content = parse_json(source.read_text(path), place)
    if not isinstance(content, dict) or "annotations" in content:
        raise DataError(f"{place}: expected an object of images, each with its findings as run lengths.")
    return content


def _read_mask(packed: object) -> NDArray[np.bool_]:
    if not isinstance(packed, dict) or not isinstance(packed.get("size"), list):
        raise DataError('expected {"size": [height, width], "counts": …}.')
    counts = packed.get("counts")
    if isinstance(counts, str) or (isinstance(counts, list) and all(isinstance(run, int) for run in counts)):
        return decode_rle(counts, packed["size"])
    raise DataError("expected counts as COCO writes them, text or a list of whole numbers.")


def find_samples(card: DataSetCard, source: Source, slicing: SliceConfig | None = None) -> FoundSamples:
    """What of a data set a source holds.

    Args:
        card: The data set.
        source: Its download.
        slicing: How volumes are cut.

    Raises:
        DataError: If no image of the data set is there; the message says what was expected and what is there.
    """
    metadata = read_metadata(card, source)
    for pattern in card.files:
        layout = OriginalLayout(card, pattern, source, metadata)
        if layout.images:
            found = _read(layout, slicing or SliceConfig())
            return FoundSamples(found.samples, (*metadata.problems, *found.problems), metadata.leaks)
    suffixes = Counter(PurePosixPath(path).suffix.lower() or "without suffix" for path in source.paths)
    there = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(5)) or "nothing"
    raise DataError(f"{source.root}: holds no image of {card.title}; expected {card.layout}. There is: {there}.")


def _read(layout: OriginalLayout, slicing: SliceConfig) -> FoundSamples:
    if layout.card.reader == "chexlocalize":
        return find_findings(layout)
    if layout.card.reader == "volumes":
        return find_volume_samples(layout, slicing)
    return find_pictures(layout)


def find_pictures(layout: OriginalLayout) -> FoundSamples:
    """Every image that has a mask; what has no other half is a problem."""
    several = bool(layout.card.labels)
    samples = [
        PictureSample(
            stem=name,
            image=image.path,
            masks=tuple(mask.path for mask in layout.masks[name]),
            mask_stem=layout.mask_stem(name),
            prompts={} if several else plain_prompts(layout.phrase),
            group=layout.group(name),
            split=layout.split(name),
            kind=layout.kind(name),
            labels=layout.card.labels if several else None,
            target="" if several else layout.target,
        )
        for name, image in layout.images.items()
        if name in layout.masks
    ]
    return FoundSamples(tuple(samples), tuple(layout.half_pairs()))


def find_volume_samples(layout: OriginalLayout, slicing: SliceConfig) -> FoundSamples:
    """Every volume, with the mask volumes of the structures asked for.

    Raises:
        DataError: If a structure is asked for that no volume has.
    """
    files = {
        name: {mask.words["structure"]: mask.path for mask in layout.masks.get(name, [])} for name in layout.images
    }
    wanted = _wanted(slicing.structures, layout.card.structures, files)
    samples = [
        VolumeSample(
            stem=name,
            image=image.path,
            mask_stem=name,
            structures=tuple(
                Structure(each, plain_prompts(to_phrase(each)), (files[name][each],), to_phrase(each))
                for each in wanted
                if each in files[name]
            ),
            group=layout.group(name),
            split=layout.split(name),
            slicing=slicing,
        )
        for name, image in layout.images.items()
        if name in layout.masks
    ]
    return FoundSamples(tuple(samples), tuple(layout.half_pairs()))


def _wanted(asked: tuple[str, ...], usual: tuple[str, ...], files: Mapping[str, Mapping[str, str]]) -> list[str]:
    available = sorted(set().union(*files.values()))
    unknown = [name for name in asked if name not in (*available, "all")]
    if unknown:
        raise DataError(unknown_name("structure", unknown[0], available))
    return available if "all" in asked else [name for name in available if name in (asked or usual)]
