"""From paths to masks, a table and a page: one after the other or in processes; what is done is skipped."""

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
from vesalius.errors import ConfigError, ImageError, ModelError, VesaliusError
from vesalius.files import check_absent, sha256_of
from vesalius.folders import Row
from vesalius.models.checkpoint_file import find_checkpoint
from vesalius.predict import Predictor, check_prompts
from vesalius.runtime import RuntimeChoice
from vesalius.segmenting.journal import Journal, Plan, alone, check_table, write_table
from vesalius.segmenting.one_image import segment_item
from vesalius.segmenting.page import write_page
from vesalius.segmenting.request import Item, Request, find_items

if TYPE_CHECKING:
    from vesalius.models.inference import Precision


_SPEAKING = ExitStack()
"""How a process of ours speaks, until it ends."""
ENDED = "its process was ended from outside, probably for lack of memory; try --jobs 1, or a smaller image"


@dataclass(frozen=True)
class Outcome:
    """What became of one image."""

    item: Item
    rows: list[Row] = field(default_factory=list)
    """For the record; empty if it failed."""
    reason: str = ""
    """Why it failed."""


def segment_items(items: Sequence[Item], request: Request, out: Path, jobs: int = 1) -> Iterator[Outcome]:
    """Segment each image; one that fails stops no other.

    Args:
        items: What to segment.
        request: What to ask of each.
        out: Folder of the results; the record there is left to the caller.
        jobs: Processes, each with a model of its own and an equal share of the processor's cores.

    Yields:
        What became of each, in the order in which they end.

    Raises:
        ConfigError, MissingPackageError, ModelError: If the model cannot be opened.
    """
    jobs = min(jobs, len(items))
    if jobs <= 1:
        for item in items:
            yield _segment(item, request, out, 0)
        return
    threads = max(1, count_cores() // jobs)
    left = iter(items)
    while True:
        suspects = yield from _segment_at_once(left, request, out, jobs, threads)
        if not suspects:
            return
        for item in suspects:  # one of them broke the processes: each gets one that it can break alone
            broke = yield from _segment_at_once(iter([item]), request, out, 1, threads)
            if broke:
                yield Outcome(item, reason=f"{item.image}: {ENDED}.")


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _segment_at_once(
    items: Iterator[Item], request: Request, out: Path, jobs: int, threads: int
) -> Generator[Outcome, None, list[Item]]:
    """Takes items until none is left or a process breaks.

    Returns:
        Those that were under way when one broke.
    """
    under_way: dict[Future[Outcome], Item] = {}
    with _pool(jobs) as pool:
        while True:
            try:
                for item in islice(items, jobs + 1 - len(under_way)):
                    under_way[pool.submit(_segment, item, request, out, threads)] = item
            except BrokenProcessPool:
                return [item, *under_way.values()]
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


def _segment(item: Item, request: Request, out: Path, threads: int) -> Outcome:
    predictor = _open(request.model, request.runtime, request.device, request.precision, threads)
    try:
        return Outcome(item, segment_item(predictor, item, request, out))
    except ModelError:  # it would befall all others, too
        raise
    except VesaliusError as error:
        return Outcome(item, reason=str(error))
    except Exception as error:  # a fault of ours in one image must not lose all others
        kind = type(error).__name__
        reason = f"{item.image}: unexpected {kind} ({error}): a fault of Vesalius; please report it with the file."
        return Outcome(item, reason=reason)


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


PAGE = "index.html"
TABLE = "results.csv"
FILES = ("mask", "overlay")
"""Columns of the record that name files beside it."""

Watch = Callable[[Iterator[Outcome], int], Iterator[Outcome]]
"""Passes outcomes on and shows how many of how many have come."""


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    rows: list[Row]
    """Of the images done now or before, an image's together."""
    done: int
    """Images."""
    skipped: int
    """Images that were done before."""
    failures: list[dict[str, str]]
    """As ``{"source": …, "reason": …}``."""
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
            "results": [row | {kind: home / str(row[kind]) for kind in FILES if row[kind]} for row in self.rows],
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
) -> Summary:
    """Segment the images of files, folders and patterns.

    Masks, an overview of each image, a table, a page and the record `segmentation.json` come into one folder. What the
    record says is done, from the same files by the same settings, is skipped; what would take the place of anything
    else is refused; whatever fails is told and stops no other. A run that was ended at any moment can be started again.

    Args:
        paths: See `vesalius.segmenting.request.find_items`.
        request: What to ask of each.
        out: Folder of the results.
        table: A .csv or .parquet file; results.csv in the folder by default.
        jobs: Processes.
        each: List numbered pictures one by one, not as slices of a stack.
        overwrite: Do everything anew, and replace what is there.
        watch: For a progress bar.

    Raises:
        ConfigError: If an option is out of its range.
        ImageError: If there is nothing to segment at all.
        MissingPackageError, ModelError: If the model cannot be opened.
        OutputError: If the folder cannot be written, or a table of somebody else's is in the way.
        PromptError: If there is no phrase, or an empty one.
    """
    request = _check(request, jobs)
    target = (out / TABLE if table is None else table).absolute()
    check_table(target)
    out, page = out.absolute(), out.absolute() / PAGE
    known = Journal(out)
    items, failures = find_items(paths, known.own_files(), known.stems, choices=request.choices, each=each)
    if not items:
        raise ImageError(failures[0]["reason"] if failures else f"{paths[0]}: holds nothing but results of ours.")
    with alone(out):
        journal = Journal(out)
        check_absent([each for each in (page, target) if not journal.made(each)], overwrite)
        plan = journal.plan(items, request, overwrite)
        failures += plan.refused
        journal.begin(plan.todo, request, [page, target])
        done = _run(plan, request, journal, failures, jobs, watch)
        order = {item.image: place for place, item in enumerate(items)}
        rows = sorted(_all_rows(journal), key=lambda row: order.get(str(row["image"]), len(order)))
        if rows:
            write_table(target, rows)
            write_page(page, rows, failures, [target])
    wanted = {item.image for item in (*plan.todo, *plan.skipped)}
    told = [row for row in rows if row["image"] in wanted and "stem" in row]
    return Summary(told, done, len(plan.skipped), failures, page, target)


def _check(request: Request, jobs: int) -> Request:
    check_prompts(request.prompts)
    if len(set(request.prompts)) < len(request.prompts):
        raise ConfigError("--prompt: a phrase stands twice; name each once.")
    request.rules.check(len(request.prompts))
    if jobs < 1:
        raise ConfigError(f"--jobs: expected a number of processes, 1 or more, got {jobs}.")
    return replace(request, weights=sha256_of(find_checkpoint(request.model)))


def _run(
    plan: Plan, request: Request, journal: Journal, failures: list[dict[str, str]], jobs: int, watch: Watch
) -> int:
    """Segment what is to be done; how many were."""
    done = 0
    try:
        for outcome in watch(segment_items(plan.todo, request, journal.out, jobs), len(plan.todo)):
            if outcome.rows:
                journal.add(outcome.rows)
                done += 1
            else:
                failures.append({"source": outcome.item.image, "reason": outcome.reason})
    finally:
        journal.end()
    return done


def _all_rows(journal: Journal) -> Iterator[Row]:
    for image in sorted(journal.rows):
        yield from journal.rows[image]
