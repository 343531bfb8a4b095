"""A benchmark's scores as the text of a table: a row a model, and our number and the published one a data set."""

from collections.abc import Sequence
from dataclasses import dataclass

from vesalius.benchmark.published import Publication
from vesalius.benchmark.scores import Score
from vesalius.data.catalog import read_catalog

MISSING = "–"
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Table:
    """Text, ready to be set in any way."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    """What raised numbers in its cells refer to, from 1."""


def arrange(scores: Sequence[Score], publication: Publication | None = None, *, present_only: bool = False) -> Table:
    """Put scores where readers look for them.

    Args:
        scores: One or more, in the order in which models and data sets shall stand.
        publication: Has a column beside each of ours.
        present_only: Show the means without images whose true mask is empty.
    """
    places = {(score.label, score.data): score for score in scores}
    labels, sets = (tuple(dict.fromkeys(names)) for names in zip(*places, strict=True))
    notes: list[str] = []
    columns, rows = ["model"], [[label] for label in labels]
    for data in sets:
        columns += [data_title(data), publication.short] if publication else [data_title(data)]
        for label, row in zip(labels, rows, strict=True):
            score = places[label, data]
            row.append(_format(score, present_only=present_only) + _raise_notes(score, notes))
            if publication:
                row.append(MISSING if score.published is None else f"{score.published:.3f}")
    return Table(tuple(columns), tuple(map(tuple, rows)), tuple(notes))


def data_title(name: str) -> str:
    """What people call a data set, where the catalog knows its folder."""
    card = read_catalog().get(name)
    return card.title if card else name


def _format(score: Score, *, present_only: bool) -> str:
    """Such as "0.812 [0.779, 0.840]", and where there are several seeds, their lowest and highest mean."""
    found = score.present if present_only else score.mean
    if found is None:
        return MISSING
    if present_only or len(score.seeds) < 2:
        return str(found)
    return f"{found}; seeds {min(score.seeds.values()):.3f} to {max(score.seeds.values()):.3f}"


def _raise_notes(score: Score, notes: list[str]) -> str:
    """Add a score's failures to the notes, and give the numbers that refer to them."""
    notes += score.failures
    first = len(notes) - len(score.failures) + 1
    return " ".join(str(number).translate(_RAISED) for number in range(first, len(notes) + 1))
