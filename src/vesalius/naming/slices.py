"""From probabilities of stations and organs to names of slices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vesalius.imaging import MedicalImage
from vesalius.naming.names import Answer, SliceName
from vesalius.naming.smoothing import average_near, order_stations
from vesalius.prompts.anatomy import stations_of

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Smoothing = Literal["ordered", "averaged"]
UNORDERED = ("projection", "report")
"""Purposes whose slices are no neighbours in the body."""


@dataclass(frozen=True, eq=False)
class Probabilities:
    """Of L labels on D slices, each slice looked at alone."""

    labels: tuple[str, ...]
    values: Array
    """[D, L]."""


def smoothing_of(image: MedicalImage) -> Smoothing | None:
    """How slices of an image speak for one another.

    Returns:
        "ordered" for axial slices, which pass the stations in order; "averaged" for coronal and sagittal ones, which
        show the same stations side by side; None for single slices, pictures, clips, projections and reports.
    """
    if image.affine is None or len(image.pixels) < 2 or image.purpose.label in UNORDERED:
        return None
    return "ordered" if image.nearest_plane == "axial" else "averaged"


def name_stations(
    found: Probabilities, positions_mm: Sequence[float], smoothing: Smoothing | None, least: float
) -> Bools:
    """Which stations are named on which slices, [D, L].

    In order, a run of slices keeps a station if the mean probability over the run reaches ``least``; averaged, a
    station is named on all slices or none; otherwise each slice stands alone.

    Args:
        found: Of stations.
        positions_mm: Of D slices, ascending; not looked at without order.
        smoothing: See ``smoothing_of``.
        least: Probability from which a station is named.
    """
    if smoothing == "averaged":
        return np.repeat(found.values.mean(0, keepdims=True) >= least, len(found.values), axis=0)
    if smoothing is None:
        return found.values >= least
    shown = order_stations(found.values, found.labels, positions_mm)
    for column, values in zip(shown.T, found.values.T, strict=True):
        for run in _runs(column):
            column[run] &= values[run].mean() >= least
    return shown


def cap_organs(organs: Probabilities, stations: Probabilities) -> Probabilities:
    """Let no organ be likelier than the likeliest of the stations it belongs to.

    Args:
        organs: Calibrated.
        stations: Calibrated, of the same slices.
    """
    limits = [
        stations.values[:, [stations.labels.index(each) for each in sorted(stations_of(organ))]].max(1)
        for organ in organs.labels
    ]
    return Probabilities(organs.labels, np.minimum(organs.values, np.stack(limits, axis=1)))


def name_organs(
    found: Probabilities, positions_mm: Sequence[float], smoothing: Smoothing | None, least: float
) -> Bools:
    """Which organs are named on which slices, [D, L]; smoothed over close slices; arguments as for stations."""
    return (found.values if smoothing is None else average_near(found.values, positions_mm)) >= least


def build_names(
    stations: tuple[Probabilities, Bools],
    organs: tuple[Probabilities, Bools],
    places: Sequence[tuple[float | None, str | None]],
    first: int,
) -> list[SliceName]:
    """Put the names of one stack's slices together.

    Args:
        stations: Probabilities, and which are named.
        organs: Likewise.
        places: Position in mm and plane of each slice.
        first: Index of the first slice in the series.
    """
    names = []
    for row, (position, plane) in enumerate(places):
        by_station, by_organ = (_row(found, row) for found, _ in (stations, organs))
        shown, seen = (_named(*each, row) for each in (stations, organs))
        station = _likeliest(shown, by_station)
        names.append(SliceName(first + row, position, plane, station, shown, seen, by_station, by_organ))
    return names


def _runs(shown: Bools) -> list[slice]:
    """Where neighbouring slices show the same thing."""
    runs, start = [], 0
    for value, group in groupby(shown.tolist()):
        stop = start + len(list(group))
        if value:
            runs.append(slice(start, stop))
        start = stop
    return runs


def _row(found: Probabilities, row: int) -> dict[str, float]:
    return dict(zip(found.labels, found.values[row].tolist(), strict=True))


def _named(found: Probabilities, shown: Bools, row: int) -> tuple[str, ...]:
    return tuple(label for label, value in zip(found.labels, shown[row], strict=True) if value)


def _likeliest(shown: Sequence[str], probabilities: Mapping[str, float]) -> Answer:
    best = max(shown or probabilities, key=lambda label: probabilities[label])
    return Answer(best if shown else None, probabilities[best], "pixels")
