"""How a model's answers become masks: the rules of what is marked, and label maps of masks that share no pixel."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import ConfigError
from vesalius.imaging import SliceStack
from vesalius.imaging.mask_volumes import PackedMasks
from vesalius.segmentation import THRESHOLD, Segmentation, best_gate

if TYPE_CHECKING:
    from vesalius.knowledge import Understanding
    from vesalius.predict import Predictor

MOST_LABELS = 255
"""Phrases of a label map at most; it has one byte a pixel."""
Watch = Callable[[Iterable[list[Segmentation]], int], Iterable[list[Segmentation]]]
"""Goes through the answers, of which there are so many, and may tell how far they are."""


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
            self.existence[place] = best_gate((answer.gate, self.existence[place]))
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
    """Existence in its best run of slices."""
    slice_existence: list[float | None]
    """Existence in each slice alone."""


def collect_masks(
    predictor: "Predictor",
    slices: SliceStack,
    understood: "Sequence[Understanding]",
    rules: MaskRules,
    watch: Watch = lambda answers, total: answers,
) -> list[FoundMasks | None]:
    """Ask the model for the masks of phrases; each slice is encoded once for all of them.

    Args:
        predictor: The model.
        slices: Slices of an image.
        understood: Phrases as `Predictor.understand` understood them.
        rules: Settings that decide the masks.
        watch: See `Watch`.

    Returns:
        What was found for each phrase; None for those that the model is not asked.
    """
    asked = [each for each in understood if each.asked is not None]
    collector = Collector((slices.pixels.shape[1], slices.pixels.shape[2]), len(asked), rules)
    for answers in watch(predictor.predict_slices(slices, asked), len(slices)) if asked else ():
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
