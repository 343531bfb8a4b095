"""Standard codes of anatomy labels, in and out: SNOMED CT, Body Part Examined, RadLex, FMA and IHE's regions."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from vesalius.errors import PromptError, unknown_name
from vesalius.files import read_package_toml
from vesalius.prompts.anatomy import PAPER_STATIONS, STATIONS

CODES = "prompts/codes.toml"
_SPARE_WORDS = frozenset({"AND", "LEFT", "RIGHT", "LT", "RT", "BOTH", "BILATERAL"})


@dataclass(frozen=True)
class Code:
    """A SNOMED CT concept, "SCT" in DICOM."""

    value: str
    meaning: str


@dataclass(frozen=True)
class StandardCodes:
    """Codes of one label."""

    sct: tuple[Code, ...]
    """One, or several that together cover the label: an intestine is small or large."""
    body_part: str | None
    """Defined term of Body Part Examined; None if no one term means the label."""
    radlex: tuple[str, ...]
    """RadLex identifiers; may be empty."""
    fma: tuple[str, ...]
    """Identifiers of the Foundational Model of Anatomy; may be empty."""
    ihe_region: Code | None
    """Entry of IHE's value set of anatomical regions; stations have one."""


@dataclass(frozen=True)
class BodyPart:
    """What DICOM calls a region: a term for Body Part Examined and a code for Anatomic Region Sequence."""

    term: str
    code: Code


def codes_of(label: str) -> StandardCodes:
    """Codes of an organ, a station or a plane ("oblique" is one here).

    >>> codes_of("liver").sct
    (Code(value='10200004', meaning='Liver'),)

    Raises:
        PromptError: Naming the closest label that has codes.
    """
    labels = _labels()
    if label not in labels:
        raise PromptError(unknown_name("label with codes", label, labels))
    return labels[label]


def body_part_of(stations: Collection[str]) -> BodyPart | None:
    """The one term for what a series shows.

    >>> body_part_of(["pelvis", "abdomen"]).term
    'ABDOMENPELVIS'

    Args:
        stations: One or several; arms beside a whole body change nothing.

    Returns:
        None where no term means just these.

    Raises:
        PromptError: If a station does not exist.
    """
    for station in stations:
        if station not in STATIONS:
            raise PromptError(unknown_name("station", station, STATIONS))
    return _body_parts().get(frozenset(stations))


def stations_of_body_part(text: str) -> frozenset[str]:
    """Stations whose slices an image may show if its header says this.

    >>> sorted(stations_of_body_part("Abdomen and Pelvis"))
    ['abdomen', 'pelvis']

    Args:
        text: Body Part Examined as found. Case, spaces, punctuation, sides and the plural do not matter; older terms
            and the meanings of codes are understood.

    Returns:
        All that are possible, of which an image need not show every one; empty if the text is not understood.
    """
    words = re.findall(r"[A-Z0-9]+", text.upper())
    term = "".join(word for word in words if word not in _SPARE_WORDS)
    read = read_package_toml(CODES)["read"]
    found = frozenset(station for station, terms in read.items() if term in terms)
    return found or frozenset(station for station, terms in read.items() if term.removesuffix("S") in terms)


@cache
def _labels() -> Mapping[str, StandardCodes]:
    return {label: _to_codes(row) for label, row in read_package_toml(CODES)["label"].items()}


def _to_codes(row: Mapping[str, Any]) -> StandardCodes:
    return StandardCodes(
        sct=tuple(Code(*pair) for pair in row["sct"]),
        body_part=row.get("body_part"),
        radlex=tuple(row.get("radlex", ())),
        fma=tuple(row.get("fma", ())),
        ihe_region=Code(*row["ihe"]) if "ihe" in row else None,
    )


@cache
def _body_parts() -> Mapping[frozenset[str], BodyPart]:
    """Stations -> the term that means just these."""
    alone = {
        frozenset({station}): BodyPart(term, codes_of(station).sct[0])
        for station in STATIONS
        if (term := codes_of(station).body_part) is not None
    }
    rows = read_package_toml(CODES)["combined"].items()
    together = {frozenset(row["stations"]): BodyPart(term, Code(*row["sct"])) for term, row in rows}
    return {**alone, **together, frozenset(STATIONS): together[frozenset(PAPER_STATIONS)]}
