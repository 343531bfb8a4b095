"""Organs present, absent or unknown on a slice, and the stations it meets, by the rows of ``visibility.toml``."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from vesalius.data.slices.outlines import Areas, Mask, Region, Structures, unite
from vesalius.files import read_package_toml
from vesalius.prompts.anatomy import STATIONS, stations_of
from vesalius.tables import build


@dataclass(frozen=True)
class Visibility:
    """What an organ needs to be called visible, besides its own smallest area."""

    largest_share: float
    """Part of its largest area on any slice of the volume."""
    min_pixels: float
    """Pixels in a picture of ``side`` × ``side`` that holds the whole slice."""
    off_axis_factor: float
    """Part of the smallest area that is enough on coronal and sagittal slices."""
    slab_mm: float
    """Thickness through which coronal and sagittal slices are looked at."""
    solid_share: float
    """Part of its voxels that must not be blank background."""
    side: int


@dataclass(frozen=True)
class StationRule:
    """What tells a level of the body, and when a slice shows it."""

    min_level_cm2: float
    """Area of the vertebra or bone that tells the level."""
    level_share: float
    """Part of the largest vertebra's area at that level."""
    bridge_mm: float
    """Levels without a vertebra take the nearest one's within this distance."""
    min_tissue_mm: float
    """Tissue along a row, for the row to count."""
    min_extent_mm: float
    """Rows of a station that make it visible on a coronal or sagittal slice."""
    min_part: float
    """Part of the slice's rows that is enough, however few they are."""


@dataclass(frozen=True)
class OrganRule:
    """Which structures make an organ visible; names are structures or groups of them."""

    min_cm2: float
    """Area that each part of a way needs on an axial slice."""
    ways: tuple[tuple[str, ...], ...]
    """The organ shows where every part of one way does."""
    without: tuple[str, ...] = ()
    """Axial levels that meet one of these do not count."""
    unless: tuple[str, ...] = ()
    """Structures whose presence lifts that."""
    below: str | None = None
    """Only levels below this structure count, if it is in the volume."""
    below_mm: float = 0.0
    near: Mapping[str, str] = field(default_factory=dict)
    """Bone -> the structure that its end of ``near_mm`` faces; only that end counts."""
    near_mm: float = 0.0


@dataclass(frozen=True)
class Rules:
    """All of ``visibility.toml``."""

    visibility: Visibility
    station: StationRule
    groups: Mapping[str, tuple[str, ...]]
    organs: Mapping[str, OrganRule]
    levels: Mapping[str, tuple[str, ...]]
    """Station -> structures whose level it is."""

    def members(self, name: str) -> tuple[str, ...]:
        """Structures of a group; a structure is a group of its own."""
        return self.groups.get(name, (name,))

    @property
    def structures(self) -> frozenset[str]:
        """Every structure that any rule reads."""
        named = [name for rule in self.organs.values() for name in _names(rule)]
        members = {member for name in named for member in self.members(name)}
        return frozenset(members.union(*self.levels.values()))


@cache
def read_visibility_rules() -> Rules:
    """The rules that come with the package."""
    return build(Rules, read_package_toml("data/slices/visibility.toml"), "visibility.toml")


def _names(rule: OrganRule) -> Iterable[str]:
    yield from (part for way in rule.ways for part in way)
    yield from (*rule.without, *rule.unless, *rule.near.values(), *([rule.below] if rule.below else []))


PRESENT, ABSENT, UNCERTAIN = 1, 0, -1
States = NDArray[np.int8]

# A structure or group for each part of a way; None where it was not looked for.
Parts = Sequence[Region | None]


@dataclass(frozen=True)
class SliceSeries:
    """All slices of a volume across one axis."""

    axis: int
    """0 axial, 1 coronal, 2 sagittal."""
    structures: Structures
    rules: Rules

    @property
    def length(self) -> int:
        """Number of slices."""
        return self.structures.shape[self.axis]

    def areas(self, region: Region) -> Areas:
        """cm² on each slice, [n]."""
        slab = self.structures.slab(self.axis, self.rules.visibility.slab_mm)
        return self.structures.pixel_cm2(self.axis) * region.counts(self.axis, self.length, slab).astype(np.float64)

    def min_cm2(self, rule: OrganRule) -> float:
        """Area below which an organ is not called present: its smallest area, or the pixels it needs in a picture."""
        visibility = self.rules.visibility
        side_mm = max(
            size * spacing
            for axis, (size, spacing) in enumerate(zip(self.structures.shape, self.structures.spacing, strict=True))
            if axis != self.axis
        )
        pixels_cm2 = visibility.min_pixels * (side_mm / visibility.side) ** 2 / 100
        factor = 1.0 if self.axis == 0 else visibility.off_axis_factor
        return max(rule.min_cm2 * factor, pixels_cm2)


def organ_states(structures: Structures, axis: int, rules: Rules) -> Mapping[str, States]:
    """State of every organ on every slice across an axis.

    Present: the smallest area, a tenth of the largest area in the volume, 50 pixels of a picture of 224, and at most a
    fifth of it on blank background. Absent: nothing of it is there, its structures were looked for, and the slice is
    not one on which a model's outlines fail. Uncertain: everything else.

    Args:
        structures: What is outlined.
        axis: 0 axial, 1 coronal, 2 sagittal.
        rules: Thresholds and structures.

    Returns:
        Organ -> `PRESENT`, `ABSENT` or `UNCERTAIN`, [n].
    """
    series = SliceSeries(axis, structures, rules)
    return {organ: _states(series, rule) for organ, rule in rules.organs.items()}


def _states(series: SliceSeries, rule: OrganRule) -> States:
    states = np.full(series.length, UNCERTAIN, np.int8)
    states[_is_absent(series, rule)] = ABSENT
    levels = open_levels(series.structures, rule, series.rules)
    if levels is None:
        return states
    areas = _shown(series, rule, levels, series.structures.regions)
    if not areas.any():
        return states
    solid = _shown(series, rule, levels, series.structures.solid)
    visibility = series.rules.visibility
    enough = np.maximum(series.min_cm2(rule), visibility.largest_share * areas.max())
    states[(areas >= enough) & (solid >= visibility.solid_share * areas)] = PRESENT
    return states


def _is_absent(series: SliceSeries, rule: OrganRule) -> Mask:
    """Slices on which every way lacks a part that was looked for, wherever the level."""
    absent = np.ones(series.length, np.bool_)
    for way in rule.ways:
        parts = _parts(series, rule, way, series.structures.regions, near_only=False)
        missing = [series.areas(part) == 0 for part in parts if part is not None]
        absent &= np.logical_or.reduce(missing) if missing else False
    if series.structures.predicted:
        absent[[0, -1]] = False
    return absent


def _shown(series: SliceSeries, rule: OrganRule, levels: Mask, regions: Mapping[str, Region]) -> Areas:
    """The best way's area on each slice, its smallest part counting, [n]."""
    best = np.zeros(series.length)
    for way in rule.ways:
        parts = _parts(series, rule, way, regions, near_only=True)
        known = [part.at_levels(levels) for part in parts if part is not None]
        if len(known) == len(parts):
            best = np.maximum(best, np.min([series.areas(part) for part in known], axis=0))
    return best


def _parts(
    series: SliceSeries, rule: OrganRule, way: Sequence[str], regions: Mapping[str, Region], *, near_only: bool
) -> Parts:
    parts: list[Region | None] = []
    for name in way:
        members = [member for member in series.rules.members(name) if member in regions]
        region = unite(regions[member] for member in members)
        if near_only and name in rule.near:
            region = _near_end(region, regions.get(rule.near[name]), rule.near_mm, series.structures.spacing[0])
        parts.append(region if members else None)
    return parts


def _near_end(bone: Region, faced: Region | None, near_mm: float, step_mm: float) -> Region:
    """The end of a bone that faces another structure, along the body."""
    own, other = bone.level_range(), faced.level_range() if faced else None
    if own is None or other is None:
        return bone
    reach, middle = round(near_mm / step_mm), sum(other) / 2
    upper = abs(own[1] - middle) <= abs(own[0] - middle)
    levels = np.zeros(bone.start[0] + len(bone.mask), np.bool_)
    levels[max(0, own[1] - reach) if upper else 0 : own[1] + 1 if upper else own[0] + reach] = True
    return bone.at_levels(levels)


def open_levels(structures: Structures, rule: OrganRule, rules: Rules) -> Mask | None:
    """Axial levels at which a rule may find its organ, [D]; None if what limits it was not looked for."""
    levels = np.ones(structures.shape[0], np.bool_)
    for name in rule.without:
        levels &= ~_levels_of(structures, rules.members(name))
    for name in rule.unless:
        levels |= _levels_of(structures, rules.members(name))
    if rule.below is None:
        return levels
    members = rules.members(rule.below)
    if not structures.knows(members):
        return None
    found = np.flatnonzero(_levels_of(structures, members))
    if found.size:
        levels[max(0, int(found[0] - rule.below_mm / structures.spacing[0])) :] = False
    return levels


def _levels_of(structures: Structures, names: Sequence[str]) -> Mask:
    region = unite(structures.regions[name] for name in names if name in structures.regions)
    return region.counts(0, structures.shape[0]) > 0


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
            rules: Smallest width and height of tissue.
        """
        rows = tissue_mm >= rules.station.min_tissue_mm
        heights = {name: float(np.count_nonzero(rows & levels)) * step_mm for name, levels in self.shown.items()}
        most = rules.station.min_part * float(np.count_nonzero(rows)) * step_mm
        enough = min(rules.station.min_extent_mm, max(most, step_mm))
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
    smallest = rules.station.min_level_cm2
    tells = {name: area >= np.maximum(smallest, rules.station.level_share * largest) for name, area in areas.items()}
    shown = {station: np.logical_or.reduce([tells[name] for name in names]) for station, names in rules.levels.items()}
    hips = _level_areas(structures, rules.members("hips")) >= smallest
    femurs = _level_areas(structures, (*rules.members("femurs"), *rules.members("lower_leg_bones"))) >= smallest
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
    """The station that most organs on a slice belong to; ties and slices without an organ are marked unknown."""
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
