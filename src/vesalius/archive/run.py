"""A whole archive: list, plan, work, commit; whatever was done before is not done again."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from itertools import islice
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from vesalius.archive.items import WorkItem
from vesalius.archive.log import FAILED, ArchiveTotals, CommitLog, ShardResult, claim
from vesalius.archive.request import ArchiveRequest, WorkerOptions
from vesalius.archive.sources import ArchiveSource
from vesalius.archive.store import ArchiveStore
from vesalius.errors import ConfigError, OutputError
from vesalius.files import to_utf8

if TYPE_CHECKING:
    from vesalius.archive.worker import ShardWorker

AHEAD = 2
"""Batches that wait for each worker of this machine, besides the one it works on."""
FAILED_EVERY_S = 60.0
"""Seconds between writings of failed.parquet during a run."""

Batch = list[WorkItem]


@dataclass(frozen=True)
class ShardLimits:
    """Size of a shard; a killed worker loses at most one."""

    items: int = 512
    """Largest number of items."""
    bytes: int = 256 * 2**20
    """Bytes of the images from which a shard is full."""

    def check(self) -> None:
        """Refuse a limit below 1.

        Raises:
            ConfigError: If it is.
        """
        if self.items < 1:
            raise ConfigError(f"--shard: expected a number of images, 1 or more, got {self.items}.")


@dataclass
class RunProgress:
    """What a run tells while it works."""

    totals: ArchiveTotals
    """Of all runs."""
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
    """Their slices."""
    skipped: int
    """Items done by former runs, or listed twice."""
    failures: tuple[dict[str, object], ...]
    """All items that failed and were not done since: {"key", "source", "reason", "tries"}."""
    left_out: dict[str, int]
    """Ending of files, or modality of series, that are no images -> number."""
    seconds: float
    """Duration of this run."""
    totals: ArchiveTotals
    """Sums over all runs."""


Watch = Callable[[RunProgress], None]
Execute = Callable[[Iterator[Batch]], Iterator[ShardResult]]
"""Works on batches, in any order."""


class ArchivePlan:
    """Lists the items of a source, and puts those that are left into batches.

    Args:
        source: Where they are.
        log: What is done.
        limits: Size of a batch.
        retry: Try items again that failed in a former run.
    """

    def __init__(self, source: ArchiveSource, log: CommitLog, limits: ShardLimits, *, retry: bool = False) -> None:
        self._source, self._log, self._limits = source, log, limits
        self._given_up = set() if retry else {str(each["key"]) for each in log.totals.failures.values()}
        self.planned = self.skipped = 0
        self.complete = False
        self.failed: list[dict[str, object]] = []
        """Items that cannot be worked on at all, to be committed with the next shard."""

    def batches(self) -> Iterator[Batch]:
        """Batches of what is left, while it is listed."""
        batch: Batch = []
        size = 0
        for item in self._left():
            batch.append(item)
            size += item.size
            if len(batch) >= self._limits.items or size >= self._limits.bytes:
                yield batch
                batch, size = [], 0
        self.complete = True
        if batch:
            yield batch

    def _left(self) -> Iterator[WorkItem]:
        known = self._log.done
        for item in self._source.items():
            key = bytes.fromhex(item.key)
            if item.key in self._given_up:
                continue
            changed = known.knows_name(key) and key not in known
            if not known.add(key):
                self.skipped += 1
                continue
            problem = item.problem
            if changed:
                problem = (
                    f"{item.name}: was changed after it was done; its rows tell of its former state. Name "
                    "another --out to do it again."
                )
            if problem:
                self.failed.append(to_utf8({"key": item.key, "source": item.name, "reason": problem, "tries": 0}))
                continue
            self.planned += 1
            yield item


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
        retry: Try images again that failed in a former run.
        price_per_hour: Price of all machines together, for the sums.
        watch: Called after every shard.

    Raises:
        ConfigError: If an option is out of its range.
        ImageError: If there is no such source.
        MissingPackageError, ModelError: If the model cannot be opened.
        OutputError: If results cannot be written, were made with other settings, or another run writes there.
        PromptError: If a phrase is empty, or none is given.
    """
    request = request.check()
    options.check()
    limits.check()
    if workers < 0 or (ray is not None and workers < 1):
        raise ConfigError(f"--workers: expected {'1' if ray else '0'} or more, got {workers}.")
    source = ArchiveSource(request.source, each=request.each, out=out)
    store = ArchiveStore(out)
    if ray is None:
        execute = _execute_here(request, out, workers, options)
    else:
        from vesalius.archive.ray_run import execute_on_ray

        execute = execute_on_ray(request, out, workers, options, address=ray, gpus=gpus)
    with _alone(store):
        claim(store, request.settings())
        log = CommitLog(store, price_per_hour)
        log.begin()
        plan = ArchivePlan(source, log, limits, retry=retry)
        return _run(plan, log, execute, source, watch)


def _run(plan: ArchivePlan, log: CommitLog, execute: Execute, source: ArchiveSource, watch: Watch) -> ArchiveSummary:
    progress = RunProgress(log.totals)
    before, written = log.totals.items, time.monotonic()
    try:
        for result in execute(plan.batches()):
            told = ShardResult.from_dict({**result.to_dict(), "failed": (*result.failed, *_take(plan.failed))})
            progress.done += len({*result.keys, *(str(each["key"]) for each in result.failed)})
            progress.slices += result.slices
            progress.left, progress.complete = plan.planned - progress.done, plan.complete
            log.commit(told, progress.left, complete=plan.complete)
            watch(progress)
            if result.failed and time.monotonic() - written > FAILED_EVERY_S:
                write_failed(log)
                written = time.monotonic()
        if plan.failed:
            log.commit(ShardResult("", (), tuple(_take(plan.failed))), 0, complete=True)
        log.end()
    finally:
        write_failed(log)
    return ArchiveSummary(
        log.store.address,
        log.totals.items - before,
        progress.slices,
        plan.skipped,
        tuple(dict(each) for each in log.totals.failures.values()),
        dict(source.left_out),
        time.monotonic() - progress.began,
        log.totals,
    )


def _take(failed: list[dict[str, object]]) -> list[dict[str, object]]:
    """All that is waiting, which is then gone."""
    taken = list(failed)
    failed.clear()
    return taken


def write_failed(log: CommitLog) -> None:
    """Write failed.parquet anew; it has no rows if nothing failed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from vesalius.archive.schema import FAILURES

    sink = BytesIO()
    pq.write_table(pa.Table.from_pylist(list(log.totals.failures.values()), schema=FAILURES), sink)
    log.store.write(FAILED, sink.getvalue())


@contextmanager
def _alone(store: ArchiveStore) -> Iterator[None]:
    """Of two runs on this machine, refuse the second at once; elsewhere the log tells them apart."""
    folder = store.folder
    if folder is None:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".archive.lock", timeout=0):
            yield
    except Timeout as error:
        raise OutputError(f"{folder}: another run writes there; wait for it, or name another --out.") from error
    except OSError as error:
        if isinstance(error, FileExistsError | NotADirectoryError | PermissionError):
            raise OutputError(f"{folder}: cannot be made or written ({error.strerror}); name another --out.") from error
        raise


def _execute_here(request: ArchiveRequest, out: str, workers: int, options: WorkerOptions) -> Execute:
    """Work in this process, or in several of this machine."""
    from vesalius.archive.worker import ShardWorker
    from vesalius.processes import count_cores

    threads = options.threads or max(1, count_cores() // max(1, workers))
    how = WorkerOptions(threads, options.timeout_s, options.tries, isolated=workers > 0)

    def execute(batches: Iterator[Batch]) -> Iterator[ShardResult]:
        made = [ShardWorker(request, out, how) for _ in range(max(1, workers))]
        try:
            if workers == 0:
                yield from map(made[0].run, batches)
            else:
                yield from _at_once(made, batches)
        finally:
            for worker in made:
                worker.close()

    return execute


def _at_once(workers: "Sequence[ShardWorker]", batches: Iterator[Batch]) -> Iterator[ShardResult]:
    """Results as they come; batches are listed only as workers ask for them."""
    idle = list(workers)
    lock = threading.Lock()

    def work(batch: Batch) -> ShardResult:
        with lock:
            worker = idle.pop()
        try:
            return worker.run(batch)
        finally:
            with lock:
                idle.append(worker)

    pool = ThreadPoolExecutor(len(workers))
    waiting: set[Future[ShardResult]] = set()
    try:
        while True:
            room = len(workers) * (1 + AHEAD) - len(waiting)
            waiting |= {pool.submit(work, batch) for batch in islice(batches, room)}
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (each.result() for each in done)
    finally:
        for worker in workers:
            worker.close()
        pool.shutdown(cancel_futures=True)
