"""Masks and probabilities as a DICOM segmentation whose frames lie on those of its source."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import generate_uid

from vesalius.clinical.coding import Maker, concept_of, scheme, to_label
from vesalius.clinical.source import ReferencedFrame, SourceSeries
from vesalius.errors import ConfigError, ImageError
from vesalius.imaging import MedicalImage, SliceStack
from vesalius.imaging.mask_volumes import PackedMasks, Planes, StackedPlanes, Values
from vesalius.imaging.safeguards import MEGABYTES, megabytes
from vesalius.masks import MOST_LABELS, LabelMasks

SERIES_NUMBER = 9001
MOST_PROBABLE = 255
"""The stored value of a probability of 1."""
LONGEST_DESCRIPTION = 1024
SAME = 1e-9
"""Difference of direction cosines, and of spacings in mm, from which frames say their own."""

Number = TypeVar("Number", np.uint8, np.float32)


class SegmentationType(StrEnum):
    """How a segmentation stores its segments."""

    BINARY = "BINARY"
    """One bit per pixel for each segment; segments may overlap."""
    FRACTIONAL = "FRACTIONAL"
    """A probability for each segment, in 255 steps."""
    LABELMAP = "LABELMAP"
    """The number of one segment per pixel; younger than the others (DICOM 2024d)."""


@dataclass(frozen=True)
class Segment:
    """What a phrase is called in the object."""

    label: str
    """What it holds, in few words."""
    description: str
    """The same in full; not written where the label says it all."""
    name: str
    """What its codes are looked up by, see `concept_of`."""
    colour: tuple[int, int, int]
    """Colour that is recommended for display, 0–255."""


def build_segmentation(
    source: SourceSeries,
    segments: Sequence[Segment],
    pixels: NDArray[np.uint8] | NDArray[np.float32],
    kind: SegmentationType,
    maker: Maker,
) -> Segmentation:
    """A segmentation of the frames of one stack.

    A segment that marks nothing is described and, but in label maps, has all its frames, each of them empty: that it
    was looked for and not found is not lost.

    Args:
        source: What was segmented, K frames.
        segments: S of them, numbered from 1 in this order.
        pixels: Numbers of segments [K, H, W], 0 and 1 [K, H, W, S], or for fractional segmentations probabilities
            [K, H, W, S]; in the rows, columns and order of frames of the source, see `to_stored`.
        kind: How they are stored.
        maker: Who found them.

    Raises:
        ConfigError: If segments of a label map share pixels.
        ImageError: If there are not as many planes as frames.
    """
    if kind is SegmentationType.LABELMAP and pixels.ndim != 3:
        raise ConfigError("A label map holds one segment a pixel, and some of these overlap; store them as binary.")
    if pixels.shape[:3] != (len(source.frames), *source.size):
        raise ImageError(
            f"{source.path}: expected masks of {[len(source.frames), *source.size]} (frames, rows, columns), got "
            f"{list(pixels.shape[:3])}."
        )
    stand_ins, meant = source.stand_ins()
    result = Segmentation(
        stand_ins,
        pixels,
        kind.value,
        [_describe(number, each, maker) for number, each in enumerate(segments, start=1)],
        max_fractional_value=MOST_PROBABLE,
        omit_empty_frames=kind is SegmentationType.LABELMAP or _are_all_marked(pixels, len(segments)),
        content_label="SEGMENTATION",
        content_description="What phrases name, outlined by an algorithm",
        coding_schemes=[scheme()],
        **maker.new_object(SERIES_NUMBER, "Vesalius segmentation"),
    )
    result.ContentCreatorName = ""  # highdicom leaves it out where nobody is named, and it may only be empty
    _refer(result, meant)
    result.SourceImageSequence = references = source.references()
    result.ReferencedSeriesSequence[0].ReferencedInstanceSequence = references
    if source.placed:
        _give_frames_their_own(result, meant)
    else:
        _displace(result, source)
    source.adopt(result)
    return result


def check_room(image: MedicalImage, segments: int, kind: SegmentationType) -> None:
    """Refuse what would take too much memory, before anything is computed.

    Raises:
        ImageError: If pixels of all segments together are more than `safeguards.MEGABYTES`.
    """
    bytes_each = {SegmentationType.BINARY: segments, SegmentationType.FRACTIONAL: 5 * segments}.get(kind, 1)
    MEGABYTES.check(megabytes(int(np.prod(image.pixels.shape[:3], dtype=np.int64)) * bytes_each), image.source)


def to_stored(image: MedicalImage, slices: SliceStack, masks: Planes) -> Iterator[Values]:
    """Bring masks in display order to the rows and columns of the file.

    Args:
        image: What was segmented.
        slices: Of it, in any plane.
        masks: Of each slice.

    Returns:
        A mask or labels [H, W] for each of `MedicalImage.source_frames`.
    """
    grid = image.mask_grid(slices)
    return masks.planes(grid.order, grid.backwards)


def stack_masks(image: MedicalImage, slices: SliceStack, masks: Sequence[PackedMasks]) -> NDArray[np.uint8]:
    """The pixels of a binary segmentation or a label map.

    Args:
        image: What was segmented.
        slices: Of it, in any plane.
        masks: For each segment, of each slice.

    Returns:
        Numbers of segments [K, H, W] where no two share a pixel, which takes least memory; else 0 and 1, [K, H, W, S].
    """
    if len(masks) <= MOST_LABELS:
        labels = LabelMasks(masks, range(1, len(masks) + 1))
        numbers = _stack(image, 1, np.uint8, lambda place: to_stored(image, slices, labels))[..., 0]
        if np.count_nonzero(numbers) == sum(sum(each.marked) for each in masks):
            return numbers
    return _stack(image, len(masks), np.uint8, lambda place: to_stored(image, slices, masks[place]))


def stack_probabilities(
    image: MedicalImage, slices: SliceStack, levels: Sequence[NDArray[np.uint8]]
) -> NDArray[np.float32]:
    """The pixels of a fractional segmentation, [K, H, W, S].

    Args:
        image: What was segmented.
        slices: Of it, in any plane.
        levels: For each segment probabilities times 255 [D, H, W], in display order.
    """
    stacks = [StackedPlanes(each) for each in levels]
    whole = _stack(image, len(levels), np.float32, lambda place: to_stored(image, slices, stacks[place]))
    whole /= MOST_PROBABLE
    return whole


def _stack(
    image: MedicalImage, count: int, dtype: type[Number], planes: Callable[[int], Iterator[NDArray[np.generic]]]
) -> NDArray[Number]:
    """Planes of each segment as one array [K, H, W, S], in memory segment after segment."""
    columns, rows, depth = image.source_shape or image.pixels.shape[2::-1]
    whole = np.moveaxis(np.empty((count, depth, rows, columns), dtype), 0, -1)
    for place in range(count):
        for target, plane in zip(whole[..., place], planes(place), strict=True):
            target[...] = plane
    return whole


def _are_all_marked(pixels: NDArray[np.uint8] | NDArray[np.float32], segments: int) -> bool:
    if pixels.ndim == 4:
        return all(pixels[..., place].any() for place in range(segments))
    found = set().union(*(np.unique(plane).tolist() for plane in pixels))
    return found >= set(range(1, segments + 1))


def _describe(number: int, segment: Segment, maker: Maker) -> SegmentDescription:
    concept = concept_of(segment.name)
    label = to_label(segment.label)
    described = SegmentDescription(
        number,
        label,
        concept.category,
        concept.kind,
        "AUTOMATIC",
        maker.algorithm(),
        tracking_uid=generate_uid(prefix=None),
        tracking_id=label,
        anatomic_regions=None if concept.region is None else [concept.region],
        display_color=CIELabColor.from_rgb(*segment.colour),
    )
    if label != segment.description:
        described.SegmentDescription = to_label(segment.description, LONGEST_DESCRIPTION)
    return described


def _refer(result: Segmentation, meant: dict[str, ReferencedFrame]) -> None:
    """Let frames refer to those that the stand-ins stand for."""
    references = (_reference(item) for item in result.PerFrameFunctionalGroupsSequence)
    for reference in {id(each): each for each in references}.values():  # segments of one frame share theirs
        frame = meant[reference.ReferencedSOPInstanceUID]
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = frame.sop_class, frame.instance
        if frame.number is not None:
            reference.ReferencedFrameNumber = frame.number


def _reference(item: Dataset) -> Dataset:
    found: Dataset = item.DerivationImageSequence[0].SourceImageSequence[0]
    return found


def _key(item: Dataset) -> tuple[str, int | None]:
    """Instance and number of the frame that a frame was made from."""
    reference = _reference(item)
    return reference.ReferencedSOPInstanceUID, reference.get("ReferencedFrameNumber")


def _give_frames_their_own(result: Segmentation, meant: dict[str, ReferencedFrame]) -> None:
    """Where frames of one stack differ in the last digits of directions or spacings, let each keep its own.

    highdicom gives all frames those of the first.
    """
    frames = list(meant.values())
    rows = [(*each.orientation, *(each.spacing or ())) for each in frames]
    if max(np.ptp(column) for column in zip(*rows, strict=True)) <= SAME:
        return
    own = {(each.instance, each.number): each for each in frames}
    shared = result.SharedFunctionalGroupsSequence[0]
    for item in result.PerFrameFunctionalGroupsSequence:
        frame = own[_key(item)]
        for name, keyword, values in (
            ("PlaneOrientationSequence", "ImageOrientationPatient", frame.orientation),
            ("PixelMeasuresSequence", "PixelSpacing", frame.spacing),
        ):
            group = copy.deepcopy(shared[name].value[0])
            setattr(group, keyword, [*map(float, values or ())])
            setattr(item, name, [group])
    del shared.PlaneOrientationSequence, shared.PixelMeasuresSequence


def _displace(result: Segmentation, source: SourceSeries) -> None:
    """Take the place in the patient out of a segmentation of frames that have none; their order stays."""
    pointer = result.DimensionIndexSequence[-1]
    pointer.DimensionIndexPointer = Tag("InStackPositionNumber")
    pointer.FunctionalGroupPointer = Tag("FrameContentSequence")
    pointer.DimensionDescriptionLabel = "In-Stack Position Number"
    places = {(each.instance, each.number): place for place, each in enumerate(source.frames, start=1)}
    for item in result.PerFrameFunctionalGroupsSequence:
        content = item.FrameContentSequence[0]
        content.StackID = "1"
        content.InStackPositionNumber = places[_key(item)]
        content.DimensionIndexValues = [*content.DimensionIndexValues[:-1], places[_key(item)]]
        del item.PlanePositionSequence
    shared = result.SharedFunctionalGroupsSequence[0]
    del shared.PlaneOrientationSequence, result.FrameOfReferenceUID, result.PositionReferenceIndicator
    if source.frames[0].spacing is None:
        del shared.PixelMeasuresSequence
    else:
        shared.PixelMeasuresSequence[0].pop("SpacingBetweenSlices", None)
    result.pop("DimensionOrganizationType", None)
    result.PatientOrientation = source.header.get("PatientOrientation") or []
