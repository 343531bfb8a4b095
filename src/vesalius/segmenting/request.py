"""What is asked of many images, which images a command line names, and how a model's answers become masks."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import EMPTY_PATH, ConfigError, ImageError, VesaliusError
from vesalius.imaging import Plane, SliceStack
from vesalius.imaging.read import Choices
from vesalius.results import slugs
from vesalius.segmentation import THRESHOLD, Segmentation
from vesalius.volumes import PackedMasks

if TYPE_CHECKING:
    from vesalius.imaging.search import FoundSeries, SourceImage
    from vesalius.journal import ResultsJournal
    from vesalius.knowledge import Understanding
    from vesalius.models.inference import Precision
    from vesalius.predict import Predictor
    from vesalius.runtime import RuntimeChoice


MOST_LABELS = 255
"""Phrases of a label map at most; it has one byte a pixel."""


@dataclass(frozen=True)
class MaskRules:
    """Settings that decide which pixels are marked."""

    threshold: float = THRESHOLD
    """Probability above which a pixel is marked, between 0 and 1."""
    existence: float | None = None
    """Minimum probability that the image shows the phrase's object at all, 0 to 1; below, its mask is empty."""
    keep_largest: bool = False
    """Whether only the largest object of each mask is kept."""
    min_size: int = 0
    """Minimum size of an object, in pixels (in volumes voxels) of the image's own grid."""
    labels: bool = False
    """Whether one label map of all phrases is written instead of one mask each."""

    def check(self, phrases: int) -> None:
        """Refuse settings out of their range.

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
        """The settings that differ from the defaults."""
        defaults = asdict(MaskRules())
        return {name: value for name, value in asdict(self).items() if value != defaults[name]}


class Collector:
    """Collects the answers slice after slice; `finish` returns a mask volume for each phrase.

    Args:
        size: Height and width of a slice.
        phrases: Number of phrases.
        rules: Settings that decide the masks.
    """

    def __init__(self, size: tuple[int, int], phrases: int, rules: MaskRules) -> None:
        self._size, self._rules = size, rules
        self._masks = [PackedMasks(size) for _ in range(phrases)]
        self._contested: list[tuple[NDArray[np.intp], NDArray[np.uint8]] | None] = []
        """For each slice the pixels that several phrases mark, and the phrases' places, most probable first."""
        self.existence: list[float | None] = [None] * phrases
        """Existence of each phrase's object: that of its best run of slices."""
        self.slice_existence: list[list[float | None]] = [[] for _ in range(phrases)]

    def add(self, answers: Sequence[Segmentation]) -> None:
        """Add one slice's answers, in the order of the phrases."""
        masks = [self._mask(answer) for answer in answers]
        for place, (answer, mask) in enumerate(zip(answers, masks, strict=True)):
            self._masks[place].append(mask)
            self.slice_existence[place].append(answer.existence)
            judged = [each for each in (answer.gate, self.existence[place]) if each is not None]
            self.existence[place] = max(judged, default=None)
        if self._rules.labels:
            self._contested.append(_contested(answers, masks))

    def finish(self) -> list[PackedMasks]:
        """The masks by all rules; those of a label map share no pixel.

        In this order: absent objects lose their mask, shared pixels go to the more probable phrase, small objects are
        dropped.
        """
        masks = list(map(self._without_absent, self._masks, self.existence))
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

    def _without_absent(self, masks: PackedMasks, existence: float | None) -> PackedMasks:
        if existence is None or self._rules.existence is None or existence >= self._rules.existence:
            return masks
        return _pack(np.zeros(self._size, np.bool_) for _ in masks.rows)

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


class FoundMasks(NamedTuple):
    """What was found for one phrase."""

    masks: PackedMasks
    existence: float | None
    """That of its best run of slices."""
    slice_existence: list[float | None]
    """Of each slice alone."""


def collect_masks(
    predictor: "Predictor", slices: SliceStack, understood: "Sequence[Understanding]", rules: MaskRules
) -> list[FoundMasks | None]:
    """Ask the model for the masks of phrases; each slice is encoded once for all of them.

    Args:
        predictor: The model.
        slices: Slices of an image.
        understood: Phrases as `Predictor.understand` understood them.
        rules: Settings that decide the masks.

    Returns:
        What was found for each phrase; None for those that the model is not asked.
    """
    asked = [each for each in understood if each.asked is not None]
    collector = Collector((slices.pixels.shape[1], slices.pixels.shape[2]), len(asked), rules)
    for answers in predictor.predict_slices(slices, asked) if asked else ():
        collector.add(answers)
    found = map(FoundMasks, collector.finish(), collector.existence, collector.slice_existence)
    return [None if each.asked is None else next(found) for each in understood]


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


@dataclass(frozen=True)
class Request:
    """Phrases and settings for every image of a run."""

    prompts: tuple[str, ...]
    model: str = "pocket"
    weights: str = ""
    """Checksum of the model's file; results of other weights are not taken for done."""
    plane: Plane | None = None
    window: str | tuple[float, float] | None = None
    rules: MaskRules = field(default_factory=MaskRules)
    choices: Choices = field(default_factory=dict)
    runtime: "RuntimeChoice" = "auto"
    device: str = "auto"
    precision: "Precision" = "32"

    def settings(self) -> dict[str, object]:
        """Everything but the image that decides the results: ready for JSON, and unchanged when read back."""
        window = list(self.window) if isinstance(self.window, tuple) else self.window
        chosen = {"plane": self.plane, "window": window, **self.choices}
        told = {name: value for name, value in chosen.items() if value is not None}
        precision = {} if self.precision == "32" else {"precision": self.precision}
        made = {"prompts": list(self.prompts), "weights": self.weights}
        return {**made, **told, **self.rules.to_dict(), **precision}

    def files(self, source: "SourceImage") -> list[str]:
        """Every name that an image's results may have; picture or volume is known only once it is read."""
        parts = [*(f"{each}.mask" for each in slugs(self.prompts)), "labels"]
        masks = [f"{source.stem}.{part}{suffix}" for part in parts for suffix in (".png", ".nii.gz")]
        return [f"{source.stem}.overlay.jpg", *masks]


def find_images(
    paths: Sequence[str | Path],
    journal: "ResultsJournal",
    *,
    choices: Choices | None = None,
    each: bool = False,
) -> tuple[list["SourceImage"], list[dict[str, str]]]:
    """List the images of files, folders and patterns, without results of Vesalius, but for other runs' that are named.

    Args:
        paths: Files, folders with their subfolders, and patterns such as "scans/*.png" that the shell did not expand.
        journal: Of earlier results of this run, whose names images keep.
        choices: See `vesalius.imaging.search.find_series`.
        each: List numbered pictures one by one, not as slices of a stack.

    Returns:
        The images, and the paths that could not be read, as ``{"source": …, "reason": …}``.
    """
    from vesalius.imaging.search import find_series, list_sources, results_in  # a single picture needs no search

    found: list[FoundSeries] = []
    failures = []
    results, own = cache(results_in), results_in(journal.out)
    for path in paths:
        named = os.path.exists(path)
        try:
            for place in _expand(path):
                if place not in (own if named else results(place.parent)):
                    found += find_series(place, each=each, **(choices or {}))  # type: ignore[arg-type]  # as read_image
        except VesaliusError as error:
            failures.append({"source": str(path), "reason": str(error)})
    return list_sources(found, journal.stems, journal.known), failures


def _expand(path: str | Path) -> list[Path]:
    """The absolute path of an existing file or folder, or of all that match a pattern.

    Raises:
        ImageError: If there is nothing.
    """
    if not str(path):  # or it would be the current folder
        raise ImageError(f"PATH: {EMPTY_PATH}")
    place = Path(os.path.abspath(path))
    if os.path.exists(place) or not glob.has_magic(str(path)):
        return [place]
    matches = sorted(glob.glob(str(path), recursive=True))
    if not matches:
        raise ImageError(f"{path}: no file or folder has such a name; check the pattern.")
    return [Path(os.path.abspath(match)) for match in matches]
