"""Which captions are true of which slices: what a loss needs where several captions of a batch fit one image.

A statement is true of a slice if all that it says is; what it leaves out does not matter. "An axial CT image with the
liver" is true of every such slice, whatever else shows there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vesalius.prompts.anatomy import MODALITIES, ORGANS, PLANES, PROTOCOLS, STATIONS, AnatomyLabel, Statement

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
