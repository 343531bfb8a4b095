"""The content of a report: its tables, strips and curves, before they become a page or a text."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vesalius.console import markdown_table, to_markdown
from vesalius.evaluation.ranking import ExistenceCurve, find_existence_curves
from vesalius.evaluation.report.gallery import Shown
from vesalius.evaluation.rows import TITLES, Row, ScoreTable
from vesalius.evaluation.segmentation import Evaluation
from vesalius.evaluation.statistics import Centre, Interval
from vesalius.evaluation.stored import StoredEvaluation
from vesalius.prompts import sort_families

LONGEST = 300
"""Characters of a line that readers see."""


def flatten(manifest: Mapping[str, object]) -> dict[str, str]:
    """Short lines of text by name: fields within fields joined, what would be long taken apart once, then cut.

    >>> flatten({"machine": {"threads": 2, "lists": {"a": 1, "b": None}}, "seconds": 3})
    {'machine': 'threads 2 · lists.a 1', 'seconds': '3'}
    """
    lines: dict[str, str] = {}
    for name, value in manifest.items():
        text = _join(value)
        if len(text) > LONGEST and isinstance(value, Mapping):
            lines |= {f"{name}, {inner}": _cut(_join(each)) for inner, each in value.items()}
        elif text:
            lines[name] = _cut(text)
    return lines


def _join(value: object) -> str:
    return " · ".join(f"{name} {leaf}".strip() for name, leaf in _leaves("", value) if leaf is not None)


def _leaves(name: str, value: object) -> list[tuple[str, object]]:
    if not isinstance(value, Mapping):
        return [(name, value)]
    return [leaf for inner, each in value.items() for leaf in _leaves(f"{name}.{inner}".strip("."), each)]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST].rstrip() + " …"


ALL = "all prompts"


@dataclass(frozen=True)
class Number:
    """A value and the ends of its interval, rounded for readers."""

    value: str
    ends: str | None = None

    def __str__(self) -> str:
        return f"{self.value} ({self.ends})" if self.ends else self.value


Cell = str | Number | None
"""None is shown as a dash."""


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first column names them."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    """What a reader must know to read the table."""

    def sections(self, *, align: str = "---") -> tuple[str, str, str]:
        """Heading, table and note in Markdown; ``align`` as for ``markdown_table``."""
        rows = markdown_table(self.columns, self.rows, align=align)
        return f"## {to_markdown(self.title)}", rows, to_markdown(self.note)


@dataclass(frozen=True)
class Strip:
    """The Dice of all images under one prompt family."""

    name: str
    """Name of the evaluation."""
    series: int
    """Number of the evaluation; decides the colour."""
    values: Sequence[float]
    """Dice of each image."""
    mean: Interval
    median: float


@dataclass(frozen=True)
class StripGroup:
    """The strips of all evaluations for one prompt family."""

    title: str
    example: str
    """A wording of it; empty for none."""
    strips: Sequence[Strip]


@dataclass(frozen=True)
class NamedCurve:
    """The curve of one evaluation."""

    name: str
    series: int
    curve: ExistenceCurve


@dataclass(frozen=True)
class Report:
    """All that is said about one evaluation, or about several of the same data."""

    title: str
    facts: Mapping[str, str]
    """Model, data, split, rule …"""
    headline: Sequence[tuple[str, Number]]
    """The most important numbers, with their names."""
    tables: Sequence[Table]
    strips: Sequence[StripGroup]
    strips_note: str
    existence: Table | None
    """Areas under the curves; None where there is none."""
    curves: Sequence[NamedCurve]
    existence_note: str
    gallery: Sequence[Shown]
    gallery_note: str
    manifests: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """How each evaluation was made."""


def to_number(interval: Interval, metric: str = "dice") -> Number:
    """Round for readers: distances to tenths, shares to thousandths.

    >>> to_number(Interval(0.8125, 0.75, 0.875, n=8))
    Number(value='0.812', ends='0.750–0.875')
    """
    digits = 1 if metric == "hd95" else 3
    ends = (
        None
        if interval.low is None or interval.high is None
        else f"{interval.low:.{digits}f}–{interval.high:.{digits}f}"
    )
    return Number(f"{interval.value:.{digits}f}", ends)


MARK = " †"
NOT_ASKED = (
    "What was asked for is on every image, or on none, so these data cannot tell; `vesalius audit` asks for things "
    "that are not there."
)
NO_SCORE = "gives no existence score."
LEAKED = "† No prompt was asked both where the target is and where it is not: the words alone give the answer away."


@dataclass(frozen=True)
class Absence:
    """Existence curves, their areas, and a note on them."""

    table: Table | None
    curves: Sequence[NamedCurve]
    note: str


def describe_absence(evaluations: Sequence[StoredEvaluation], group_regex: str | None) -> Absence:
    """Existence curves of all evaluations: how well scores separate images with the target from those without.

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
    leaked = any(curve.leaked_by_prompt for curves in found.values() for curve in curves)
    return Absence(_tabulate(found), named, " ".join([counts, *silent, *([LEAKED] if leaked else [])]))


def asks_both(rows: Iterable[Row]) -> bool:
    """Whether some answers should be empty and some should not."""
    return len({row.true_pixels > 0 for row in rows}) == 2


def _choose(curves: Sequence[ExistenceCurve]) -> ExistenceCurve:
    """The first whose prompts do not leak the answer, all prompts before each family."""
    return next((curve for curve in curves if not curve.leaked_by_prompt), curves[0])


def _tabulate(found: dict[str, list[ExistenceCurve]]) -> Table:
    by_family = {name: {curve.family: curve for curve in curves} for name, curves in found.items() if curves}
    families = {family for curves in by_family.values() for family in curves if family is not None}
    rows: list[list[Cell]] = []
    for family in (None, *sort_families(list(families))):
        curves = [each.get(family) for each in by_family.values()]
        mark = MARK if any(curve and curve.leaked_by_prompt for curve in curves) else ""
        rows.append([(family or ALL) + mark, *(to_number(curve.area) if curve else None for curve in curves)])
    return Table("Area under the curve", ("prompt", *(by_family if len(found) > 1 else ["AUC"])), rows)


def build_score_tables(evaluation: Evaluation, group_regex: str | None) -> Iterator[Table]:
    """One table of all images; where some show nothing to find, one of the others too.

    Raises:
        ConfigError: If the expression does not fit the names.
    """
    images, undefined = evaluation.images(), evaluation.undefined()
    note = "Means over images, and below each its interval."
    if undefined:
        note += f" HD95 leaves out {undefined} of {len(evaluation.rows)} answers: just one of the two masks is empty."
    yield _build(evaluation, f"All {images} images", group_regex, note, present_only=False)
    if asks_both(evaluation.rows):
        title = f"The {images - evaluation.empty_images()} images that show something to find"
        empty = sum(not row.true_pixels for row in evaluation.rows)
        note = f"Left out: {empty} answers that should be an empty mask, which score 1 if they are and 0 if not."
        yield _build(evaluation, title, group_regex, note, present_only=True)


def _build(evaluation: Evaluation, title: str, group_regex: str | None, note: str, *, present_only: bool) -> Table:
    found = {
        name: evaluation.summarise(name, present_only=present_only, group_regex=group_regex)
        for name in evaluation.metrics
    }
    rows: list[list[Cell]] = [[ALL, *(_mean(each.overall, name) for name, each in found.items())]]
    for family in evaluation.families():
        rows.append([family, *(_mean(each.families.get(family), name) for name, each in found.items())])
    return Table(title, ("prompt", *name_columns(evaluation, found)), rows, note)


def name_columns(evaluation: Evaluation, metrics: Iterable[str]) -> list[str]:
    """Titles of metrics, that of HD95 with its unit."""
    return [f"HD95 ({evaluation.distance_unit})" if name == "hd95" else TITLES[name] for name in metrics]


def _mean(centre: Centre | None, metric: str) -> Cell:
    return None if centre is None else to_number(centre.mean, metric)


def build_strips(
    names: Sequence[str],
    tables: Sequence[ScoreTable],
    centres: Sequence[Mapping[str | None, Centre]],
    rows: Iterable[Row],
) -> list[StripGroup]:
    """A group of strips for all prompts together, then one for each family.

    Args:
        names: Of the evaluations.
        tables: Their Dice, with equal families.
        centres: Their centres by family; over all families under None.
        rows: Of one of them, to show a wording of each family.
    """
    wordings = first_wordings(rows)
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
    """The first wording of each family, of an image that shows the target if there is one."""
    found: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: not row.true_pixels):
        found.setdefault(row.family, row.prompt)
    return found
