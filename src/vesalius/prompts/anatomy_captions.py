"""Captions drawn for slices: language augmentation that says the same, or less, in other words.

After "Language Augmentation in CLIP for Improved Anatomy Detection on Multi-modal Medical Images" (arXiv 2405.20735).
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from vesalius.errors import ConfigError, unknown_name
from vesalius.prompts.anatomy import ORGANS, STATIONS, Statement
from vesalius.prompts.anatomy_wording import fitting_templates, in_order

if TYPE_CHECKING:
    import numpy as np


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


def draw_caption(label: Statement, mix: CaptionMix, generator: "np.random.Generator") -> Caption:
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


def draw_statement(label: Statement, mix: CaptionMix, generator: "np.random.Generator") -> Statement:
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


def word_statement(statement: Statement, mix: CaptionMix, generator: "np.random.Generator") -> Caption:
    """A statement in words; of the mix only ``shuffle`` matters."""
    templates = fitting_templates(statement)
    organs, stations = in_order(statement.organs, ORGANS), in_order(statement.stations, STATIONS)
    if generator.random() >= mix.shuffle:
        return Caption(templates[0].fill(statement, organs, stations), statement)
    template = templates[int(generator.integers(len(templates)))]
    text = template.fill(statement, _shuffle(organs, generator), _shuffle(stations, generator))
    return Caption(text, statement)


def _shuffle(names: Iterable[str], generator: "np.random.Generator") -> list[str]:
    shuffled = list(names)
    generator.shuffle(shuffled)
    return shuffled
