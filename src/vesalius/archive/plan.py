"""What of a source is left to do, in batches that are listed while others are worked on."""

import queue
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice

from vesalius.archive.items import KeyState, WorkItem
from vesalius.archive.log import CommitLog, Failure, name_of
from vesalius.archive.request import ShardLimits
from vesalius.files import escape_surrogates, to_utf8

LISTED_TOGETHER = 512
"""Number of items that are looked up together."""
POLL_S = 0.2
"""Seconds after which a listing notices that nobody waits for it any more."""

Batch = list[WorkItem]


class ArchivePlan:
    """Puts the items of a source that are left into batches.

    Args:
        items: All items, while they are listed.
        log: What is done.
        limits: Size of a batch.
        retry: Try again what failed in a former run.
    """

    def __init__(self, items: Iterator[WorkItem], log: CommitLog, limits: ShardLimits, *, retry: bool = False) -> None:
        self._items, self._log, self._limits = items, log, limits
        failed = {str(each["key"]) for each in log.totals.all_failures()}
        states = zip(failed, log.done.find([bytes.fromhex(key) for key in failed]), strict=True)
        partly = {key for key, state in states if state.known}
        self._given_up = set() if retry else failed - partly
        self.again = {key: tuple(log.totals.failures[name_of(key)]) for key in partly} if retry else {}
        """Key of items that are done but for some of their sources -> these sources, which are tried again."""
        self._unseen = set(log.totals.failures)
        self._unlisted: tuple[str, ...] = ()
        """How sources begin that may be there, though they were not listed."""
        self.planned = self.skipped = 0
        self.complete = False
        self.failed: deque[Failure] = deque()
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

    def gone(self) -> list[tuple[str, str]]:
        """Failures of former runs that were not listed any more, once all is: hash of a name, and source.

        What lies in a folder that could not be listed is none of them.
        """
        failures = self._log.totals.failures
        unseen = ((name, source) for name in sorted(self._unseen) for source in failures.get(name, ()))
        return [(name, source) for name, source in unseen if not source.startswith(self._unlisted)]

    def _left(self) -> Iterator[WorkItem]:
        while items := list(islice(self._items, LISTED_TOGETHER)):
            self._unseen.difference_update(name_of(each.key) for each in items)
            self._unlisted += tuple(_below(each.name) for each in items if each.problem and each.name.endswith("/"))
            items = [each for each in items if each.key not in self._given_up]
            states = self._log.done.add_all([bytes.fromhex(each.key) for each in items])
            for item, state in zip(items, states, strict=True):
                yield from self._sift(item, state)

    def _sift(self, item: WorkItem, state: KeyState) -> Iterator[WorkItem]:
        """The item if there is something to do; otherwise it is counted."""
        sources = self.again.get(item.key, ())
        if state.known and not sources:
            self.skipped += 1
            return
        problem = item.problem
        if state.named and not state.known:
            problem = (
                f"{item.name}: was changed after it was done; its rows tell of its former state. Name "
                "another --out to do it again."
            )
        if problem:
            self.failed.append(to_utf8({"key": item.key, "source": item.name, "reason": problem, "tries": 0}))
            return
        self.planned += 1
        yield replace(item, only=sources) if sources else item


def _below(folder: str) -> str:
    """How the sources of failures begin that lie in a folder, as failures write them."""
    name = escape_surrogates(folder).rstrip("/")
    return "" if name == "." else f"{name}/"


class ReadAhead(Iterator[Batch]):
    """The same batches, listed by a thread of their own; close it in the end.

    Args:
        batches: Where they come from.
        ahead: Batches that may wait.
    """

    def __init__(self, batches: Iterator[Batch], ahead: int) -> None:
        self._batches = batches
        self._waiting: queue.Queue[Batch | BaseException | None] = queue.Queue(ahead)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._fill, daemon=True)
        self._thread.start()

    def __next__(self) -> Batch:
        """The next batch; whatever the listing raises is raised here.

        Raises:
            StopIteration: After the last one, or once it is closed.
        """
        told = None if self._ended.is_set() else self._waiting.get()
        if isinstance(told, list):
            return told
        self._ended.set()
        raise StopIteration if told is None else told

    def close(self) -> None:
        """End the listing, and whoever waits for it."""
        self._ended.set()
        with suppress(queue.Full):
            self._waiting.put_nowait(None)

    def _fill(self) -> None:
        try:
            if all(map(self._put, self._batches)):
                self._put(None)
        except BaseException as error:  # raised again where batches are taken
            self._put(error)

    def _put(self, told: Batch | BaseException | None) -> bool:
        while not self._ended.is_set():
            with suppress(queue.Full):
                self._waiting.put(told, timeout=POLL_S)
                return True
        return False
