"""What a slice shows, in the labels of ``anatomy.toml``: modality and protocol, plane, stations and organs."""

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from vesalius.errors import PromptError, unknown_name

ASPECTS = ("modality", "plane", "station")
"""What ``name`` asks of a slice; each aspect has one true label among its own, or none."""
Aspect = Literal["organs", "stations"]
"""What a slice may show any number of."""
PROTOCOL_MODALITY = "MR"
"""The one modality whose protocols have names here."""


@cache
def _tables() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    tables = tomllib.loads(files("vesalius.prompts").joinpath("anatomy.toml").read_text(encoding="utf-8"))
    return {name: {label: tuple(row) for label, row in rows.items()} for name, rows in tables.items()}


MODALITIES = tuple(_tables()["modality"])
PROTOCOLS = tuple(_tables()["protocol"])
PLANES = tuple(_tables()["plane"])
STATIONS = tuple(_tables()["station"])
"""Regions of the body, from head to foot and the upper limb last."""
PAPER_STATIONS = STATIONS[:5]
"""Those of the paper, which has none for the upper limb."""
ORGANS = tuple(_tables()["organ"])
"""The paper's twenty "organs", limbs and bones among them."""


@dataclass(frozen=True)
class Statement:
    """What is said of a slice; None and the empty set say nothing.

    >>> Statement("MR", "T1", "sagittal", frozenset({"lower body"}), frozenset({"knee"})).modality_words
    'MR T1'

    Raises:
        PromptError: If a label does not exist, or a protocol is given to another modality than MR.
    """

    modality: str | None = None
    protocol: str | None = None
    """Weighting or kind of MR image."""
    plane: str | None = None
    stations: frozenset[str] = frozenset()
    """Regions that the slice meets; several in coronal and sagittal ones."""
    organs: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        _refuse_unknown("modality", self.modality, MODALITIES)
        _refuse_unknown("protocol", self.protocol, PROTOCOLS)
        _refuse_unknown("plane", self.plane, PLANES)
        for station in self.stations:
            _refuse_unknown("station", station, STATIONS)
        for organ in self.organs:
            _refuse_unknown("organ", organ, ORGANS)
        if self.protocol is not None and self.modality != PROTOCOL_MODALITY:
            raise PromptError(
                f"protocol {self.protocol} belongs to {PROTOCOL_MODALITY}, got modality {self.modality}; "
                "leave the protocol out or correct the modality."
            )

    @property
    def station(self) -> str | None:
        """The station if there is exactly one."""
        return next(iter(self.stations)) if len(self.stations) == 1 else None

    @property
    def modality_words(self) -> str:
        """Modality and protocol as captions name them, empty where both are unknown."""
        return " ".join(word for word in (self.modality, self.protocol) if word is not None)


@dataclass(frozen=True)
class AnatomyLabel(Statement):
    """What a slice shows, and what of it is not known.

    Organs and stations are present, uncertain or, if named in neither place, absent. Modality, protocol and plane are
    None where unknown or without meaning: an endoscopy picture has no plane.

    Raises:
        PromptError: As for a statement, or if something is both present and uncertain.
    """

    uncertain: frozenset[str] = frozenset()
    """Organs and stations of which nobody knows whether they show."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.uncertain:
            _refuse_unknown("organ or station", name, (*ORGANS, *STATIONS))
        if both := sorted(self.uncertain & (self.organs | self.stations)):
            raise PromptError(
                f"{', '.join(both)}: both present and uncertain; expected one of the two. "
                "Leave out of `uncertain` what surely shows."
            )

    @classmethod
    def partial(
        cls,
        modality: str | None = None,
        protocol: str | None = None,
        plane: str | None = None,
        stations: Iterable[str] | None = None,
        organs: Iterable[str] = (),
    ) -> "AnatomyLabel":
        """A label of which no more is known than this.

        >>> "lungs" in AnatomyLabel.partial("X-ray", stations=["chest"]).uncertain
        True

        Args:
            modality: As in the class.
            protocol: As in the class.
            plane: As in the class.
            stations: All stations that show; None if nobody knows, which leaves every station uncertain.
            organs: Organs that surely show; all others are uncertain.
        """
        shown = frozenset(organs)
        unknown = frozenset((*ORGANS, *STATIONS) if stations is None else ORGANS) - shown
        return cls(modality, protocol, plane, frozenset(stations or ()), shown, unknown)

    @property
    def known(self) -> Statement:
        """All that is surely true of the slice."""
        return Statement(self.modality, self.protocol, self.plane, self.stations, self.organs)


def anatomy_phrases() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Aspect -> label -> phrases, for all that ``name`` asks."""
    return {aspect: phrases_of(aspect) for aspect in ASPECTS}


def phrases_of(aspect: str) -> Mapping[str, tuple[str, ...]]:
    """Label -> phrases, labels in the order of ``anatomy.toml``.

    Args:
        aspect: "modality", "protocol", "plane", "station" or "organ".

    Raises:
        PromptError: If there is no such aspect.
    """
    aspects = _tables().keys() - {"organ_stations"}
    _refuse_unknown("aspect", aspect, aspects)
    return _tables()[aspect]


def stations_of(organ: str) -> frozenset[str]:
    """Stations in which an organ can show.

    >>> sorted(stations_of("intestine"))
    ['abdomen', 'pelvis']

    Raises:
        PromptError: Naming the closest organ that exists.
    """
    _refuse_unknown("organ", organ, ORGANS)
    return frozenset(_tables()["organ_stations"][organ])


def _refuse_unknown(kind: str, name: str | None, available: Collection[str]) -> None:
    if name is not None and name not in available:
        raise PromptError(unknown_name(kind, name, available))
