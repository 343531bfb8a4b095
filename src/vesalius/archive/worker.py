"""A worker: batches of items to shards of rows and masks, each item in a process that it may break alone."""

import io
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, BinaryIO, Protocol, cast
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from vesalius import errors
from vesalius.archive.child import ERROR, OUTCOME, READY, receive_frame, send_frame
from vesalius.archive.items import WorkItem
from vesalius.archive.log import PENDING, TABLES, ShardResult
from vesalius.archive.request import ArchiveRequest, WorkerOptions
from vesalius.archive.store import ArchiveStore
from vesalius.archive.work import ItemOutcome, ItemWorker
from vesalius.errors import VesaliusError
from vesalius.files import parse_json, to_json, to_utf8

START_S = 600.0
"""Seconds that a process may take to open its model."""
STARTS = 3
"""Starts in a row that may fail."""


class ItemRunner(Protocol):
    """Works on items one by one."""

    def run(self, item: WorkItem) -> tuple[ItemOutcome, int]:
        """The outcome, and how often it was tried."""
        ...

    def close(self) -> None:
        """End what was started."""
        ...


class DirectRunner:
    """Works on items in this process."""

    def __init__(self, request: ArchiveRequest, options: WorkerOptions) -> None:
        self._worker, self._tries = ItemWorker(request, options.threads), options.tries

    def run(self, item: WorkItem) -> tuple[ItemOutcome, int]:
        """See `ItemRunner`."""
        for number in range(1, self._tries + 1):  # noqa: B007 - the last is told
            outcome = self._worker.run(item)
            if not outcome.again:
                break
        return outcome, number

    def close(self) -> None:
        """See `ItemRunner`."""


class IsolatedRunner:
    """Works on items in a process of their own, which is started again after an item broke it or took too long."""

    def __init__(self, request: ArchiveRequest, options: WorkerOptions) -> None:
        self._request, self._options = request, options
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._closed = False

    def run(self, item: WorkItem) -> tuple[ItemOutcome, int]:
        """See `ItemRunner`.

        Raises:
            VesaliusError: If the process says that no item can be worked on.
        """
        for number in range(1, self._options.tries + 1):  # noqa: B007 - the last is told
            outcome = self._try(item)
            if not outcome.again:
                break
        return outcome, number

    def close(self) -> None:
        """See `ItemRunner`."""
        self._closed = True
        self._stop()

    def _try(self, item: WorkItem) -> ItemOutcome:
        process = self._start()
        try:
            send_frame(_input_of(process), to_json(item.to_dict(), indent=None).encode())
            answer = self._answers.get(timeout=self._options.timeout_s)
        except queue.Empty:
            self._stop()
            reason = f"{item.name}: took more than {self._options.timeout_s:g} s; --timeout allows more"
            return ItemOutcome.failed(self._request, item.name, f"{reason}.", again=True)
        except OSError:
            answer = None
        if answer is None:
            return ItemOutcome.failed(self._request, item.name, f"{item.name}: {self._ended()}.", again=True)
        self._raise(answer)
        return ItemOutcome.from_bytes(answer[len(OUTCOME) :])

    def _start(self) -> "subprocess.Popen[bytes]":
        """The process, with its model open."""
        if self._process is not None:
            return self._process
        for _ in range(STARTS):
            if self._closed:
                break
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "vesalius.archive.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # libraries may name files, which may name patients
                env={**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)},
            )
            self._answers = queue.SimpleQueue()
            threading.Thread(target=_collect, args=(process.stdout, self._answers), daemon=True).start()
            asked = {"request": self._request.to_dict(), "threads": self._options.threads}
            try:
                send_frame(_input_of(process), to_json(asked, indent=None).encode())
                answer = self._answers.get(timeout=START_S)
            except (OSError, queue.Empty):
                answer = None
            if answer is not None:
                self._raise(answer)
                return process
            told = self._ended()
        raise errors.ModelError(f"{self._request.model}: a worker could not open it; {told}.")

    def _raise(self, answer: bytes) -> None:
        """Raise what concerns all items."""
        if not answer.startswith(ERROR):
            assert answer.startswith((OUTCOME, READY))
            return
        told: Any = parse_json(answer[len(ERROR) :].decode(), "answer")
        kind = getattr(errors, told["kind"], VesaliusError)
        self._stop()
        raise kind(told["message"])

    def _ended(self) -> str:
        """How the process ended, in words; it is gone afterwards."""
        assert self._process is not None
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = None
        self._stop()
        if code is not None and code < 0:
            return f"its process was ended by {_name_signal(-code)}, by a damaged file or for lack of memory"
        return f"its process ended with code {code}"

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                with suppress(OSError):  # what was not sent yet cannot be sent any more
                    stream.close()


def _input_of(process: "subprocess.Popen[bytes]") -> BinaryIO:
    assert process.stdin is not None
    return cast(BinaryIO, process.stdin)


def _name_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _collect(stream: BinaryIO, answers: "queue.SimpleQueue[bytes | None]") -> None:
    try:
        while (content := receive_frame(stream)) is not None:
            answers.put(content)
    except (OSError, ValueError):  # closed in the meantime
        pass
    answers.put(None)


class ShardWorker:
    """Turns batches into shards; its model is opened with the first.

    Args:
        request: What is asked.
        out: Folder of the results, or its URL.
        options: How it works.
    """

    def __init__(self, request: ArchiveRequest, out: str, options: WorkerOptions) -> None:
        self._request, self._store, self._options = request, ArchiveStore(out), options
        self._runner: ItemRunner | None = None

    def run(self, items: Sequence[WorkItem]) -> ShardResult:
        """Work on a batch, and write its pending files.

        Raises:
            OutputError: If they cannot be written.
            VesaliusError: If no item at all can be worked on.
        """
        if self._runner is None:
            self._runner = (IsolatedRunner if self._options.isolated else DirectRunner)(self._request, self._options)
        done: list[str] = []
        failed: list[dict[str, object]] = []
        tables: dict[str, list[pa.Table]] = {name: [] for name in TABLES}
        seconds = dict.fromkeys(("read", "model", "write", "other"), 0.0)
        slices = 0
        for item in items:
            begin = time.perf_counter()
            outcome, tries = self._runner.run(item)
            failed += [to_utf8({"key": item.key, **each, "tries": tries}) for each in outcome.failures]
            if outcome.rows.num_rows:
                done.append(item.key)
            slices += outcome.slices
            for name in TABLES:
                tables[name].append(getattr(outcome, name))
            for name, value in outcome.seconds.items():
                seconds[name] += value
            seconds["other"] += time.perf_counter() - begin - sum(outcome.seconds.values())
        begin = time.perf_counter()
        shard, size = uuid4().hex, 0
        counts = {}
        for name, parts in tables.items():
            table = pa.concat_tables(parts)
            counts[name] = table.num_rows
            if table.num_rows:
                size += self._write(f"{PENDING}/{shard}.{name}.parquet", table)
        seconds["write"] += time.perf_counter() - begin
        told = {name: round(value, 6) for name, value in seconds.items()}
        return ShardResult(
            shard if counts["rows"] else "", tuple(done), tuple(failed), slices, **counts, bytes=size, seconds=told
        )

    def close(self) -> None:
        """End what it started."""
        if self._runner is not None:
            self._runner.close()

    def _write(self, name: str, table: pa.Table) -> int:
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd")
        self._store.write(name, sink.getvalue())
        return len(sink.getvalue())
