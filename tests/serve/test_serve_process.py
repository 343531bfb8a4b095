"""The service as a program: its workers are killed, it is stopped and started again."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import nibabel as nib
import numpy as np
import pytest
from serve_client import ask, half_bright, nifti, png, send

from waiting import PATIENCE_S, is_alive, seconds_worked, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc"),
]
START = "import sys; from vesalius.cli import main; main(sys.argv[1:])"


def is_ready(client: httpx.Client) -> bool:
    """The address is told a moment before anybody listens there."""
    try:
        return client.get("/readyz").status_code == 200
    except httpx.ConnectError:
        assert client.process.poll() is None, "the service ended"
        return False


@contextmanager
def serving(store: Path, *options: str):
    command = [sys.executable, "-c", START, "serve", "--port", "0", "--store", str(store), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    address = re.search(r"http://[^; ]+", process.stderr.readline())[0]
    drain = threading.Thread(target=process.stderr.read, daemon=True)
    drain.start()
    try:
        with httpx.Client(base_url=address, timeout=5 * PATIENCE_S) as client:
            client.process = process
            until(partial(is_ready, client))
            yield client
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
    finally:  # where a test failed, too: what goes on would be in the way of the next
        process.kill()
        process.wait()
        drain.join()
        process.stderr.close()


def workers(process) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            if parent == process.pid and "vesalius.serve.pool" in (path.parent / "cmdline").read_text():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def wait_until_busy(worker: int, rested: float) -> None:
    """Wait until a process has begun to work, after so many seconds of processor time."""
    until(lambda: seconds_worked(worker) > rested + 0.05)


def test_killed_workers_lose_nothing_and_a_restart_keeps_uploads(tmp_path):
    values = np.random.default_rng(0).integers(0, 1000, (64, 64, 50)).astype(np.int16)
    volume = nifti(values, np.diag([-2.0, 2, 5, 1]), tmp_path)
    with serving(tmp_path / "store") as client:
        upload = send(client, png(half_bright()))
        (first,) = workers(client.process)
        os.kill(first, signal.SIGKILL)
        before = ask(client, upload, "polyp")[0]
        (second,) = workers(client.process)
        assert second != first
        series = send(client, volume, "head.nii.gz")
        answers = []
        asking = threading.Thread(target=lambda: answers.append(ask(client, series, "brain")))
        rested = seconds_worked(second)
        asking.start()
        wait_until_busy(second, rested)
        os.kill(second, signal.SIGKILL)
        asking.join()
        assert answers[0][0]["existence"] is not None
        assert "vesalius_worker_restarts_total 2.0" in client.get("/metrics").text
    assert client.process.returncode == 0
    with serving(tmp_path / "store") as client:
        assert client.get(f"/api/uploads/{upload['id']}").json()["width"] == 32
        assert client.get(f"/api/uploads/{upload['id']}/results/1.json").json() == before
        (worker,) = workers(client.process)
        client.process.kill()
        client.process.wait()
        until(lambda: not is_alive(worker))


def test_what_takes_too_long_is_stopped_and_the_next_request_is_answered(tmp_path):
    with serving(tmp_path / "store", "--timeout-seconds", "20") as client:  # in which a worker has to start, too
        upload = send(client, png(half_bright()))
        (worker,) = workers(client.process)
        os.kill(worker, signal.SIGSTOP)
        answer = client.post(f"/api/uploads/{upload['id']}/segment", json={"phrases": ["polyp"]})
        assert answer.status_code == 504
        assert "too long" in answer.json()["error"]["what"]
        assert send(client, png(half_bright()))["kind"] == "picture"


@pytest.mark.skipif(shutil.which("Orthanc") is None, reason="needs Orthanc (Debian: orthanc, orthanc-dicomweb)")
def test_a_series_that_was_not_sent_is_fetched_from_the_archive(import_script, tmp_path):
    pytest.importorskip("pynetdicom", reason="needs the extra pacs")
    from vesalius.pacs.dicomweb import DicomWeb

    trials = import_script("experiments/benchmarks", "pacs")
    archive, series = trials.Archive(tmp_path / "orthanc"), trials.make_series(1)
    archive.start()
    try:
        archive.wait()
        for place, each in enumerate(series):
            each.save_as(tmp_path / f"{place}.dcm", enforce_file_format=True)
            DicomWeb(archive.url).store(tmp_path / f"{place}.dcm")
        with serving(tmp_path / "store", "--dicomweb", archive.url) as client:
            (model,) = client.get("/info/").json()["models"]
            wanted = {"image": series[0].SeriesInstanceUID, "output": "image"}
            form = {"params": (None, json.dumps({"phrases": "liver", "result_extension": ".nii.gz"}))}
            found = client.post(f"/infer/{model}", params=wanted, files=form)
            assert found.status_code == 200, found.text
            (tmp_path / "label.nii.gz").write_bytes(found.content)
            assert nib.load(tmp_path / "label.nii.gz").shape[2] == len(series)
            unknown = client.post(f"/infer/{model}", params=wanted | {"image": "1.2.3"}, files=form)
            assert (unknown.status_code, unknown.json()["error"]["where"]) == (404, "image")
            archive.kill()
            gone = client.post(f"/infer/{model}", params=wanted | {"image": "1.2.3"}, files=form)
            assert (gone.status_code, gone.json()["error"]["where"]) == (502, "dicomweb")
    finally:
        archive.kill()


def test_a_busy_worker_ends_with_a_killed_service(tmp_path):
    values = np.random.default_rng(0).integers(0, 1000, (64, 64, 200)).astype(np.int16)
    volume = nifti(values, np.diag([-2.0, 2, 5, 1]), tmp_path)
    with serving(tmp_path / "store") as client:
        series = send(client, volume, "head.nii.gz")

        def ask_in_vain():
            with suppress(httpx.HTTPError):
                client.post(f"/api/uploads/{series['id']}/segment", json={"phrases": ["brain"]})

        (worker,) = workers(client.process)
        asking, rested = threading.Thread(target=ask_in_vain), seconds_worked(worker)
        asking.start()
        wait_until_busy(worker, rested)
        client.process.kill()
        client.process.wait()
        asking.join()
        until(lambda: not is_alive(worker))
