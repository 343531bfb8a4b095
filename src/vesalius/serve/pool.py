"""Workers, and the queue before each of them.

A worker is a process, since only a process can be stopped when a file keeps a decoder busy for ever, and only a process
can crash in a decoder's C code without taking the service along. Each upload has one worker, which holds its features,
and each worker does one job at a time. What is sent to workers and back is JSON.
"""

import json
import math
import multiprocessing
import multiprocessing.connection
import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from vesalius.processes import count_cores
from vesalius.serve.engine import Engine, Job
from vesalius.serve.refusals import Refusal, ServiceError

ATTEMPTS = 2
"""How often a job is tried whose worker ended while it was at it."""
GRACE_S = 10.0
"""Time to end by itself."""
LONGEST_WAIT = 60
"""Seconds that callers are told to wait at most."""
MEAN_SHARE = 0.2
"""Weight of the last job in the mean duration."""

Answer = dict[str, object]


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker needs to know."""

    model: str
    uploads: str
    unpacked_bytes: int
    cache_bytes: int
    threads: int
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
        self._settings, self._on_restart = settings, on_restart
        self._context = multiprocessing.get_context("spawn")
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: multiprocessing.connection.Connection[object, object] | None = None

    def run(self, job: Job, timeout: float) -> Answer:
        """See `Runner`."""
        due = time.monotonic() + timeout
        for _ in range(ATTEMPTS):
            answer = self._try(job, due)
            if answer is not None:
                return _to_answer(answer)
            self._stop()
        refusal = Refusal(
            f"The worker ended {ATTEMPTS} times while it was at this request",
            remedy="Check the file; it may be damaged.",
        )
        raise ServiceError(500, refusal)

    def close(self) -> None:
        """See `Runner`."""
        if self._process is not None:
            self._stop(GRACE_S)

    def _try(self, job: Job, due: float) -> Mapping[str, object] | None:
        """The worker's answer; None if it ended before it gave one.

        Raises:
            ServiceError: If time is up; the worker is ended.
        """
        pipe = self._open()
        try:
            pipe.send_bytes(json.dumps(dict(job)).encode())
            if pipe.poll(max(0.0, due - time.monotonic())):
                return dict(json.loads(pipe.recv_bytes()))
        except (EOFError, OSError):
            return None
        self._stop()
        raise ServiceError(
            504, Refusal("The request took too long and was stopped", remedy="Send fewer slices, or ask for more time.")
        )

    def _open(self) -> "multiprocessing.connection.Connection[object, object]":
        if self._process is not None and self._process.is_alive() and self._pipe is not None:
            return self._pipe
        if self._process is not None:
            self._stop()
        ours, theirs = self._context.Pipe()
        self._process = self._context.Process(target=work, args=(theirs, self._settings), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe = ours
        return ours

    def _stop(self, grace: float = 0.0) -> None:
        """End the process, after it had time to end by itself."""
        assert self._process is not None
        assert self._pipe is not None
        self._pipe.close()
        self._process.join(grace)
        if grace == 0:
            self._on_restart()
        self._process.kill()
        self._process.join()
        self._process = self._pipe = None


def work(pipe: "multiprocessing.connection.Connection[object, object]", settings: WorkerSettings) -> None:
    """Do jobs until the service ends or closes the pipe; the main function of a worker's process.

    Args:
        pipe: Brings jobs, and takes answers.
        settings: What to do them with.
    """
    from vesalius.predict import Predictor
    from vesalius.runtime.contract import FeatureCache

    for name in (signal.SIGINT, signal.SIGTERM):  # the service says when to end
        signal.signal(name, signal.SIG_IGN)
    predictor = Predictor(settings.model, threads=settings.threads, features=FeatureCache(settings.cache_bytes))
    engine = Engine(
        predictor,
        Path(settings.uploads),
        settings.model,
        settings.unpacked_bytes,
        settings.place,
        settings.workers,
    )
    with suppress(EOFError, OSError):  # the service closed the pipe, or was killed
        while True:
            job = dict(json.loads(pipe.recv_bytes()))
            pipe.send_bytes(json.dumps(_answer(engine, job)).encode())


def _answer(engine: Engine, job: Job) -> dict[str, object]:
    try:
        return {"answer": engine.do(job)}
    except ServiceError as error:
        return {"error": asdict(error.refusal), "status": error.status, "log": error.log}


def _to_answer(told: Mapping[str, object]) -> Answer:
    error = told.get("error")
    if isinstance(error, dict):
        raise ServiceError(int(str(told["status"])), Refusal(**error), log=str(told["log"]))
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

    def close(self) -> None:
        """Do what was accepted, accept no more, and end the workers."""
        self._stopping = True
        for each in self._queues:
            each.put(None)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        for runner in self._runners:
            runner.close()

    def _serve(self, place: int) -> None:
        """Do the jobs of one worker's queue."""
        runner = self._runners[place]
        with suppress(ServiceError):
            runner.run({"kind": "hello"}, self._timeout)
            self._ready[place].set()
        while (waiting := self._queues[place].get()) is not None:
            if not waiting.future.set_running_or_notify_cancel():
                continue  # whoever asked has gone
            start = time.monotonic()
            self._busy[place] = True
            try:
                answer = runner.run(waiting.job, self._timeout)
                self._ready[place].set()
                waiting.future.set_result(answer)
            except Exception as error:  # told to whoever asked, so that the thread lives on
                waiting.future.set_exception(error)
            self._busy[place] = False
            self._means[place] += MEAN_SHARE * (time.monotonic() - start - self._means[place])


def worker_settings(common: WorkerSettings) -> list[WorkerSettings]:
    """The settings of each worker: equal shares of the cache and of the processor's cores."""
    count = common.workers
    threads = 0 if count == 1 else max(1, count_cores() // count)
    shared = replace(common, cache_bytes=common.cache_bytes // count, threads=threads)
    return [replace(shared, place=place) for place in range(count)]
