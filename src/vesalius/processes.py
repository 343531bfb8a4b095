"""Work on many things at once, in processes of their own; one that fails, or breaks its process, stops no other."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import wait as wait_for
from typing import Generic, Protocol, TypeVar

from vesalius.console import is_quiet, keeping_quiet, showing_all_as_text
from vesalius.errors import ConfigError, reason_of

ENDED = "its process was ended from outside, probably for lack of memory; try --jobs 1, or a smaller image"
SAFE_PATH = "PYTHONSAFEPATH"


class Placed(Protocol):
    """Something to work on that messages can name."""

    @property
    def path(self) -> str:
        """Its path."""


Tool = TypeVar("Tool")
Item = TypeVar("Item", bound=Placed)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome(Generic[Item, Result]):
    """What became of one item."""

    source: Item
    result: Result | None = None
    """What the work returned; None if it failed."""
    reason: str = ""
    """Why it failed."""


@dataclass(frozen=True)
class Work(Generic[Tool, Item, Result]):
    """What is done to each item; both functions must be found by their module and name in another process."""

    prepare: Callable[[int], Tool]
    """Opens what the work needs, with this number of threads, 0 for all cores; should keep it for the next item."""
    apply: Callable[[Tool, Item], Result]


def check_jobs(jobs: int) -> None:
    """Refuse a number of processes below 1.

    Raises:
        ConfigError: Naming the option.
    """
    if jobs < 1:
        raise ConfigError(f"--jobs: expected a number of processes, 1 or more, got {jobs}.")


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_cores(processes: int) -> int:
    """Threads for each of several processes at work at once, 1 or more."""
    return max(1, count_cores() // processes)


def work_at_once(
    items: Sequence[Item], work: Work[Tool, Item, Result], jobs: int = 1
) -> Generator[Outcome[Item, Result], None, None]:
    """Do the work to each item.

    Whoever leaves it before its end, as by Ctrl-C, closes it, which ends its processes at once.

    Args:
        items: What to work on.
        work: What is done.
        jobs: Number of processes, each with tools of its own and an equal share of the processor's cores; 1 works in
            the caller's.

    Yields:
        What became of each item, in the order in which they end.

    Raises:
        ConfigError, MissingPackageError, ModelError: If the tools cannot be prepared.
        ModelError: If the work raises one: it would befall all others, too.
    """
    jobs = min(jobs, len(items))
    if jobs <= 1:
        for item in items:
            yield _do(work, item, 0)
        return
    threads = share_cores(jobs)
    left = iter(items)
    while True:
        suspects = yield from _at_once(left, work, jobs, threads)
        if not suspects:
            return
        for item in suspects:  # one of them broke the processes: each gets one that it can break alone
            broke = yield from _at_once(iter([item]), work, 1, threads)
            if broke:
                yield Outcome(item, reason=f"{item.path}: {ENDED}.")


def _at_once(
    items: Iterator[Item], work: Work[Tool, Item, Result], jobs: int, threads: int
) -> Generator[Outcome[Item, Result], None, list[Item]]:
    """Work in processes until nothing is left or a process breaks.

    Returns:
        The items that were under way when a process broke.
    """
    under_way: dict[Future[Outcome[Item, Result]], Item] = {}
    with open_pool(jobs) as pool:
        while True:
            try:
                for item in islice(items, jobs + 1 - len(under_way)):
                    under_way[pool.submit(_do, work, item, threads)] = item
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


def _do(work: Work[Tool, Item, Result], item: Item, threads: int) -> Outcome[Item, Result]:
    tool = work.prepare(threads)
    try:
        return Outcome(item, work.apply(tool, item))
    except Exception as error:  # even a fault of ours in one image must not lose all others
        return Outcome(item, reason=reason_of(item.path, error))


@contextmanager
def open_pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with the caller, however it ends; by Ctrl-C or an error at once, whatever they are doing."""
    with _leaving_out_the_current_folder():
        pool = ProcessPoolExecutor(
            jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare, initargs=(is_quiet(),)
        )
        try:
            yield pool
        except BaseException:
            for process in list(pool._processes.values()):  # what hangs never ends, and results are whole or not there
                process.kill()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _leaving_out_the_current_folder() -> Iterator[None]:
    """Processes that are started look for no modules there, where images lie."""
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(SAFE_PATH, None)
        else:
            os.environ[SAFE_PATH] = before


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
