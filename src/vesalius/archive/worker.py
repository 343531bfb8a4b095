"""A worker: batches of items to shards of rows and masks, each item in a process that it may break alone."""

import io
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from vesalius import errors
from vesalius.archive.items import WorkItem
from vesalius.archive.log import TABLES, ShardResult, pending_of
from vesalius.archive.request import ArchiveRequest, WorkerOptions
from vesalius.archive.store import ArchiveStore
from vesalius.archive.work import ItemOutcome, ItemWorker
from vesalius.errors import ModelError, VesaliusError
from vesalius.files import to_json, to_utf8
from vesalius.isolation import Child, ChildEndedError, ChildFailedError, ChildLateError

START_S = 600.0
"""Seconds that a process may take to open its model."""
STARTS = 3
"""Largest number of starts in a row, if all fail."""


class IsolatedItemWorker:
    """An `ItemWorker` in a process of its own, which is started again after an item broke it or took too long."""

    def __init__(self, request: ArchiveRequest, options: WorkerOptions) -> None:
        self._request, self._options = request, options
        asked = {"request": request.to_dict(), "threads": options.threads}
        self._child = Child("vesalius.archive.child", to_json(asked, indent=None).encode())

    def run(self, item: WorkItem) -> ItemOutcome:
        """See `ItemWorker`.

        Raises:
            ChildStoppedError: If it is closed, now or before.
            VesaliusError: If the process says that no item can be worked on.
        """
        self._open()
        content = to_json(item.to_dict(), indent=None).encode()
        try:
            return ItemOutcome.from_bytes(self._child.ask(content, time.monotonic() + self._options.timeout_s))
        except ChildLateError:
            reason = f"took more than {self._options.timeout_s:g} s; --timeout allows more"
        except ChildEndedError as ended:
            reason = str(ended)
        except ChildFailedError as failed:
            raise self._to_error(failed) from failed
        return ItemOutcome.failed(self._request, item.name, f"{item.name}: {reason}.", again=True)

    def close(self) -> None:
        """End the process; another thread that waits for an item is told `ChildStoppedError`."""
        self._child.stop()

    def _open(self) -> None:
        """Start the process, and open the model in it, unless they are."""
        for _ in range(STARTS):
            try:
                return self._child.start(time.monotonic() + START_S)
            except ChildFailedError as failed:
                raise self._to_error(failed) from failed
            except ChildLateError as late:
                raise self._unopened(f"it took more than {START_S:g} s") from late
            except ChildEndedError as ended:
                told = str(ended)
        raise self._unopened(told)

    def _to_error(self, failed: ChildFailedError) -> VesaliusError:
        """What concerns all items, as the process raised it."""
        kind = getattr(errors, failed.kind, None)
        if isinstance(kind, type) and issubclass(kind, VesaliusError):
            return kind(failed.message)
        return self._unopened(str(failed))

    def _unopened(self, reason: str) -> ModelError:
        return ModelError(
            f"{self._request.model}: a worker could not open it; {reason.rstrip('.')}. `--workers 0` shows why."
        )


class ShardWorker:
    """Turns batches into shards.

    Args:
        request: What is asked.
        out: Folder of the results, or its URL.
        options: How it works.
    """

    def __init__(self, request: ArchiveRequest, out: str, options: WorkerOptions) -> None:
        self._store, self._request, self._options = ArchiveStore(out), request, options
        self._isolated = IsolatedItemWorker(request, options) if options.isolated else None

    @cached_property
    def _here(self) -> ItemWorker:
        """Works on items in this process; its model is opened with the first."""
        return ItemWorker(self._request, self._options.threads)

    def run(self, items: Sequence[WorkItem]) -> ShardResult:
        """Work on a batch, and write its pending files.

        Raises:
            ChildStoppedError: If it is closed, now or before.
            OutputError: If they cannot be written.
            VesaliusError: If no item at all can be worked on.
        """
        begin = time.perf_counter()
        outcomes: list[ItemOutcome] = []
        done: list[str] = []
        failed: list[dict[str, object]] = []
        for item in items:
            outcome, tries = self._try(item)
            outcomes.append(outcome)
            failed += [to_utf8({"key": item.key, **each, "tries": tries}) for each in outcome.failures]
            done += [item.key] if outcome.rows.num_rows else []
        seconds = {kind: sum(each.seconds[kind] for each in outcomes) for kind in ("read", "model", "write")}
        seconds["other"] = time.perf_counter() - begin - sum(seconds.values())
        begin = time.perf_counter()
        tables = {name: pa.concat_tables([getattr(each, name) for each in outcomes]) for name in TABLES}
        shard, size = self._write(tables)
        seconds["write"] += time.perf_counter() - begin
        return ShardResult(
            shard,
            tuple(done),
            tuple(failed),
            slices=sum(each.slices for each in outcomes),
            rows=tables["rows"].num_rows,
            masks=tables["masks"].num_rows,
            bytes=size,
            left_out=sum(each.left_out for each in outcomes if each.rows.num_rows),
            seconds={kind: round(value, 6) for kind, value in seconds.items()},
        )

    def close(self) -> None:
        """End what it started."""
        if self._isolated is not None:
            self._isolated.close()

    def _try(self, item: WorkItem) -> tuple[ItemOutcome, int]:
        """What became of an item, and how often it was tried."""
        for number in range(1, self._options.tries + 1):  # noqa: B007 - the last is told
            outcome = (self._isolated or self._here).run(item)
            if not outcome.again:
                break
        return outcome, number

    def _write(self, tables: Mapping[str, pa.Table]) -> tuple[str, int]:
        """The name of the pending files, "" if there is nothing to write, and their bytes."""
        shard, size = "", 0
        for name, table in tables.items():
            if table.num_rows:
                shard, sink = shard or uuid4().hex, io.BytesIO()
                pq.write_table(table, sink, compression="zstd")
                self._store.write(pending_of(name, shard), sink.getvalue())
                size += len(sink.getvalue())
        return shard, size
