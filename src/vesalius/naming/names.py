"""What a slice and a series are called, and how sure that is."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Literal

from vesalius.console import html_table
from vesalius.imaging.header import Finding
from vesalius.imaging.notices import Notice
from vesalius.naming.coding import SeriesCodes, code_series

Source = Literal["header", "values", "pixels"]
"""Who said it: attributes of the file, a rule on stored values (CT in HU), or the model."""


@dataclass(frozen=True)
class Answer:
    """One question about one slice or series."""

    label: str | None
    """None when unsure, or where the question has no answer."""
    probability: float | None
    """Of the likeliest label as the model judges it; None if the file said."""
    source: Source
    evidence: str = ""
    """What in the file said so, or why there is no answer."""
    confidence: float | None = None
    """Of the header rule, 0 to 1, for protocols."""


@dataclass(frozen=True, repr=False)
class SliceName:
    """What one slice shows."""

    index: int
    """Place in the series, from 0 in display order (axial: from the feet)."""
    position_mm: float | None
    """Along the slice normal; None where the file places nothing."""
    plane: str | None
    station: Answer
    """The likeliest of ``stations``; without any, the likeliest of all, unnamed."""
    stations: tuple[str, ...] = ()
    """All that are named; none when unsure."""
    organs: tuple[str, ...] = ()
    """All that are named."""
    station_probabilities: Mapping[str, float] = field(default_factory=dict)
    """Label -> as this slice alone looks, before smoothing."""
    organ_probabilities: Mapping[str, float] = field(default_factory=dict)
    """Likewise."""

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


@dataclass(frozen=True, repr=False)
class SeriesName:
    """What a picture, series or volume shows."""

    source: Path
    modality: Answer
    protocol: Answer
    """T1, T2, FLAIR, DWI, ADC or STIR; of MR only."""
    plane: Answer
    """Axial, coronal, sagittal, or oblique from 36.9° off every axis; no label if stacks differ, as in localizers."""
    slices: tuple[SliceName, ...]
    obliquity: float | None = None
    """Degrees from the nearest plane."""
    purpose: Finding = Finding(None, 0.0, "")
    """Localizer, projection or report, which show no series of slices."""
    stacks: int = 1
    """Orientations, echoes or time points the series holds; of all but localizers the largest is named."""
    smoothed: str | None = None
    """How: "ordered" along the axis, "averaged" over slices, or not at all."""
    calibrated: tuple[str, ...] = ()
    """Questions whose probabilities were calibrated; others are shares among the labels."""
    header: Mapping[str, str] = field(default_factory=dict)
    """As in ``MedicalImage.header``."""
    notices: tuple[Notice, ...] = ()
    """What the reader left out or guessed, as in ``MedicalImage.notices``."""

    @property
    def stations(self) -> list[LabelRange]:
        """Where each station shows; ranges may overlap, and slices of which none is named have ranges, too."""
        unnamed = find_ranges(self.slices, [not each.stations for each in self.slices], None)
        return _in_order([*self._ranges("stations"), *unnamed])

    @property
    def organs(self) -> list[LabelRange]:
        """Where each named organ shows."""
        return _in_order(self._ranges("organs"))

    @property
    def codes(self) -> SeriesCodes:
        """Standard codes of all that is named."""
        stations, organs = ({each.label for each in found if each.label} for found in (self.stations, self.organs))
        return code_series(stations, organs, self.plane.label)

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON, with ranges and standard codes; slices come last."""
        content = {**asdict(self), "source": str(self.source), "header": self._told()}
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
        rows: list[tuple[object, ...]] = [
            (question, answer.label or "unsure", _sure(answer.probability), answer.source)
            for question, answer in (("modality", self.modality), ("protocol", self.protocol), ("plane", self.plane))
            if answer.label or answer.probability is not None
        ]
        for kind, ranges in (("station", self.stations), ("organ", self.organs)):
            rows += [
                (kind, each.label or "unsure", _sure(each.probability), f"slices {each.first}–{each.last}")
                for each in ranges
            ]
        return html_table((self.source.name, "label", "probability", "from"), rows)

    def _told(self) -> dict[str, str]:
        keywords = ("SeriesInstanceUID", "SeriesDescription", "BodyPartExamined")
        return {keyword: self.header[keyword] for keyword in keywords if keyword in self.header}

    def _ranges(self, kind: Literal["stations", "organs"]) -> list[LabelRange]:
        labels = dict.fromkeys(label for each in self.slices for label in getattr(each, kind))
        return [
            found
            for label in labels
            for found in find_ranges(self.slices, [label in getattr(each, kind) for each in self.slices], label)
        ]


def find_ranges(slices: Sequence[SliceName], shown: Sequence[bool], label: str | None) -> list[LabelRange]:
    """Runs of neighbouring slices of one plane where something shows.

    Args:
        slices: D slices.
        shown: Whether it shows on each, [D].
        label: What; None for whatever has no name.
    """
    ranges = []
    for (kept, _), run in groupby(zip(shown, slices, strict=True), key=lambda pair: (pair[0], pair[1].plane)):
        found = [each for _, each in run]
        if kept:
            first, last = found[0], found[-1]
            sure = None if label is None else sum(_probability(each, label) for each in found) / len(found)
            ranges.append(LabelRange(label, first.index, last.index, first.position_mm, last.position_mm, sure))
    return ranges


def _sure(probability: float | None) -> str | None:
    return None if probability is None else f"{probability:.2f}"


def _probability(slice_name: SliceName, label: str) -> float:
    return {**slice_name.organ_probabilities, **slice_name.station_probabilities}[label]


def _in_order(ranges: list[LabelRange]) -> list[LabelRange]:
    return sorted(ranges, key=lambda each: (each.first, each.last))
