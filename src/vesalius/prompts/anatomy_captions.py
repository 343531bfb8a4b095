"""Captions of slices: drawn by language augmentation, contradicted in one place, and which are true of which slice.

After "Language Augmentation in CLIP for Improved Anatomy Detection on Multi-modal Medical Images" (arXiv 2405.20735).

A statement is true of a slice if all that it says is; what it leaves out does not matter. "An axial CT image with the
liver" is true of every such slice, whatever else shows there.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import ConfigError, PromptError, unknown_name
from vesalius.prompts.anatomy import (
    CROSS_SECTIONAL,
    MODALITIES,
    ORGANS,
    PLANES,
    PROTOCOLS,
    STATIONS,
    AnatomyLabel,
    Statement,
    fitting_templates,
    in_order,
)


@dataclass(frozen=True)
class Caption:
    """A caption beside what it asserts."""

    text: str
    asserts: Statement
    """All that the text says, and nothing that it does not."""


@dataclass(frozen=True)
class CaptionMix:
    """How captions vary.

    Raises:
        ConfigError: If a probability or a station is none.
    """

    drop_station: float = 0.25
    """Probability of leaving the stations out where organs are named."""
    drop_organs: float = 0.15
    """Probability of leaving the organs out where stations are named; never together with the stations."""
    drop_plane: float = 0.1
    """Probability of leaving the plane out."""
    drop_protocol: float = 0.1
    """Probability of "MR" for "MR T2"."""
    organ_subset: float = 0.2
    """Probability of naming only some of several organs."""
    shuffle: float = 1.0
    """Probability of any template and any order of names; else the first template that fits, and the body's order."""
    stations: tuple[str, ...] = STATIONS
    """Stations that captions name; ``PAPER_STATIONS`` leaves the upper limb out, an empty tuple names none."""

    def __post_init__(self) -> None:
        for field in fields(self)[:-1]:
            value = getattr(self, field.name)
            if not 0 <= value <= 1:
                raise ConfigError(f"{field.name} is a probability from 0 to 1, got {value}.")
        if self.drop_station + self.drop_organs > 1:
            got = f"{self.drop_station} and {self.drop_organs}"
            raise ConfigError(f"drop_station and drop_organs exclude each other: expected a sum up to 1, got {got}.")
        for station in self.stations:
            if station not in STATIONS:
                raise ConfigError(unknown_name("station", station, STATIONS))


PLAIN = CaptionMix(0, 0, 0, 0, 0, 0)
"""The paper's captions before language augmentation: nothing left out, the first template that fits."""


def draw_caption(label: Statement, mix: CaptionMix, generator: np.random.Generator) -> Caption:
    """A caption that is true of a slice.

    >>> import numpy as np
    >>> knee = Statement("MR", "T2", "sagittal", frozenset({"lower body"}), frozenset({"knee"}))
    >>> draw_caption(knee, PLAIN, np.random.default_rng(0)).text
    'A sagittal oriented MR T2 image of knee organs belong to lower body region'

    Args:
        label: What the slice shows; what is uncertain is not named.
        mix: What is left out, and how often.
        generator: Decides every draw.
    """
    return word_statement(draw_statement(label, mix, generator), mix, generator)


def draw_statement(label: Statement, mix: CaptionMix, generator: np.random.Generator) -> Statement:
    """What a caption of a slice will say: all that is known of it, or less."""
    which, subset, plane, protocol = generator.random(4)
    stations, organs = label.stations & frozenset(mix.stations), label.organs
    if stations and organs:
        if which < mix.drop_station:
            stations = frozenset()
        elif which < mix.drop_station + mix.drop_organs:
            organs = frozenset()
    if len(organs) > 1 and subset < mix.organ_subset:
        count = int(generator.integers(1, len(organs)))
        organs = frozenset(_shuffle(in_order(organs, ORGANS), generator)[:count])
    return Statement(
        modality=label.modality,
        protocol=None if protocol < mix.drop_protocol else label.protocol,
        plane=None if plane < mix.drop_plane else label.plane,
        stations=stations,
        organs=organs,
    )


def word_statement(statement: Statement, mix: CaptionMix, generator: np.random.Generator) -> Caption:
    """A statement in words; of the mix only ``shuffle`` matters."""
    templates = fitting_templates(statement)
    organs, stations = in_order(statement.organs, ORGANS), in_order(statement.stations, STATIONS)
    if generator.random() >= mix.shuffle:
        return Caption(templates[0].fill(statement, organs, stations), statement)
    template = templates[int(generator.integers(len(templates)))]
    text = template.fill(statement, _shuffle(organs, generator), _shuffle(stations, generator))
    return Caption(text, statement)


def _shuffle(names: Iterable[str], generator: np.random.Generator) -> list[str]:
    shuffled = list(names)
    generator.shuffle(shuffled)
    return shuffled


Contradiction = Literal["stations", "organs", "modality", "protocol", "plane"]
"""The part of a statement that is wrong."""


def contradictions(label: AnatomyLabel, part: Contradiction, said: Statement | None = None) -> tuple[Statement, ...]:
    """All statements in which one part is wrong and the others stay.

    The right organ with a wrong station, a wrong organ in the right station, and so on. What is uncertain takes no
    part: it may be right.

    >>> chest = AnatomyLabel("CT", stations=frozenset({"chest"}), organs=frozenset({"heart"}))
    >>> [sorted(wrong.stations) for wrong in contradictions(chest, "stations")][:2]
    [['head'], ['abdomen']]

    Args:
        label: What the slice shows.
        part: Which part to replace.
        said: A true statement to start from; all that the label knows if None.

    Returns:
        One statement for each wrong label, in the order of labels; none where nothing is said of the part.

    Raises:
        PromptError: If a statement has no such part.
    """
    if part not in get_args(Contradiction):
        raise PromptError(unknown_name("part of a statement", part, get_args(Contradiction)))
    start = said or label.known
    return tuple(_replace(start, part, name) for name in _wrong_names(label, start, part))


def contradict(
    label: AnatomyLabel, part: Contradiction, mix: CaptionMix, generator: np.random.Generator
) -> Caption | None:
    """A caption with one part wrong, worded as the mix says.

    Args:
        label: What the slice shows.
        part: Which part is wrong.
        mix: Of it only ``shuffle`` matters; nothing is left out.
        generator: Decides every draw.

    Returns:
        None where nothing is said of the part, or nothing is surely wrong.

    Raises:
        PromptError: If a statement has no such part.
    """
    wrong = contradictions(label, part)
    return word_statement(wrong[int(generator.integers(len(wrong)))], mix, generator) if wrong else None


def _wrong_names(label: AnatomyLabel, start: Statement, part: Contradiction) -> Sequence[str]:
    if not getattr(start, part):
        return ()
    names = {"stations": STATIONS, "organs": ORGANS, "modality": MODALITIES, "protocol": PROTOCOLS, "plane": PLANES}
    if start.plane:
        names["modality"] = CROSS_SECTIONAL
    perhaps_right = label.stations | label.organs | label.uncertain | {label.modality, label.protocol, label.plane}
    return [name for name in names[part] if name not in perhaps_right]


def _replace(start: Statement, part: Contradiction, name: str) -> Statement:
    if part == "stations":
        return replace(start, stations=frozenset({name}))
    if part == "organs":
        return replace(start, organs=frozenset({name}))
    if part == "modality":  # a protocol is MR's own
        return replace(start, modality=name, protocol=None)
    return replace(start, protocol=name) if part == "protocol" else replace(start, plane=name)


Bools = NDArray[np.bool_]
Read = Callable[[Statement], str | None]
CHOICES: tuple[tuple[Read, tuple[str, ...]], ...] = (
    (lambda statement: statement.modality, MODALITIES),
    (lambda statement: statement.protocol, PROTOCOLS),
    (lambda statement: statement.plane, PLANES),
)
"""Parts of a statement that are one label or unknown."""
BITS = {name: np.int64(1) << bit for bit, name in enumerate((*ORGANS, *STATIONS))}


@dataclass(frozen=True)
class Entailment:
    """N slices against M statements."""

    true: Bools
    """[N, M]; whether statement m is true of slice n. False where that is not known."""
    known: Bools
    """[N, M]; whether the slice's label tells."""


def entails(label: AnatomyLabel, statement: Statement) -> bool | None:
    """Whether a statement is true of a slice.

    >>> chest = AnatomyLabel.partial("CT", plane="axial", stations=["chest"])
    >>> entails(chest, Statement("CT", stations=frozenset({"chest"})))
    True
    >>> entails(chest, Statement("MR"))
    False
    >>> entails(chest, Statement(organs=frozenset({"heart"}))) is None
    True

    Args:
        label: What the slice shows.
        statement: What is said.

    Returns:
        False if anything that is said is wrong; otherwise None if the label leaves anything open: an organ or station
        that is uncertain, or a modality, protocol or plane that is not known.
    """
    found = match_statements([label], [statement])
    return bool(found.true[0, 0]) if found.known[0, 0] else None


def match_statements(labels: Sequence[AnatomyLabel], statements: Sequence[Statement]) -> Entailment:
    """``entails`` for every pair.

    Args:
        labels: What N slices show.
        statements: M statements.
    """
    wrong = np.zeros((len(labels), len(statements)), bool)
    unsure = wrong.copy()
    for read, names in CHOICES:
        shown, said = _places(labels, read, names)[:, None], _places(statements, read, names)
        differs = (said >= 0) & (shown != said)
        wrong |= differs & (shown >= 0)
        unsure |= differs & (shown < 0)
    present, uncertain = (_bits(sets)[:, None] for sets in (_named(labels), [each.uncertain for each in labels]))
    missing = _bits(_named(statements)) & ~present
    wrong |= (missing & ~uncertain) != 0
    unsure |= (missing & uncertain) != 0
    return Entailment(~(wrong | unsure), wrong | ~unsure)


def _named(statements: Sequence[Statement]) -> list[frozenset[str]]:
    return [statement.organs | statement.stations for statement in statements]


def _places(statements: Sequence[Statement], read: Read, names: tuple[str, ...]) -> NDArray[np.int64]:
    """Index of each statement's label, -1 where it has none."""
    values = [read(statement) for statement in statements]
    return np.array([-1 if value is None else names.index(value) for value in values], np.int64)


def _bits(sets: Sequence[frozenset[str]]) -> NDArray[np.int64]:
    """Each set of organs and stations as one number, a bit a name."""
    return np.array([sum(BITS[name] for name in names) for names in sets], np.int64)
