"""A whole archive: list, plan, work, commit; whatever was done before is not done again."""

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, fields, replace
from io import BytesIO
from itertools import chain
from typing import TYPE_CHECKING

from vesalius.archive.log import FAILED, ArchiveTotals, CommitLog, Failure, ShardResult, check_own, claim, name_of
from vesalius.archive.plan import ArchivePlan, Batch, ReadAhead
from vesalius.archive.request import ArchiveRequest, ShardLimits, WorkerOptions
from vesalius.archive.sources import ArchiveSource
from vesalius.archive.store import ArchiveStore
from vesalius.errors import ConfigError
from vesalius.files import to_utf8
from vesalius.journal import alone

if TYPE_CHECKING:
    from vesalius.archive.worker import ShardWorker

AHEAD = 2
"""Batches that are listed ahead of the workers."""
CLOSE_S = 5.0
"""Seconds that threads have to end, which may be waiting for a slow listing."""
FAILED_EVERY_S = 60.0
"""Seconds between writings of failed.parquet during a run."""


@dataclass
class RunProgress:
    """What a run tells while it works."""

    totals: ArchiveTotals
    """Sums over all runs."""
    left: int = 0
    """Items that are listed and wait."""
    complete: bool = False
    """Whether all items are listed."""
    done: int = 0
    """Items that this run has done or given up."""
    slices: int = 0
    """Slices of this run."""
    began: float = field(default_factory=time.monotonic)

    @property
    def slices_per_s(self) -> float:
        """Pace of this run."""
        return self.slices / max(time.monotonic() - self.began, 1e-9)

    @property
    def eta_s(self) -> float | None:
        """Seconds until everything that is listed is done, at the pace of this run; None before the first item."""
        return self.left * (time.monotonic() - self.began) / self.done if self.done else None


@dataclass(frozen=True)
class ArchiveSummary:
    """What a run did, and what the archive holds now."""

    out: str
    done: int
    """Items done by this run."""
    slices: int
    """Slices of those items."""
    skipped: int
    """Items done by former runs, or listed twice."""
    failures: tuple[dict[str, object], ...]
    """All items that failed and were not done since: {"key", "source", "reason", "tries"}."""
    left_out: dict[str, int]
    """Ending of files, or modality of series, that are no images, "no ending" or why others are left out -> number."""
    alone: int
    """DICOM files that a table lists one by one, so that slices of a series did not decide together."""
    seconds: float
    """Duration of this run."""
    totals: ArchiveTotals
    """Sums over all runs."""

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON; without the totals, which ``vesalius archive status`` tells."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "totals"}


Watch = Callable[[RunProgress], None]
Execute = Callable[[Iterator[Batch]], Generator[ShardResult, None, None]]
"""Works on batches, in any order."""


def run_archive(
    request: ArchiveRequest,
    out: str,
    *,
    workers: int = 1,
    options: WorkerOptions = WorkerOptions(),  # noqa: B008 - frozen
    limits: ShardLimits = ShardLimits(),  # noqa: B008 - frozen
    ray: str | None = None,
    gpus: float = 0.0,
    retry: bool = False,
    price_per_hour: float = 0.0,
    watch: Watch = lambda progress: None,
) -> ArchiveSummary:
    """Name or segment every image of a source, each exactly once.

    Results are committed shard by shard; the same call after any interruption goes on where it was. What fails is
    told in failed.parquet and stops nothing else.

    Args:
        request: What is asked of which source.
        out: Folder or URL of the results.
        workers: Processes with a model each; 0 works in this process, where a damaged file may end or hang the run.
        options: How they work.
        limits: Size of a shard.
        ray: "local" starts a Ray cluster on this machine; otherwise the address of one, such as "auto".
        gpus: Of Ray: GPUs for each worker.
        retry: Try again what failed in a former run.
        price_per_hour: Price of all machines together, for the sums.
        watch: Called after every shard.

    Raises:
        ConfigError: If an option is out of its range.
        DataError: If a manifest is none.
        ImageError: If there is no such source, or no image in it.
        MissingPackageError, ModelError: If the model cannot be opened.
        OutputError: If results cannot be written, were made with other settings, or another run writes there.
        PromptError: If a phrase is empty, or none is given.
    """
    request = request.resolve()
    options.check()
    limits.check()
    _check_numbers(workers, price_per_hour, gpus, on_ray=ray is not None)
    store = ArchiveStore(out)
    source = ArchiveSource(request.source, each=request.each, out=out)
    check_own(store)
    request = replace(request, source=source.place)
    if ray is None:
        execute = _execute_here(request, store.place, workers, options)
    else:
        from vesalius.archive.ray_run import execute_on_ray

        execute = execute_on_ray(request, store.place, workers, options, address=ray, gpus=gpus)
    items = source.items()
    first = next(items)  # whatever is wrong with the source shows before anything is written
    folder = store.folder  # elsewhere the log tells two runs apart
    with nullcontext() if folder is None else alone(folder, "archive run", ".archive.lock"):
        claim(store, request.settings())
        log = CommitLog(store, price_per_hour)
        log.begin()
        plan = ArchivePlan(chain([first], items), log, limits, retry=retry)
        return _run(plan, log, execute, source, watch)


def _check_numbers(workers: int, price_per_hour: float, gpus: float, *, on_ray: bool) -> None:
    if workers < on_ray:
        raise ConfigError(f"--workers: expected {int(on_ray)} or more, got {workers}.")
    for name, value in (("--price-per-hour", price_per_hour), ("--gpus", gpus)):
        if not 0 <= value < math.inf:
            raise ConfigError(f"{name}: expected a number, 0 or more, got {value:g}.")
    if gpus and not on_ray:
        raise ConfigError("--gpus: goes with --ray; without it, --device cuda:0 names the GPU.")


def _run(plan: ArchivePlan, log: CommitLog, execute: Execute, source: ArchiveSource, watch: Watch) -> ArchiveSummary:
    progress = RunProgress(log.totals)
    before, written = log.totals.items, time.monotonic()
    try:
        batches = ReadAhead(plan.batches(), AHEAD)
        with closing(execute(batches)) as results, closing(batches):
            for result in results:
                _commit(result, plan, log, progress)
                watch(progress)
                if result.failed and time.monotonic() - written > FAILED_EVERY_S:
                    write_failed(log)
                    written = time.monotonic()
        if plan.failed:
            log.commit(ShardResult("", (), tuple(_take(plan.failed))), 0, complete=True)
        log.end(plan.gone())
    finally:
        if not log.fenced:
            write_failed(log)
    return ArchiveSummary(
        out=log.store.address,
        done=log.totals.items - before,
        slices=progress.slices,
        skipped=plan.skipped,
        failures=tuple(dict(each) for each in log.totals.all_failures()),
        left_out={**source.left_out, **({"no ending": log.totals.left_out} if log.totals.left_out else {})},
        alone=source.alone,
        seconds=time.monotonic() - progress.began,
        totals=log.totals,
    )


def _commit(result: ShardResult, plan: ArchivePlan, log: CommitLog, progress: RunProgress) -> None:
    complete = plan.complete  # before what is planned, which grows until then
    ended = {*result.keys, *(str(each["key"]) for each in result.failed)}
    progress.done += len(ended)
    progress.slices += result.slices
    progress.left, progress.complete = plan.planned - progress.done, complete
    gone = [(name_of(key), source) for key in plan.again.keys() & ended for source in plan.again[key]]
    keys = tuple(key for key in result.keys if key not in plan.again)  # those were counted before
    told = replace(result, keys=keys, failed=(*result.failed, *_take(plan.failed)))
    log.commit(told, progress.left, complete=complete, gone=gone)


def _take(failed: deque[Failure]) -> list[Failure]:
    """All that is waiting, which is then gone; more may come meanwhile."""
    return [failed.popleft() for _ in range(len(failed))]


def write_failed(log: CommitLog) -> None:
    """Write failed.parquet anew; it has no rows if nothing failed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from vesalius.archive.schema import FAILURES

    sink = BytesIO()
    failures = list(map(to_utf8, log.totals.all_failures()))
    pq.write_table(pa.Table.from_pylist(failures, schema=FAILURES), sink)
    log.store.write(FAILED, sink.getvalue())


def _execute_here(request: ArchiveRequest, out: str, workers: int, options: WorkerOptions) -> Execute:
    """Work in this process, or in several of this machine."""
    from vesalius.archive.worker import ShardWorker
    from vesalius.processes import share_cores

    threads = options.threads or share_cores(max(1, workers))
    how = replace(options, threads=threads, isolated=workers > 0)

    def execute(batches: Iterator[Batch]) -> Generator[ShardResult, None, None]:
        made = [ShardWorker(request, out, how) for _ in range(max(1, workers))]
        try:
            if workers == 0:
                yield from map(made[0].run, batches)
            else:
                yield from _WorkerThreads(made, batches).results()
        finally:
            for worker in made:
                worker.close()

    return execute


class _WorkerThreads:
    """A thread for each worker, which takes the next batch itself, so that no worker waits for what is committed."""

    def __init__(self, workers: "Sequence[ShardWorker]", batches: Iterator[Batch]) -> None:
        self._workers, self._batches = workers, batches
        self._told: queue.SimpleQueue[ShardResult | BaseException | None] = queue.SimpleQueue()
        self._taking, self._ended = threading.Lock(), threading.Event()

    def results(self) -> Iterator[ShardResult]:
        """Results as they come."""
        threads = [threading.Thread(target=self._work, args=(each,), daemon=True) for each in self._workers]
        try:
            for thread in threads:
                thread.start()
            for _ in threads:
                yield from self._until_one_ends()
        finally:
            self._ended.set()
            for worker in self._workers:
                worker.close()
            for thread in threads:
                thread.join(CLOSE_S)

    def _until_one_ends(self) -> Iterator[ShardResult]:
        while (told := self._told.get()) is not None:
            if isinstance(told, BaseException):
                raise told
            yield told

    def _work(self, worker: "ShardWorker") -> None:
        try:
            while (batch := self._take()) is not None:
                self._told.put(worker.run(batch))
            self._told.put(None)
        except BaseException as error:  # raised again where results are taken
            self._told.put(error)

    def _take(self) -> Batch | None:
        with self._taking:
            batch = next(self._batches, None)
        return None if self._ended.is_set() else batch
