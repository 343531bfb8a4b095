"""What a terminal shows of names: one series in full, or a line a series, a line a study, and what the audit found."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vesalius.console import print_table, say, say_first
from vesalius.errors import LISTED, join_first
from vesalius.files import common_folder
from vesalius.naming.audit import AuditLine, audit_series, tell_audit
from vesalius.naming.labels import Answer, Edge, LabelRange, Landmark, SeriesName, list_labels
from vesalius.naming.phrasebook import AuditRule
from vesalius.naming.studies import StudyPart, facts_of, group_studies
from vesalius.naming.tables import NamingResult

OF_MR_ONLY = "of MR only"


@dataclass
class Digest:
    """What is kept of each series, so that the series themselves need not stay in memory."""

    lines: list[tuple[Path, tuple[object, ...]]] = field(default_factory=list)
    """Source and cells of a series in the table of many."""
    facts: list[StudyPart] = field(default_factory=list)
    audit: list[AuditLine] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    first: SeriesName | None = None


def digest_series(series: Iterable[SeriesName], rule: AuditRule | None, *, audit: bool) -> Digest:
    """Go through all series once.

    Args:
        series: The names.
        rule: The model's thresholds for the audit.
        audit: Whether headers are compared with pixels.
    """
    kept = Digest()
    for each in series:
        kept.first = kept.first or each
        kept.lines.append((each.source, _summarise(each)))
        kept.facts.append(facts_of(each))
        kept.notices += [f"{each.source.name}: {notice}" for notice in each.notices]
        if audit:
            kept.audit.append(audit_series(each, rule))
    return kept


def print_names(result: NamingResult, kept: Digest) -> None:
    """Print the tables and remarks for people."""
    if len(kept.lines) == 1 and kept.first is not None:
        _print_one(kept.first)
    elif kept.lines:
        columns = ("series", "slices", "modality", "plane", "stations", "organs")
        folder = common_folder(source for source, _ in kept.lines)
        rows = [(_within(source, folder), *cells) for source, cells in kept.lines]
        print_table(columns, rows, title=folder or None)
        studies = group_studies(kept.facts)
        print_table(("study", "shows"), [(each.study, each.summary) for each in studies])
    if result.audit is not None:
        _print_audit(result.audit, result.rule)
    say_notices(kept)


def say_notices(kept: Digest) -> None:
    """Print what was left out or guessed."""
    say_first(kept.notices, LISTED, "… and {} more notices, which --json lists.")


def _print_audit(lines: Sequence[AuditLine], rule: AuditRule | None) -> None:
    """One series in full; of many, all contradictions in one table, and the other verdicts counted."""
    columns = ("series", "BodyPartExamined", "verdict", "why", "term for the pixels", "error rate")
    shown = lines if len(lines) == 1 else [line for line in lines if line.verdict == "contradicts"]
    folder = common_folder(line.source for line in shown)
    rows = [
        (
            _within(line.source, folder),
            line.body_part or "–",
            line.verdict,
            f"{line.reason}; pixels: {_stations(line.pixels)}",
            line.proposed,
            line.error_rate or None,
        )
        for line in shown
    ]
    if rows:
        several = "Where BodyPartExamined contradicts the pixels"
        print_table(columns, rows, title="Does BodyPartExamined fit the pixels?" if len(lines) == 1 else several)
    if rule is None:
        return
    if len(lines) > 1:
        for sentence in tell_audit(lines, rule):
            say(sentence)
    say(
        f"Of {rule.patients} patients the model never saw, {rule.wrongly_contradicts:.0%} of right headers were "
        f"contradicted and {rule.wrongly_agrees:.0%} of wrong ones agreed with; {rule.found_wrong:.0%} of wrong "
        "headers were found."
    )


def _stations(ranges: Sequence[LabelRange]) -> str:
    return ", ".join(list_labels(ranges)) or "unsure"


def _within(source: Path, folder: str) -> Path:
    return source.relative_to(folder) if folder else source


def _summarise(series: SeriesName) -> tuple[object, ...]:
    words = [series.modality.label or "unsure", series.protocol.label, series.purpose.label]
    stations = dict.fromkeys(each.label or "unsure" for each in series.stations)
    return (
        len(series.slices),
        " ".join(word for word in words if word),
        series.plane.label or series.plane.evidence or "unsure",
        join_first(stations, LISTED),
        join_first(list_labels(series.organs), LISTED),
    )


def _print_one(series: SeriesName) -> None:
    asked = [("modality", series.modality), ("protocol", series.protocol), ("plane", series.plane)]
    asked = [(question, answer) for question, answer in asked if answer.evidence != OF_MR_ONLY]
    columns = ("", "label", "probability", "from")
    print_table(
        columns,
        [_row(question, answer, question in series.calibrated) for question, answer in asked],
        title=str(series.source),
    )
    for title, ranges in (("station", series.stations), ("organ", series.organs)):
        number = "probability" if f"{title}s" in series.calibrated else "share, uncalibrated"
        edges = {(each.label, each.first): each for each in series.landmarks if each.kind == title}
        columns = (title, "slices", "position (mm)", number, *(("z (mm)", "edges") if edges else ()))
        if ranges:
            print_table(columns, [(*_range_row(each), *_edges(each, edges)) for each in ranges])
    for remark in _remarks(series):
        say(remark)


def _row(question: str, answer: Answer, calibrated: bool) -> tuple[object, ...]:
    nothing = "–" if answer.evidence else "unsure"
    uncalibrated = answer.source == "pixels" and not calibrated
    told = answer.evidence or ("uncalibrated" if uncalibrated else "")
    return question, answer.label or nothing, answer.sureness, f"{answer.source}: {told}" if told else answer.source


def _range_row(found: LabelRange) -> tuple[object, ...]:
    slices, places = _range(found.first, found.last), _range(found.first_mm, found.last_mm)
    return found.label or "unsure", slices, places, found.probability


def _range(first: float | None, last: float | None) -> str:
    if first is None or last is None:
        return "–"
    return f"{first:.0f}" if first == last else f"{first:.0f} … {last:.0f}"


def _edges(found: LabelRange, edges: dict[tuple[str, int], Landmark]) -> tuple[object, ...]:
    """Both edges in words; nothing where the series has no landmarks, dashes where this range has none."""
    if not edges:
        return ()
    mark = edges.get((found.label or "", found.first))
    if mark is None:
        return "–", "–"
    return f"{mark.low.mm:.0f} … {mark.high.mm:.0f}", f"{_edge(mark.low)}; {_edge(mark.high)}"


def _edge(edge: Edge) -> str:
    if edge.within_mm is None:
        return edge.kind
    return f"{'uncertain, ' if edge.kind == 'uncertain' else ''}within {edge.within_mm:.0f} mm"


def _remarks(series: SeriesName) -> list[str]:
    codes = series.codes
    remarks = []
    if series.purpose.label is not None:
        remarks.append(f"This is a {series.purpose.label} ({series.purpose.source}), not a series of slices.")
    elif series.stacks > 1:
        remarks.append(f"The series holds {series.stacks} stacks of slices; the largest is named.")
    if codes.body_part and codes.region:
        remarks.append(f"Body Part Examined: {codes.body_part} (SCT {codes.region.value}, {codes.region.meaning})")
    return remarks
