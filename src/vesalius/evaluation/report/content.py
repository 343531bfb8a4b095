"""What a report says, before it becomes a page or a text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vesalius.evaluation.report.existence import ExistenceCurve
from vesalius.evaluation.report.gallery import Shown
from vesalius.evaluation.statistics import Interval

ALL = "all prompts"


@dataclass(frozen=True)
class Number:
    """A value and the ends of its interval, rounded for readers."""

    value: str
    ends: str | None = None

    def __str__(self) -> str:
        return f"{self.value} ({self.ends})" if self.ends else self.value


Cell = str | Number | None
"""None is what there is not."""


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first column names them."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    """What a reader must know to read it."""


@dataclass(frozen=True)
class Strip:
    """The Dice of all images under one prompt family."""

    name: str
    """The evaluation's."""
    series: int
    """Number of the evaluation, which decides the colour."""
    values: Sequence[float]
    """One an image."""
    mean: Interval
    median: float


@dataclass(frozen=True)
class StripGroup:
    """A prompt family, and how each evaluation did."""

    title: str
    example: str
    """A wording of it; empty for none."""
    strips: Sequence[Strip]


@dataclass(frozen=True)
class NamedCurve:
    """A curve and whose it is."""

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
    """What to know first."""
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
