"""Standard codes of what a series shows."""

from collections.abc import Collection
from dataclasses import dataclass

from vesalius.prompts.anatomy import ORGANS, STATIONS
from vesalius.prompts.anatomy_wording import in_order
from vesalius.prompts.codes import Code, body_part_of, codes_of


@dataclass(frozen=True)
class SeriesCodes:
    """What to write into headers and reports."""

    body_part: str | None
    """Term for Body Part Examined that means all stations together; None where no term does."""
    region: Code | None
    """The same as SNOMED CT, for Anatomic Region Sequence."""
    sct: dict[str, tuple[Code, ...]]
    """Label -> SNOMED CT, of every station and organ, and of the plane."""
    ihe_regions: tuple[Code, ...]
    """IHE's anatomical regions, each once."""


def code_series(stations: Collection[str], organs: Collection[str], plane: str | None) -> SeriesCodes:
    """Code what a series shows.

    >>> code_series({"abdomen", "pelvis"}, (), "axial").body_part
    'ABDOMENPELVIS'

    Args:
        stations: All that show.
        organs: Likewise.
        plane: Axial, coronal, sagittal, oblique or unknown.
    """
    ordered = in_order(stations, STATIONS)
    part = body_part_of(ordered) if ordered else None
    regions = dict.fromkeys(region for each in ordered if (region := codes_of(each).ihe_region))
    named = [*ordered, *in_order(organs, ORGANS), *([plane] if plane else [])]
    return SeriesCodes(
        body_part=part.term if part else None,
        region=part.code if part else None,
        sct={label: codes_of(label).sct for label in named},
        ihe_regions=tuple(regions),
    )
