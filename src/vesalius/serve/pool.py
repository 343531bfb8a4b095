"""Workers, and the queue before each of them.

A worker is a process, since only a process can be stopped when a file keeps a decoder busy for ever, and only a process
can crash in a decoder's C code without taking the service along. Each upload has one worker, which holds its features,
and each worker does one job at a time. What is sent to workers and back is JSON; a worker is this module as a program.
"""

import json
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, Protocol

from vesalius.imaging.safeguards import BYTES_PER_MEGABYTE
from vesalius.isolation import Child, ChildEndedError, ChildError, ChildFailedError, ChildLateError, serve_frames
from vesalius.processes import share_cores
from vesalius.serve.engine import Engine, Job
from vesalius.serve.refusals import Refusal, ServiceError, where_of
from vesalius.serve.settings import ServeSettings

LOG = logging.getLogger("vesalius.serve")
ATTEMPTS = 2
"""How often a job is tried whose worker ended while it was at it."""
GRACE_S = 10.0
"""Seconds that a worker has to end by itself."""
LONGEST_WAIT = 60
"""Seconds that callers are told to wait at most."""
MEAN_SHARE = 0.2
"""Weight of the last job in the mean duration."""
RETRY_S = 5.0
"""Seconds after which a worker that could not load its model tries again."""

Answer = dict[str, object]


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker needs to know."""

    model: str
    uploads: str
    unpacked_bytes: int
    cache_bytes: int
    threads: int
    """Threads that compute; 0 for all cores."""
    place: int
    workers: int


class Runner(Protocol):
    """Does one job at a time."""

    def run(self, job: Job, timeout: float) -> Answer:
        """Do a job.

        Raises:
            ServiceError: If it fails or takes longer than ``timeout`` seconds.
        """
        ...

    def close(self) -> None:
        """End."""
        ...


class ProcessRunner:
    """Does jobs in a process, which is started when needed and anew when it ended.

    Args:
        settings: What the process needs to know.
        on_restart: Called whenever a process is started in the place of one that ended.
    """

    def __init__(self, settings: WorkerSettings, on_restart: Callable[[], None] = lambda: None) -> None:
        self._child = Child("vesalius.serve.pool", json.dumps(asdict(settings)).encode(), on_restart)

    def run(self, job: Job, timeout: float) -> Answer:
        """See `Runner`."""
        due = time.monotonic() + timeout
        content = json.dumps(dict(job)).encode()
        for _ in range(ATTEMPTS):
            self._open(due)
            try:
                return _to_answer(json.loads(self._child.ask(content, due)))
            except ChildEndedError:
                continue
            except ChildLateError as late:
                remedy = "Send fewer slices, or ask for more time."
                refusal = Refusal("The request took too long and was stopped", remedy=remedy)
                raise ServiceError(504, refusal) from late
            except ChildFailedError as failed:
                _refuse(failed)
        refusal = Refusal(
            f"The worker ended {ATTEMPTS} times while it was at this request",
            remedy="Check the file; it may be damaged.",
        )
        raise ServiceError(500, refusal)

    def close(self) -> None:
        """See `Runner`."""
        self._child.stop(GRACE_S)

    def _open(self, due: float) -> None:
        """Start the process, and load the model in it, unless they are."""
        try:
            self._child.start(due)
        except ChildError as error:
            _refuse(error)


def _refuse(error: ChildError) -> NoReturn:
    """Say that a worker cannot work; only the log may say what its model and its folders are called."""
    refusal = Refusal("A worker could not load the model", remedy="Try again in a while; the service's log says why.")
    raise ServiceError(503, refusal, retry_after=5, log=f"a worker could not load the model; {error}") from error


def open_engine(settings: bytes) -> Callable[[bytes], bytes]:
    """Load the model of a worker, and return what does jobs.

    Args:
        settings: `WorkerSettings` as JSON.
    """
    from vesalius.predict import Predictor
    from vesalius.runtime.contract import FeatureCache

    told = WorkerSettings(**json.loads(settings))
    predictor = Predictor(told.model, threads=told.threads, features=FeatureCache(told.cache_bytes))
    engine = Engine(predictor, Path(told.uploads), told.model, told.unpacked_bytes, told.place, told.workers)
    return lambda content: json.dumps(_answer(engine, json.loads(content))).encode()


def _answer(engine: Engine, job: Job) -> dict[str, object]:
    try:
        return {"answer": engine.do(job)}
    except ServiceError as error:
        told = {"status": error.status, "retry_after": error.retry_after, "log": error.log}
        return {"error": asdict(error.refusal), **told}


def _to_answer(told: Mapping[str, Any]) -> Answer:
    if "error" in told:
        raise ServiceError(told["status"], Refusal(**told["error"]), told["retry_after"], told["log"])
    answer = told["answer"]
    assert isinstance(answer, dict)
    return answer


@dataclass(frozen=True)
class _Waiting:
    job: Job
    future: "Future[Answer]"


class WorkerPool:
    """Bounded queues of jobs, one before each worker.

    Args:
        runners: Workers.
        waiting: Most jobs that wait for each.
        timeout: Seconds for one job.
    """

    def __init__(self, runners: Sequence[Runner], waiting: int, timeout: float) -> None:
        self._runners, self._timeout = runners, timeout
        self._queues: list[queue.Queue[_Waiting | None]] = [queue.Queue(waiting) for _ in runners]
        self._means = [1.0] * len(runners)
        self._busy = [False] * len(runners)
        self._stopping = False
        self._ready = [threading.Event() for _ in runners]
        self._threads = [
            threading.Thread(target=self._serve, args=(place,), name=f"worker-{place}", daemon=True)
            for place in range(len(runners))
        ]

    def start(self) -> None:
        """Start all workers; `ready` says when they have loaded their models."""
        for thread in self._threads:
            thread.start()

    @property
    def ready(self) -> bool:
        """Whether every worker has loaded its model, and jobs are accepted."""
        return not self._stopping and all(each.is_set() for each in self._ready)

    @property
    def waiting(self) -> int:
        """Number of jobs that wait."""
        return sum(each.qsize() for each in self._queues)

    def least_busy(self) -> int:
        """The worker with the fewest jobs."""
        return min(range(len(self._queues)), key=lambda place: self._queues[place].qsize() + self._busy[place])

    def submit(self, place: int, job: Job) -> "Future[Answer]":
        """Queue a job for a worker.

        Raises:
            ServiceError: If the queue is full, or the service ends.
        """
        if self._stopping:
            refusal = Refusal("The service is being stopped", remedy="Try again in a while.")
            raise ServiceError(503, refusal, retry_after=5)
        future: Future[Answer] = Future()
        try:
            self._queues[place].put_nowait(_Waiting(job, future))
        except queue.Full as error:
            seconds = math.ceil(self._means[place] * (self._queues[place].qsize() + 1))
            wait = max(1, min(LONGEST_WAIT, seconds))
            refusal = Refusal("The queue is full", remedy=f"Try again in {wait} seconds.")
            raise ServiceError(429, refusal, retry_after=wait) from error
        return future

    def accept_no_more(self) -> None:
        """Refuse further jobs, and be ready no more; what was accepted is done."""
        self._stopping = True

    def close(self, grace: float) -> None:
        """Do what was accepted, accept no more, and end the workers.

        Args:
            grace: Seconds for what was accepted; what is not done then is ended.
        """
        self._stopping = True
        due = time.monotonic() + grace
        for each in self._queues:
            with suppress(queue.Full):
                each.put(None, timeout=max(0.0, due - time.monotonic()))
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, due - time.monotonic()))
        for runner in self._runners:
            runner.close()

    def _serve(self, place: int) -> None:
        """Do the jobs of one worker's queue."""
        self._greet(place)
        while True:
            try:
                waiting = self._queues[place].get(timeout=None if self._ready[place].is_set() else RETRY_S)
            except queue.Empty:
                self._greet(place)
                continue
            if waiting is None:
                return
            if waiting.future.set_running_or_notify_cancel():  # otherwise whoever asked has gone
                self._do(place, waiting)

    def _greet(self, place: int) -> None:
        """Let a worker load its model before anybody waits for it."""
        try:
            self._runners[place].run({"kind": "hello"}, self._timeout)
            self._ready[place].set()
        except ServiceError as error:
            LOG.error("worker %d: %s", place, error.log or error)
        except Exception as error:  # the thread lives on
            LOG.error("worker %d: %s", place, where_of(error))

    def _do(self, place: int, waiting: _Waiting) -> None:
        start = time.monotonic()
        self._busy[place] = True
        try:
            answer = self._runners[place].run(waiting.job, self._timeout)
            self._ready[place].set()
            waiting.future.set_result(answer)
        except Exception as error:  # told to whoever asked, so that the thread lives on
            waiting.future.set_exception(error)
        self._busy[place] = False
        self._means[place] += MEAN_SHARE * (time.monotonic() - start - self._means[place])


def worker_settings(settings: ServeSettings, uploads: Path) -> list[WorkerSettings]:
    """What each worker needs to know, among it its equal share of the cache and of the processor's cores.

    Args:
        settings: Of the service.
        uploads: Folder of all uploads.
    """
    limits, count = settings.limits, settings.workers
    first = WorkerSettings(
        model=settings.model,
        uploads=str(uploads),
        unpacked_bytes=limits.unpacked_megabytes * BYTES_PER_MEGABYTE,
        cache_bytes=limits.cache_megabytes * BYTES_PER_MEGABYTE // count,
        threads=0 if count == 1 else share_cores(count),
        place=0,
        workers=count,
    )
    return [replace(first, place=place) for place in range(count)]


if __name__ == "__main__":
    serve_frames(open_engine)
