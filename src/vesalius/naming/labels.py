"""Names of slices and series: answers with their probabilities and sources, where labels begin and end, and codes."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from vesalius.console import html_table
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

    @property
    def sureness(self) -> float | None:
        """Probability by the model, or confidence of the header rule; None if neither is known."""
        return self.confidence if self.probability is None else self.probability


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


EdgeKind = Literal["crosses", "uncertain", "series ends"]
"""How a label begins or ends: its probability crosses the threshold; it does so slowly, or only the order of the body
decided; or the series ends while the label still shows."""


@dataclass(frozen=True)
class Edge:
    """Where a label begins or ends along the body."""

    mm: float
    """Place along the patient's z axis, towards the head."""
    kind: EdgeKind
    within_mm: float | None
    """Length of the stretch in which the edge may lie; None where the series ends."""


@dataclass(frozen=True)
class Landmark:
    """The stretch of the body in which an axial series shows a label."""

    kind: Literal["station", "organ"]
    label: str
    first: int
    """First and last slice that shows it, from 0."""
    last: int
    low: Edge
    """Edge towards the feet."""
    high: Edge
    """Edge towards the head."""
    probability: float
    """Mean of the smoothed probabilities from the first slice to the last."""


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


KEPT_KEYWORDS = ("StudyInstanceUID", "SeriesInstanceUID", "SeriesDescription", "BodyPartExamined", "Modality")
"""Attributes that stand beside the names in JSON."""


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
    least_probability: float = 0.5
    """Probability from which a label was named."""
    landmarks: tuple[Landmark, ...] = ()
    """Stretches of the body in which labels show; of axial series only."""

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> "SeriesName":
        """The names that ``to_dict`` turned into JSON's types.

        Raises:
            KeyError, TypeError: If something is missing or of another kind.
        """
        answers: dict[str, Any] = {name: Answer(**content[name]) for name in ("modality", "protocol", "plane")}
        plain = {name: content[name] for name in ("obliquity", "stacks", "smoothed", "header", "least_probability")}
        return SeriesName(
            source=Path(content["source"]),
            **answers,
            slices=tuple(_slice_of(each) for each in content["slices"]),
            purpose=Finding(**content["purpose"]),
            calibrated=tuple(content["calibrated"]),
            notices=tuple(
                Notice(**{name: each[name] for name in each if name != "message"}) for each in content["notices"]
            ),
            landmarks=tuple(
                Landmark(**{**each, "low": Edge(**each["low"]), "high": Edge(**each["high"])})
                for each in content["landmarks"]
            ),
            **plain,
        )

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
        return code_series(list_labels(self.stations), list_labels(self.organs), self.plane.label)

    @property
    def facts(self) -> list[str]:
        """What the series is, in a few words: modality and protocol, plane, purpose, number of slices."""
        modality = " ".join(word for word in (self.modality.label, self.protocol.label) if word)
        plane = self.plane.label or (self.plane.evidence if self.stacks > 1 else "")
        count = len(self.slices)
        words = [modality or "modality unsure", plane, self.purpose.label or ""]
        return [*(word for word in words if word), f"{count} slices" if count > 1 else "1 slice"]

    @property
    def summary(self) -> str:
        """One line: what the series is, then the stations and organs that are named."""
        named = [", ".join(list_labels(ranges)) for ranges in (self.stations, self.organs)]
        shown = [each for each in named if each] or ["nothing named"]
        return "; ".join([", ".join(self.facts), *shown])

    def to_dict(self) -> dict[str, object]:
        """The names as JSON's types, with ranges and standard codes; slices come last."""
        header = {keyword: self.header[keyword] for keyword in KEPT_KEYWORDS if keyword in self.header}
        content = {**asdict(self), "source": str(self.source), "header": header}
        content["notices"] = [each.to_dict() for each in self.notices]
        ranges = {name: [asdict(each) for each in getattr(self, name)] for name in ("stations", "organs")}
        slices = content.pop("slices")
        return {**content, **ranges, "codes": asdict(self.codes), "slices": slices}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.source.name!r}: {self.summary})"

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


def list_labels(ranges: Iterable[LabelRange]) -> list[str]:
    """Labels that ranges name, each once, in the order in which they come."""
    return list(dict.fromkeys(each.label for each in ranges if each.label))


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


def _slice_of(content: Mapping[str, Any]) -> SliceName:
    station, stations, organs = Answer(**content["station"]), tuple(content["stations"]), tuple(content["organs"])
    return SliceName(**{**content, "station": station, "stations": stations, "organs": organs})
