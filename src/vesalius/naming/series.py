"""From probabilities of stations and organs to names of slices; neighbouring slices support one another.

Axial slices pass the stations of the body in order, so their evidence is read by a hidden Markov model (Rabiner, 1989)
that can stay or go on towards the head, and never back. A state is a station, or two neighbours at once, as around the
diaphragm. The number of states passed between two slices is Poisson distributed, with a mean proportional to their
distance. States and constants were chosen, not fitted to images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vesalius.imaging import MedicalImage
from vesalius.imaging.header import WITHOUT_SLICES
from vesalius.naming.labels import Answer, SliceName
from vesalius.prompts.anatomy import PAPER_STATIONS, stations_of

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
STATE_MM = 100.0
"""Length of the body in one state; most stations are about two states long, their own and half of each pair."""
INDEPENDENT_MM = 10.0
"""Distance from which slices count as independent; closer ones count in proportion to their distance."""
MAX_PROBABILITY = 0.99
"""Probabilities are clipped to this and to 1 less it, so that no slice outweighs all others."""
ROUNDING_MM = 1e-6
"""Tolerance of distances, since headers write positions in decimals."""
CHAIN = PAPER_STATIONS[::-1]
"""Stations that follow one another, from feet to head, as axial slices ascend."""
Smoothing = Literal["ordered", "averaged"]


def order_stations(probabilities: Array, labels: Sequence[str], positions_mm: Sequence[float]) -> NDArray[np.bool_]:
    """The likeliest sets of stations of axial slices, given that a body has an order (Viterbi, 1967).

    Upper limbs lie beside the order: a series shows them throughout, or not at all.

    Args:
        probabilities: Of stations, by each slice alone, [D, L].
        labels: L stations.
        positions_mm: Positions of D slices, ascending towards the head.

    Returns:
        Which stations show, [D, L].
    """
    states = _states(labels)
    steps = np.diff(np.asarray(positions_mm, np.float64))
    evidence = _evidence(probabilities, states) * _weights(steps, len(probabilities))[:, None]
    best, origins = evidence[0], []
    for row, distance in zip(evidence[1:], steps, strict=True):
        reached = best[:, None] + _transitions(distance, states, labels)
        origins.append(reached.argmax(0))
        best = reached.max(0) + row
    path = [int(best.argmax())]
    for origin in reversed(origins):
        path.append(int(origin[path[-1]]))
    return states[path[::-1]]


def average_near(values: Array, positions_mm: Sequence[float], within_mm: float = INDEPENDENT_MM / 2) -> Array:
    """Average each slice with those close to it.

    Args:
        values: [D, L].
        positions_mm: Positions of D slices, in any order.
        within_mm: Largest distance of a neighbour.

    Returns:
        [D, L].
    """
    places = np.asarray(positions_mm, np.float64)
    order = np.argsort(places, kind="stable")
    along = places[order]
    reach = within_mm + ROUNDING_MM
    first, stop = np.searchsorted(along, places - reach), np.searchsorted(along, places + reach, side="right")
    # Slices in one place have the same neighbours: each such window is averaged once.
    windows, own = np.unique(np.stack([first, stop], axis=1), axis=0, return_inverse=True)
    means = np.stack([values[order[low:high]].mean(0) for low, high in windows])
    return np.asarray(means[own.reshape(-1)])


def _states(labels: Sequence[str]) -> NDArray[np.bool_]:
    """S sets of L stations: those of the chain with the pairs between them, then all others alone, [S, L]."""
    chain = [station for station in CHAIN if station in labels]
    beside = [station for station in labels if station not in CHAIN]
    sets = [{station} for station in chain]
    pairs = [{*pair} for pair in zip(chain, chain[1:], strict=False)]
    along = [each for both in zip(sets, [*pairs, set()], strict=False) for each in both if each]
    return np.array([[label in each for label in labels] for each in [*along, *({name} for name in beside)]])


def _evidence(probabilities: Array, states: NDArray[np.bool_]) -> Array:
    """Log-likelihood of each slice's stations under each state, [D, S]."""
    sure = np.clip(probabilities, 1 - MAX_PROBABILITY, MAX_PROBABILITY)
    return np.asarray(np.log(sure) @ states.T + np.log(1 - sure) @ ~states.T)


def _weights(steps: Array, count: int) -> Array:
    """Weight of each slice, [D], by the mean distance to its neighbours."""
    if count < 2:
        return np.ones(count)
    around = np.convolve(np.pad(steps, 1, mode="edge"), [0.5, 0.5], mode="valid")
    return np.asarray(np.clip(around / INDEPENDENT_MM, 0, 1))


def _transitions(distance_mm: float, states: NDArray[np.bool_], labels: Sequence[str]) -> Array:
    """Log-probability of the next slice's state (column) after this one's (row), [S, S]."""
    along = len(states) - sum(label not in CHAIN for label in labels)
    rate = max(distance_mm, 1e-3) / STATE_MM
    steps = np.arange(along)[None, :] - np.arange(along)[:, None]
    # At most to the next station, which is two states away, unless slices are far apart.
    allowed = (steps >= 0) & (steps <= 2 * np.ceil(rate))
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, len(steps))))])
    moves = np.where(allowed, steps * np.log(rate) - rate - log_factorials[np.maximum(steps, 0)], -np.inf)
    found = np.full((len(states), len(states)), -np.inf)
    found[:along, :along] = moves
    beside = np.arange(along, len(states))
    # Staying costs the same beside the chain as on it.
    found[beside, beside] = -rate
    return found


@dataclass(frozen=True, eq=False)
class Probabilities:
    """Probabilities of L labels on D slices, by each slice alone."""

    labels: tuple[str, ...]
    values: Array
    """Probability of each label on each slice, [D, L]."""


def smoothing_of(image: MedicalImage) -> Smoothing | None:
    """How the slices of an image support one another.

    Returns:
        "ordered" for axial slices, which pass the stations in order; "averaged" for coronal and sagittal ones, which
        show the same stations side by side; None for single slices, pictures, clips, projections and reports.
    """
    if image.affine is None or len(image.pixels) < 2 or image.purpose.label in WITHOUT_SLICES:
        return None
    return "ordered" if image.nearest_plane == "axial" else "averaged"


def name_stations(
    found: Probabilities, positions_mm: Sequence[float], smoothing: Smoothing | None, threshold: float
) -> Bools:
    """Which stations are named on which slices, [D, L].

    In order, a run of slices keeps a station if the mean probability over the run reaches ``threshold``; averaged, a
    station is named on all slices or none; otherwise each slice stands alone.

    Args:
        found: Probabilities of stations.
        positions_mm: Positions of D slices, ascending; ignored unless smoothing is "ordered".
        smoothing: See ``smoothing_of``.
        threshold: Probability from which a station is named.
    """
    if smoothing == "averaged":
        return np.repeat(found.values.mean(0, keepdims=True) >= threshold, len(found.values), axis=0)
    if smoothing is None:
        return found.values >= threshold
    shown = order_stations(found.values, found.labels, positions_mm)
    for column, values in zip(shown.T, found.values.T, strict=True):
        for run in runs(column.tolist()):
            column[run] &= values[run].mean() >= threshold
    return shown


def cap_organs(organs: Probabilities, stations: Probabilities) -> Probabilities:
    """Let no organ be likelier than the likeliest of the stations it belongs to.

    Args:
        organs: Calibrated probabilities of organs.
        stations: Calibrated probabilities of stations on the same slices.
    """
    limits = [
        stations.values[:, [stations.labels.index(each) for each in sorted(stations_of(organ))]].max(1)
        for organ in organs.labels
    ]
    return Probabilities(organs.labels, np.minimum(organs.values, np.stack(limits, axis=1)))


def name_organs(
    found: Probabilities, positions_mm: Sequence[float], smoothing: Smoothing | None, threshold: float
) -> Bools:
    """Which organs are named on which slices, [D, L], averaged over close slices; arguments as for stations."""
    return (found.values if smoothing is None else average_near(found.values, positions_mm)) >= threshold


def build_names(
    stations: tuple[Probabilities, Bools],
    organs: tuple[Probabilities, Bools],
    places: Sequence[tuple[float | None, str | None]],
    first: int,
) -> list[SliceName]:
    """Put the names of one stack's slices together.

    Args:
        stations: Probabilities of stations, and which are named.
        organs: The same of organs.
        places: Position in mm and plane of each slice.
        first: Index of the first slice in the series.
    """
    names = []
    for row, (position, plane) in enumerate(places):
        (by_station, shown), (by_organ, seen) = (_row(*each, row) for each in (stations, organs))
        best = max(shown or by_station, key=lambda label: by_station[label])
        station = Answer(best if shown else None, by_station[best], "pixels")
        names.append(SliceName(first + row, position, plane, station, shown, seen, by_station, by_organ))
    return names


def runs(shown: Sequence[bool]) -> list[slice]:
    """Runs of neighbouring slices that show a label."""
    found, start = [], 0
    for value, group in groupby(shown):
        stop = start + len(list(group))
        if value:
            found.append(slice(start, stop))
        start = stop
    return found


def _row(found: Probabilities, named: Bools, row: int) -> tuple[dict[str, float], tuple[str, ...]]:
    """Probabilities of one slice by label, and the labels that are named."""
    probabilities = dict(zip(found.labels, found.values[row].tolist(), strict=True))
    return probabilities, tuple(label for label, value in zip(found.labels, named[row], strict=True) if value)
