"""``vesalius name PATH``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vesalius.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress, TaskID

    from vesalius.imaging import MedicalImage
    from vesalius.naming import AnatomyLabeller, Answer, AuditLine, FoundSeries, LabelRange, SeriesName

OF_MR_ONLY = "of MR only"
LISTED = 5
"""Failures told on the terminal one by one."""


def name(
    path: Path,
    /,
    *,
    model: str = "pocket",
    smoothing: Annotated[bool, Parameter(negative="--no-smoothing")] = True,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    strip: Path | None = None,
    audit: bool = False,
    series: str | None = None,
    stack: int | None = None,
    volume: int | None = None,
    frame: int | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Say which modality, protocol, plane, body stations and organs a picture, series or volume shows.

    Modality, protocol and plane come from the header where it has them, everything else from pixels. Nothing is named
    where the model is unsure. Of a folder every series, volume and picture is named; what cannot be read is listed at
    the end, with exit code 2.

    Examples:
        vesalius name scan.dcm --audit
        vesalius name head.nii.gz --strip strip.png
        vesalius name study/ -o names.csv

    Documentation:
        docs/naming.md

    Args:
        path: A PNG, JPEG or TIFF file, a DICOM file, a NIfTI volume, or a folder with one series or many.
        model: A model's name, a checkpoint, a run's folder, or "pubmedclip".
        smoothing: Let neighbouring slices speak for one another.
        out: File for the names: .json, or .csv or .parquet with a row a slice, and beside it results.series.csv with a
            row a series.
        strip: Picture to draw of the series; of many, strip-1.png and so on.
        audit: Compare each header's BodyPartExamined with the pixels.
        series: Of a folder, the only DICOM series to name: its UID, or its number from 1 in the order of files.
        stack: Of a DICOM series with several stacks of slices (echoes, orientations), the one to name, from 1.
        volume: Of a NIfTI file with several volumes, the one to name, from 1.
        frame: Of a multi-frame DICOM file or a TIFF, the only frame to name, from 1.
        as_json: Print one JSON object, with every slice.
    """
    from vesalius.console import print_json, progress_bar
    from vesalius.naming import AnatomyLabeller, audit_series, find_series, write_table
    from vesalius.naming.strip import check_strip
    from vesalius.naming.tables import check_table

    if out is not None:
        check_table(out)
    if strip is not None:
        check_strip(strip)
    with progress_bar() as bar:
        task = bar.add_task("Looking for series", total=None)
        found = find_series(path, series=series, stack=stack, volume=volume, frame=frame)
        bar.update(task, description=f"Loading {model}")
        labeller = AnatomyLabeller(model)
        bar.remove_task(task)
        work = _Work(labeller, smoothing, strip, bar)
        work.name_all(found)
    lines = [audit_series(each) for each in work.named] if audit else []
    content = {
        "model": model,
        "least_probability": labeller.calibration.least_probability,
        "series": [each.to_dict() for each in work.named],
        "failed": work.failed,
        **({"audit": [line.to_dict() for line in lines]} if audit else {}),
    }
    written = write_table(out, work.named, content) if out is not None and work.named else []
    if as_json:
        print_json(content)
    else:
        _print(work.named, lines, audit)
        _print_files([*written, *work.written])
    _refuse(work.failed, len(found), path)


class _Work:
    """Names series after series; one that fails stops nobody."""

    def __init__(self, labeller: "AnatomyLabeller", smooth: bool, strip: Path | None, bar: "Progress") -> None:
        self.labeller, self.smooth, self.strip, self.bar = labeller, smooth, strip, bar
        self.named: list[SeriesName] = []
        self.failed: list[dict[str, str]] = []
        self.written: list[Path] = []
        self.many = False

    def name_all(self, found: "Sequence[FoundSeries]") -> None:
        task = self.bar.add_task("Series", total=len(found), visible=len(found) > 1)
        self.many = len(found) > 1
        for each in found:
            step = self.bar.add_task(f"Reading {each.source.name}", total=None)
            try:
                self._name(each.read(), step)
            except ImageError as error:
                self.failed.append({"source": str(each.source), "error": str(error)})
            self.bar.remove_task(step)
            self.bar.advance(task)

    def _name(self, stacks: "Sequence[MedicalImage]", step: "TaskID") -> None:
        from vesalius.naming.labeller import choose_stacks
        from vesalius.naming.strip import write_strip

        chosen = choose_stacks(stacks)
        total = sum(len(each.pixels) for each in chosen)
        self.bar.update(step, description=f"Naming {stacks[0].source.name}", total=total)
        series = self.labeller.label(stacks, smooth=self.smooth, on_slices=lambda count: self.bar.advance(step, count))
        self.named.append(series)
        if self.strip is not None:
            numbered = self.strip.with_name(f"{self.strip.stem}-{len(self.named)}{self.strip.suffix}")
            self.written.append(numbered if self.many else self.strip)
            write_strip(self.written[-1], series, chosen)


def _print(named: "Sequence[SeriesName]", lines: "Sequence[AuditLine]", audit: bool) -> None:
    from vesalius.console import print_table

    if audit:
        rows = [(line.source, line.body_part or "–", _tell(line), line.verdict, line.proposed) for line in lines]
        print_table(("series", "BodyPartExamined", "pixels surely show", "verdict", "term for that"), rows)
    elif len(named) == 1:
        _print_one(named[0])
    elif named:
        columns = ("series", "slices", "modality", "plane", "stations", "organs")
        folder = os.path.commonpath([each.source for each in named])
        print_table(columns, [_summarise(each, folder) for each in named], title=folder)


def _print_files(written: "Sequence[Path]") -> None:
    from vesalius.console import say

    if written:
        say(f"Written: {', '.join(map(str, written))}")


def _tell(line: "AuditLine") -> str:
    return ", ".join(f"{each.label} {each.probability:.2f}" for each in line.pixels) or "nothing"


def _summarise(series: "SeriesName", folder: str) -> tuple[object, ...]:
    words = [series.modality.label or "unsure", series.protocol.label, series.purpose.label]
    stations, organs = (dict.fromkeys(each.label for each in ranges) for ranges in (series.stations, series.organs))
    return (
        series.source.relative_to(folder),
        len(series.slices),
        " ".join(word for word in words if word),
        series.plane.label or series.plane.evidence or "unsure",
        ", ".join(label or "unsure" for label in stations),
        ", ".join(label for label in organs if label),
    )


def _print_one(series: "SeriesName") -> None:
    from vesalius.console import print_table, say

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
        columns = (title, "slices", "position (mm)", number)
        if ranges:
            print_table(columns, [_range_row(each) for each in ranges])
    for remark in _remarks(series):
        say(remark)


def _row(question: str, answer: "Answer", calibrated: bool) -> tuple[object, ...]:
    nothing = "–" if answer.evidence else "unsure"
    sure = answer.confidence if answer.probability is None else answer.probability
    uncalibrated = answer.source == "pixels" and not calibrated
    told = answer.evidence or ("uncalibrated" if uncalibrated else "")
    return question, answer.label or nothing, sure, f"{answer.source}: {told}" if told else answer.source


def _range_row(found: "LabelRange") -> tuple[object, ...]:
    slices, places = _range(found.first, found.last), _range(found.first_mm, found.last_mm)
    return found.label or "unsure", slices, places, found.probability


def _range(first: float | None, last: float | None) -> str:
    if first is None or last is None:
        return "–"
    return f"{first:.0f}" if first == last else f"{first:.0f} … {last:.0f}"


def _remarks(series: "SeriesName") -> list[str]:
    codes = series.codes
    remarks = []
    if series.purpose.label is not None:
        remarks.append(f"This is a {series.purpose.label} ({series.purpose.source}), not a series of slices.")
    elif series.stacks > 1:
        remarks.append(f"The series holds {series.stacks} stacks of slices; the largest is named.")
    if codes.body_part and codes.region:
        remarks.append(f"Body Part Examined: {codes.body_part} (SCT {codes.region.value}, {codes.region.meaning})")
    return remarks


def _refuse(failed: "Sequence[dict[str, str]]", count: int, path: Path) -> None:
    """Say at the end what could not be named.

    Raises:
        ImageError: If there is anything.
    """
    if not failed:
        return
    if count == 1:
        raise ImageError(failed[0]["error"])
    listed = "; ".join(each["error"] for each in failed[:LISTED])
    more = f"; and {len(failed) - LISTED} more, which --json lists" if len(failed) > LISTED else ""
    raise ImageError(f"{path}: {len(failed)} of {count} series could not be named: {listed}{more}")
