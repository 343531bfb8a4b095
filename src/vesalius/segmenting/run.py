"""Segment many images: from paths to masks, a table and a page.

`segment_many` does what is left of a request; `segment_images` segments one image after the other, or several at once
in processes of their own, so that an image that fails or breaks its process stops no other.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from vesalius.errors import ImageError
from vesalius.files import check_absent, sha256_of
from vesalius.imaging.search import SourceImage
from vesalius.journal import ResultsJournal, WorkPlan, alone
from vesalius.models.checkpoint_file import find_checkpoint
from vesalius.models.choices import Precision, RuntimeChoice
from vesalius.predict import Predictor
from vesalius.processes import Outcome, Work, check_jobs, work_at_once
from vesalius.prompts.user_prompts import check_distinct
from vesalius.records import FILE_COLUMNS, SEGMENTATIONS, ResultRow
from vesalius.segmenting.one_image import segment_image
from vesalius.segmenting.page import write_results_page
from vesalius.segmenting.request import Request, find_images
from vesalius.segmenting.table import check_table, write_mask_table

PAGE = "index.html"
TABLE = "results.csv"

ImageOutcome = Outcome[SourceImage, list[ResultRow]]
Watch = Callable[[Iterator[ImageOutcome], int], Iterator[ImageOutcome]]
"""Passes outcomes on and shows how many of how many have come."""


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
    watch: Watch = lambda outcomes, _: outcomes,
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
    check_table(target)
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
        done = _run(plan, request, journal, failures, jobs, watch)
        order = {source.path: place for place, source in enumerate(sources)}
        images = sorted(sorted(journal.rows), key=lambda image: order.get(image, len(order)))
        rows = [row for image in images for row in journal.rows[image]]
        if rows:
            write_mask_table(target, rows)
        if rows or failures:
            write_results_page(page, rows, failures, [target] if rows else [])
    wanted = {source.path for source in (*plan.todo, *plan.skipped)}
    told = [row for row in rows if row["image"] in wanted and "stem" in row]
    return RunSummary(told, done, len(plan.skipped), failures, notices, page, target)


def _check(request: Request, jobs: int) -> Request:
    check_distinct(request.prompts)
    request.rules.check(len(request.prompts))
    check_jobs(jobs)
    return replace(request, weights=sha256_of(find_checkpoint(request.model)))


def _run(
    plan: WorkPlan, request: Request, journal: ResultsJournal, failures: list[dict[str, str]], jobs: int, watch: Watch
) -> int:
    """Segment the images that are left, and count those that succeeded."""
    done = 0
    try:
        with closing(segment_images(plan.todo, request, journal.out, jobs)) as outcomes:
            for outcome in watch(outcomes, len(plan.todo)):
                if outcome.result is not None:
                    journal.add(outcome.result)
                    done += 1
                else:
                    failures.append({"source": outcome.source.path, "reason": outcome.reason})
    finally:
        journal.end()
    return done


def segment_images(
    sources: Sequence[SourceImage], request: Request, out: Path, jobs: int = 1
) -> Generator[ImageOutcome, None, None]:
    """Segment each image; one that fails stops no other.

    Args:
        sources: Images to segment.
        request: Phrases and settings.
        out: Folder of the results; the record there is left to the caller.
        jobs: Number of processes, see `vesalius.processes.work_at_once`.

    Returns:
        What became of each image, in the order in which they end; the result is the rows for the record.

    Raises:
        ConfigError, MissingPackageError, ModelError: If the model cannot be opened.
    """
    opening = partial(_open, request.model, request.runtime, request.device, request.precision)
    return work_at_once(sources, Work(opening, partial(_segment, request=request, out=out)), jobs)


def _segment(predictor: Predictor, source: SourceImage, request: Request, out: Path) -> list[ResultRow]:
    return segment_image(predictor, source, request, out)


@lru_cache(maxsize=1)
def _open(model: str, runtime: RuntimeChoice, device: str, precision: Precision, threads: int) -> Predictor:
    """The model of a process."""
    return Predictor(model, runtime=runtime, device=device, precision=precision, threads=threads)
