"""What a report says about images that show nothing to find."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vesalius.evaluation.report.content import ALL, Cell, NamedCurve, Table, to_number
from vesalius.evaluation.report.existence import ExistenceCurve, find_existence_curves
from vesalius.evaluation.rows import Row
from vesalius.evaluation.stored import StoredEvaluation
from vesalius.prompts import sort_families

MARK = " †"
NOT_ASKED = (
    "What was asked for is on every image, or on none, so these data cannot tell; `vesalius audit` asks for things "
    "that are not there."
)
NO_SCORE = "gives no existence score."
TOLD = "† What was asked where the target is was never asked where it is not: the words alone give the answer away."


@dataclass(frozen=True)
class Absence:
    """Curves, their areas, and what to know about them."""

    table: Table | None
    curves: Sequence[NamedCurve]
    note: str


def describe_absence(evaluations: Sequence[StoredEvaluation], group_regex: str | None) -> Absence:
    """How well existence scores tell images with the target from those without.

    Raises:
        ConfigError: If the expression does not fit the names.
    """
    if not asks_both(evaluations[0].rows):
        return Absence(None, (), NOT_ASKED)
    found = {each.name: find_existence_curves(each.rows, group_regex=group_regex) for each in evaluations}
    silent = [f"{name} {NO_SCORE}" for name, curves in found.items() if not curves]
    named = [NamedCurve(name, series, _choose(curves)) for series, (name, curves) in enumerate(found.items()) if curves]
    if not named:
        return Absence(None, (), " ".join(silent))
    counts = (
        f"{named[0].curve.present} images show the target, {named[0].curve.absent} do not. Intervals are a jackknife's."
    )
    told = any(curve.told_by_words for curves in found.values() for curve in curves)
    return Absence(_tabulate(found), named, " ".join([counts, *silent, *([TOLD] if told else [])]))


def asks_both(rows: Iterable[Row]) -> bool:
    """Whether some answers should be empty and some should not."""
    return len({row.true_pixels > 0 for row in rows}) == 2


def _choose(curves: Sequence[ExistenceCurve]) -> ExistenceCurve:
    """The first that words do not give away, all prompts before each family."""
    return next((curve for curve in curves if not curve.told_by_words), curves[0])


def _tabulate(found: dict[str, list[ExistenceCurve]]) -> Table:
    by_family = {name: {curve.family: curve for curve in curves} for name, curves in found.items() if curves}
    families = {family for curves in by_family.values() for family in curves if family is not None}
    rows: list[list[Cell]] = []
    for family in (None, *sort_families(list(families))):
        curves = [each.get(family) for each in by_family.values()]
        mark = MARK if any(curve and curve.told_by_words for curve in curves) else ""
        rows.append([(family or ALL) + mark, *(to_number(curve.area) if curve else None for curve in curves)])
    return Table("Area under the curve", ("prompt", *(by_family if len(found) > 1 else ["AUC"])), rows)
