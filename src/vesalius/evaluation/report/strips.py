"""Scores of images under each prompt family, ready to be drawn."""

from collections.abc import Iterable, Sequence

import numpy as np

from vesalius.evaluation.bootstrap import Bootstrap
from vesalius.evaluation.report.content import ALL, Strip, StripGroup
from vesalius.evaluation.rows import Row
from vesalius.evaluation.score_table import ScoreTable
from vesalius.evaluation.statistics import find_centres


def build_strips(names: Sequence[str], tables: Sequence[ScoreTable], rows: Iterable[Row]) -> list[StripGroup]:
    """A group of strips for all prompts together, then one for each family.

    Args:
        names: Of the evaluations.
        tables: Their Dice, with equal families.
        rows: Of one of them, to show a wording of each family.
    """
    wordings = first_wordings(rows)
    centres = [find_centres(table, Bootstrap()) for table in tables]
    groups = []
    for family in (None, *tables[0].families):
        strips = []
        for series, (name, table, found) in enumerate(zip(names, tables, centres, strict=True)):
            scores = table.overall() if family is None else table.scores[:, table.families.index(family)]
            centre = found[family]
            strips.append(Strip(name, series, scores[~np.isnan(scores)].tolist(), centre.mean, centre.median.value))
        groups.append(StripGroup(family or ALL, wordings.get(family or "", ""), strips))
    return groups


def first_wordings(rows: Iterable[Row]) -> dict[str, str]:
    """What each family asked first, of an image that shows the target if there is one."""
    found: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: not row.true_pixels):
        found.setdefault(row.family, row.prompt)
    return found
