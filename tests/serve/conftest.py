"""A service in the test's own process, which marks what is bright, and files to send it."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from starlette.testclient import TestClient

from vesalius.knowledge import Knowledge, LearntTarget
from vesalius.predict import Predictor
from vesalius.runtime.contract import FeatureCache
from vesalius.serve.app import build_app
from vesalius.serve.engine import Engine
from vesalius.serve.guards import Metrics
from vesalius.serve.pool import WorkerPool
from vesalius.serve.service import Service
from vesalius.serve.settings import Limits, ServeSettings
from vesalius.serve.store import UploadStore

MEGABYTE = 2**20
Serve = Callable[..., TestClient]


class CountingRuntime:
    """Passes everything on, and counts the pictures that are encoded."""

    def __init__(self, runtime) -> None:
        self._runtime, self.encoded = runtime, 0

    def __getattr__(self, name):
        return getattr(self._runtime, name)

    def encode_image(self, rgb):
        self.encoded += len(rgb)
        return self._runtime.encode_image(rgb)


class DirectRunner:
    """Does jobs in the thread that hands them out."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(self, job, timeout):
        return self.engine.do(job)

    def close(self):
        pass


@pytest.fixture
def serve(tmp_path, bright) -> Iterator[Serve]:
    """Start a service: settings by name, limits too; the client has ``service``, ``runtime`` and ``engine``."""
    opened = []

    def start(*, runner=None, cache: int = 64 * MEGABYTE, limits: dict | None = None, **settings) -> TestClient:
        limits_ = Limits(**(limits or {}))
        chosen = ServeSettings(store=tmp_path / "store", limits=limits_, **settings)
        chosen.check()
        store = UploadStore(chosen.store, 60 * limits_.keep_minutes, limits_.store_megabytes)
        keeping = store.opened()
        keeping.__enter__()
        runtime = CountingRuntime(bright)
        predictor = Predictor(runtime, features=FeatureCache(cache))
        predictor.knowledge = Knowledge(
            [LearntTarget("liver", ("ct", "mr"), 10), LearntTarget("polyp", ("endoscopy",), 5)]
        )
        engine = Engine(predictor, store.uploads, "pocket", limits_.unpacked_megabytes * MEGABYTE)
        pool = WorkerPool([runner or DirectRunner(engine)], limits_.queue, limits_.timeout_seconds)
        pool.start()
        service = Service(chosen, store, pool, predictor.knowledge, Metrics())
        client = TestClient(build_app(service), base_url="http://127.0.0.1:8000", raise_server_exceptions=False)
        client.inside = SimpleNamespace(service=service, runtime=runtime, engine=engine, pool=pool, store=store)
        opened.append((pool, keeping, client))
        return client

    yield start
    for pool, keeping, client in opened:
        pool.close()
        keeping.__exit__(None, None, None)
        client.close()


@pytest.fixture
def client(serve) -> TestClient:
    return serve()
