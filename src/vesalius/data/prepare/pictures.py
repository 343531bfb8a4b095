"""A picture with its masks: what most data sets are made of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vesalius.data.prepare.items import Outline, plain_prompts
from vesalius.data.prepare.naming import fill_label, to_phrase
from vesalius.data.prepare.reading import read_label_map, read_picture, unknown_labels
from vesalius.data.prepare.report import Problem
from vesalius.data.prepare.sources import Source
from vesalius.errors import DataError
from vesalius.imaging import read_mask
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
                mask = self._unite(source, picture.shape)
                yield Outline(self.stem, picture, self.mask_stem, mask, self.prompts, self.kind)
                return
            values = self._read_labels(source, picture.shape)
            yield from unknown_labels(values, self.labels, source.describe(self.masks[0]))
            for number, name in self.labels.items():
                if (mask := values == number).any():
                    prompts = plain_prompts(to_phrase(name))
                    yield Outline(self.stem, picture, self._stem(number, name), mask, prompts, name)

    def _unite(self, source: Source, shape: tuple[int, int]) -> Mask:
        united = np.zeros(shape, bool)
        for path in self.masks:
            with source.open(path) as file:
                mask = read_mask(file)
            self._check_size(mask.shape, shape, source.describe(path))
            united |= mask
        return united

    def _read_labels(self, source: Source, shape: tuple[int, int]) -> NDArray[np.int64]:
        with source.open(self.masks[0]) as file:
            values = read_label_map(file)
        self._check_size(values.shape, shape, source.describe(self.masks[0]))
        return values

    def _check_size(self, mask: tuple[int, ...], image: tuple[int, int], place: str) -> None:
        if mask != image:
            expected = f"expected the image's {image[0]} × {image[1]}, got {mask[0]} × {mask[1]} (height × width)"
            raise DataError(f"{place}: a mask of another size; {expected}.")

    def _stem(self, number: int, name: str) -> str:
        return fill_label(self.mask_stem, number, name)
