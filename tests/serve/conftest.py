"""A service in the test's own process, which marks what is bright, and files to send it."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

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
from waiting import PATIENCE_S, until

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
        pool.close(PATIENCE_S)
        keeping.__exit__(None, None, None)
        client.close()


@pytest.fixture
def client(serve) -> TestClient:
    return serve()


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    from page_client import CHROMIUM, SOFTWARE, playwright

    with playwright.sync_playwright() as program:
        opened = program.chromium.launch(executable_path=CHROMIUM, args=SOFTWARE, timeout=1000 * PATIENCE_S)
        yield opened
        opened.close()


@pytest.fixture
def address(serve) -> Iterator[Callable[..., str]]:
    """Serve on a free port, and say where."""
    from page_client import FakeLabeller

    uvicorn = pytest.importorskip("uvicorn", reason="the extra serve is not installed")
    running = []

    def start(**settings) -> str:
        client = serve(**settings)
        client.inside.engine.__dict__["_labeller"] = FakeLabeller()
        server = uvicorn.Server(uvicorn.Config(client.app, port=0, log_level="error", ws="none"))
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((server, thread))
        until(lambda: server.started or not thread.is_alive())
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(PATIENCE_S)


@pytest.fixture
def visit(browser, address) -> Iterator[Callable[..., object]]:
    """Open the page; at the end, nothing may have been said on the console and nothing may have failed."""
    from page_client import WIDE, expect

    said: list[str] = []
    contexts = []

    def visit(viewport=WIDE, theme="light", expected=(), **settings):
        def note(text: str) -> None:
            if not any(part in text for part in expected):
                said.append(text)

        context = browser.new_context(viewport=viewport, color_scheme=theme, accept_downloads=True)
        contexts.append(context)
        context.set_default_timeout(1000 * PATIENCE_S)
        page = context.new_page()
        page.on("console", lambda message: note(message.text))
        page.on("pageerror", lambda error: note(str(error)))
        page.on("dialog", lambda dialog: (note(dialog.message), dialog.dismiss()))
        page.goto(address(**settings))
        if "token" not in settings:
            expect(page.locator("#model")).not_to_be_empty()  # before, nothing is suggested, and what is said is lost
        return page

    yield visit
    for context in contexts:
        context.close()
    assert said == []


@pytest.fixture
def picture(tmp_path) -> Path:
    """A dark picture of 160 by 120 with a bright square in the middle."""
    pixels = np.full((120, 160, 3), 30, np.uint8)
    pixels[30:90, 40:100] = 230
    path = tmp_path / "scan one.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def volume(tmp_path) -> Path:
    """Ten slices, of which the middle ones show a bright block at the patient's right and front."""
    import nibabel as nib

    values = np.full((40, 48, 10), 100, np.int16) + np.arange(48, dtype=np.int16)[:, None]
    values[4:18, 26:44, 3:7] = 1000
    path = tmp_path / "series.nii.gz"
    nib.save(nib.Nifti1Image(values, np.diag([-2.0, 2.0, 5.0, 1.0])), path)
    return path
