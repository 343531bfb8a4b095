"""``vesalius name PATH``."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vesalius.cli.deidentify import deidentified
from vesalius.cli.usage import AsJson, InPrecision, OnDevice, OutPath, WithRuntime
from vesalius.console import print_json, progress_bar, say
from vesalius.errors import LISTED, ConfigError, fail_with, join_first, reason_of, require, tell_failure
from vesalius.files import check_absent, sha256_of, spare
from vesalius.models.choices import DEFAULT_MODEL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.progress import Progress

    from vesalius.imaging import MedicalImage
    from vesalius.imaging.safeguards import Notice
    from vesalius.imaging.search import FoundSeries
    from vesalius.naming import AnatomyLabeller, NamingCalibration, SeriesName
    from vesalius.naming.many import NamingRequest
    from vesalius.naming.tables import NamingResult
    from vesalius.naming.telling import Digest


def name(
    path: Path,
    /,
    *,
    model: str = DEFAULT_MODEL,
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
    jobs: int = 1,
    runtime: WithRuntime = "auto",
    device: OnDevice = "auto",
    precision: InPrecision = "32",
    as_json: AsJson = False,
) -> None:
    """Say which modality, protocol, plane, body stations and organs a picture, series or volume shows.

    Modality, protocol and plane come from the header where it has them, everything else from pixels. Nothing is named
    where the model is unsure. Of a folder every series, volume and picture is named, and every study summarised in a
    line; what cannot be read is listed at the end, with exit code 2.

    With --out a folder of many series gets a record beside the table (names.record): the same command again does what
    is left, after it was stopped or when series were added.

    Examples:
        vesalius name scan.dcm --audit
        vesalius name head.nii.gz --strip strip.png
        vesalius name study/ -o names.csv
        vesalius name archive/ -o names.csv --jobs 2 --audit
        vesalius name series/ --sr report.dcm

    Documentation:
        docs/naming.md, docs/clinical.md

    Args:
        path: A PNG, JPEG or TIFF file, a DICOM file, a NIfTI volume, or a folder with one series or many.
        model: A model's name, a checkpoint, a run's folder, or "pubmedclip".
        smoothing: Let neighbouring slices speak for one another.
        out: File for the names: .json, or .csv or .parquet with a row a slice, and beside it results.series.csv with a
            row a series and results.landmarks.csv with the stretches of the body in which labels show.
        strip: Picture to draw of the series; of many, strip.NAME.png for each.
        sr: DICOM structured report (.dcm) of one DICOM series: stations and organs with the images that show them, and
            those that none shows; needs `vesalius[clinical]`.
        deidentify: New folder for de-identified copies of the DICOM images; names and report are made from them.
        overwrite: Replace results that are there already.
        audit: Compare each header's BodyPartExamined with the pixels, and say how often such findings are wrong.
        series: Of a folder, the only DICOM series to name: its UID, or its number from 1 in the order of files.
        stack: Of a DICOM series with several stacks of slices (echoes, orientations), the one to name, from 1.
        volume: Of a NIfTI file with several volumes, the one to name, from 1.
        frame: Of a multi-frame DICOM file or a TIFF, the only frame to name, from 1.
        each: Name numbered pictures of one size one by one, not as the slices of one stack.
        jobs: Processes that name at once, each with an equal share of the cores; each needs a model's memory.
        as_json: Print one JSON object, with every slice.
    """
    from vesalius.imaging.read import Choices
    from vesalius.naming.labeller import read_calibration
    from vesalius.naming.many import NamingRequest
    from vesalius.naming.strip import check_strip
    from vesalius.naming.tables import check_names_table, write_table
    from vesalius.naming.telling import print_names, say_notices
    from vesalius.processes import check_jobs

    check_jobs(jobs)
    calibration = read_calibration(model)
    if out is not None:
        check_names_table(out)
    if strip is not None:
        check_strip(strip)
    request = NamingRequest(
        path,
        model,
        smooth=smoothing,
        each=each,
        strip=strip,
        runtime=runtime,
        device=device,
        precision=precision,
        choices=Choices(series, stack, volume, frame),
    )
    options = _Options(request=request, out=out, sr=sr, deidentify=deidentify, overwrite=overwrite, jobs=jobs)
    with TemporaryDirectory() as scratch:
        named = _find_and_name(options, Path(scratch))
        result, kept = _digest(named, model, calibration, audit=audit)
        if out is not None and named.count:
            with _remembering(out, named.failures):
                named.written[:0] = write_table(out, result)
        if as_json:
            print_json(result.to_dict())
            say_notices(kept)
        else:
            print_names(result, kept)
            if named.skipped:
                say(f"Series: {named.count - named.skipped} named, {named.skipped} named before and skipped.")
            if named.written:
                say(f"Written: {join_first(map(str, named.written), LISTED)}")
    _refuse(named, out)


@dataclass(frozen=True, kw_only=True)
class _Options:
    """The options of the command that decide what is named and written."""

    request: "NamingRequest"
    """Without the checksum of the weights, which only many series need."""
    out: Path | None
    sr: Path | None
    deidentify: Path | None
    overwrite: bool
    jobs: int


@dataclass
class _Named:
    """What was named, and what came of it."""

    series: "Iterable[SeriesName]" = ()
    count: int = 0
    total: int = 1
    skipped: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    notices: list[dict[str, object]] = field(default_factory=list)
    """What a folder holds beside images; those of a series stand in its names."""


def _find_and_name(options: _Options, scratch: Path) -> _Named:
    from vesalius.imaging.search import find_series

    with progress_bar() as bar:
        task = bar.add_task("Looking for series", total=None)
        request = options.request
        notices: list[Notice] = []
        found = find_series(request.place, request.choices, each=request.each, notices=notices)
        bar.remove_task(task)
        if options.sr is not None:
            _check_report(options.sr, found, options.overwrite)
        if options.deidentify is not None:
            _check_copies(options.deidentify, options.sr)
        many = options.sr is None and (len(found) > 1 or _has_record(options.out))
        named = _name_many(found, options, scratch, bar) if many else _name_one(found[0], options, bar)
        named.notices = [{"source": str(request.place), **each.to_dict()} for each in notices]
        return named


def _has_record(out: Path | None) -> bool:
    if out is None:
        return False
    from vesalius.naming.many import record_folder
    from vesalius.records import NAMES

    return (record_folder(out) / NAMES.name).is_file()


def _name_many(found: "Sequence[FoundSeries]", options: _Options, scratch: Path, bar: "Progress") -> _Named:
    from vesalius.models.checkpoint_file import find_checkpoint
    from vesalius.naming.many import name_many, record_folder
    from vesalius.naming.tables import table_files

    request, out = options.request, options.out
    done = name_many(
        found,
        replace(request, weights=sha256_of(find_checkpoint(request.model, "name"))),
        scratch if out is None else record_folder(out),
        tables=[] if out is None else [each.absolute() for each in table_files(out)],
        jobs=options.jobs,
        overwrite=options.overwrite,
        watch=lambda outcomes, total: iter(bar.track(outcomes, total, description="Naming series")),
    )
    return _Named(done.series, len(done.series), len(found), done.skipped, done.failures, done.written)


def _name_one(found: "FoundSeries", options: _Options, bar: "Progress") -> _Named:
    """Name one series, and draw and report it."""
    from vesalius.naming import AnatomyLabeller

    _check_results(options, found)
    request = options.request
    task = bar.add_task(f"Loading {request.model}", total=None)
    labeller = AnatomyLabeller(
        request.model, runtime=request.runtime, device=request.device, precision=request.precision
    )
    bar.remove_task(task)
    named = _Named()
    results = [] if options.sr is None else [options.sr]
    with (
        _remembering(found.source, named.failures),
        deidentified(found.read(), options.deidentify, results, request.choices.frame) as stacks,
    ):
        series = _label(labeller, stacks, request.smooth, bar)
        named.series, named.count = [series], 1
        _draw_and_report(series, stacks, options, named)
    return named


def _label(
    labeller: "AnatomyLabeller", stacks: "Sequence[MedicalImage]", smooth: bool, bar: "Progress"
) -> "SeriesName":
    from vesalius.naming.labeller import choose_stacks

    total = sum(len(each.pixels) for each in choose_stacks(stacks))
    step = bar.add_task(f"Naming {stacks[0].source.name}", total=total)
    return labeller.label(stacks, smooth=smooth, on_slices=lambda count: bar.advance(step, count))


def _draw_and_report(series: "SeriesName", stacks: "Sequence[MedicalImage]", options: _Options, named: _Named) -> None:
    from vesalius.naming.labeller import choose_stacks
    from vesalius.naming.strip import write_strip

    if (strip := options.request.strip) is not None:
        with _remembering(strip, named.failures):
            write_strip(strip, series, choose_stacks(stacks))
            named.written.append(strip)
    if options.sr is not None:
        with _remembering(options.sr, named.failures):
            from vesalius.clinical.work import report_names

            report_names(options.sr, series, choose_stacks(stacks), options.request.model, overwrite=options.overwrite)
            named.written.append(options.sr)


def _digest(
    named: _Named, model: str, calibration: "NamingCalibration", *, audit: bool
) -> "tuple[NamingResult, Digest]":
    from vesalius.naming.studies import group_studies
    from vesalius.naming.tables import NamingResult
    from vesalius.naming.telling import digest_series

    kept = digest_series(named.series, calibration.audit, audit=audit)
    result = NamingResult(
        named.series,
        model,
        calibration.least_probability,
        group_studies(kept.facts),
        named.failures,
        kept.audit if audit else None,
        rule=calibration.audit,
        notices=named.notices,
    )
    kept.notices[:0] = [f"{each['source']}: {each['message']}" for each in named.notices]
    return result, kept


@contextmanager
def _remembering(place: Path, failures: list[dict[str, str]]) -> Iterator[None]:
    """Go on after an error in one image or result; a model that cannot name is no such error."""
    try:
        yield
    except Exception as error:  # even a fault of ours in one result must not lose the others
        failures.append({"source": str(place), "reason": reason_of(place, error)})


def _check_results(options: _Options, found: "FoundSeries") -> None:
    """Refuse to replace existing files unasked, and to replace an image that is to be read.

    Raises:
        OutputError: If a file would be replaced.
    """
    from vesalius.naming.tables import table_files

    results = [] if options.out is None else table_files(options.out)
    results += [] if options.request.strip is None else [options.request.strip]
    check_absent(results, options.overwrite)
    spare(results, (found.source, *found.files))


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


def _refuse(named: _Named, out: Path | None) -> None:
    """Say at the end what could not be named or written.

    Raises:
        ImageError: If there is anything.
    """
    from vesalius.naming.tables import table_files

    where = ", which --json lists" if out is None else f", which {table_files(out)[:2][-1]} lists"
    fail_with(list(map(tell_failure, named.failures)), "series could not be named or drawn", where, named.total)
