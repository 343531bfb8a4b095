"""What is asked of many images, and the rules by which a model's answers become masks."""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import ConfigError, ImageError, VesaliusError
from vesalius.files import distinct_stems
from vesalius.imaging import Plane
from vesalius.imaging.formats import visible_files
from vesalius.results import slugs
from vesalius.segmentation import THRESHOLD, Segmentation
from vesalius.volumes import PackedMasks

if TYPE_CHECKING:
    from vesalius.imaging.finding import FoundSeries
    from vesalius.models.inference import Precision
    from vesalius.runtime import RuntimeChoice


MOST_LABELS = 255
"""Phrases of a label map, which has one byte a pixel."""


@dataclass(frozen=True)
class MaskRules:
    """What decides which pixels are marked."""

    threshold: float = THRESHOLD
    """Probability above which a pixel is marked, between 0 and 1."""
    existence: float | None = None
    """Least probability that the image shows the phrase's object at all, 0 to 1; below, its mask is empty."""
    keep_largest: bool = False
    """Keep the largest object of each mask alone."""
    min_size: int = 0
    """Fewest pixels of an object, in volumes voxels, of the image's own grid."""
    labels: bool = False
    """One label map of all phrases instead of a mask each."""

    def check(self, phrases: int) -> None:
        """Refuse what is out of its range.

        Raises:
            ConfigError: Naming the option.
        """
        if not 0 < self.threshold < 1:
            raise ConfigError(f"--threshold: expected a probability between 0 and 1, got {self.threshold:g}.")
        if self.existence is not None and not 0 <= self.existence <= 1:
            raise ConfigError(f"--existence: expected a probability from 0 to 1, got {self.existence:g}.")
        if self.min_size < 0:
            raise ConfigError(f"--min-size: expected a number of pixels or voxels, 0 or more, got {self.min_size}.")
        if self.labels and phrases > MOST_LABELS:
            raise ConfigError(f"--labels: a label map holds {MOST_LABELS} phrases at most, got {phrases}.")

    def to_dict(self) -> dict[str, object]:
        """Those that differ from the usual."""
        usual = asdict(MaskRules())
        return {name: value for name, value in asdict(self).items() if value != usual[name]}


class Collector:
    """Takes the answers slice after slice; `finish` gives a mask volume a phrase.

    Args:
        size: Height and width of a slice.
        phrases: How many were asked.
        rules: What decides the masks.
    """

    def __init__(self, size: tuple[int, int], phrases: int, rules: MaskRules) -> None:
        self._size, self._rules = size, rules
        self._masks = [PackedMasks(size) for _ in range(phrases)]
        self._contested: list[tuple[NDArray[np.intp], NDArray[np.uint8]] | None] = []
        """For each slice the pixels that several phrases mark, and the phrases' places, the most probable first."""
        self.existence: list[float | None] = [None] * phrases
        """Of each phrase, that of its best run of slices."""
        self.slice_existence: list[list[float | None]] = [[] for _ in range(phrases)]

    def add(self, answers: Sequence[Segmentation]) -> None:
        """Take one slice's answers, in the order of the phrases."""
        masks = [self._mask(answer) for answer in answers]
        for place, (answer, mask) in enumerate(zip(answers, masks, strict=True)):
            self._masks[place].append(mask)
            self.slice_existence[place].append(answer.existence)
            sure = answer.gate
            known = [each for each in (sure, self.existence[place]) if each is not None]
            self.existence[place] = max(known, default=None)
        if self._rules.labels:
            self._contested.append(_contested(answers, masks))

    def finish(self) -> list[PackedMasks]:
        """The masks by all rules; those of a label map share no pixel.

        The order: what is not there loses its mask, shared pixels go to the more probable phrase, then sizes count.
        """
        masks = [self._empty() if self._is_absent(place) else each for place, each in enumerate(self._masks)]
        if any(each is not None for each in self._contested):
            masks = self._share_out(masks)
        if self._rules.keep_largest or self._rules.min_size > 1:
            masks = [_choose_objects(each, self._rules) for each in masks]
        return masks

    def _mask(self, answer: Segmentation) -> NDArray[np.bool_]:
        if self._rules.threshold == THRESHOLD:
            return answer.mask
        above: NDArray[np.bool_] = answer.probability > self._rules.threshold
        return above

    def _is_absent(self, place: int) -> bool:
        sure = self.existence[place]
        return sure is not None and self._rules.existence is not None and sure < self._rules.existence

    def _empty(self) -> PackedMasks:
        return _pack(np.zeros(self._size, np.bool_) for _ in self._masks[0].rows)

    def _share_out(self, masks: list[PackedMasks]) -> list[PackedMasks]:
        shared = [PackedMasks(self._size) for _ in masks]
        for index, contested in enumerate(self._contested):
            planes = [each[index] for each in masks]
            if contested is not None:
                pixels, order = contested
                inside = np.stack([plane.flat[pixels] for plane in planes])
                first = np.take_along_axis(inside, order, 0).argmax(0)
                winner = np.take_along_axis(order, first[None], 0)[0]
                for place, plane in enumerate(planes):
                    plane.flat[pixels] = inside[place] & (winner == place)
            for target, plane in zip(shared, planes, strict=True):
                target.append(plane)
        return shared


class LabelMasks:
    """Masks that share no pixel as one map: 0 is background, 1 to N are the phrases in their order."""

    def __init__(self, masks: Sequence[PackedMasks], values: Sequence[int]) -> None:
        self.masks, self.values = masks, values

    @property
    def shape(self) -> tuple[int, int, int]:
        """[D, H, W]."""
        return self.masks[0].shape

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self._merge([each[index] for each in self.masks])

    def planes(self, order: Sequence[int], backwards: Sequence[bool]) -> Iterator[NDArray[np.uint8]]:
        """See `PackedMasks.planes`."""
        several = zip(*(each.planes(order, backwards) for each in self.masks), strict=True)
        return (self._merge(planes) for planes in several)

    def _merge(self, planes: Sequence[NDArray[np.bool_]]) -> NDArray[np.uint8]:
        merged = np.zeros(planes[0].shape, np.uint8)
        for value, plane in zip(self.values, planes, strict=True):
            merged[plane] = value
        return merged


def _contested(
    answers: Sequence[Segmentation], masks: Sequence[NDArray[np.bool_]]
) -> tuple[NDArray[np.intp], NDArray[np.uint8]] | None:
    """Pixels of several phrases [n], and for each the phrases' places in the order of their probability [N, n]."""
    counts = np.zeros(masks[0].shape, np.uint8)
    for mask in masks:
        counts += mask
    pixels = np.flatnonzero(counts > 1)
    if not len(pixels):
        return None
    sure = np.stack([answer.probability.flat[pixels] for answer in answers])
    return pixels, np.argsort(-sure, axis=0, kind="stable").astype(np.uint8)


def _choose_objects(masks: PackedMasks, rules: MaskRules) -> PackedMasks:
    """Drop small objects, or all but the largest; pixels that touch at a corner belong together."""
    from scipy import ndimage  # loads slowly, and few ask for it

    whole = masks.cut(0, slice(0, len(masks)))
    boxes = ndimage.find_objects(whole.view(np.uint8))
    if not boxes:
        return masks
    inside = whole[boxes[0]]
    names, _ = ndimage.label(inside, np.ones((3, 3, 3), np.bool_))
    sizes = np.bincount(names.ravel())
    kept = sizes >= rules.min_size
    kept[0] = False
    if rules.keep_largest:
        kept &= np.arange(len(sizes)) == 1 + sizes[1:].argmax()
    inside[...] = kept[names]
    return _pack(whole)


def _pack(planes: "Iterator[NDArray[np.bool_]] | NDArray[np.bool_]") -> PackedMasks:
    packed: PackedMasks | None = None
    for plane in planes:
        packed = PackedMasks((plane.shape[0], plane.shape[1])) if packed is None else packed
        packed.append(plane)
    assert packed is not None
    return packed


Choices = Mapping[str, int | str | None]
"""What `read_image` is to choose: series, stack, volume and frame."""


@dataclass(frozen=True)
class Request:
    """What is asked of every image, and how."""

    prompts: tuple[str, ...]
    model: str = "pocket"
    weights: str = ""
    """Checksum of the model's file; what was made with others is not taken for done."""
    plane: Plane | None = None
    window: str | tuple[float, float] | None = None
    rules: MaskRules = field(default_factory=MaskRules)
    choices: Choices = field(default_factory=dict)
    runtime: "RuntimeChoice" = "auto"
    device: str = "auto"
    precision: "Precision" = "32"

    def settings(self) -> dict[str, object]:
        """What decides the results, but for the image: ready for JSON, and equal to what comes back from it."""
        window = list(self.window) if isinstance(self.window, tuple) else self.window
        chosen = {"plane": self.plane, "window": window, **self.choices}
        told = {name: value for name, value in chosen.items() if value is not None}
        precision = {} if self.precision == "32" else {"precision": self.precision}
        made = {"prompts": list(self.prompts), "weights": self.weights}
        return {**made, **told, **self.rules.to_dict(), **precision}


@dataclass(frozen=True)
class Item:
    """An image, a volume or a series that is to be segmented."""

    found: "FoundSeries"
    image: str
    """Its absolute path, which tells it from all others."""
    stem: str
    """How the names of its results begin."""

    def files(self, prompts: Sequence[str]) -> list[str]:
        """Every name that its results may have, whatever the image turns out to be."""
        parts = ["overlay.jpg", *(f"{each}.mask" for each in slugs(prompts)), "labels"]
        return [
            f"{self.stem}.{part}{suffix}"
            for part in parts
            for suffix in ([""] if part.endswith(".jpg") else [".png", ".nii.gz"])
        ]

    def state(self) -> dict[str, int]:
        """By what a changed image is known: number, bytes and newest time (ns) of its files."""
        source = self.found.source
        files = self.found.files or (visible_files(source) if source.is_dir() else [source])
        facts = [each.stat() for each in files if each.exists()]
        newest = max((each.st_mtime_ns for each in facts), default=0)
        return {"files": len(facts), "bytes": sum(each.st_size for each in facts), "changed": newest}


def find_items(
    paths: Sequence[str | Path],
    own: frozenset[Path],
    stems: Mapping[str, str],
    *,
    choices: Choices | None = None,
    each: bool = False,
) -> tuple[list[Item], list[dict[str, str]]]:
    """List the images of files, folders and patterns.

    Args:
        paths: Files, folders with their subfolders, and patterns such as "scans/*.png", which a shell may have left.
        own: Results of ours, which are no images to segment wherever they lie.
        stems: Image -> stem of its results so far, which it keeps.
        choices: See `vesalius.imaging.finding.find_series`.
        each: List numbered pictures one by one.

    Returns:
        The images, and what could not be found, as ``{"source": …, "reason": …}``.
    """
    from vesalius.imaging.finding import find_series  # one picture by itself needs no search

    found: dict[str, FoundSeries] = {}
    failures = []
    for path in paths:
        try:
            for place in _expand(path):
                several = find_series(place, each=each, **(choices or {}))  # type: ignore[arg-type]  # as read_image
                shared = Counter(one.source for one in several)
                for one in several:
                    if own.isdisjoint((one.source, *one.files)):
                        home = one.files[0] if shared[one.source] > 1 and one.files else one.source
                        found.setdefault(str(home), one)
        except VesaliusError as error:
            failures.append({"source": str(path), "reason": str(error)})
    return _name(found, stems), failures


def _name(found: "Mapping[str, FoundSeries]", stems: Mapping[str, str]) -> list[Item]:
    made = distinct_stems([Path(image) for image in found])
    return [Item(one, image, stems.get(image, stem)) for (image, one), stem in zip(found.items(), made, strict=True)]


def _expand(path: str | Path) -> list[Path]:
    """A path that is there, or all that a pattern names; absolute.

    Raises:
        ImageError: If there is nothing.
    """
    place = Path(os.path.abspath(path))
    if place.exists() or not glob.has_magic(str(path)):
        return [place]
    matches = sorted(glob.glob(str(path), recursive=True))
    if not matches:
        raise ImageError(f"{path}: no file or folder has such a name; check the pattern.")
    return [Path(os.path.abspath(match)) for match in matches]
