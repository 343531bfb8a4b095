"""Anatomy labels of a slice (``anatomy.toml``), and statements about them in words (``anatomy_wording.toml``).

After "Language Augmentation in CLIP for Improved Anatomy Detection on Multi-modal Medical Images" (arXiv 2405.20735):
its twenty organs, its five stations and one for the arm, its two templates and further ones.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from vesalius.errors import PromptError, join_all, unknown_name
from vesalius.files import read_package_toml

LabelKind = Literal["organs", "stations"]
"""Kinds of labels of which a slice may show any number."""
PROTOCOL_MODALITY = "MR"
"""The one modality whose protocols have names here."""
CROSS_SECTIONAL = ("CT", "MR")
"""Modalities whose images are slices, and have a plane."""


@cache
def _tables() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    tables = read_package_toml("prompts/anatomy.toml")
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
    """Organs and stations that may or may not show."""

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
            stations: All stations that show; None if unknown, which leaves every station uncertain.
            organs: Organs that surely show; all others are uncertain.
        """
        shown = frozenset(organs)
        unknown = frozenset((*ORGANS, *STATIONS) if stations is None else ORGANS) - shown
        return cls(modality, protocol, plane, frozenset(stations or ()), shown, unknown)

    @property
    def known(self) -> Statement:
        """All that is surely true of the slice."""
        return Statement(self.modality, self.protocol, self.plane, self.stations, self.organs)


def phrases_of(kind: str) -> Mapping[str, tuple[str, ...]]:
    """Label -> phrases, labels in the order of ``anatomy.toml``.

    Args:
        kind: "modality", "protocol", "plane", "station" or "organ".

    Raises:
        PromptError: If there is no such label kind.
    """
    kinds = _tables().keys() - {"organ_stations"}
    _refuse_unknown("label kind", kind, kinds)
    return _tables()[kind]


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


SLOT = re.compile(r"\{(\w+)\}")
PIECE = re.compile(r"\[([^\]]*)\]")
PARTS = {"plane": "plane", "modality": "modality", "organs": "organs", "organ_list": "organs", "stations": "stations"}
"""Slot of a template -> the part of a statement that fills it."""
ARTICLE = re.compile(r"\{a\} (\S+)")
SOUNDS_LIKE_VOWEL = re.compile(r"[aeiou]|MR\b|X-ray")


@dataclass(frozen=True)
class Template:
    """A way to say things."""

    text: str
    needs: frozenset[str]
    """Parts of a statement without which it is no sentence."""
    says: frozenset[str]
    """Parts of a statement for which it has a place."""

    def fits(self, statement: Statement) -> bool:
        """Whether it says all of the statement."""
        return self.needs <= _known(statement) <= self.says

    def fill(self, statement: Statement, organs: Sequence[str], stations: Sequence[str]) -> str:
        """The statement in words.

        Args:
            statement: One that fits.
            organs: The statement's organs, in the order in which to name them.
            stations: The statement's stations, in the order in which to name them.
        """
        words = {
            "plane": statement.plane or "",
            "modality": statement.modality_words,
            "organs": join_all(organs),
            "organ_list": ", ".join(organs),
            "stations": join_all(stations),
            "region": "region" if len(stations) == 1 else "regions",
        }
        known = _known(statement)
        kept = PIECE.sub(lambda piece: piece[1] if _parts(piece[1]) <= known else "", self.text)
        filled = SLOT.sub(lambda slot: words.get(slot[1], slot[0]), kept)
        return _tidy(ARTICLE.sub(_add_article, re.sub(r" +", " ", filled)))


@cache
def read_anatomy_templates() -> tuple[Template, ...]:
    """All templates, the paper's two first."""
    rows = read_package_toml("prompts/anatomy_wording.toml")
    return tuple(Template(row, _parts(PIECE.sub("", row)), _parts(row)) for row in (*rows["paper"], *rows["varied"]))


def fitting_templates(statement: Statement) -> tuple[Template, ...]:
    """Templates that say all of a statement; there is one for every statement."""
    return tuple(template for template in read_anatomy_templates() if template.fits(statement))


@cache
def ensemble_phrases(kind: LabelKind, label: str) -> tuple[str, ...]:
    """All that a label is asked with: its phrases, and every caption that says that it shows.

    >>> ensemble_phrases("organs", "liver")[:3]
    ('an image of the liver', 'a slice through the liver', 'An image of the liver')
    """
    return (*phrases_of(kind.removesuffix("s"))[label], *write_captions(say_only(kind, label)))


def say_only(kind: LabelKind, label: str) -> Statement:
    """The statement that an organ or a station shows, and nothing else."""
    named = frozenset({label})
    return Statement(organs=named) if kind == "organs" else Statement(stations=named)


def write_captions(statement: Statement) -> tuple[str, ...]:
    """Every template's wording of a statement, the paper's first.

    >>> write_captions(Statement("CT", organs=frozenset({"liver", "kidneys"})))[0]
    'A CT image of the liver and kidneys'

    Args:
        statement: What to say; names come in the order of the body.

    Returns:
        One text or more, without repetition.
    """
    organs, stations = in_order(statement.organs, ORGANS), in_order(statement.stations, STATIONS)
    texts = (template.fill(statement, organs, stations) for template in fitting_templates(statement))
    return tuple(dict.fromkeys(texts))


def in_order(names: Iterable[str], order: Sequence[str]) -> list[str]:
    """Names in the order of a list of labels."""
    return sorted(names, key=order.index)


def _known(statement: Statement) -> frozenset[str]:
    return frozenset(part for part in PARTS.values() if getattr(statement, part))


def _parts(text: str) -> frozenset[str]:
    return frozenset(PARTS[word] for word in SLOT.findall(text) if word in PARTS)


def _add_article(match: re.Match[str]) -> str:
    return f"{'an' if SOUNDS_LIKE_VOWEL.match(match[1]) else 'a'} {match[1]}"


def _tidy(text: str) -> str:
    """No space before a comma or at the ends, and a capital at the beginning."""
    tidy = text.replace(" ,", ",").strip()
    return tidy[:1].upper() + tidy[1:]
