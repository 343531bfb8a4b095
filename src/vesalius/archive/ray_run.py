"""An archive on a Ray cluster: Ray Data streams batches to a pool of actors, each a `ShardWorker`.

Batches go out in waves, so that neither a driver nor Ray holds more than one: Ray Data spreads a wave over the actors
and holds results back where the driver is slow to commit them. Ray restarts actors that die and repeats their batch;
where that fails, too, its items are tried one by one, and set aside after a few tries.
"""

import logging
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from vesalius.archive.items import WorkItem
from vesalius.archive.log import ShardResult
from vesalius.archive.request import ArchiveRequest, WorkerOptions
from vesalius.errors import ConfigError, VesaliusError, require
from vesalius.files import parse_json, to_json, to_utf8
from vesalius.imaging.formats import in_one_line

if TYPE_CHECKING:
    from vesalius.archive.plan import Batch
    from vesalius.archive.run import Execute

FIRST_WAVE, LARGEST_WAVE = 4, 64
"""Batches for each actor in the first wave, so that work begins early, and in later ones."""
REPEATS = 3
"""Times that Ray gives a batch to another actor after one died."""
OBJECT_BYTES = 256 * 2**20
"""Ray's shared memory on this machine; what goes through it are names and counts."""
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Ray reports to nobody, logs no more than it must, and leaves the environment of workers without a GPU alone."""
GONE = "the worker that had it was ended again and again, by this file or for lack of memory"


class RayShardWorker:
    """An actor; Ray Data calls it with a batch of batches of items as JSON.

    Args:
        request: See `ArchiveRequest.to_dict`.
        out: Folder of the results, or its URL.
        options: Fields of `WorkerOptions`.
    """

    def __init__(self, request: Mapping[str, Any], out: str, options: Mapping[str, Any]) -> None:
        from vesalius.archive.worker import ShardWorker

        self._worker = ShardWorker(ArchiveRequest.from_dict(request), out, WorkerOptions(**options))

    def __call__(self, table: dict[str, Any]) -> dict[str, Any]:
        """Results as JSON; an error that concerns all items is a result, too, since Ray would try it again."""
        return {"result": [self._run(str(each)) for each in table["batch"]]}

    def _run(self, batch: str) -> str:
        items: Any = parse_json(batch, "batch")
        try:
            result = self._worker.run([WorkItem.from_dict(each) for each in items])
        except VesaliusError as error:
            return to_json({"error": type(error).__name__, "message": str(error)}, indent=None)
        return to_json(result.to_dict() | {"batch": items[0]["key"]}, indent=None)


def execute_on_ray(
    request: ArchiveRequest, out: str, workers: int, options: WorkerOptions, *, address: str, gpus: float = 0.0
) -> "Execute":
    """How batches are worked on by a Ray cluster.

    Args:
        request: What is asked.
        out: Folder of the results, an absolute path that all machines of the cluster see, or its URL.
        workers: Actors.
        options: How they work; ``threads`` are the cores of each, one if 0.
        address: "local", or the address of a cluster.
        gpus: GPUs of each actor.

    Raises:
        MissingPackageError: If Ray is not installed.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    require("ray.data", extra="ray")
    how = replace(options, threads=max(1, options.threads))
    made = {"request": request.to_dict(), "out": out, "options": asdict(how)}

    def execute(batches: "Iterator[Batch]") -> "Generator[ShardResult, None, None]":
        with _cluster(address, workers * how.threads):
            size = FIRST_WAVE
            while wave := list(islice(batches, size * workers)):
                yield from _run_until_done(wave, made, workers, how.threads, gpus)
                size = min(2 * size, LARGEST_WAVE)

    return execute


def _run_until_done(
    wave: "list[Batch]", made: Mapping[str, Any], workers: int, threads: int, gpus: float
) -> "Iterator[ShardResult]":
    """The wave; then, one by one, the items of batches that came to nothing; then those that still did not."""
    left = {batch[0].key: batch for batch in wave}
    yield from _run_wave(left, made, workers, threads, gpus)
    tries: int = made["options"]["tries"]
    for _ in range(tries):
        if not left:
            return
        left = {item.key: [item] for batch in left.values() for item in batch}
        yield from _run_wave(left, made, workers, threads, gpus)
    items = [item for batch in left.values() for item in batch]
    failed = [
        to_utf8({"key": each.key, "source": each.name, "reason": f"{each.name}: {GONE}.", "tries": tries + 1})
        for each in items
    ]
    if failed:
        yield ShardResult("", (), tuple(failed))


def _run_wave(
    left: "dict[str, Batch]", made: Mapping[str, Any], workers: int, threads: int, gpus: float
) -> "Iterator[ShardResult]":
    """Results as they come; each batch is taken out of ``left`` with its first result."""
    import ray

    rows = [{"batch": to_json([item.to_dict() for item in batch], indent=None)} for batch in left.values()]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        RayShardWorker,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows)), max_tasks_in_flight_per_actor=2),
        fn_constructor_kwargs=dict(made),
        num_cpus=threads,
        num_gpus=gpus or None,
        ray_remote_args_fn=_limit_repeats,
    )
    try:
        for row in dataset.iter_rows():
            told: Any = parse_json(row["result"], "result")
            _raise(told)
            if left.pop(told["batch"], None) is not None:
                yield ShardResult.from_dict(told)
    except ray.exceptions.RayError as error:
        raise ConfigError(f"Ray: {type(error).__name__}; see its logs, and `ray status` for the cluster.") from error


def _limit_repeats() -> dict[str, Any]:
    """By default Ray repeats a batch for ever."""
    return {"max_restarts": -1, "max_task_retries": REPEATS}


def _raise(told: Mapping[str, Any]) -> None:
    from vesalius import errors

    if "error" in told:
        raise getattr(errors, told["error"], VesaliusError)(told["message"])


@contextmanager
def _cluster(address: str, cores: int) -> Iterator[None]:
    """Connected to a cluster, or one on this machine that nobody else reaches and that ends with the block.

    Raises:
        ConfigError: If there is no cluster.
    """
    import ray

    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        quiet |= {"num_cpus": cores + 1, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        quiet |= {"object_store_memory": OBJECT_BYTES}
    ours = not ray.is_initialized()
    try:
        if ours:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"--ray {address}: no such cluster ({in_one_line(error)}); start one, or give --ray local."
        ) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.max_errored_blocks = -1  # whatever is lost is noticed, and tried again, here
    # Ray prints there what it makes of workers that died, some of it in the end; results follow on stdout.
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        try:
            yield
        finally:
            if ours:
                ray.shutdown()
