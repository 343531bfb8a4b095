"""Segment many images: from paths to masks, a table and a page.

`segment_many` does what is left of a request; `segment_images` segments one image after the other, or several at once
in processes of their own, so that an image that fails or breaks its process stops no other.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import TYPE_CHECKING

from vesalius.console import is_quiet, keeping_quiet, showing_all_as_text
from vesalius.errors import ConfigError, ImageError, ModelError, VesaliusError, unexpected
from vesalius.files import check_absent, sha256_of
from vesalius.folders import ResultRow
from vesalius.models.checkpoint_file import find_checkpoint
from vesalius.predict import Predictor, check_prompts
from vesalius.runtime import RuntimeChoice
from vesalius.segmenting.journal import FILE_COLUMNS, ResultsJournal, WorkPlan, alone, check_table, write_table
from vesalius.segmenting.one_image import segment_image
from vesalius.segmenting.page import write_page
from vesalius.segmenting.request import Request, SourceImage, find_images

if TYPE_CHECKING:
    from vesalius.models.inference import Precision

PAGE = "index.html"
TABLE = "results.csv"
ENDED = "its process was ended from outside, probably for lack of memory; try --jobs 1, or a smaller image"


@dataclass(frozen=True)
class ImageOutcome:
    """What became of one image."""

    source: SourceImage
    rows: list[ResultRow] = field(default_factory=list)
    """Rows for the record; empty if it failed."""
    reason: str = ""
    """Why it failed."""


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
    page: Path
    table: Path

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON, with the paths of all files."""
        home = self.page.parent
        return {
            "done": self.done,
            "skipped": self.skipped,
            "failures": self.failures,
            "page": self.page,
            "table": self.table,
            "results": [row | {kind: home / str(row[kind]) for kind in FILE_COLUMNS if row[kind]} for row in self.rows],
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
        PromptError: If there is no phrase, or an empty one.
    """
    request = _check(request, jobs)
    target = (out / TABLE if table is None else table).absolute()
    check_table(target)
    out, page = out.absolute(), out.absolute() / PAGE
    known = ResultsJournal(out)
    sources, failures = find_images(paths, known.own_files(), known.stems, choices=request.choices, each=each)
    if not sources:
        raise ImageError(failures[0]["reason"] if failures else f"{paths[0]}: holds nothing but results of ours.")
    with alone(out):
        journal = ResultsJournal(out)
        check_absent([each for each in (page, target) if not journal.made(each)], overwrite)
        plan = journal.plan(sources, request, overwrite)
        failures += plan.refused
        journal.begin(plan.todo, request, [page, target])
        done = _run(plan, request, journal, failures, jobs, watch)
        order = {source.path: place for place, source in enumerate(sources)}
        images = sorted(sorted(journal.rows), key=lambda image: order.get(image, len(order)))
        rows = [row for image in images for row in journal.rows[image]]
        if rows:
            write_table(target, rows)
            write_page(page, rows, failures, [target])
    wanted = {source.path for source in (*plan.todo, *plan.skipped)}
    told = [row for row in rows if row["image"] in wanted and "stem" in row]
    return RunSummary(told, done, len(plan.skipped), failures, page, target)


def _check(request: Request, jobs: int) -> Request:
    check_prompts(request.prompts)
    if len(set(request.prompts)) < len(request.prompts):
        raise ConfigError("--prompt: a phrase stands twice; name each once.")
    request.rules.check(len(request.prompts))
    if jobs < 1:
        raise ConfigError(f"--jobs: expected a number of processes, 1 or more, got {jobs}.")
    return replace(request, weights=sha256_of(find_checkpoint(request.model)))


def _run(
    plan: WorkPlan, request: Request, journal: ResultsJournal, failures: list[dict[str, str]], jobs: int, watch: Watch
) -> int:
    """Segment the images that are left, and count those that succeeded."""
    done = 0
    try:
        for outcome in watch(segment_images(plan.todo, request, journal.out, jobs), len(plan.todo)):
            if outcome.rows:
                journal.add(outcome.rows)
                done += 1
            else:
                failures.append({"source": outcome.source.path, "reason": outcome.reason})
    finally:
        journal.end()
    return done


def segment_images(
    sources: Sequence[SourceImage], request: Request, out: Path, jobs: int = 1
) -> Iterator[ImageOutcome]:
    """Segment each image; one that fails stops no other.

    Args:
        sources: Images to segment.
        request: Phrases and settings.
        out: Folder of the results; the record there is left to the caller.
        jobs: Number of processes, each with a model of its own and an equal share of the processor's cores.

    Yields:
        What became of each image, in the order in which they end.

    Raises:
        ConfigError, MissingPackageError, ModelError: If the model cannot be opened.
    """
    jobs = min(jobs, len(sources))
    if jobs <= 1:
        for source in sources:
            yield _segment(source, request, out, 0)
        return
    threads = max(1, count_cores() // jobs)
    left = iter(sources)
    while True:
        suspects = yield from _segment_at_once(left, request, out, jobs, threads)
        if not suspects:
            return
        for source in suspects:  # one of them broke the processes: each gets one that it can break alone
            broke = yield from _segment_at_once(iter([source]), request, out, 1, threads)
            if broke:
                yield ImageOutcome(source, reason=f"{source.path}: {ENDED}.")


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _segment_at_once(
    sources: Iterator[SourceImage], request: Request, out: Path, jobs: int, threads: int
) -> Generator[ImageOutcome, None, list[SourceImage]]:
    """Segment images in processes until none is left or a process breaks.

    Returns:
        The images that were under way when a process broke.
    """
    under_way: dict[Future[ImageOutcome], SourceImage] = {}
    with _pool(jobs) as pool:
        while True:
            try:
                for source in islice(sources, jobs + 1 - len(under_way)):
                    under_way[pool.submit(_segment, source, request, out, threads)] = source
            except BrokenProcessPool:
                return [source, *under_way.values()]
            if not under_way:
                return []
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                if isinstance(future.exception(), BrokenProcessPool):
                    continue
                yield future.result()
                del under_way[future]
            if any(future in under_way for future in done):
                return list(under_way.values())


def _segment(source: SourceImage, request: Request, out: Path, threads: int) -> ImageOutcome:
    predictor = _open(request.model, request.runtime, request.device, request.precision, threads)
    try:
        return ImageOutcome(source, segment_image(predictor, source, request, out))
    except ModelError:  # it would befall all other images, too
        raise
    except VesaliusError as error:
        return ImageOutcome(source, reason=str(error))
    except Exception as error:  # a fault of ours in one image must not lose all others
        return ImageOutcome(source, reason=unexpected(source.path, error))


@lru_cache(maxsize=1)
def _open(model: str, runtime: RuntimeChoice, device: str, precision: "Precision", threads: int) -> Predictor:
    """The model of a process."""
    return Predictor(model, runtime=runtime, device=device, precision=precision, threads=threads)


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with the caller, however it ends."""
    pool = ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare, initargs=(is_quiet(),)
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


_SPEAKING = ExitStack()
"""Keeps the settings of a process's console until the process ends."""


def _prepare(quiet: bool) -> None:
    """Speak as the caller does, leave Ctrl-C to it, and end when it does, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _SPEAKING.enter_context(showing_all_as_text())
    _SPEAKING.enter_context(keeping_quiet(quiet))
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait_for([sentinel])
    os._exit(1)
