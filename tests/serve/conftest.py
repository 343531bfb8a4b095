"""A service in the test's own process, which marks what is bright, and files to send it."""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from starlette.testclient import TestClient

from vesalius.knowledge import Knowledge, LearntTarget
from vesalius.predict import FeatureCache, Predictor
from vesalius.serve.app import Service, build_app
from vesalius.serve.engine import Engine
from vesalius.serve.guards import Metrics
from vesalius.serve.pool import WorkerPool
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


def half_bright(height: int = 24, width: int = 32) -> np.ndarray:
    """A picture whose right half is bright."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, width // 2 :] = 255
    return picture


def png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()


def nifti(values: np.ndarray, affine: np.ndarray, folder: Path, name: str = "volume.nii.gz") -> bytes:
    nib.save(nib.Nifti1Image(values, affine), folder / name)
    return (folder / name).read_bytes()


def read_nifti(content: bytes, folder: Path) -> nib.Nifti1Image:
    path = folder / "answer.nii.gz"
    path.write_bytes(content)
    return nib.load(path)


def send(client: TestClient, content: bytes, name: str = "scan.png", **headers: str) -> dict:
    """Upload one file, and say what is known of it."""
    answer = client.post("/api/uploads", files=[("files", (name, content))], headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


def ask(client: TestClient, upload: dict, *phrases: str, **more: object) -> list[dict]:
    answer = client.post(f"/api/uploads/{upload['id']}/segment", json={"phrases": list(phrases), **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


__all__ = ["ask", "half_bright", "nifti", "png", "read_nifti", "replace", "send"]
