"""Whether the header's Body Part Examined fits the pixels; it is often left empty or copied from another protocol."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal

from vesalius.imaging.header import WITHOUT_SLICES
from vesalius.naming.labels import LabelRange, SeriesName, SliceName
from vesalius.naming.phrasebook import AuditRule
from vesalius.prompts.codes import body_part_of, stations_of_body_part

Verdict = Literal["agrees", "contradicts", "covers a part", "unsure", "missing", "unknown term", "not judged"]
KEYWORD = "BodyPartExamined"
JUDGED: tuple[Verdict, ...] = ("agrees", "covers a part", "contradicts", "unsure")
"""Verdicts on headers that were laid beside pixels."""
NO_RULE = "the model's notes hold no audit thresholds; experiments/pocket/audit_thresholds.py computes them"


@dataclass(frozen=True)
class AuditLine:
    """The header of one series beside its pixels."""

    source: Path
    body_part: str
    """Body Part Examined as it stands in the header; may be empty."""
    verdict: Verdict
    reason: str
    """Reason of the verdict, with the numbers it rests on."""
    margin: float | None
    """How much likelier slices show the header's stations than others, -1 to 1, see ``margin_of``; None without any."""
    header_stations: tuple[str, ...]
    """Stations that an image with such a header may show."""
    pixels: tuple[LabelRange, ...]
    """Ranges of slices whose stations are named."""
    calibrated: bool
    """Whether the probabilities of stations are calibrated."""
    proposed: str | None
    """Defined term for the named stations, if it would agree; None if there is none."""
    wrong_share: float | None = None
    """Share of such findings that are wrong, see ``AuditRule.wrong_share``."""
    error_rate: str = ""
    """The same in words, with how many people it was measured on; "" where nothing is claimed."""

    def to_dict(self) -> dict[str, object]:
        """The line as JSON's types."""
        return {**asdict(self), "source": str(self.source)}


def audit_series(series: SeriesName, rule: AuditRule | None) -> AuditLine:
    """Compare the header's Body Part Examined with the slices' stations.

    A term that is missing or not known is no contradiction, and neither is one of which at least one slice is named.

    Args:
        series: The names.
        rule: The model's thresholds, ``labeller.calibration.audit``; without them nothing is judged.
    """
    text = series.header.get(KEYWORD, "").strip()
    stations = stations_of_body_part(text)
    named = tuple(each for each in series.stations if each.label is not None)
    margin = margin_of(series, stations) if stations else None
    verdict, reason = _compare(series, text, margin, rule)
    return AuditLine(
        source=series.source,
        body_part=text,
        verdict=verdict,
        reason=reason,
        margin=margin,
        header_stations=tuple(sorted(stations)),
        pixels=named,
        calibrated="stations" in series.calibrated,
        proposed=_propose(series, named, rule),
        wrong_share=None if rule is None else rule.wrong_share(verdict),
        error_rate="" if rule is None else tell_error_rate(verdict, rule),
    )


def tell_error_rate(verdict: str, rule: AuditRule) -> str:
    """How often such a finding is wrong, in words; "" where nothing is claimed.

    >>> tell_error_rate("contradicts", AuditRule(0.1, -0.7, 3, 32, 0.02, 0.04, 0.78, 0.36))
    'wrong in about 1 of 10 such findings (32 held-out people, half of the headers wrong)'
    """
    share = rule.wrong_share(verdict)
    if share is None:
        return ""
    often = f"about 1 of {round(1 / share)}" if share else "none of"
    return f"wrong in {often} such findings ({rule.patients} held-out people, half of the headers wrong)"


def tell_audit(lines: Sequence[AuditLine], rule: AuditRule) -> list[str]:
    """Of many series, how many headers each verdict concerns, and how many contradictions chance explains."""
    counts = Counter(line.verdict for line in lines)
    told = ", ".join(f"{verdict}: {count}" for verdict, count in sorted(counts.items()))
    judged = sum(counts[verdict] for verdict in JUDGED)
    sentences = [f"Headers: {told}."]
    if judged:
        expected = rule.wrongly_contradicts * judged
        chance = f"{expected:.1f}" if expected < 10 else f"{expected:.0f}"  # noqa: PLR2004 - a decimal for small ones
        sentences.append(
            f"{rule.wrongly_contradicts:.1%} of right headers are contradicted ({rule.patients} held-out people): if "
            f"all {judged} judged headers were right, about {chance} would be, and {counts['contradicts']} are."
        )
    return sentences


def margin_of(series: SeriesName, stations: frozenset[str]) -> float:
    """How much likelier slices show these stations than others.

    Args:
        series: The names.
        stations: One or more.

    Returns:
        Mean over slices of the likeliest of ``stations`` less the likeliest of all others, -1 to 1, before smoothing.
        Blank slices take no part.
    """

    def likeliest(row: Mapping[str, float], among: bool) -> float:
        return max((value for name, value in row.items() if (name in stations) == among), default=0.0)

    rows = [each.station_probabilities for each in _showing(series)]
    return fmean(likeliest(row, True) - likeliest(row, False) for row in rows) if rows else 0.0


def _showing(series: SeriesName) -> list[SliceName]:
    """Slices that are not blank, whose probabilities are all 0."""
    return [each for each in series.slices if any(each.station_probabilities.values())]


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
    stations = stations_of_body_part(series.header[KEYWORD])
    seen = sum(not stations.isdisjoint(each.stations) for each in series.slices)
    if margin >= rule.agrees:
        return "agrees", f"margin {margin:.2f}, at least {rule.agrees:.2f}"
    if seen:
        return "covers a part", f"{seen} of {len(series.slices)} slices are named as {' or '.join(sorted(stations))}"
    if margin <= rule.contradicts:
        return "contradicts", f"margin {margin:.2f}, at most {rule.contradicts:.2f}"
    limits = f"{rule.contradicts:.2f}, which contradicts, and {rule.agrees:.2f}, which agrees"
    return "unsure", f"margin {margin:.2f} lies between {limits}"


def _why_not_judged(series: SeriesName, rule: AuditRule) -> str | None:
    if series.purpose.label in WITHOUT_SLICES:
        return f"a {series.purpose.label} shows no slices"
    count = len(_showing(series))
    if count < rule.least_slices:
        return f"{count} slices, and the thresholds hold for series of {rule.least_slices} or more"
    return None


def _propose(series: SeriesName, named: tuple[LabelRange, ...], rule: AuditRule | None) -> str | None:
    """A term is proposed only where a header with that term would agree."""
    shown = frozenset(each.label for each in named if each.label is not None)
    if rule is None or not shown or _why_not_judged(series, rule) or margin_of(series, shown) < rule.agrees:
        return None
    part = body_part_of(shown)
    return part.term if part else None
