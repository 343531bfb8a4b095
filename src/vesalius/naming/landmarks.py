"""Where along the body an axial series shows each station and organ, and how sure the two edges are.

The slices that show a label are those it is named on. Between the outermost of them and its neighbour the edge lies
where the smoothed probability crosses the threshold, by linear interpolation.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vesalius.imaging import MedicalImage
from vesalius.naming.labels import Edge, Landmark, SliceName
from vesalius.naming.series import average_near, runs, smoothing_of

Array = NDArray[np.float64]
UNCERTAIN_MM = 30.0
"""Length of the stretch in which an edge may lie, above which it is called uncertain; chosen, not fitted."""


def find_landmarks(
    slices: Sequence[SliceName], image: MedicalImage, threshold: float, *, smooth: bool = True
) -> tuple[Landmark, ...]:
    """List where each label begins and ends.

    Args:
        slices: Names of the image's D slices.
        image: The image. Only axial slices, two or more and placed in the patient, have landmarks: a coronal or
            sagittal slice shows the body from end to end.
        threshold: Probability from which a label is named.
        smooth: Whether neighbouring slices support one another.

    Returns:
        Stations and organs, each from the feet to the head.
    """
    if smoothing_of(image) != "ordered" or any(each.position_mm is None for each in slices):
        return ()
    heights, along = _heights(image), [each.position_mm or 0.0 for each in slices]

    def find(
        kind: str, shown: Callable[[SliceName], Sequence[str]], sure: Callable[[SliceName], Mapping[str, float]]
    ) -> list[Landmark]:
        labels = sorted({label for each in slices for label in shown(each)})
        if not labels:
            return []
        values = np.array([[sure(each)[label] for label in labels] for each in slices])
        curves = average_near(values, along) if smooth else values
        return [
            _mark(kind, label, run, heights, curve, threshold)
            for label, curve in zip(labels, curves.T, strict=True)
            for run in runs([label in shown(each) for each in slices])
        ]

    found = [
        *find("station", lambda each: each.stations, lambda each: each.station_probabilities),
        *find("organ", lambda each: each.organs, lambda each: each.organ_probabilities),
    ]
    return tuple(sorted(found, key=lambda each: (each.kind != "station", each.first, each.last, each.label)))


def _heights(image: MedicalImage) -> Array:
    """Place of each slice's centre along the patient's z axis, mm, [D]."""
    assert image.affine is not None
    count, rows, columns = image.pixels.shape[:3]
    centre = image.affine[2] @ [0, (rows - 1) / 2, (columns - 1) / 2, 1]
    return np.asarray(centre + image.affine[2, 0] * np.array(image.slice_steps or range(count)), np.float64)


def _mark(kind: str, label: str, run: slice, heights: Array, curve: Array, threshold: float) -> Landmark:
    first, last = run.start, run.stop - 1
    low = _find_edge(heights[: last + 1][::-1], curve[: last + 1][::-1], last - first, threshold)
    high = _find_edge(heights[first:], curve[first:], last - first, threshold)
    mean = float(curve[first : last + 1].mean())
    return Landmark("station" if kind == "station" else "organ", label, first, last, low, high, mean)


def _find_edge(heights: Array, curve: Array, inner: int, threshold: float) -> Edge:
    """The edge beyond the slice at ``inner``; places before it show the label, those after it do not.

    It may lie anywhere from the last slice whose probability is well above the threshold to the first that is well
    below it: halfway from the threshold to 1, and to 0.
    """
    if inner + 1 == len(curve):
        return Edge(float(heights[inner]), "series ends", None)
    inside, outside = float(curve[inner]), float(curve[inner + 1])
    crosses = inside >= threshold > outside
    share = (inside - threshold) / (inside - outside) if crosses else 0.5
    place = heights[inner] + share * (heights[inner + 1] - heights[inner])
    clear = np.flatnonzero(curve[: inner + 1] >= (1 + threshold) / 2)
    gone = np.flatnonzero(curve[inner + 1 :] <= threshold / 2)
    start, stop = int(clear[-1]) if len(clear) else 0, inner + 1 + int(gone[0]) if len(gone) else len(curve) - 1
    within = abs(float(heights[stop] - heights[start]))
    return Edge(float(place), "crosses" if crosses and within <= UNCERTAIN_MM else "uncertain", within)
