"""A service from its start to its graceful stop."""

import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from vesalius.errors import ConfigError
from vesalius.knowledge import Knowledge
from vesalius.serve.app import build_app
from vesalius.serve.guards import Metrics
from vesalius.serve.pool import ProcessRunner, WorkerPool, worker_settings
from vesalius.serve.service import Service
from vesalius.serve.settings import ServeSettings
from vesalius.serve.store import UploadStore

STOP_S = 30
"""Time for requests that are under way when the service is stopped."""
END_S = 1
"""Time for a job after that, which nobody waits for any more."""
MOST_FILES = 65536
"""Files that are open at once; a series of 20,000 slices is a form of as many."""
IDLE_S = 30
"""Time after which a connection that is silent is closed."""


def run(settings: ServeSettings, on_start: Callable[[str], None]) -> None:
    """Serve until the process is told to stop.

    Args:
        settings: Checked.
        on_start: Called with the address, when it is bound.

    Raises:
        ConfigError: If the address cannot be bound.
        ModelError: If there is no such model.
        OutputError: If the store cannot be used.
    """
    allow_open_files()
    with opening(settings) as service, bound(settings) as listening:
        app = build_app(service)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=IDLE_S,
            timeout_graceful_shutdown=STOP_S,
            lifespan="on",
            ws="none",
        )
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        on_start(f"http://{host}:{listening.getsockname()[1]}")
        for name in (signal.SIGINT, signal.SIGTERM):  # which uvicorn raises again once it has stopped
            signal.signal(name, lambda *_: None)
        _Server(config, service.pool.accept_no_more).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Says at the signal that it ends."""

    def __init__(self, config: uvicorn.Config, on_exit: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_exit = on_exit

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_exit()
        super().handle_exit(sig, frame)


def allow_open_files() -> None:
    """Open as many files at once as the system lets this process: each larger part of a form is one."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def opening(settings: ServeSettings) -> Iterator[Service]:
    """The store and the workers of a service, until it ends; what was accepted is done before that."""
    limits, metrics = settings.limits, Metrics()
    knowledge = Knowledge.read(settings.model)
    store = UploadStore(settings.store, 60 * limits.keep_minutes, limits.store_megabytes)
    with store.opened():
        workers = worker_settings(settings, store.uploads)
        runners = [ProcessRunner(each, metrics.restarts.inc) for each in workers]
        pool = WorkerPool(runners, limits.queue, limits.timeout_seconds)
        pool.start()
        try:
            yield Service(settings, store, pool, knowledge, metrics)
        finally:
            pool.close(END_S)


@contextmanager
def bound(settings: ServeSettings) -> Iterator[socket.socket]:
    """The socket that a service listens on, until the block ends.

    Raises:
        ConfigError: If the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio answers without delay only on sockets that name their protocol; on others, each answer waits 40 ms for the
    # client's acknowledgement of its head.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((settings.host, settings.port))
        except OSError as error:
            raise ConfigError(
                f"--host {settings.host} --port {settings.port}: cannot be bound ({error.strerror or error}); choose "
                "another port."
            ) from error
        yield listening
