"""Whole studies in one line each: what several series of one examination show together."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vesalius.errors import join_all, join_first
from vesalius.naming.labels import SeriesName, list_labels
from vesalius.prompts.anatomy import STATIONS, in_order

LISTED = 6
"""Series of a study that its line lists; the rest is counted."""
WITHOUT_STATIONS = {"endoscopy", "fundus", "photograph", "microscopy"}
"""Modalities of which nobody expects to be told a station."""


@dataclass(frozen=True)
class StudyPart:
    """What a study's line needs of a series."""

    source: Path
    study: str
    """StudyInstanceUID, or the folder where the header has none."""
    modality: str | None
    protocol: str | None
    plane: str | None
    slices: int
    stations: tuple[str, ...]
    purpose: str | None


@dataclass(frozen=True)
class StudyName:
    """What the series of one examination show together."""

    study: str
    """StudyInstanceUID, or the folder where the header has none."""
    summary: str
    """Such as "CT of chest and abdomen, 3 series (axial 312 slices, coronal 80, sagittal 92), localizer"."""
    series: tuple[Path, ...]

    def to_dict(self) -> dict[str, object]:
        """The study as JSON's types."""
        return {**asdict(self), "series": [str(each) for each in self.series]}


def facts_of(series: SeriesName) -> StudyPart:
    """What a study's line needs of a series."""
    folder = series.source if series.source.is_dir() else series.source.parent
    return StudyPart(
        source=series.source,
        study=series.header.get("StudyInstanceUID", "").strip() or str(folder),
        modality=series.modality.label,
        protocol=series.protocol.label,
        plane=series.plane.label,
        slices=len(series.slices),
        stations=tuple(list_labels(series.stations)),
        purpose=series.purpose.label,
    )


def group_studies(facts: Iterable[StudyPart]) -> list[StudyName]:
    """Studies in the order in which their first series come, each with its line."""
    studies: dict[str, list[StudyPart]] = {}
    for each in facts:
        studies.setdefault(each.study, []).append(each)
    return [
        StudyName(study, summarise_study(several), tuple(each.source for each in several))
        for study, several in studies.items()
    ]


def summarise_study(series: Sequence[StudyPart]) -> str:
    """One line that says what the series of a study show.

    Localizers, projections and reports are counted at the end. Localizers and projections decide what is shown only
    where nothing else is there; reports, which are pictures of text and tables, never do.
    """
    shown = [each for each in series if each.purpose is None]
    deciding = shown or [each for each in series if each.purpose != "report"]
    modalities = dict.fromkeys(each.modality for each in deciding if each.modality)
    stations = in_order({name for each in deciding for name in each.stations}, STATIONS)
    what = join_all(modalities) or "images"
    if stations or not modalities or modalities.keys() - WITHOUT_STATIONS:
        what += f" of {join_all(stations) or 'unsure stations'}"
    told = [what] if deciding else []
    if listed := [each for each in shown if each.slices > 1 or each.plane]:
        told.append(f"{len(listed)} series ({_list_parts(listed)})")
    if pictures := len(shown) - len(listed):
        told.append("1 picture" if pictures == 1 else f"{pictures} pictures")
    for purpose, count in Counter(each.purpose for each in series if each.purpose).items():
        told.append(purpose if count == 1 else f"{count} {purpose}s")
    return ", ".join(told)


def _list_parts(series: Sequence[StudyPart]) -> str:
    parts, before = [], None
    for each in series:
        unit = ("slice" if each.plane else "picture") + ("" if each.slices == 1 else "s")
        words = [each.protocol, each.plane, str(each.slices), unit if unit != before else None]
        parts.append(" ".join(word for word in words if word))
        before = unit
    return join_first(parts, LISTED)
