"""Segment many images: from paths to masks, a table and a page.

`segment_many` does what is left of a request, one image after the other, or several at once in processes of their own,
so that an image that fails or breaks its process stops no other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from vesalius.errors import ImageError
from vesalius.files import check_absent, sha256_of
from vesalius.journal import ResultsJournal, RunWatch, alone
from vesalius.models.checkpoint_file import find_checkpoint
from vesalius.models.choices import Precision, RuntimeChoice
from vesalius.predict import Predictor
from vesalius.processes import Work, check_jobs
from vesalius.prompts.user_prompts import check_distinct
from vesalius.records import FILE_COLUMNS, SEGMENTATIONS, ResultRow
from vesalius.segmenting.one_image import segment_image
from vesalius.segmenting.page import write_results_page
from vesalius.segmenting.request import Request, find_images
from vesalius.segmenting.table import write_mask_table
from vesalius.spreadsheets import check_spreadsheet

PAGE = "index.html"
TABLE = "results.csv"


@dataclass(frozen=True)
class RunSummary:
    """What a run did."""

    rows: list[ResultRow]
    """Rows of the images done now or before, those of an image together."""
    done: int
    """Number of images segmented by this run."""
    skipped: int
    """Number of images that were done before."""
    failures: list[dict[str, str]]
    """Images that failed, as ``{"source": …, "reason": …}``."""
    notices: list[dict[str, object]]
    """What folders hold beside images, as notices with their ``source``; those of an image stand in its rows."""
    page: Path
    table: Path

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON, with the paths of all files."""
        home = self.page.parent
        paths = [{kind: home / str(row[kind]) for kind in FILE_COLUMNS if row.get(kind)} for row in self.rows]
        return {
            "done": self.done,
            "skipped": self.skipped,
            "failures": self.failures,
            "notices": self.notices,
            "page": self.page,
            "table": self.table,
            "results": [row | own for row, own in zip(self.rows, paths, strict=True)],
        }


def segment_many(
    paths: Sequence[str | Path],
    request: Request,
    out: Path,
    *,
    table: Path | None = None,
    jobs: int = 1,
    each: bool = False,
    overwrite: bool = False,
    watch: RunWatch = lambda outcomes, _: outcomes,
) -> RunSummary:
    """Segment the images of files, folders and patterns.

    Masks, an overview of each image, a table, a page and the record `segmentation.json` are written into one folder.
    Images that the record lists as done, from the same files with the same settings, are skipped; results that would
    replace anything else are refused; failures are reported and stop no other image. A run that was interrupted at any
    moment can be started again.

    Args:
        paths: See `vesalius.segmenting.request.find_images`.
        request: Phrases and settings.
        out: Folder of the results.
        table: A .csv or .parquet file; results.csv in the folder by default.
        jobs: Number of processes.
        each: List numbered pictures one by one, not as slices of a stack.
        overwrite: Segment everything anew, and replace existing files.
        watch: For a progress bar.

    Raises:
        ConfigError: If an option is out of its range.
        ImageError: If there is no image at all.
        MissingPackageError, ModelError: If the model cannot be opened.
        OutputError: If the folder cannot be written, or the table or page would replace a file of another origin.
        PromptError: If there is no phrase, an empty one, or one that stands twice.
    """
    request = _check(request, jobs)
    target = (out / TABLE if table is None else table).absolute()
    check_spreadsheet(target, "--table")
    out, page = out.absolute(), out.absolute() / PAGE
    before = ResultsJournal(out, SEGMENTATIONS)
    sources, failures, notices = find_images(paths, before, choices=request.choices, each=each)
    if not sources:
        raise ImageError(failures[0]["reason"] if failures else f"{paths[0]}: holds nothing but results of ours.")
    with alone(out, SEGMENTATIONS.command, SEGMENTATIONS.lock):
        journal = ResultsJournal(out, SEGMENTATIONS)
        check_absent([each for each in (page, target) if not journal.made(each)], overwrite)
        plan = journal.plan(sources, request, overwrite)
        failures += plan.refused
        journal.begin(plan.todo, request, [page, target])
        opening = partial(_open, request.model, request.runtime, request.device, request.precision)
        work = Work(opening, partial(segment_image, request=request, out=out))
        done, failed = journal.work_off(plan.todo, work, jobs, watch)
        failures += [{"source": source, "reason": reason} for source, reason in failed.items()]
        order = {source.path: place for place, source in enumerate(sources)}
        images = sorted(sorted(journal.rows), key=lambda image: order.get(image, len(order)))
        rows = [row for image in images for row in journal.rows[image]]
        if rows:
            write_mask_table(target, rows)
        if rows or failures:
            write_results_page(page, rows, failures, [target] if rows else [])
    wanted = {source.path for source in (*plan.todo, *plan.skipped)}
    told = [row for row in rows if row["image"] in wanted and "stem" in row]
    return RunSummary(told, len(done), len(plan.skipped), failures, notices, page, target)


def _check(request: Request, jobs: int) -> Request:
    check_distinct(request.prompts)
    request.rules.check(len(request.prompts))
    check_jobs(jobs)
    return replace(request, weights=sha256_of(find_checkpoint(request.model)))


@lru_cache(maxsize=1)
def _open(model: str, runtime: RuntimeChoice, device: str, precision: Precision, threads: int) -> Predictor:
    """The model of a process."""
    return Predictor(model, runtime=runtime, device=device, precision=precision, threads=threads)
