"""Names of slices and series: answers with their probabilities and sources, standard codes, and tables on disk."""

import csv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Literal

from vesalius.console import html_table
from vesalius.errors import ConfigError
from vesalius.files import to_utf8, write_json, writing
from vesalius.imaging.header import Finding
from vesalius.imaging.safeguards import Notice
from vesalius.prompts.anatomy import ORGANS, STATIONS, in_order
from vesalius.prompts.codes import Code, body_part_of, codes_of

Source = Literal["header", "values", "pixels"]
"""Origin of an answer: attributes of the file, a rule on stored values (CT in HU), or the model."""


@dataclass(frozen=True)
class Answer:
    """The answer to one question about one slice or series."""

    label: str | None
    """None when unsure, or where the question has no answer."""
    probability: float | None
    """Probability of the likeliest label by the model; None if the file tells."""
    source: Source
    evidence: str = ""
    """The attribute of the file that tells, or why there is no answer."""
    confidence: float | None = None
    """Confidence of the header rule, 0 to 1; for protocols only."""


@dataclass(frozen=True, repr=False)
class SliceName:
    """Names of one slice."""

    index: int
    """Place in the series, from 0 in display order (axial: from the feet)."""
    position_mm: float | None
    """Position along the slice normal; None where the file places nothing."""
    plane: str | None
    station: Answer
    """The likeliest of ``stations``; without any, the likeliest of all, unnamed."""
    stations: tuple[str, ...] = ()
    """All stations that are named; none when unsure."""
    organs: tuple[str, ...] = ()
    """All organs that are named."""
    station_probabilities: Mapping[str, float] = field(default_factory=dict)
    """Station -> probability by this slice alone, before smoothing."""
    organ_probabilities: Mapping[str, float] = field(default_factory=dict)
    """Organ -> probability by this slice alone, before smoothing."""

    def __repr__(self) -> str:
        named = ", ".join((*self.stations, *self.organs)) or "unsure"
        return f"{type(self).__name__}({self.index}, {self.plane or 'no plane'}, {named})"


@dataclass(frozen=True)
class LabelRange:
    """Neighbouring slices that show the same."""

    label: str | None
    """None for slices of which nothing is named."""
    first: int
    last: int
    first_mm: float | None
    last_mm: float | None
    probability: float | None
    """Mean over the slices, before smoothing; None without a label."""


@dataclass(frozen=True)
class SeriesCodes:
    """Standard codes of what a series shows, for headers and reports."""

    body_part: str | None
    """Term for Body Part Examined that means all stations together; None where no term does."""
    region: Code | None
    """The same in SNOMED CT, for Anatomic Region Sequence."""
    sct: dict[str, tuple[Code, ...]]
    """Label -> SNOMED CT codes, of every station and organ, and of the plane."""
    ihe_regions: tuple[Code, ...]
    """IHE's anatomical regions, each once."""


def code_series(stations: Collection[str], organs: Collection[str], plane: str | None) -> SeriesCodes:
    """Code what a series shows.

    >>> code_series({"abdomen", "pelvis"}, (), "axial").body_part
    'ABDOMENPELVIS'

    Args:
        stations: Stations that show.
        organs: Organs that show.
        plane: Axial, coronal, sagittal, oblique or unknown.
    """
    ordered = in_order(stations, STATIONS)
    part = body_part_of(ordered) if ordered else None
    regions = dict.fromkeys(region for each in ordered if (region := codes_of(each).ihe_region))
    named = [*ordered, *in_order(organs, ORGANS), *([plane] if plane else [])]
    return SeriesCodes(
        body_part=part.term if part else None,
        region=part.code if part else None,
        sct={label: codes_of(label).sct for label in named},
        ihe_regions=tuple(regions),
    )


@dataclass(frozen=True, repr=False)
class SeriesName:
    """Names of a picture, series or volume."""

    source: Path
    modality: Answer
    protocol: Answer
    """T1, T2, FLAIR, DWI, ADC or STIR; for MR only."""
    plane: Answer
    """Axial, coronal, sagittal, or oblique from 36.9° off every axis; no label if stacks differ, as in localizers."""
    slices: tuple[SliceName, ...]
    obliquity: float | None = None
    """Degrees from the nearest plane."""
    purpose: Finding = Finding(None, 0.0, "")
    """Localizer, projection or report, which show no series of slices."""
    stacks: int = 1
    """Number of orientations, echoes or time points; of all series but localizers the largest stack is named."""
    smoothed: str | None = None
    """Smoothing: "ordered" along the axis, "averaged" over slices; None without."""
    calibrated: tuple[str, ...] = ()
    """Questions whose probabilities are calibrated; others are shares among the labels."""
    header: Mapping[str, str] = field(default_factory=dict)
    """Attributes by keyword, as in ``MedicalImage.header``."""
    notices: tuple[Notice, ...] = ()
    """What the reader left out or guessed, as in ``MedicalImage.notices``."""

    @property
    def stations(self) -> list[LabelRange]:
        """Ranges of slices that show each station, which may overlap, and of slices without a named station."""
        unnamed = find_ranges(self.slices, [not each.stations for each in self.slices], None)
        return _in_order([*self._ranges("stations"), *unnamed])

    @property
    def organs(self) -> list[LabelRange]:
        """Ranges of slices that show each named organ."""
        return _in_order(self._ranges("organs"))

    @property
    def codes(self) -> SeriesCodes:
        """Standard codes of all that is named."""
        stations, organs = ({each.label for each in found if each.label} for found in (self.stations, self.organs))
        return code_series(stations, organs, self.plane.label)

    def to_dict(self) -> dict[str, object]:
        """The names as JSON's types, with ranges and standard codes; slices come last."""
        keywords = ("SeriesInstanceUID", "SeriesDescription", "BodyPartExamined")
        header = {keyword: self.header[keyword] for keyword in keywords if keyword in self.header}
        content = {**asdict(self), "source": str(self.source), "header": header}
        content["notices"] = [each.to_dict() for each in self.notices]
        ranges = {name: [asdict(each) for each in getattr(self, name)] for name in ("stations", "organs")}
        slices = content.pop("slices")
        return {**content, **ranges, "codes": asdict(self.codes), "slices": slices}

    def __repr__(self) -> str:
        facts = [each.label or "unsure" for each in (self.modality, self.plane)]
        named = [name for name in dict.fromkeys(each.label for each in (*self.stations, *self.organs)) if name]
        told = f"{' '.join(facts)}, {len(self.slices)} slices, {', '.join(named) or 'nothing named'}"
        return f"{type(self).__name__}({self.source.name!r}: {told})"

    def _repr_html_(self) -> str:
        def rounded(probability: float | None) -> str | None:
            return None if probability is None else f"{probability:.2f}"

        rows: list[tuple[object, ...]] = [
            (question, answer.label or "unsure", rounded(answer.probability), answer.source)
            for question, answer in (("modality", self.modality), ("protocol", self.protocol), ("plane", self.plane))
            if answer.label or answer.probability is not None
        ]
        for kind, ranges in (("station", self.stations), ("organ", self.organs)):
            rows += [
                (kind, each.label or "unsure", rounded(each.probability), f"slices {each.first}–{each.last}")
                for each in ranges
            ]
        return html_table((self.source.name, "label", "probability", "from"), rows)

    def _ranges(self, kind: Literal["stations", "organs"]) -> list[LabelRange]:
        labels = dict.fromkeys(label for each in self.slices for label in getattr(each, kind))
        return [
            found
            for label in labels
            for found in find_ranges(self.slices, [label in getattr(each, kind) for each in self.slices], label)
        ]


def find_ranges(slices: Sequence[SliceName], shown: Sequence[bool], label: str | None) -> list[LabelRange]:
    """Runs of neighbouring slices of one plane that show a label.

    Args:
        slices: D slices.
        shown: Whether each slice shows it, [D].
        label: The label; None for slices of which nothing is named.
    """
    ranges = []
    for (kept, _), run in groupby(zip(shown, slices, strict=True), key=lambda pair: (pair[0], pair[1].plane)):
        found = [each for _, each in run]
        if kept:
            first, last = found[0], found[-1]
            rows = [{**each.organ_probabilities, **each.station_probabilities} for each in found]
            mean = None if label is None else sum(row[label] for row in rows) / len(rows)
            ranges.append(LabelRange(label, first.index, last.index, first.position_mm, last.position_mm, mean))
    return ranges


def _in_order(ranges: list[LabelRange]) -> list[LabelRange]:
    return sorted(ranges, key=lambda each: (each.first, each.last))


Row = Mapping[str, str | int | float | None]
SUFFIXES = (".csv", ".json", ".parquet")
REAL_SUFFIXES = (")", "_mm", "_probability", "obliquity")
"""Endings of columns of real numbers."""
INTEGERS = ("slice", "slices", "stacks")
"""Columns of whole numbers; all others are text, even where every value is missing."""


def check_table(path: Path) -> None:
    """Refuse a file that could not be written, before anything is computed.

    Raises:
        ConfigError: If its suffix is none of ``SUFFIXES``.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--out {path}: expected a name that ends in {', '.join(SUFFIXES)}, got '{path.suffix}'.")


def table_files(path: Path) -> list[Path]:
    """The files that ``write_table`` writes."""
    return [path] if path.suffix.lower() == ".json" else [path, path.with_name(f"{path.stem}.series{path.suffix}")]


def write_table(path: Path, series: Sequence[SeriesName], content: Mapping[str, object]) -> list[Path]:
    """Write the names of one or more series.

    Args:
        path: A .json file gets ``content``; results.csv and results.parquet a row a slice, with results.series.csv or
            results.series.parquet beside them a row a series.
        series: The names, one or more.
        content: All of them as JSON's types.

    Returns:
        The files written.

    Raises:
        ConfigError: If the suffix is none of ``SUFFIXES``.
        OutputError: If a file cannot be written.
    """
    check_table(path)
    files = table_files(path)
    if path.suffix.lower() == ".json":
        write_json(path, content)
        return files
    write = _write_csv if path.suffix.lower() == ".csv" else _write_parquet
    write(path, [_slice_row(each, one) for each in series for one in each.slices])
    write(files[1], [_series_row(each) for each in series])
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


def _series_row(series: SeriesName) -> Row:
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
        "stations": ";".join(dict.fromkeys(each.label for each in series.stations if each.label)),
        "organs": ";".join(dict.fromkeys(each.label for each in series.organs if each.label)),
        "body_part": codes.body_part,
        "region_sct": codes.region.value if codes.region else None,
        "ihe_regions": ";".join(each.value for each in codes.ihe_regions),
        "header_body_part": series.header.get("BodyPartExamined"),
        "calibrated": ";".join(series.calibrated),
    }


def _answer(name: str, answer: Answer) -> Row:
    return {
        name: answer.label,
        f"{name}_source": answer.source,
        f"{name}_evidence": answer.evidence or None,
        f"{name}_probability": answer.confidence if answer.probability is None else answer.probability,
    }


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    with writing(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(map(to_utf8, rows))


def _write_parquet(path: Path, rows: Sequence[Row]) -> None:
    import pyarrow as pa  # loads slowly, and most tables are CSV
    import pyarrow.parquet as pq

    def type_of(name: str) -> "pa.DataType":
        if name in INTEGERS:
            return pa.int64()
        return pa.float64() if name.endswith(REAL_SUFFIXES) else pa.string()

    schema = pa.schema([(name, type_of(name)) for name in rows[0]])
    table = pa.Table.from_pylist([to_utf8(row) for row in rows], schema=schema)
    with writing(path) as unfinished:
        pq.write_table(table, unfinished)
