"""Many images one after the other, or several at once in processes of their own."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import TYPE_CHECKING

from vesalius.console import is_quiet, keeping_quiet, showing_all_as_text
from vesalius.errors import ModelError, VesaliusError
from vesalius.predict import Predictor
from vesalius.record import Row
from vesalius.runtime import RuntimeChoice
from vesalius.segmenting.one_image import segment_item
from vesalius.segmenting.request import Item, Request

if TYPE_CHECKING:
    from vesalius.models.devices import Precision

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
