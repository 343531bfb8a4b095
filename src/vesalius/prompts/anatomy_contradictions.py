"""Statements that are surely false of a slice, and as near to the truth as one part allows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, get_args

from vesalius.errors import PromptError, unknown_name
from vesalius.prompts.anatomy import MODALITIES, ORGANS, PLANES, PROTOCOLS, STATIONS, AnatomyLabel, Statement
from vesalius.prompts.anatomy_captions import Caption, CaptionMix, word_statement

if TYPE_CHECKING:
    import numpy as np

Contradiction = Literal["stations", "organs", "modality", "protocol", "plane"]
"""The part of a statement that is wrong."""
CROSS_SECTIONAL = ("CT", "MR")
"""Modalities whose images have a plane."""


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
    label: AnatomyLabel, part: Contradiction, mix: CaptionMix, generator: "np.random.Generator"
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
