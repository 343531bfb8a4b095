"""``vesalius name PATH``."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vesalius.cli.usage import AsJson, OutPath, Precision, RuntimeName
from vesalius.console import print_json, print_table, progress_bar, say, say_first
from vesalius.errors import (
    ConfigError,
    ImageError,
    ModelError,
    OutputError,
    VesaliusError,
    join_first,
    require,
    tell_failure,
    unexpected,
)
from vesalius.files import check_absent, distinct_stems

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.progress import Progress, TaskID

    from vesalius.imaging import MedicalImage
    from vesalius.naming import AnatomyLabeller, Answer, AuditLine, AuditRule, FoundSeries, LabelRange, SeriesName

OF_MR_ONLY = "of MR only"
LISTED = 5
"""Failures, notices, files and labels that are listed on the terminal; the rest is counted."""


def name(
    path: Path,
    /,
    *,
    model: str = "pocket",
    smoothing: Annotated[bool, Parameter(negative="--no-smoothing")] = True,
    out: OutPath = None,
    strip: Path | None = None,
    sr: Path | None = None,
    deidentify: Path | None = None,
    overwrite: bool = False,
    audit: bool = False,
    series: str | None = None,
    stack: int | None = None,
    volume: int | None = None,
    frame: int | None = None,
    each: bool = False,
    runtime: RuntimeName = "auto",
    device: str = "auto",
    precision: Precision = "32",
    as_json: AsJson = False,
) -> None:
    """Say which modality, protocol, plane, body stations and organs a picture, series or volume shows.

    Modality, protocol and plane come from the header where it has them, everything else from pixels. Nothing is named
    where the model is unsure. Of a folder every series, volume and picture is named; what cannot be read is listed at
    the end, with exit code 2.

    Examples:
        vesalius name scan.dcm --audit
        vesalius name head.nii.gz --strip strip.png
        vesalius name study/ -o names.csv
        vesalius name series/ --sr report.dcm

    Documentation:
        docs/naming.md, docs/clinical.md

    Args:
        path: A PNG, JPEG or TIFF file, a DICOM file, a NIfTI volume, or a folder with one series or many.
        model: A model's name, a checkpoint, a run's folder, or "pubmedclip".
        smoothing: Let neighbouring slices speak for one another.
        out: File for the names: .json, or .csv or .parquet with a row a slice, and beside it results.series.csv with a
            row a series.
        strip: Picture to draw of the series; of many, strip.NAME.png for each.
        sr: DICOM structured report (.dcm) of one DICOM series: stations and organs with the images that show them, and
            those that none shows; needs `vesalius[clinical]`.
        deidentify: New folder for de-identified copies of the DICOM images; names and report are made from them.
        overwrite: Replace results that are there already.
        audit: Compare each header's BodyPartExamined with the pixels.
        series: Of a folder, the only DICOM series to name: its UID, or its number from 1 in the order of files.
        stack: Of a DICOM series with several stacks of slices (echoes, orientations), the one to name, from 1.
        volume: Of a NIfTI file with several volumes, the one to name, from 1.
        frame: Of a multi-frame DICOM file or a TIFF, the only frame to name, from 1.
        each: Name numbered pictures of one size one by one, not as the slices of one stack.
        runtime: Program that runs the model: onnx (pocket and what was fine-tuned from it, on the CPU), torch (any
            model, anywhere), or the first that fits.
        device: Where it computes: auto, cpu, cuda, cuda:1 or mps. On a GPU everything runs in PyTorch.
        precision: Numbers it computes with in PyTorch.
        as_json: Print one JSON object, with every slice.
    """
    from vesalius.naming import AnatomyLabeller, audit_series, find_series
    from vesalius.naming.labels import check_table
    from vesalius.naming.strip import check_strip

    if out is not None:
        check_table(out)
    if strip is not None:
        check_strip(strip)
    with progress_bar() as bar:
        task = bar.add_task("Looking for series", total=None)
        found = find_series(path, series=series, stack=stack, volume=volume, frame=frame, each=each)
        strips = _name_strips(strip, found)
        _check_results(out, strips, found, overwrite)
        if sr is not None:
            _check_report(sr, found, overwrite)
        if deidentify is not None:
            _check_copies(deidentify, sr)
        bar.update(task, description=f"Loading {model}")
        labeller = AnatomyLabeller(model, runtime=runtime, device=device, precision=precision)
        bar.remove_task(task)
        if deidentify is not None:
            from vesalius.cli.deidentify import copy_series

            found = [copy_series(found[0], deidentify, stack, frame)]
        work = _Work(labeller, smoothing, strips, bar, None if sr is None else _Report(sr, model, overwrite))
        work.name_all(found)
    rule = labeller.calibration.audit
    lines = [audit_series(each, rule) for each in work.named] if audit else []
    content = {
        "model": model,
        "least_probability": labeller.calibration.least_probability,
        "series": [each.to_dict() for each in work.named],
        "failures": work.failures,
        **({"audit": [line.to_dict() for line in lines], "audit_rule": rule and asdict(rule)} if audit else {}),
    }
    work.write(out, content)
    if as_json:
        print_json(content)
    else:
        _print(work.named)
        if audit:
            _print_audit(lines, rule)
        _print_notices(work.named)
        _print_files(work.written)
    _refuse(work.failures, len(found), path)


def _name_strips(strip: Path | None, found: "Sequence[FoundSeries]") -> list[Path]:
    """Files of the strips: one for each series, or none."""
    if strip is None or len(found) == 1:
        return [] if strip is None else [strip]
    stems = distinct_stems([each.source for each in found])
    return [strip.with_name(f"{strip.stem}.{stem}{strip.suffix}") for stem in stems]


def _check_results(out: Path | None, strips: "Sequence[Path]", found: "Sequence[FoundSeries]", overwrite: bool) -> None:
    """Refuse to replace existing files unasked, and to replace an image that is to be read.

    Raises:
        OutputError: If a file would be replaced.
    """
    from vesalius.naming.labels import table_files

    results = [*([] if out is None else table_files(out)), *strips]
    check_absent(results, overwrite)
    read = {file.resolve() for each in found for file in (each.source, *each.files)}
    if lost := [each for each in results if each.resolve() in read]:
        raise OutputError(f"{lost[0]}: is an image to be named, and a result would replace it; choose another name.")


def _check_report(path: Path, found: "Sequence[FoundSeries]", overwrite: bool) -> None:
    """Refuse a report that could not be written, before anything is named.

    Raises:
        ConfigError: If there are several series, or the name ends otherwise than in .dcm.
        MissingPackageError: If highdicom is not installed.
        OutputError: If something would be replaced.
    """
    require("highdicom", extra="clinical")
    from vesalius.clinical.work import check_outputs

    if len(found) > 1:
        raise ConfigError(f"--sr {path}: reports one series, and there are {len(found)}; choose one with --series 1.")
    check_outputs([path], found[0].source, overwrite)


def _check_copies(copies: Path, report: Path | None) -> None:
    if report is None:
        raise ConfigError(f"--deidentify {copies}: goes with --sr report.dcm; for copies alone: vesalius deidentify.")
    from vesalius.cli.deidentify import check_copies

    check_copies(copies)


@dataclass(frozen=True)
class _Report:
    """A structured report that is to be written."""

    path: Path
    model: str
    overwrite: bool

    def write(self, series: "SeriesName", stacks: "Sequence[MedicalImage]") -> None:
        from vesalius.clinical.work import report_names

        report_names(self.path, series, stacks, self.model, overwrite=self.overwrite)


class _Work:
    """Names series after series; one that fails stops no other."""

    def __init__(
        self,
        labeller: "AnatomyLabeller",
        smooth: bool,
        strips: "Sequence[Path]",
        bar: "Progress",
        report: _Report | None = None,
    ) -> None:
        self.labeller, self.smooth, self.strips, self.bar, self.report = labeller, smooth, strips, bar, report
        self.named: list[SeriesName] = []
        self.failures: list[dict[str, str]] = []
        self.written: list[Path] = []

    def name_all(self, found: "Sequence[FoundSeries]") -> None:
        """Name each series, and remember which failed."""
        task = self.bar.add_task("Series", total=len(found), visible=len(found) > 1)
        for place, each in enumerate(found):
            step = self.bar.add_task(f"Reading {each.source.name}", total=None)
            with self._remembering(each.source):
                self._name(each.read(), self.strips[place] if self.strips else None, step)
            self.bar.remove_task(step)
            self.bar.advance(task)

    def write(self, out: Path | None, content: "Mapping[str, object]") -> None:
        """Write the names."""
        from vesalius.naming import write_table

        if out is not None and self.named:
            with self._remembering(out):
                self.written = [*write_table(out, self.named, content), *self.written]

    def _name(self, stacks: "Sequence[MedicalImage]", strip: Path | None, step: "TaskID") -> None:
        from vesalius.naming.labeller import choose_stacks
        from vesalius.naming.strip import write_strip

        chosen = choose_stacks(stacks)
        total = sum(len(each.pixels) for each in chosen)
        self.bar.update(step, description=f"Naming {stacks[0].source.name}", total=total)
        series = self.labeller.label(stacks, smooth=self.smooth, on_slices=lambda count: self.bar.advance(step, count))
        self.named.append(series)
        if strip is not None:
            with self._remembering(strip):
                write_strip(strip, series, chosen)
                self.written.append(strip)
        if self.report is not None:
            with self._remembering(self.report.path):
                self.report.write(series, chosen)
                self.written.append(self.report.path)

    @contextmanager
    def _remembering(self, place: Path) -> Iterator[None]:
        """Go on after an error in one image or result; a model that cannot name fails for all alike."""
        try:
            yield
        except ModelError:
            raise
        except VesaliusError as error:
            self.failures.append({"source": str(place), "reason": str(error)})
        except Exception as error:  # a fault of ours in one image must not lose the names of all others
            self.failures.append({"source": str(place), "reason": unexpected(place, error)})


def _print(named: "Sequence[SeriesName]") -> None:
    if len(named) == 1:
        _print_one(named[0])
    elif named:
        columns = ("series", "slices", "modality", "plane", "stations", "organs")
        folder = _home(named)
        print_table(columns, [_summarise(each, folder) for each in named], title=str(folder))


def _print_audit(lines: "Sequence[AuditLine]", rule: "AuditRule | None") -> None:
    columns = ("series", "BodyPartExamined", "verdict", "why", "term for the pixels")
    folder = _home(lines)
    rows = [
        (line.source.relative_to(folder), line.body_part or "–", line.verdict, line.reason, line.proposed)
        for line in lines
    ]
    print_table(columns, rows, title="Does BodyPartExamined fit the pixels?")
    if rule is not None:
        say(
            f"Of {rule.patients} patients the model never saw, {rule.wrongly_contradicts:.0%} of right headers were "
            f"contradicted and {rule.wrongly_agrees:.0%} of wrong ones agreed with; {rule.found_wrong:.0%} of wrong "
            "headers were found."
        )


def _home(named: "Sequence[SeriesName | AuditLine]") -> Path:
    """The folder that all lie in."""
    if len(named) == 1:
        return named[0].source.parent
    return Path(os.path.commonpath([each.source for each in named])) if named else Path()


def _print_notices(named: "Sequence[SeriesName]") -> None:
    notices = [f"{each.source.name}: {notice}" for each in named for notice in each.notices]
    say_first(notices, LISTED, "… and {} more notices, which --json lists.")


def _print_files(written: "Sequence[Path]") -> None:
    if written:
        say(f"Written: {join_first(map(str, written), LISTED)}")


def _summarise(series: "SeriesName", folder: Path) -> tuple[object, ...]:
    words = [series.modality.label or "unsure", series.protocol.label, series.purpose.label]
    stations, organs = (dict.fromkeys(each.label for each in ranges) for ranges in (series.stations, series.organs))
    return (
        series.source.relative_to(folder),
        len(series.slices),
        " ".join(word for word in words if word),
        series.plane.label or series.plane.evidence or "unsure",
        join_first((label or "unsure" for label in stations), LISTED),
        join_first((label for label in organs if label), LISTED),
    )


def _print_one(series: "SeriesName") -> None:
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


def _refuse(failures: "Sequence[Mapping[str, str]]", count: int, path: Path) -> None:
    """Say at the end what could not be named or written.

    Raises:
        ImageError: If there is anything.
    """
    if not failures:
        return
    if count == 1:
        raise ImageError(failures[0]["reason"])
    told = join_first(map(tell_failure, failures), LISTED, "; ", ", which --json lists")
    raise ImageError(f"{path}: {len(failures)} of {count} series could not be named or drawn: {told}")
