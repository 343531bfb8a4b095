"""When an organ shows, and what tells the station: the rows of ``visibility.toml``."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Visibility:
    """What, besides its own least area, an organ needs to be called visible."""

    largest_share: float
    """Part of its largest area on any slice of the volume."""
    least_pixels: float
    """Pixels in a picture of ``side`` × ``side`` that holds the whole slice."""
    off_axis_factor: float
    """Part of the least area that is enough on coronal and sagittal slices."""
    slab_mm: float
    """Thickness through which coronal and sagittal slices are looked at."""
    solid_share: float
    """Part of its voxels that must not be blank background."""
    side: int


@dataclass(frozen=True)
class StationRule:
    """What tells a level of the body, and when a slice shows it."""

    least_level_cm2: float
    """Area of the vertebra or bone that tells the level."""
    level_share: float
    """Part of the largest vertebra's area at that level."""
    bridge_mm: float
    """Levels without a vertebra take the nearest one's within this distance."""
    least_tissue_mm: float
    """Tissue along a row, for the row to count."""
    least_extent_mm: float
    """Rows of a station that make it visible on a coronal or sagittal slice."""
    least_part: float
    """Part of the slice's rows that is enough, however few they are."""


@dataclass(frozen=True)
class OrganRule:
    """Which structures make an organ visible; names are structures or groups of them."""

    least_cm2: float
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
def read_rules() -> Rules:
    """The rules that come with the package."""
    text = files("vesalius.data.anatomy").joinpath("visibility.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    return Rules(
        Visibility(**tables["visible"]),
        StationRule(**tables["station"]),
        {name: tuple(row) for name, row in tables["groups"].items()},
        {name: _organ(row) for name, row in tables["organs"].items()},
        {name: tuple(row) for name, row in tables["levels"].items()},
    )


def _organ(row: Mapping[str, object]) -> OrganRule:
    return OrganRule(**{key: _frozen(value) for key, value in row.items()})  # type: ignore[arg-type]  # each row is tested


def _frozen(value: object) -> object:
    return tuple(_frozen(each) for each in value) if isinstance(value, list) else value


def _names(rule: OrganRule) -> Iterable[str]:
    yield from (part for way in rule.ways for part in way)
    yield from (*rule.without, *rule.unless, *rule.near.values(), *([rule.below] if rule.below else []))
