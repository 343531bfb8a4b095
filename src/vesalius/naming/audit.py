"""Does Body Part Examined fit the pixels? It is often left empty or copied from another protocol."""

from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal

from vesalius.naming.labels import LabelRange, SeriesName
from vesalius.naming.phrasebook import AuditRule
from vesalius.prompts.codes import body_part_of, stations_of_body_part

Verdict = Literal["agrees", "contradicts", "covers a part", "unsure", "missing", "unknown term", "not judged"]
KEYWORD = "BodyPartExamined"
NOT_JUDGED = ("report", "projection")
"""Purposes whose pixels are no slices."""
NO_RULE = "the model's notes hold no audit thresholds; experiments/pocket/audit_thresholds.py computes them"


@dataclass(frozen=True)
class AuditLine:
    """One series' header beside its pixels."""

    source: Path
    body_part: str
    """As it stands in the header; may be empty."""
    verdict: Verdict
    reason: str
    """Why that verdict, with the numbers it rests on."""
    margin: float | None
    """How much likelier slices show the header's stations than others, -1 to 1, see ``margin_of``; None without any."""
    header_stations: tuple[str, ...]
    """Those of which such an image may show slices."""
    pixels: tuple[LabelRange, ...]
    """Named ranges."""
    calibrated: bool
    """Whether their probabilities are."""
    proposed: str | None
    """Term for the named stations, if it would agree; None if there is none."""

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {**asdict(self), "source": str(self.source)}


def audit_series(series: SeriesName, rule: AuditRule | None) -> AuditLine:
    """Compare what the header says with what the slices look like.

    A term that is missing or not known is no contradiction, and neither is one of which at least one slice is named.

    Args:
        series: As named.
        rule: The model's own, ``labeller.calibration.audit``; without one nothing is judged.
    """
    text = series.header.get(KEYWORD, "").strip()
    told = stations_of_body_part(text)
    named = tuple(each for each in series.stations if each.label is not None)
    margin = margin_of(series, told) if told else None
    verdict, reason = _compare(series, text, margin, rule)
    return AuditLine(
        source=series.source,
        body_part=text,
        verdict=verdict,
        reason=reason,
        margin=margin,
        header_stations=tuple(sorted(told)),
        pixels=named,
        calibrated="stations" in series.calibrated,
        proposed=_propose(series, named, rule),
    )


def margin_of(series: SeriesName, stations: frozenset[str]) -> float:
    """How much likelier slices show these stations than others.

    Args:
        series: As named.
        stations: One or more.

    Returns:
        Mean over slices of the likeliest of ``stations`` less the likeliest of all others, -1 to 1; each slice as it
        looks alone.
    """
    rows = [each.station_probabilities for each in series.slices]
    return fmean(
        max((row[name] for name in row if name in stations), default=0.0)
        - max((row[name] for name in row if name not in stations), default=0.0)
        for row in rows
    )


def _compare(series: SeriesName, text: str, margin: float | None, rule: AuditRule | None) -> tuple[Verdict, str]:
    if not text:
        return "missing", f"{KEYWORD} is empty or absent"
    if margin is None:
        return "unknown term", "no defined term of DICOM, and no older one that is known"
    if rule is None:
        return "not judged", NO_RULE
    if reason := _why_not_judged(series, rule):
        return "not judged", reason
    return _judge(series, margin, rule)


def _judge(series: SeriesName, margin: float, rule: AuditRule) -> tuple[Verdict, str]:
    told = stations_of_body_part(series.header[KEYWORD])
    seen = sum(not told.isdisjoint(each.stations) for each in series.slices)
    if margin >= rule.agrees:
        return "agrees", f"margin {margin:.2f}, at least {rule.agrees:.2f}"
    if seen:
        return "covers a part", f"{seen} of {len(series.slices)} slices are named as {' or '.join(sorted(told))}"
    if margin <= rule.contradicts:
        return "contradicts", f"margin {margin:.2f}, at most {rule.contradicts:.2f}"
    limits = f"{rule.contradicts:.2f}, which contradicts, and {rule.agrees:.2f}, which agrees"
    return "unsure", f"margin {margin:.2f} lies between {limits}"


def _why_not_judged(series: SeriesName, rule: AuditRule) -> str | None:
    if series.purpose.label in NOT_JUDGED:
        return f"a {series.purpose.label} shows no slices"
    if len(series.slices) < rule.least_slices:
        return f"{len(series.slices)} slices, and the thresholds hold for series of {rule.least_slices} or more"
    return None


def _propose(series: SeriesName, named: tuple[LabelRange, ...], rule: AuditRule | None) -> str | None:
    """A term is proposed only where a header with that term would agree."""
    shown = frozenset(each.label for each in named if each.label is not None)
    if rule is None or not shown or _why_not_judged(series, rule) or margin_of(series, shown) < rule.agrees:
        return None
    part = body_part_of(shown)
    return part.term if part else None
