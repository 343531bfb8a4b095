"""Everything that a run named, and the tables that it is written to."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vesalius.errors import ConfigError
from vesalius.files import write_json
from vesalius.naming.audit import AuditLine
from vesalius.naming.labels import Answer, SeriesName, SliceName, list_labels
from vesalius.naming.phrasebook import LEAST_PROBABILITY, AuditRule
from vesalius.naming.studies import StudyName
from vesalius.prompts.anatomy import ORGANS, STATIONS
from vesalius.spreadsheets import Columns, check_spreadsheet, write_spreadsheet

Row = Mapping[str, str | int | float | None]
SUFFIXES = (".csv", ".json", ".parquet")


@dataclass(frozen=True)
class NamingResult:
    """The names of one or more series, and what follows from them together."""

    series: Iterable[SeriesName]
    """May be gone through several times, and need not lie in memory."""
    model: str = ""
    least_probability: float = LEAST_PROBABILITY
    """Probability from which a label was named."""
    studies: Sequence[StudyName] = ()
    failures: Sequence[Mapping[str, str]] = ()
    """What could not be named or written, as ``{"source": …, "reason": …}``."""
    audit: Sequence[AuditLine] | None = None
    """A line a series, in their order; None unless it was asked for."""
    rule: AuditRule | None = field(default=None, kw_only=True)
    """The model's thresholds for the audit, with its error rates."""
    notices: Sequence[Mapping[str, object]] = field(default=(), kw_only=True)
    """What a folder holds beside images, as notices with their ``source``; those of a series stand in its names."""

    def to_dict(self) -> dict[str, object]:
        """All of it as JSON's types, but for the series, which are an iterator; see ``vesalius.files.iter_json``."""
        content: dict[str, object] = {
            "model": self.model,
            "least_probability": self.least_probability,
            "series": (each.to_dict() for each in self.series),
            "studies": [each.to_dict() for each in self.studies],
            "failures": list(self.failures),
            "notices": list(self.notices),
        }
        if self.audit is not None:
            content["audit"] = [line.to_dict() for line in self.audit]
            content["audit_rule"] = self.rule and asdict(self.rule)
        return content


def check_names_table(path: Path) -> None:
    """Refuse a file that could not be written, before anything is computed.

    Raises:
        ConfigError: If its suffix is none of ``SUFFIXES``.
        MissingPackageError: If Parquet is asked for without pyarrow.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--out {path}: expected a name that ends in {', '.join(SUFFIXES)}, got '{path.suffix}'.")
    if path.suffix.lower() != ".json":
        check_spreadsheet(path, "--out")


def table_files(path: Path) -> list[Path]:
    """The files that ``write_table`` writes."""
    if path.suffix.lower() == ".json":
        return [path]
    return [path, *(path.with_name(f"{path.stem}.{kind}{path.suffix}") for kind in ("series", "landmarks"))]


def write_table(path: Path, result: NamingResult) -> list[Path]:
    """Write the names of one or more series; one series at a time lies in memory.

    Args:
        path: A .json file gets everything; results.csv and results.parquet a row a slice, and beside them
            results.series.csv a row a series, failures included, and results.landmarks.csv a row a landmark.
        result: The names.

    Returns:
        The files written.

    Raises:
        ConfigError: If the suffix is none of ``SUFFIXES``.
        MissingPackageError: If Parquet is asked for without pyarrow.
        OutputError: If a file cannot be written.
    """
    check_names_table(path)
    files = table_files(path)
    if path.suffix.lower() == ".json":
        write_json(path, result.to_dict())
        return files
    tables: list[tuple[Columns, Iterable[Row]]] = [
        (SLICE_COLUMNS, (_slice_row(each, one) for each in result.series for one in each.slices)),
        ({**SERIES_COLUMNS, **(AUDIT_COLUMNS if result.audit is not None else {})}, _series_rows(result)),
        (LANDMARK_COLUMNS, (row for each in result.series for row in _landmark_rows(each))),
    ]
    for file, (columns, rows) in zip(files, tables, strict=True):
        write_spreadsheet(file, columns, rows)
    return files


def _slice_row(series: SeriesName, one: SliceName) -> Row:
    return {
        "source": str(series.source),
        "series_uid": series.header.get("SeriesInstanceUID"),
        "slice": one.index,
        "position_mm": one.position_mm,
        "plane": one.plane,
        "stations": ";".join(one.stations),
        "organs": ";".join(one.organs),
        **{f"p({label})": one.station_probabilities.get(label) for label in STATIONS},
        **{f"p({label})": one.organ_probabilities.get(label) for label in ORGANS},
    }


def _series_row(series: SeriesName, study: StudyName | None) -> Row:
    codes = series.codes
    return {
        "source": str(series.source),
        "series_uid": series.header.get("SeriesInstanceUID"),
        "slices": len(series.slices),
        "stacks": series.stacks,
        "purpose": series.purpose.label,
        **_answer("modality", series.modality),
        **_answer("protocol", series.protocol),
        **_answer("plane", series.plane),
        "obliquity": series.obliquity,
        "stations": ";".join(list_labels(series.stations)),
        "organs": ";".join(list_labels(series.organs)),
        "body_part": codes.body_part,
        "region_sct": codes.region.value if codes.region else None,
        "ihe_regions": ";".join(each.value for each in codes.ihe_regions),
        "header_body_part": series.header.get("BodyPartExamined"),
        "calibrated": ";".join(series.calibrated),
        "study": study.study if study else None,
        "study_summary": study.summary if study else None,
        "notices": "; ".join(map(str, series.notices)) or None,
        "failure": None,
    }


def _answer(name: str, answer: Answer) -> Row:
    return {
        name: answer.label,
        f"{name}_source": answer.source,
        f"{name}_evidence": answer.evidence or None,
        f"{name}_probability": answer.sureness,
    }


def _series_rows(result: NamingResult) -> Iterator[Row]:
    """A row a series, and one for each that failed, with the reason."""
    study_of = {source: study for study in result.studies for source in study.series}
    audited = iter(result.audit or ())
    for each in result.series:
        line = next(audited, None)
        yield {**_series_row(each, study_of.get(each.source)), **({} if line is None else _audit_row(line))}
    for failure in result.failures:
        yield {"source": failure["source"], "failure": failure["reason"]}


def _audit_row(line: AuditLine) -> Row:
    return {
        "audit_verdict": line.verdict,
        "audit_reason": line.reason,
        "audit_margin": line.margin,
        "audit_term_for_pixels": line.proposed,
        "audit_wrong_share": line.wrong_share,
        "audit_error_rate": line.error_rate or None,
    }


def _landmark_rows(series: SeriesName) -> Iterator[Row]:
    for each in series.landmarks:
        yield {
            "source": str(series.source),
            "series_uid": series.header.get("SeriesInstanceUID"),
            "kind": each.kind,
            "label": each.label,
            "first_slice": each.first,
            "last_slice": each.last,
            "low_mm": each.low.mm,
            "low_edge": each.low.kind,
            "low_within_mm": each.low.within_mm,
            "high_mm": each.high.mm,
            "high_edge": each.high.kind,
            "high_within_mm": each.high.within_mm,
            "probability": each.probability,
        }


SLICE_COLUMNS: Columns = {
    "source": str, "series_uid": str, "slice": int, "position_mm": float, "plane": str, "stations": str, "organs": str,
    **{f"p({label})": float for label in (*STATIONS, *ORGANS)},
}  # fmt: skip
SERIES_COLUMNS: Columns = {
    "source": str, "series_uid": str, "slices": int, "stacks": int, "purpose": str,
    **{f"{name}{part}": kind for name in ("modality", "protocol", "plane")
       for part, kind in {"": str, "_source": str, "_evidence": str, "_probability": float}.items()},
    "obliquity": float, "stations": str, "organs": str, "body_part": str, "region_sct": str, "ihe_regions": str,
    "header_body_part": str, "calibrated": str, "study": str, "study_summary": str, "notices": str, "failure": str,
}  # fmt: skip
AUDIT_COLUMNS: Columns = {
    "audit_verdict": str, "audit_reason": str, "audit_margin": float, "audit_term_for_pixels": str,
    "audit_wrong_share": float, "audit_error_rate": str,
}  # fmt: skip
LANDMARK_COLUMNS: Columns = {
    "source": str, "series_uid": str, "kind": str, "label": str, "first_slice": int, "last_slice": int,
    "low_mm": float, "low_edge": str, "low_within_mm": float, "high_mm": float, "high_edge": str,
    "high_within_mm": float, "probability": float,
}  # fmt: skip
