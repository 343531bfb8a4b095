"""A picture with its masks: what most data sets are made of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vesalius.data.prepare.items import Outline, plain_prompts
from vesalius.data.prepare.naming import fill_label, to_phrase
from vesalius.data.prepare.reading import read_label_map, read_outline, read_picture, unknown_labels
from vesalius.data.prepare.report import Problem
from vesalius.data.prepare.sources import Source
from vesalius.data.sizes import check_size
from vesalius.prompts import Variants

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PictureItem:
    """A picture with masks of one object, which are united, or with one label map of several objects."""

    stem: str
    """Name of the prepared image without suffix."""
    image: str
    """Path within the source."""
    masks: tuple[str, ...]
    """Paths within the source."""
    mask_stem: str
    """Name of the prepared mask without suffix; a label fills its ``{label}`` or ``{name}``."""
    prompts: Mapping[str, Variants]
    """Of the one object; with labels, each has its own."""
    group: str
    split: str | None = None
    kind: str = ""
    labels: Mapping[int, str] | None = None
    """Number -> name, if the mask is a label map."""
    target: str = ""
    """What the one object is, in plain words; with labels, each has its own."""
    threshold: float | None = None
    """Values of masks above it are inside, if somebody says so."""

    @property
    def key(self) -> str:
        """The mask's name: an image may have several items."""
        return self.mask_stem

    @property
    def inputs(self) -> tuple[str, ...]:
        """The image and its masks."""
        return (self.image, *self.masks)

    @property
    def mask_stems(self) -> tuple[str, ...]:
        """One name, or one a label."""
        return (self.mask_stem,) if self.labels is None else tuple(self._stem(*label) for label in self.labels.items())

    def outlines(self, source: Source) -> Iterator[Outline | Problem]:
        """Read picture and masks; objects that a label map does not show give none.

        Raises:
            ImageError: If one of them is damaged.
            DataError: If they differ in size.
        """
        with source.open(self.image) as path:
            picture = read_picture(path)
            if self.labels is None:
                mask = self._unite(source, path, picture.shape)
                yield Outline(self.stem, picture, self.mask_stem, mask, self.prompts, self.kind, self.target)
                return
            values = self._read_labels(source, path, picture.shape)
            yield from unknown_labels(values, self.labels, source.describe(self.masks[0]))
            for number, name in self.labels.items():
                if (mask := values == number).any():
                    phrase = to_phrase(name)
                    stem = self._stem(number, name)
                    yield Outline(self.stem, picture, stem, mask, plain_prompts(phrase), name, phrase)

    def _unite(self, source: Source, image: Path, shape: tuple[int, int]) -> Mask:
        united = np.zeros(shape, bool)
        for path in self.masks:
            with source.open(path) as file:
                mask = read_outline(file, self.threshold)
                check_size(image, shape, file, mask.shape, source.describe(path))
            united |= mask
        return united

    def _read_labels(self, source: Source, image: Path, shape: tuple[int, int]) -> NDArray[np.int64]:
        with source.open(self.masks[0]) as file:
            values = read_label_map(file)
            check_size(image, shape, file, values.shape, source.describe(self.masks[0]))
        return values

    def _stem(self, number: int, name: str) -> str:
        return fill_label(self.mask_stem, number, name)
