"""Does Body Part Examined fit the pixels? It is often left empty or copied from another protocol."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from vesalius.naming.names import LabelRange, SeriesName
from vesalius.prompts.codes import body_part_of, stations_of_body_part

Verdict = Literal["agrees", "contradicts", "covers a part", "unsure", "missing", "unknown term", "not judged"]
KEYWORD = "BodyPartExamined"
SURE = 0.8
"""Mean probability over a range of slices from which it may contradict a header."""
LEAST_SHARE = 0.5
"""Of the slices that must be named so surely for any judgement."""
NOT_JUDGED = ("report", "projection")
"""Purposes whose pixels are no slices."""


@dataclass(frozen=True)
class AuditLine:
    """One series' header beside its pixels."""

    source: Path
    body_part: str
    """As it stands in the header; may be empty."""
    verdict: Verdict
    header_stations: tuple[str, ...]
    """Those of which such an image may show slices."""
    pixels: tuple[LabelRange, ...]
    """Ranges that are named surely enough."""
    calibrated: bool
    """Whether their probabilities are."""
    proposed: str | None
    """Term for the stations that surely show; None if there is none."""

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {**asdict(self), "source": str(self.source)}


def audit_series(series: SeriesName, sure: float = SURE) -> AuditLine:
    """Compare what the header says with what the slices look like.

    Only slices named with at least ``sure`` probability count, and at least half of all must be. "contradicts" means
    that none of them shows a station of the header's; "covers a part", that most show none, though some do. A term that
    is missing or not known is no contradiction.

    Args:
        series: As named.
        sure: Least mean probability of a range, 0 to 1.
    """
    text = series.header.get(KEYWORD, "").strip()
    told = stations_of_body_part(text)
    ranges = tuple(each for each in series.stations if each.probability is not None and each.probability >= sure)
    shown = {each.label for each in ranges if each.label is not None}
    part = body_part_of(shown) if shown else None
    return AuditLine(
        source=series.source,
        body_part=text,
        verdict=_judge(series, text, told, ranges),
        header_stations=tuple(sorted(told)),
        pixels=ranges,
        calibrated="stations" in series.calibrated,
        proposed=part.term if part else None,
    )


def _judge(series: SeriesName, text: str, told: frozenset[str], ranges: tuple[LabelRange, ...]) -> Verdict:
    if not text:
        return "missing"
    if not told:
        return "unknown term"
    if series.purpose.label in NOT_JUDGED:
        return "not judged"
    named = _places(ranges)
    if len(named) < LEAST_SHARE * len(series.slices):
        return "unsure"
    covered = len(named & _places(tuple(each for each in ranges if each.label in told))) / len(named)
    if not covered:
        return "contradicts"
    return "agrees" if covered >= LEAST_SHARE else "covers a part"


def _places(ranges: tuple[LabelRange, ...]) -> set[int]:
    return {place for each in ranges for place in range(each.first, each.last + 1)}
