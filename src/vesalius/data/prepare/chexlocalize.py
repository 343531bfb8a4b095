"""CheXlocalize: chest radiographs whose findings are outlined by run lengths in one JSON file a split."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vesalius.data.prepare.items import Found, Outline, plain_prompts
from vesalius.data.prepare.layouts import Layout
from vesalius.data.prepare.matching import match_files
from vesalius.data.prepare.naming import to_phrase, to_slug
from vesalius.data.prepare.reading import read_picture
from vesalius.data.prepare.report import Problem
from vesalius.data.prepare.rle import decode_rle
from vesalius.data.prepare.sources import Source
from vesalius.errors import DataError
from vesalius.files import parse_json


@dataclass(frozen=True)
class FindingsItem:
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
                    mask = _unpack(packed)
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


def find_findings(layout: Layout) -> Found:
    """Every radiograph that a JSON file of the source names, with its findings."""
    items: list[FindingsItem] = []
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
                items.append(FindingsItem(name, image, match.path, findings, stem, group, split))
    if not items and not problems:
        raise DataError(f"{layout.source.root}: has images but no findings; expected {layout.card.layout}.")
    return Found(tuple(items), tuple(problems))


def _read_findings(source: Source, path: str) -> Mapping[str, object]:
    place = source.describe(path)
    content = parse_json(source.read_text(path), place)
    if not isinstance(content, dict) or "annotations" in content:
        raise DataError(f"{place}: expected an object of images, each with its findings as run lengths.")
    return content


def _unpack(packed: object) -> NDArray[np.bool_]:
    if not isinstance(packed, dict) or not isinstance(packed.get("size"), list):
        raise DataError('expected {"size": [height, width], "counts": …}.')
    counts = packed.get("counts")
    if isinstance(counts, str) or (isinstance(counts, list) and all(isinstance(run, int) for run in counts)):
        return decode_rle(counts, packed["size"])
    raise DataError("expected counts as COCO writes them, text or a list of whole numbers.")
