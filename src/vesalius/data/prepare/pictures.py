"""Samples of pictures with masks or label maps, read completely, so that damage is found now and not in training."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vesalius.data.annotations import check_size
from vesalius.data.check.facts import ValueKind, judge_values
from vesalius.data.prepare.samples import Outline, Picture, Problem, fill_label, plain_prompts, to_phrase
from vesalius.data.prepare.sources import Source
from vesalius.errors import DataError, ImageError
from vesalius.imaging import MedicalImage, read_image
from vesalius.imaging.formats import is_jpeg, read_start
from vesalius.imaging.raster import above_half, part_values
from vesalius.imaging.slices import to_bytes
from vesalius.prompts import Variants

COPIED = {b"\x89PNG\r\n\x1a\n": (".png",), b"\xff\xd8\xff": (".jpg", ".jpeg")}
"""How files begin that are copied byte for byte, and their suffixes; everything else becomes PNG."""

_SHOWN = 5
"""Known labels that a message names."""


def read_picture(path: Path) -> Picture:
    """Read all of a picture.

    Args:
        path: A PNG or JPEG file, to be copied; or anything else `read_image` reads, to become PNG.

    Raises:
        ImageError: If it is damaged, or holds several slices.
    """
    image = _read_single(path)
    height, width = image.pixels.shape[1:3]
    start = b"" if path.is_dir() else read_start(path)
    for mark, suffixes in COPIED.items():
        if start.startswith(mark):
            suffix = path.suffix.lower()
            return Picture((height, width), suffix if suffix in suffixes else suffixes[0], file=path)
    return Picture((height, width), ".png", pixels=_to_levels(image))


def _read_label_map(path: Path) -> NDArray[np.int64]:
    """A single label map, [H, W].

    Raises:
        ImageError: If it is damaged, in colour, or holds several slices.
    """
    image = _read_single(path)
    if image.is_colour:
        raise ImageError(f"{path}: is in colour; expected a label map of one channel, so convert it.")
    values: NDArray[np.int64] = np.rint(image.pixels[0]).astype(np.int64)
    return values


def _read_outline(path: Path, threshold: float | None = None) -> NDArray[np.bool_]:
    """A mask of one object, [H, W], of which it is certain what is inside.

    Black and white with values around them, as JPEG leaves, and pure colours on black are parted at half of the range;
    else `part_values` decides.

    Args:
        path: A single picture; of colours, the brightest channel counts.
        threshold: What is above it is inside, whatever the values are.

    Raises:
        ImageError: If it is damaged, or holds several slices.
        DataError: If its values leave open which of them are inside.
    """
    stored = _read_single(path).pixels[0]
    if threshold is None and stored.ndim == 3:
        _check_colours(stored, path)
    grey = stored.max(axis=2) if stored.ndim == 3 else stored
    found = part_values(grey, threshold, lossy=is_jpeg(path))
    if found is not None:
        return found
    kind, values, _ = judge_values(stored)
    if kind in (ValueKind.ARTEFACTS, ValueKind.COLOUR):
        return above_half(grey)
    raise DataError(f"{path}: {ask_inside(values)}")


def _check_colours(stored: NDArray[np.generic], path: Path) -> None:
    """See that the brightest channel tells two colours apart, and that one of two is black.

    Raises:
        DataError: If not: what is inside of red on white, or of yellow on blue?
    """
    colours = np.unique(stored.reshape(-1, stored.shape[2]), axis=0)
    if len(colours) == 2 and colours.any(axis=1).all():
        told = " and ".join(str(tuple(colour)) for colour in colours.tolist())
        raise DataError(
            f"{path}: has two colours, {told}, where one has to be black, (0, 0, 0), which is outside; convert it, or "
            "say what is inside with --threshold N (values of the brightest channel above it)."
        )


def ask_inside(values: NDArray[np.generic]) -> str:
    """The rest of a message about a mask whose values leave open what is inside."""
    shown = [f"{value:g}" for value in values[:_SHOWN].tolist()]
    more = f" … {float(values[-1]):g}" if len(values) > _SHOWN else ""
    remedy = "say which are inside with --threshold N (values above it), or what each stands for with --labels FILE"
    return f"holds the values {', '.join(shown)}{more}, where a mask has 0 and one other; {remedy}."


def merge_channels(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture [H, W, 3] as a single channel [H, W] where all three are equal."""
    return levels[..., 0] if (levels == levels[..., :1]).all() else levels


def unknown_labels(values: NDArray[np.int64], names: Mapping[int, str], place: str) -> list[Problem]:
    """A problem if a map holds labels without a name; 0 is background."""
    unknown = [value for value in np.unique(values).tolist() if value not in names and value != 0]
    if not unknown:
        return []
    some = [f"{number} {name}" for number, name in sorted(names.items())[:_SHOWN]]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    message = f"unknown label {', '.join(map(str, unknown))}; known are {', '.join(some)}{more}."
    return [Problem(place, f"{message} Unknown ones are left out.")]


def _read_single(path: Path) -> MedicalImage:
    image = read_image(path)
    if len(image.pixels) != 1:
        raise ImageError(f"{path}: holds {len(image.pixels)} slices; expected one picture.")
    return image


def _to_levels(image: MedicalImage) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Whole numbers from 0 to 255 and 16-bit pictures as they are; anything else in its usual display range."""
    stored = image.pixels[0]
    plain = image.modality is None and not image.inverted
    if plain and image.affine is None and stored.ndim == 2 and stored.dtype == np.uint16:
        deep: NDArray[np.uint16] = stored.astype(np.uint16)
        return deep
    levels: NDArray[np.uint8] = np.clip(stored, 0, 255).astype(np.uint8)
    if plain and np.array_equal(levels, stored):
        return levels
    return merge_channels(to_bytes(image.slices()[0].rgb))


Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PictureSample:
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
    """Prompts of the one object; with labels, each label has its own."""
    group: str
    split: str | None = None
    kind: str = ""
    labels: Mapping[int, str] | None = None
    """Number -> name, if the mask is a label map."""
    target: str = ""
    """What the one object is, in plain words; with labels, each has its own."""
    threshold: float | None = None
    """Values of masks above it are inside; None if the values decide."""

    @property
    def key(self) -> str:
        """The mask's name: an image may have several samples."""
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
                mask = _read_outline(file, self.threshold)
                check_size(image, shape, file, mask.shape, source.describe(path))
            united |= mask
        return united

    def _read_labels(self, source: Source, image: Path, shape: tuple[int, int]) -> NDArray[np.int64]:
        with source.open(self.masks[0]) as file:
            values = _read_label_map(file)
            check_size(image, shape, file, values.shape, source.describe(self.masks[0]))
        return values

    def _stem(self, number: int, name: str) -> str:
        return fill_label(self.mask_stem, number, name)
