"""``vesalius archive index`` and ``search``."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vesalius.cli.usage import AsJson, InPrecision, OnDevice, WithRuntime
from vesalius.console import print_json, print_table, progress_bar, say, warn
from vesalius.errors import ConfigError, fail_with, tell_failure
from vesalius.files import check_absent
from vesalius.models.choices import DEFAULT_MODEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vesalius.archive.search import FoundSlice
    from vesalius.knowledge import Knowledge


def archive_index(
    archive: Path,
    /,
    *,
    out: Annotated[Path, Parameter(alias="-o")],
    model: str = DEFAULT_MODEL,
    study_date: bool = False,
    moved: bool = False,
    runtime: WithRuntime = "auto",
    device: OnDevice = "auto",
    precision: InPrecision = "32",
    as_json: AsJson = False,
) -> None:
    """Index every slice of an archive, or what changed in it since the last time, for `vesalius archive search`.

    Of each slice the index keeps a vector, the probabilities of what it shows, its place, and what the header says of
    modality, body part, series and protocol; no pixels, and nothing that names a patient but what paths and
    descriptions say. A slice that lies in several files is kept once. A run that was killed goes on where it was. What
    cannot be read is listed at the end, with exit code 2.

    Examples:
        vesalius archive index /data/archive --out index
        vesalius archive index study/ -o index --study-date

    Documentation:
        docs/archive-search.md

    Args:
        archive: Folder with pictures, DICOM series and NIfTI volumes, subfolders included.
        out: Folder of the index; new, or one of this archive, which is brought up to date.
        model: A model that names: its name, a checkpoint, or public weights.
        study_date: Keep study dates, too.
        moved: The archive lies in another folder than when it was indexed.
        as_json: Print one JSON object.
    """
    from vesalius.archive.encoding import SliceEncoder
    from vesalius.archive.indexing import update_index

    with progress_bar() as bar:
        task = bar.add_task(f"Loading {model}", total=None)
        encoder = SliceEncoder.open(model, runtime=runtime, device=device, precision=precision)
        bar.update(task, description="Looking for files")

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=f"Reading {what}", completed=done, total=total)

        report = update_index(archive, out, encoder, study_date=study_date, moved=moved, on_progress=show)
    if as_json:
        print_json(asdict(report))
    else:
        rows = [(name.replace("_", " "), value) for name, value in asdict(report).items() if name != "failures"]
        print_table(("what", "number"), rows, title=str(out))
        say(f'Search it: vesalius archive search {out} "chest CT"')
    what = "series, files or folders cannot be read, which the same command tries again"
    fail_with(list(map(tell_failure, report.failures)), what, ", which --json lists")


def archive_search(
    index: Path,
    phrase: str = "",
    /,
    *,
    like: Path | None = None,
    slice_number: Annotated[int | None, Parameter(name="--slice")] = None,
    where: tuple[str, ...] = (),
    limit: int = 10,
    per_series: bool = False,
    sheet: Path | None = None,
    archive: Path | None = None,
    overwrite: bool = False,
    runtime: WithRuntime = "auto",
    device: OnDevice = "auto",
    precision: InPrecision = "32",
    as_json: AsJson = False,
) -> None:
    """Find slices of an indexed archive by a phrase, by a picture that they resemble, or by labels and headers.

    Words for modality, protocol, plane, region and organ count by what is known of each slice; words of descriptions by
    the header; names of what the model learnt by the likeness of vectors. The answer says how the phrase was read and
    which words were not understood.

    Examples:
        vesalius archive search index "sagittal knee T2"
        vesalius archive search index --like scan.png --limit 20
        vesalius archive search index "liver" --where modality=CT
        vesalius archive search index "hand X-ray" --sheet found.html

    Documentation:
        docs/archive-search.md

    Args:
        index: Folder that `vesalius archive index` wrote.
        phrase: What to look for, in words.
        like: Picture, volume or series of which similar slices are looked for.
        slice_number: Slice of `--like`, from 1; the middle one by default.
        where: Condition that every answer meets, FIELD=VALUE; repeat it for several. Fields are modality, protocol,
            plane, station, organ, BodyPartExamined, SeriesDescription, ProtocolName, StudyDate and path.
        limit: Most slices to list.
        per_series: List the best slice of each series only.
        sheet: Page of pictures (.html) to write.
        archive: Folder of the archive, if it is not where it was indexed; for the pictures of the sheet.
        overwrite: Replace a sheet that is there.
        as_json: Print one JSON object.
    """
    from vesalius.archive.encoding import SliceEncoder
    from vesalius.archive.index import ArchiveIndex
    from vesalius.archive.query import read_where
    from vesalius.archive.search import ArchiveSearch, SearchRequest, encode_picture
    from vesalius.archive.sheet import write_sheet

    _check_sheet(sheet, archive, overwrite=overwrite)
    if slice_number is not None and like is None:
        raise ConfigError("--slice chooses a slice of --like, which is not given.")
    conditions = read_where(where)
    with ArchiveIndex.open(index) as opened:
        encoder = SliceEncoder.open(opened.facts.model, runtime=runtime, device=device, precision=precision)
        opened.facts.check_model(encoder, index)
        vector = None if like is None else encode_picture(encoder, like, slice_number)
        asked = SearchRequest(phrase, vector, conditions, limit, per_series)
        reading, answers = ArchiveSearch(opened, encoder, _learnt(encoder.model)).search(asked)
        lost = []
        if sheet is not None:
            title = " ".join([*([phrase] if phrase else []), *([f"like {like}"] if like else []), *where])
            lost = write_sheet(sheet, title, reading, answers, opened, archive)
    if as_json:
        content = {"reading": reading and reading.to_dict(), "answers": [each.to_dict() for each in answers]}
        print_json({**content, "sheet": sheet, "without_picture": lost})
        return
    for line in [] if reading is None else reading.tell():
        say(line)
    _print(answers)
    for reason in lost:
        warn(f"without a picture: {reason}")
    if sheet is not None:
        say(f"Written: {sheet}")


def _check_sheet(sheet: Path | None, archive: Path | None, *, overwrite: bool) -> None:
    if sheet is None:
        for option, given in (("--archive", archive is not None), ("--overwrite", overwrite)):
            if given:
                raise ConfigError(f"{option}: goes with --sheet, which is not given.")
        return
    if archive is not None and not archive.is_dir():
        raise ConfigError(f"--archive {archive}: no such folder; name the folder where the archive lies now.")
    if sheet.suffix.lower() != ".html":
        raise ConfigError(f"--sheet {sheet}: expected a name that ends in .html, got '{sheet.suffix}'.")
    check_absent([sheet], overwrite)


def _learnt(model: str) -> "Knowledge":
    """What a model learnt to outline; nothing for public weights."""
    from vesalius.knowledge import Knowledge
    from vesalius.models.public_weights import find_encoder_source

    return Knowledge.read(model) if find_encoder_source(model) is None else Knowledge()


def _print(answers: "Sequence[FoundSlice]") -> None:
    if not answers:
        say("Nothing in this index meets the conditions.")
        return
    rows = []
    for each in answers:
        told, also = each.tell(), len(each.places) - 1 + each.more_places
        place = told["slice"] + (f", and {also} other places" if also else "")
        rows.append((told["path"], place, told["labels"], told["header"], each.score))
    print_table(("path", "slice", "labels", "header", "score"), rows)
