"""Three states: an organ is present on a slice, absent, or nobody can tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vesalius.data.anatomy.regions import Areas, Mask, Region, Structures, unite
from vesalius.data.anatomy.rules import OrganRule, Rules

PRESENT, ABSENT, UNCERTAIN = 1, 0, -1
States = NDArray[np.int8]

# A structure or group of each part of a way; None where nobody looked for it.
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

    def least_cm2(self, rule: OrganRule) -> float:
        """Area below which an organ is not called present: its own least, and the pixels it needs in a picture."""
        visibility = self.rules.visibility
        side_mm = max(
            size * spacing
            for axis, (size, spacing) in enumerate(zip(self.structures.shape, self.structures.spacing, strict=True))
            if axis != self.axis
        )
        pixels_cm2 = visibility.least_pixels * (side_mm / visibility.side) ** 2 / 100
        factor = 1.0 if self.axis == 0 else visibility.off_axis_factor
        return max(rule.least_cm2 * factor, pixels_cm2)


def organ_states(structures: Structures, axis: int, rules: Rules) -> Mapping[str, States]:
    """State of every organ on every slice across an axis.

    Present: the least area, a tenth of the largest area in the volume, 50 pixels of a picture of 224, and at most a
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
    enough = np.maximum(series.least_cm2(rule), visibility.largest_share * areas.max())
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
