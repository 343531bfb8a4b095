"""Frames in any order → stacks of parallel slices, sorted, placed and turned for display."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vesalius.imaging.dicom_frames import Frame
from vesalius.imaging.image import MedicalImage, Pixels
from vesalius.imaging.orientation import Affine, nearest_plane, plane_of, to_display_order

Vector = NDArray[np.float64]

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

SAME_DIRECTION = 1e-3
"""Difference of direction cosines that is rounding, not another orientation."""

SAME_POSITION_MM = 0.01

UNEVEN = 0.1
"""Part of the mean slice distance by which gaps may differ before positions count as approximate."""


def build_stacks(frames: Sequence[Frame], source: Path) -> list[MedicalImage]:
    """Sort frames into images, the one with most slices first.

    Frames belong together if series, size, spacing, orientation, echo, b-value, time point and image type agree. Frames
    at one position (e.g. diffusion directions) go to different stacks. Without positions, InstanceNumber decides.

    Args:
        frames: All frames of one or more series.
        source: What the images name as their origin.
    """
    stacks = [layer for group in _group(frames) for layer in _layers(_sorted(group))]
    stacks.sort(key=len, reverse=True)
    return [_to_image(stack, source) for stack in stacks]


def _group(frames: Sequence[Frame]) -> list[list[Frame]]:
    groups: list[list[Frame]] = []
    for frame in sorted(frames, key=lambda frame: frame.order):
        home = next((group for group in groups if _belong_together(group[0], frame)), None)
        if home is None:
            groups.append([frame])
        else:
            home.append(frame)
    return groups


def _belong_together(one: Frame, other: Frame) -> bool:
    return (
        _kind(one) == _kind(other)
        and _close(one.spacing, other.spacing, 1e-4)
        and _close(one.orientation, other.orientation, SAME_DIRECTION)
    )


def _kind(frame: Frame) -> tuple[object, ...]:
    series, size = frame.header.get("SeriesInstanceUID"), frame.pixels.shape
    return series, size, frame.contrast, frame.inverted, frame.height is None


def _close(one: Sequence[float] | Vector | None, other: Sequence[float] | Vector | None, by: float) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.allclose(one, other, rtol=0, atol=by))


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


def _to_image(stack: list[Frame], source: Path) -> MedicalImage:
    first = stack[0]
    pixels: Pixels = np.stack([frame.pixels for frame in stack])
    affine = _affine(stack)
    plane = None
    if affine is not None:
        _warn_if_uneven(stack, source)
        turned, affine = to_display_order(pixels, affine, nearest_plane(affine))
        pixels, plane = np.ascontiguousarray(turned), plane_of(affine)
    return MedicalImage(
        pixels=pixels,
        source=source,
        affine=affine,
        modality=first.modality,
        plane=plane,
        window=first.window,
        inverted=first.inverted,
        pixel_spacing=first.spacing if affine is None else None,
        header=first.header,
    )


def _affine(stack: list[Frame]) -> Affine | None:
    """Index (d, row, column) to RAS+ mm; d steps from the first slice to the last in equal parts."""
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
    return placed


def _warn_if_uneven(stack: list[Frame], source: Path) -> None:
    gaps = np.diff([frame.height or 0.0 for frame in stack])
    if gaps.size and np.ptp(gaps) > UNEVEN * gaps.mean():
        warnings.warn(
            f"{source}: slices lie {gaps.min():.2f} to {gaps.max():.2f} mm apart, so positions across them are "
            "approximate; a slice may be missing.",
            stacklevel=2,
        )
