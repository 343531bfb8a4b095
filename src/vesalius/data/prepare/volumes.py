"""Samples of volumes with named structures, cut into slices."""

import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vesalius.data.prepare.pictures import ask_inside, merge_channels, unknown_labels
from vesalius.data.prepare.samples import Outline, Picture, Problem, plain_prompts, to_phrase, to_slug
from vesalius.data.prepare.sources import Source
from vesalius.errors import ConfigError, DataError, ImageError
from vesalius.files import read_json
from vesalius.imaging import SliceStack, from_square_pixels, read_image
from vesalius.imaging.orientation import same_place
from vesalius.imaging.raster import part_values
from vesalius.imaging.slices import to_bytes
from vesalius.prompts import Variants


def read_label_names(path: Path) -> Mapping[int, str]:
    """Read a JSON object of numbers and names, either way round; ``{"labels": {…}}`` counts as well.

    Background, 0, is left out.

    Raises:
        DataError: If it is of another form, two names share a number, or the name of a file.
    """
    content = read_json(path, "expected JSON such as {'1': 'liver'}")
    table = content.get("labels", content) if isinstance(content, dict) else content
    if not isinstance(table, dict) or not table:
        raise DataError(f"{path}: expected an object of numbers and names such as {{'1': 'liver'}}.")
    names: dict[int, str] = {}
    for key, value in table.items():
        number, name = _to_pair(key, value, path)
        if number in names:
            raise DataError(f"{path}: {number} is both '{names[number]}' and '{name}'.")
        names[number] = name
    slugs: dict[str, str] = {}
    for name in names.values():
        if slugs.setdefault(to_slug(name), name) != name:
            files = f"'{slugs[to_slug(name)]}' and '{name}' would both be written as '{to_slug(name)}'"
            raise DataError(f"{path}: {files}; give them names that differ in letters or digits.")
    return {number: name for number, name in sorted(names.items()) if number != 0}


def _to_pair(key: str, value: object, path: Path) -> tuple[int, str]:
    if key.isascii() and key.isdigit() and isinstance(value, str) and value.strip():
        return int(key), value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value, key
    raise DataError(f"{path}: '{key}': {reprlib.repr(value)} is no pair of a number and a name, such as '1': 'liver'.")


INSIDE_ABOVE = 0.5
"""Values of a mask volume from 0 to 1 above this are inside."""


@dataclass(frozen=True)
class SliceConfig:
    """How volumes are cut."""

    plane: Literal["axial", "coronal", "sagittal"] | None = None
    """Plane of the slices; by default that in which the volume was taken."""
    window: str | None = None
    """Window of a CT by name, such as "lung"; by default the usual display range."""
    every: int = 5
    """Every how many slices one is taken."""
    structures: tuple[str, ...] = ()
    """Names of structures; by default the catalog's choice or all, "all" takes all."""
    smallest: int = 100
    """Slices on which a structure covers fewer pixels are left out for it."""

    def __post_init__(self) -> None:
        if self.every < 1 or self.smallest < 1:
            raise ConfigError(f"--every and --smallest must be 1 or more, got {self.every} and {self.smallest}.")


@dataclass(frozen=True)
class Structure:
    """Something outlined in mask volumes, which are united."""

    name: str
    """Folder of its masks."""
    prompts: Mapping[str, Variants]
    masks: tuple[str, ...] = ()
    """Paths within the source."""
    target: str = ""
    """What it is, in plain words."""


@dataclass(frozen=True)
class VolumeSample:
    """A volume, and either mask volumes of each structure or one label map of all."""

    stem: str
    """Name of the prepared slices, which plane and number follow."""
    image: str
    """Path within the source."""
    mask_stem: str
    """The same for masks, within a folder a structure."""
    structures: tuple[Structure, ...]
    """Structures with mask volumes of their own."""
    group: str
    split: str | None
    slicing: SliceConfig
    label_map: str = ""
    """Path of a volume that holds several structures as numbers."""
    labels: Mapping[int, str] = field(default_factory=dict)
    """Number -> name in the label map."""
    threshold: float | None = None
    """Values of mask volumes above it are inside; None if the values decide."""

    @property
    def key(self) -> str:
        """The masks' name: a volume may have several samples."""
        return self.mask_stem

    @property
    def inputs(self) -> tuple[str, ...]:
        """The volume and what outlines its structures."""
        masks = [path for structure in self.structures for path in structure.masks]
        return (self.image, *masks, *([self.label_map] if self.label_map else []))

    @property
    def mask_stems(self) -> None:
        """Only reading tells on which slices there is something."""
        return

    def outlines(self, source: Source) -> Iterator[Outline | Problem]:
        """Read the volume, then structure by structure.

        Raises:
            ImageError: If a volume is damaged, or a mask volume lies elsewhere than the image.
        """
        with source.open(self.image) as path:
            stack = read_image(path).slices(self.slicing.plane, self.slicing.window)
        pictures: dict[int, Picture] = {}
        for found in self._read_structures(source, stack):
            if isinstance(found, Problem):
                yield found
                continue
            structure, masks = found
            for index in range(0, len(stack), self.slicing.every):
                if np.count_nonzero(masks[index]) >= self.slicing.smallest:
                    if index not in pictures:
                        pictures[index] = _to_picture(stack, index)
                    yield self._outline(structure, f"{stack.plane}_{index:04d}", pictures[index], masks[index])

    def _outline(self, structure: Structure, place: str, picture: Picture, mask: NDArray[np.bool_]) -> Outline:
        mask_stem = f"{to_slug(structure.name)}/{self.mask_stem}_{place}"
        square = from_square_pixels(mask, picture.shape).astype(bool)
        return Outline(
            f"{self.stem}_{place}", picture, mask_stem, square, structure.prompts, structure.name, structure.target
        )

    def _read_structures(
        self, source: Source, stack: SliceStack
    ) -> Iterator[tuple[Structure, NDArray[np.bool_]] | Problem]:
        for structure in self.structures:
            volumes = [self._read_mask(source, path, stack) for path in structure.masks]
            yield structure, np.logical_or.reduce(volumes)
        if self.label_map:
            values = np.rint(self._read(source, self.label_map, stack)).astype(np.int64)
            yield from unknown_labels(values, self.labels, source.describe(self.label_map))
            wanted = self.slicing.structures
            for number, name in self.labels.items():
                if not wanted or "all" in wanted or name in wanted:
                    phrase = to_phrase(name)
                    yield Structure(name, plain_prompts(phrase), target=phrase), values == number

    def _read_mask(self, source: Source, path: str, stack: SliceStack) -> NDArray[np.bool_]:
        values = self._read(source, path, stack)
        if self.threshold is None and values.min() >= 0 and values.max() <= 1:  # of resampled masks, shares of a voxel
            return values > INSIDE_ABOVE
        found = part_values(values, self.threshold)
        if found is None:
            raise DataError(f"{source.describe(path)}: {ask_inside(np.unique(values))}")
        return found

    def _read(self, source: Source, path: str, stack: SliceStack) -> NDArray[np.float32]:
        with source.open(path) as file:
            labels = read_image(file).slices(stack.plane)
        if labels.pixels.shape != stack.pixels.shape:
            expected = f"expected the image's {list(stack.pixels.shape)}, got {list(labels.pixels.shape)}"
            raise ImageError(f"{source.describe(path)}: a mask volume of another size; {expected} (D × H × W).")
        if not _same_place(labels, stack):
            raise ImageError(f"{source.describe(path)}: lies elsewhere in the patient than the image; resample it.")
        return np.asarray(labels.pixels, np.float32)


def _to_picture(stack: SliceStack, index: int) -> Picture:
    levels = merge_channels(to_bytes(stack[index].rgb_square()))
    return Picture((levels.shape[0], levels.shape[1]), ".png", pixels=levels)


def _same_place(one: SliceStack, other: SliceStack) -> bool:
    if one.affine is None or other.affine is None:
        return one.affine is other.affine
    return same_place(one.affine, other.affine)
