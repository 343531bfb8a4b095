"""From frames in any order to stacks of parallel slices, sorted, placed in the patient and turned for display."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import join_first
from vesalius.imaging.dicom_frames import Frame
from vesalius.imaging.image import MedicalImage, SourceFrame
from vesalius.imaging.lazy import LazyPixels
from vesalius.imaging.orientation import LPS_TO_RAS, Affine, nearest_plane, places_volume, plane_of, to_display_order
from vesalius.imaging.safeguards import BYTES_PER_MEGABYTE, FRAMES, KEPT_MEGABYTES, Notice

SAME_DIRECTION = 1e-3
"""Difference of direction cosines up to which orientations count as equal."""

SAME_SPACING = 1e-3
"""Relative difference up to which pixel spacings count as equal."""

SAME_POSITION_MM = 0.01
"""Distance up to which slices lie at one position."""

UNEVEN = 0.1
"""Share of the mean slice distance by which gaps may differ before positions count as approximate."""

LISTED_STACKS = 6
"""Stacks that a message describes one by one."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Parallel slices of one contrast, sorted along their normal."""

    frames: Sequence[Frame]
    image: MedicalImage

    def __str__(self) -> str:
        height, width = self.frames[0].shape[:2]
        told = [self.image.plane or "", f"{len(self.frames)} slices of {height}×{width}", str(self.frames[0].contrast)]
        return ", ".join(word for word in told if word)


def build_stacks(frames: Sequence[Frame], source: Path, notices: Sequence[Notice] = ()) -> list[Stack]:
    """Sort frames into images, the one with most slices first.

    Frames belong together if series, size, spacing, orientation and contrast (echo, b-value, time point and image type)
    agree, numbers up to rounding. Frames at one position (e.g. diffusion directions) go to different
    stacks. Without positions, InstanceNumber decides. Copies of one frame count once.

    Args:
        frames: All frames of one or more series.
        source: What the images name as their origin.
        notices: What was left out before; every image carries it.

    Returns:
        Stacks whose pixels are still in their files, see `load_small`.

    Raises:
        ImageError: If there are too many.
    """
    FRAMES.check(len(frames), source)
    once = _without_copies(frames)
    copies = len(frames) - len(once)
    if copies:
        why = "they are copies of others (same SOPInstanceUID, place and number)"
        notices = [*notices, Notice("frames left out", why, count=copies, total=len(frames))]
    stacks = [layer for group in _group(once) for layer in _layers(_sorted(group))]
    stacks.sort(key=len, reverse=True)
    return [Stack(stack, _to_image(stack, source, notices)) for stack in stacks]


def load_small(stacks: Sequence[Stack], only: int | None = None) -> list[Stack]:
    """Load the pixels of stacks as long as they take no more than `safeguards.KEPT_MEGABYTES` together.

    Args:
        stacks: See `build_stacks`.
        only: Index of the one stack to load, from 0; None for all.

    Returns:
        The stacks in the same order; those that are not loaded are read slice by slice.

    Raises:
        ImageError: If one that is loaded is damaged.
    """
    room = KEPT_MEGABYTES.value * BYTES_PER_MEGABYTE
    kept = []
    for place, stack in enumerate(stacks):
        pixels = stack.image.pixels
        if isinstance(pixels, LazyPixels) and only in (None, place) and pixels.nbytes <= room:
            room -= pixels.nbytes
            stack = replace(stack, image=replace(stack.image, pixels=np.asarray(pixels)))
        kept.append(stack)
    return kept


def describe_stacks(stacks: Sequence[Stack]) -> str:
    """The first stacks in words, numbered from 1, and how many there are beyond them."""
    return join_first((f"{number} ({stack})" for number, stack in enumerate(stacks, start=1)), LISTED_STACKS, "; ")


def _without_copies(frames: Sequence[Frame]) -> list[Frame]:
    kept: dict[object, Frame] = {}
    for frame in frames:
        place = None if frame.position is None else tuple(np.round(frame.position, 3).tolist())
        key: object = (frame.instance, frame.order, place) if frame.instance else id(frame)
        kept.setdefault(key, frame)
    return list(kept.values())


def _group(frames: Sequence[Frame]) -> list[list[Frame]]:
    groups: list[list[Frame]] = []
    exact: dict[object, list[Frame]] = {}  # shortens the search, since most frames equal another to the last digit
    for frame in sorted(frames, key=lambda frame: frame.order):
        orientation = None if frame.orientation is None else tuple(frame.orientation.tolist())
        key = _kind(frame), frame.contrast, frame.spacing, orientation
        home = exact.get(key) or next((group for group in groups if _belong_together(group[0], frame)), None)
        if home is None:
            home = []
            groups.append(home)
        home.append(frame)
        exact[key] = home
    return groups


def _belong_together(one: Frame, other: Frame) -> bool:
    return (
        _kind(one) == _kind(other)
        and one.contrast.equals(other.contrast)
        and _close(one.spacing, other.spacing, SAME_SPACING * max(one.spacing or (0,)))
        and _close(one.orientation, other.orientation, SAME_DIRECTION)
    )


def _kind(frame: Frame) -> tuple[object, ...]:
    return frame.header.get("SeriesInstanceUID"), frame.shape, frame.inverted, frame.height is None


def _close(
    one: Sequence[float] | NDArray[np.float64] | None, other: Sequence[float] | NDArray[np.float64] | None, by: float
) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.abs(np.subtract(one, other)).max() <= by)


def _sorted(group: list[Frame]) -> list[Frame]:
    return sorted(group, key=lambda frame: (round((frame.height or 0.0) / SAME_POSITION_MM), frame.order))


def _layers(stack: list[Frame]) -> list[list[Frame]]:
    """The first frame at every position, the second ones, and so on; frames without a position stay together."""
    layers: list[list[Frame]] = []
    depth, last = 0, -np.inf
    for frame in stack:
        if frame.height is None:
            return [stack]
        depth = depth + 1 if frame.height - last < SAME_POSITION_MM else 0
        last = frame.height
        layers += [[]] if depth == len(layers) else []
        layers[depth].append(frame)
    return layers


def _to_image(stack: list[Frame], source: Path, notices: Sequence[Notice]) -> MedicalImage:
    first = stack[0]
    placed = _affine(stack)
    pixels, affine = _lazy(stack, placed, source)
    height, width = first.shape[:2]
    return MedicalImage(
        pixels=pixels,
        source=source,
        affine=affine,
        modality=first.modality,
        plane=None if affine is None else plane_of(affine),
        window=first.window,
        window_function=first.window_function,
        inverted=first.inverted,
        hounsfield=first.hounsfield,
        pixel_spacing=first.spacing if affine is None else None,
        header=first.header,
        notices=(*notices, *_notices(stack, affine)),
        slice_steps=_steps(stack, placed, affine),
        source_affine=None if placed is None else placed[:, [2, 1, 0, 3]],
        source_shape=None if placed is None else (width, height, len(stack)),
        source_frames=tuple(
            SourceFrame(frame.pixels.stored.path, frame.pixels.index, frame.pixels.corner is None) for frame in stack
        ),
    )


def _lazy(stack: list[Frame], affine: Affine | None, source: Path) -> tuple[LazyPixels, Affine | None]:
    """The stack turned for display, slice by slice, and its affine."""
    dtype = np.result_type(*{frame.pixels.dtype for frame in stack})
    shape = first_shape = stack[0].shape
    if affine is None:
        return LazyPixels(len(stack), lambda index: stack[index].pixels.read(), shape, dtype, source), None
    # A small array that is turned along shows how: order of slices, and rows and columns exchanged or mirrored.
    size = first_shape[:2]
    numbers = np.broadcast_to(np.arange(len(stack))[:, None, None], (len(stack), *size))
    plane = nearest_plane(affine)
    turned, placed = to_display_order(numbers, affine, plane)
    order = turned[:, 0, 0].tolist()

    def read(index: int) -> NDArray[np.generic]:
        one: NDArray[np.generic] = stack[order[index]].pixels.read()
        shown, _ = to_display_order(one[None], affine, plane)
        return np.ascontiguousarray(shown[0])

    return LazyPixels(len(stack), read, (*turned.shape[1:], *first_shape[2:]), dtype, source), placed


def _affine(stack: list[Frame]) -> Affine | None:
    """Index (d, row, column) to RAS+ mm; d steps from the first slice to the last in equal parts.

    None if the header does not place the slices, or its numbers make no volume.
    """
    first, last = stack[0], stack[-1]
    if first.orientation is None or first.spacing is None or first.position is None or last.position is None:
        return None
    along_columns, along_rows = first.orientation[:3], first.orientation[3:]
    affine = np.eye(4)
    if len(stack) == 1:
        affine[:3, 0] = np.cross(along_columns, along_rows) * first.thickness
    else:
        affine[:3, 0] = (last.position - first.position) / (len(stack) - 1)
    affine[:3, 1] = along_rows * first.spacing[0]
    affine[:3, 2] = along_columns * first.spacing[1]
    affine[:3, 3] = first.position
    placed: Affine = LPS_TO_RAS @ affine
    return placed if places_volume(placed) else None


def _gaps(stack: list[Frame]) -> NDArray[np.float64]:
    """Distances between neighbours, mm, [D - 1]; of frames without a place, 0."""
    return np.diff([frame.height or 0.0 for frame in stack])


def _steps(stack: list[Frame], placed: Affine | None, shown: Affine | None) -> tuple[float, ...]:
    """See `MedicalImage.slice_steps`.

    Args:
        stack: Frames in the order of ``placed``.
        placed: Their affine.
        shown: The affine in display order, in which slices may run the other way.
    """
    gaps = _gaps(stack)
    if placed is None or shown is None or not _uneven(gaps):
        return ()
    steps = np.concatenate([[0.0], gaps.cumsum() / gaps.mean()])
    same_way = placed[:3, 0] @ shown[:3, 0] > 0
    return tuple((steps if same_way else steps[-1] - steps[::-1]).tolist())


def _uneven(gaps: NDArray[np.float64]) -> bool:
    return bool(gaps.size and np.ptp(gaps) > UNEVEN * gaps.mean())


def _notices(stack: list[Frame], affine: Affine | None) -> list[Notice]:
    found = []
    gaps = _gaps(stack)
    if affine is not None and _uneven(gaps):
        usual = float(np.median(gaps))
        uneven = int((np.abs(gaps - usual) > UNEVEN * usual).sum())
        why = f"slices lie {gaps.min():.2f} to {gaps.max():.2f} mm apart; a slice may be missing"
        what = "slice distances differ, so places in mask volumes are approximate"
        found.append(Notice(what, why, "", uneven, int(gaps.size)))
    scales = Counter(frame.hounsfield for frame in stack)
    if len(scales) > 1:
        found.append(
            Notice("slices are not in HU", "they lack a rescaling that others have", "", scales[False], len(stack))
        )
    return found
