"""``vesalius segment IMAGE PROMPT…``, and ``vesalius segment PATH… --prompt PHRASE`` for many images."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from vesalius.cli.usage import AsJson, InPrecision, OnDevice, WithRuntime
from vesalius.console import print_json, print_table, progress_bar, say, say_first
from vesalius.errors import LISTED, ConfigError, ImageError, PromptError, fail_with, require, tell_failure
from vesalius.models.choices import DEFAULT_MODEL

if TYPE_CHECKING:
    from rich.progress import Progress

    from vesalius.knowledge import Understanding
    from vesalius.results import Answered
    from vesalius.segmenting.request import Request
    from vesalius.segmenting.run import RunSummary


def segment(
    image: Path,
    /,
    *prompts: str,
    prompt: Annotated[list[str] | None, Parameter(alias="-p")] = None,
    model: str = DEFAULT_MODEL,
    out: Annotated[Path, Parameter(alias="-o")] = Path("segmentation"),
    overwrite: bool = False,
    plane: Literal["axial", "coronal", "sagittal"] | None = None,
    window: str | None = None,
    series: str | None = None,
    stack: int | None = None,
    volume: int | None = None,
    frame: int | None = None,
    each: bool = False,
    labels: bool = False,
    threshold: float = 0.5,
    existence: float | None = None,
    keep_largest: bool = False,
    min_size: int = 0,
    jobs: int = 1,
    table: Path | None = None,
    fractional: bool = False,
    sr: Path | None = None,
    sc: Path | None = None,
    deidentify: Path | None = None,
    runtime: WithRuntime = "auto",
    device: OnDevice = "auto",
    precision: InPrecision = "32",
    as_json: AsJson = False,
) -> None:
    """Outline what phrases name in a picture, a DICOM file or series, or a volume.

    Pictures get a mask (PNG, at the picture's own size) and an overlay for each phrase; series and volumes a mask
    volume (NIfTI, on the file's own voxel grid) and a sheet of overlays. segmentation.json in the folder of results
    has a row for each phrase: what was found, or why nothing was asked, and what it was made from.

    What the model never learnt ("fracture"), or learnt on other kinds of pictures, gets no mask and no probability, but
    "not learnt" or "not expected here" and a line that says why; `vesalius models pocket` lists what it learnt. Nor
    does a denial ("no polyp"). A word for a family of targets ("tumour", "vessel") is answered by the learnt one that
    most probably is there.

    With --prompt any number of files, folders and patterns is segmented, each image once for all phrases, and the
    folder of results gets a table (results.csv) and a page to look at (index.html). What failed is listed at the end,
    with exit code 2; the same command again does only what is left. --labels, --threshold, --existence,
    --keep-largest, --min-size, --each, --jobs and --table lead there, too.

    With --out result.dcm a DICOM image or series gets one DICOM segmentation of all phrases, whose frames refer to the
    frames they were made from; this needs `vesalius[clinical]`.

    Examples:
        vesalius segment scan.png polyp "breast tumour"
        vesalius segment head.nii.gz brain --plane axial -o results
        vesalius segment scan.dcm lungs --window lung --json
        vesalius segment bold.nii.gz brain --volume 3 --overwrite
        vesalius segment study/ extra.png -p polyp -p lungs --jobs 2 -o results
        vesalius segment study/ -p liver -p spleen --labels --keep-largest
        vesalius segment series/ -p liver -p spleen --out result.dcm --sr report.dcm

    Documentation:
        docs/segmenting.md, docs/clinical.md

    Args:
        image: A PNG, JPEG or TIFF file, a DICOM file, a folder with a series, or a NIfTI volume.
        prompts: What to outline, for example "polyp"; with --prompt further files, folders and patterns.
        prompt: What to outline in all images; may be given several times.
        model: A model's name, a checkpoint or a run's folder.
        out: Folder for the results; a name that ends in .dcm asks for a DICOM segmentation.
        overwrite: Replace results that are there.
        plane: Plane in which to go through a volume.
        window: Window of a CT: a name such as "lung", or center and width in HU such as "40,400".
        series: Of a folder with several DICOM series, the one to read: its UID, or its number from 1 as the message
            lists them.
        stack: Of a DICOM series with several stacks of slices (echoes, orientations), the one to read, from 1.
        volume: Of a NIfTI file with several volumes, the one to read, from 1.
        frame: Of a multi-frame DICOM file or a TIFF, the only frame to read, from 1.
        each: Take numbered pictures of one size one by one, not as the slices of one stack.
        labels: Write one label map of all phrases instead of one mask each: 0 is background, 1 the first phrase. Where
            phrases overlap, the more probable one has the pixel.
        threshold: Probability above which a pixel is marked.
        existence: Minimum probability that the image shows the object at all, 0 to 1; below, its mask is empty. Without
            it the masks are as the model gives them, which are empty where it sees nothing.
        keep_largest: Keep only the largest object of each mask.
        min_size: Minimum size of an object in pixels (voxels in series and volumes) of the image's own grid.
        jobs: Processes that segment at once, each with an equal share of the cores; each needs a model's memory.
        table: File for the table instead of results.csv in the folder of results: .csv or .parquet.
        fractional: Store probabilities in the DICOM segmentation, not masks; --labels asks for a label map.
        sr: Beside a DICOM segmentation, a structured report: what was found, what not, and what was not learnt.
        sc: Beside a DICOM segmentation, its overlay as a secondary capture, for viewers that show no segmentations.
        deidentify: New folder for de-identified copies of the DICOM images; the results are made from them.
        as_json: Print one JSON object.
    """
    from vesalius.imaging.read import Choices
    from vesalius.masks import MaskRules
    from vesalius.prompts.user_prompts import check_distinct
    from vesalius.segmenting.request import Request

    asked = Request(
        tuple(prompt or prompts),
        model=model,
        plane=plane,
        window=_to_window(window),
        rules=MaskRules(threshold, existence, keep_largest, min_size, labels),
        choices=Choices(series, stack, volume, frame),
        runtime=runtime,
        device=device,
        precision=precision,
    )
    check_distinct(asked.prompts)
    if not prompt:
        _refuse_files(prompts)
    dicom = out.suffix.lower() == ".dcm"
    _check_folder_name(out)
    if dicom or fractional or any(each is not None for each in (sr, sc, deidentify)):
        if not dicom:
            raise ConfigError(f"--fractional, --sr, --sc and --deidentify: go with --out result.dcm, got --out {out}.")
        if (prompt and prompts) or each or table is not None or jobs != 1:
            raise ConfigError(
                f"--out {out}: holds one image or series; leave out further paths, --each, --jobs, --table."
            )
        files = out, sr, sc
        _segment_dicom(image, asked, files, deidentify, fractional=fractional, overwrite=overwrite, as_json=as_json)
    elif prompt or each or table is not None or jobs != 1 or asked.rules != MaskRules():
        paths: list[str | Path] = [image, *(prompts if prompt else ())]
        _segment_many(paths, asked, out, table, jobs=jobs, each=each, overwrite=overwrite, as_json=as_json)
    else:
        made_by = {"model": model, "plane": plane, "window": window, **asked.choices.to_dict()}
        _segment_one(image, asked, out, made_by, overwrite=overwrite, as_json=as_json)


def _check_folder_name(out: Path) -> None:
    """Refuse a name that is surely meant as a file; an image or volume is written into a folder."""
    from vesalius.imaging.formats import RASTER_SUFFIXES, VOLUME_SUFFIXES

    if out.name.lower().endswith((*RASTER_SUFFIXES, *VOLUME_SUFFIXES)) and not out.is_dir():
        raise ConfigError(
            f"--out {out}: expected a folder, into which masks and overlays go, or a name that ends in .dcm."
        )


def _segment_one(
    image: Path, request: "Request", out: Path, made_by: Mapping[str, object], *, overwrite: bool, as_json: bool
) -> None:
    """Segment one image and print the results."""
    from vesalius.imaging import read_image
    from vesalius.imaging.safeguards import warn_of
    from vesalius.predict import Predictor
    from vesalius.results import Results, answer_all

    try:
        picture = read_image(image, **asdict(request.choices))
    except ImageError as error:
        if not os.path.isdir(image) or request.choices:
            raise
        raise ImageError(f"{error} With the phrases after --prompt all images of a folder are segmented.") from error
    slices = picture.slices(request.plane, request.window)
    predictor = Predictor(request.model, runtime=request.runtime, device=request.device, precision=request.precision)
    told_by = {name: value for name, value in made_by.items() if value is not None}
    told_by |= {"runtime": predictor.runtime.name, "device": predictor.runtime.device, "precision": request.precision}
    with progress_bar() as bar:
        understood = predictor.understand(slices, request.prompts, watch=partial(_track, bar, "Looking"))
        asked = [each.prompt for each in understood if each.asked is not None]
        results = Results(out, picture, slices, asked, overwrite=overwrite, made_by=told_by)
        answered = answer_all(
            predictor, understood, results, lambda each, total: bar.track(each, total, description="Segmenting")
        )
    warn_of(results.notices, picture.source)
    if as_json:
        notices = [notice.to_dict() for notice in (*picture.notices, *results.notices)]
        told = [each.to_dict() for each in answered]
        print_json({"image": str(image), "model": request.model, "notices": notices, "results": told})
        return
    print_table(("prompt", "existence", "share", "overlay"), list(map(_row, answered)))
    _say_remarks(understood)


def _segment_dicom(
    image: Path,
    request: "Request",
    outputs: tuple[Path, Path | None, Path | None],
    deidentify: Path | None,
    *,
    fractional: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Segment one image into DICOM files and print the results."""
    from vesalius.imaging import read_image
    from vesalius.predict import Predictor

    require("highdicom", extra="clinical")
    from vesalius.cli.deidentify import check_copies, deidentified
    from vesalius.clinical.work import DicomFiles, check_outputs, segment_to_dicom

    files = DicomFiles(*outputs)
    check_outputs(files.paths, image, overwrite)
    if deidentify is not None:
        check_copies(deidentify)
    picture = read_image(image, **asdict(request.choices))
    predictor = Predictor(request.model, runtime=request.runtime, device=request.device, precision=request.precision)
    notices = list(picture.notices)
    with deidentified([picture], deidentify, files.paths, request.choices.frame) as (shown,), progress_bar() as bar:
        found = segment_to_dicom(
            shown,
            predictor,
            request,
            files,
            fractional=fractional,
            overwrite=overwrite,
            watch=lambda answers, total: bar.track(answers, total, description="Segmenting"),
            notices=notices,
        )
    if as_json:
        written = {"segmentation": files.segmentation, "report": files.report, "capture": files.capture}
        told = [each.to_dict() for each in found]
        remarks = [notice.to_dict() for notice in notices]
        print_json({"image": image, "model": request.model, "notices": remarks, "files": written, "results": told})
        return
    print_table(("prompt", "segment", "existence", "share"), [each.to_row() for each in found])
    _say_remarks([each.understanding for each in found])
    say(f"Written: {', '.join(map(str, files.paths))}")


def _track(bar: "Progress", title: str, places: Iterable[int], total: int) -> Iterable[int]:
    return bar.track(places, total, description=title)


def _say_remarks(understood: "Sequence[Understanding]") -> None:
    """What should be known of how phrases were understood, with the existence of all that a word may mean."""
    for each in understood:
        if each.remark:
            say(each.remark + (f" Existence: {told}." if (told := each.told_existence) else ""))


def _row(answered: "Answered") -> tuple[object, ...]:
    """A row of the table."""
    if (item := answered.result) is not None:
        return item.prompt, item.existence, f"{100 * item.share:.2f} %", item.overlay
    return answered.understanding.prompt, answered.understanding.refusal, None, None


def _segment_many(
    paths: "Sequence[str | Path]",
    request: "Request",
    out: Path,
    table: Path | None,
    *,
    jobs: int,
    each: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Segment all images of the paths, and print a summary.

    Raises:
        ImageError: If anything failed.
    """
    from vesalius.segmenting.run import segment_many

    with progress_bar() as bar:
        summary = segment_many(
            paths,
            request,
            out,
            table=table,
            jobs=jobs,
            each=each,
            overwrite=overwrite,
            watch=lambda outcomes, total: iter(bar.track(outcomes, total, description="Segmenting")),
        )
    if as_json:
        print_json({"model": request.model, **summary.to_dict()})
        _say_notices(summary)
    else:
        _print_many(summary, request.prompts)
    failures = list(map(tell_failure, summary.failures))
    total = summary.done + summary.skipped + len(failures)
    fail_with(failures, "images failed", f", which --json and {summary.page} list", total)


def _print_many(summary: "RunSummary", prompts: Sequence[str]) -> None:
    """One row for each phrase, and the files of the results."""
    columns = ("prompt", "images", "marked in", "nothing marked", "not asked")
    print_table(columns, [_count(prompt, summary) for prompt in prompts])
    for remark in dict.fromkeys(str(row["remark"]) for row in summary.rows if row.get("remark")):
        say(remark)
    _say_notices(summary)
    skipped = f", {summary.skipped} done before and skipped" if summary.skipped else ""
    failed = f", {len(summary.failures)} failed" if summary.failures else ""
    say(f"Images: {summary.done} segmented{skipped}{failed}.")
    if summary.rows:
        say(f"Look at {summary.page}; numbers: {summary.table}")


def _say_notices(summary: "RunSummary") -> None:
    notices = [f"{each['source']}: {each['message']}" for each in summary.notices]
    notices += [f"{row['image']}: {each}" for row in summary.rows for each in _listed(row.get("notices"))]
    say_first(list(dict.fromkeys(notices)), LISTED, "… and {} more notices, which the table lists.")


def _count(prompt: str, summary: "RunSummary") -> tuple[object, ...]:
    rows = [row for row in summary.rows if row["prompt"] == prompt]
    asked = [row for row in rows if row.get("mask")]
    marked = sum(bool(row.get("share")) for row in asked)
    return prompt, len(rows), marked, len(asked) - marked, len(rows) - len(asked)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _refuse_files(prompts: Sequence[str]) -> None:
    """Refuse further images where phrases are expected.

    Raises:
        PromptError: If a prompt is the path of a file.
    """
    for prompt in prompts:
        try:
            there = Path(prompt).is_file()
        except (OSError, ValueError):  # too long, or with characters that no path has
            continue
        if there:
            raise PromptError(
                f"'{prompt}' is a file where a phrase is expected: one image at a time is segmented. For several, name "
                "the phrases with --prompt, for example: vesalius segment *.png --prompt polyp"
            )


def _to_window(text: str | None) -> str | tuple[float, float] | None:
    if text is None or "," not in text:
        return text
    expected = "--window: expected a name or CENTER,WIDTH such as 40,400"
    try:
        center, width = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"{expected}; got '{text}'.") from error
    if not (math.isfinite(center) and math.isfinite(width) and width > 0):
        raise ConfigError(f"{expected}, two finite numbers with a width above 0; got '{text}'.")
    return center, width
