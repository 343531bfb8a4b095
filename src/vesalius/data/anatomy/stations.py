"""Which stations a slice meets: by vertebrae where they are outlined one by one, else by the organs on it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vesalius.data.anatomy.regions import Areas, Mask, Structures, unite
from vesalius.data.anatomy.rules import Rules
from vesalius.data.anatomy.visibility import PRESENT, UNCERTAIN, States
from vesalius.prompts.anatomy import STATIONS, stations_of

VERTEBRA = "vertebrae_"
"""How the names of single vertebrae begin."""


@dataclass(frozen=True)
class StationLevels:
    """The stations of every axial level of a volume."""

    shown: Mapping[str, Mask]
    """Station -> levels that belong to it, [D]; a level may belong to several."""
    known: Mask
    """Levels of which that is known, [D]."""

    def on_level(self, level: int) -> tuple[frozenset[str], frozenset[str]]:
        """Stations present, and uncertain, on an axial slice."""
        if not self.known[level]:
            return frozenset(), frozenset(STATIONS)
        return frozenset(name for name in STATIONS if name in self.shown and self.shown[name][level]), frozenset()

    def on_rows(
        self, tissue_mm: NDArray[np.float64], step_mm: float, rules: Rules
    ) -> tuple[frozenset[str], frozenset[str]]:
        """Stations present, and uncertain, on a slice that runs through several levels.

        Args:
            tissue_mm: Width of tissue on the slice at each level, [D].
            step_mm: Distance between levels.
            rules: Least width and least height of tissue.
        """
        rows = tissue_mm >= rules.station.least_tissue_mm
        heights = {name: float(np.count_nonzero(rows & levels)) * step_mm for name, levels in self.shown.items()}
        most = rules.station.least_part * float(np.count_nonzero(rows)) * step_mm
        enough = min(rules.station.least_extent_mm, max(most, step_mm))
        present = frozenset(name for name, height in heights.items() if height >= enough)
        if (rows & ~self.known).any():
            return present, frozenset(STATIONS) - present
        return present, frozenset(name for name, height in heights.items() if height > 0) - present


def station_levels(structures: Structures, states: Mapping[str, States], rules: Rules) -> StationLevels:
    """Tell the stations of every axial level.

    Args:
        structures: What is outlined.
        states: States of the organs on its axial slices.
        rules: What tells a level.
    """
    vertebrae = {name for names in rules.levels.values() for name in names if name.startswith(VERTEBRA)}
    if structures.knows(vertebrae):
        return _by_bones(structures, rules)
    return _by_organs(states, structures.shape[0])


def _by_bones(structures: Structures, rules: Rules) -> StationLevels:
    areas = {name: _level_areas(structures, (name,)) for names in rules.levels.values() for name in names}
    largest = np.maximum.reduce([area for name, area in areas.items() if name.startswith(VERTEBRA)])
    least = rules.station.least_level_cm2
    tells = {name: area >= np.maximum(least, rules.station.level_share * largest) for name, area in areas.items()}
    shown = {station: np.logical_or.reduce([tells[name] for name in names]) for station, names in rules.levels.items()}
    hips = _level_areas(structures, rules.members("hips")) >= least
    femurs = _level_areas(structures, (*rules.members("femurs"), *rules.members("lower_leg_bones"))) >= least
    trunk = shown["chest"] | shown["abdomen"] | shown["head"]
    shown["pelvis"] = shown["pelvis"] | (hips & ~trunk)
    if structures.knows(rules.members("hips")):
        shown["lower body"] = femurs & ~hips & ~trunk
    return _bridge(shown, rules.station.bridge_mm / structures.spacing[0])


def _level_areas(structures: Structures, names: tuple[str, ...]) -> Areas:
    region = unite(structures.regions[name] for name in names if name in structures.regions)
    return structures.pixel_cm2(0) * region.counts(0, structures.shape[0]).astype(np.float64)


def _bridge(shown: Mapping[str, Mask], reach: float) -> StationLevels:
    """Give levels between known ones those of the nearest; beyond the ends nothing is known."""
    told = np.flatnonzero(np.logical_or.reduce(list(shown.values())))
    length = len(next(iter(shown.values())))
    if not told.size:
        return StationLevels(shown, np.zeros(length, np.bool_))
    levels = np.arange(length)
    nearest = told[np.abs(levels[:, None] - told[None]).argmin(axis=1)]
    inside = (levels >= told[0]) & (levels <= told[-1])
    known = inside & (np.abs(levels - nearest) <= reach)
    return StationLevels({name: mask[nearest] & known for name, mask in shown.items()}, known)


def _by_organs(states: Mapping[str, States], length: int) -> StationLevels:
    """The station that most organs on a slice belong to; where two have as many, or none, nobody knows."""
    votes = {station: np.zeros(length, np.int64) for station in STATIONS}
    for organ, state in states.items():
        for station in stations_of(organ):
            votes[station] += state == PRESENT
    table = np.stack([votes[station] for station in STATIONS])
    most = table.max(axis=0)
    known = (most > 0) & (np.count_nonzero(table == most, axis=0) == 1)
    return StationLevels({name: (votes[name] == most) & known for name in STATIONS}, known)


def organs_of(states: Mapping[str, States], index: int) -> tuple[frozenset[str], frozenset[str]]:
    """Organs present, and uncertain, on one slice."""
    present = frozenset(organ for organ, state in states.items() if state[index] == PRESENT)
    return present, frozenset(organ for organ, state in states.items() if state[index] == UNCERTAIN)
