"""Organs that a slice cannot show, because of where in the body it lies."""

from collections.abc import Collection, Mapping

from vesalius.prompts.anatomy import ORGANS, stations_of

NEIGHBOURS: Mapping[str, frozenset[str]] = {
    "head": frozenset({"chest"}),
    "chest": frozenset({"head", "abdomen", "upper limb"}),
    "abdomen": frozenset({"chest", "pelvis", "upper limb"}),
    "pelvis": frozenset({"abdomen", "lower body", "upper limb"}),
    "lower body": frozenset({"pelvis", "upper limb"}),
    "upper limb": frozenset({"chest", "abdomen", "pelvis", "lower body"}),
}
"""Stations that begin where one ends; an arm may lie beside the trunk and the thighs."""


def distant_organs(stations: Collection[str]) -> frozenset[str]:
    """Organs that belong neither to the stations that show nor to one beside them.

    >>> sorted(distant_organs({"head"}) & {"lungs", "liver", "neck"})
    ['liver']

    Args:
        stations: All that show; one or more.
    """
    near = frozenset(stations).union(*(NEIGHBOURS[station] for station in stations))
    return frozenset(organ for organ in ORGANS if not stations_of(organ) & near)
