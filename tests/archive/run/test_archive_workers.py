"""Workers in processes of their own, on Ray, and on an object store: what is killed, breaks or hangs is made up for."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial

import psutil
import pytest

from vesalius.archive.request import ArchiveRequest, ShardLimits, WorkerOptions
from vesalius.archive.run import run_archive
from vesalius.archive.status import read_status
from vesalius.errors import ModelError
from waiting import PATIENCE_S, until

COMMAND = "from vesalius.cli import main; main()"
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("bright_everywhere")]


def segment(source, out, *, shard=8, options=WorkerOptions(threads=1), **more):  # noqa: B008 - frozen
    request = ArchiveRequest(str(source), "segment", ("square",))
    return run_archive(request, str(out), limits=ShardLimits(shard), options=options, **more)


@pytest.fixture
def slow_pictures(tmp_path, write_picture):
    """Forty pictures that take 50 ms each, and a last one that can be held."""
    for number in range(40):
        write_picture(tmp_path / f"in/{number % 4}/slow-{number}.png", number)
    write_picture(tmp_path / "in/4/held.png", 40)
    return tmp_path / "in"


@pytest.fixture
def held(bright_everywhere):
    """No run ends while this file is there."""
    file = bright_everywhere / "held"
    file.touch()
    yield file
    file.unlink(missing_ok=True)


def assert_equal(load, one, other):
    for table in ("rows", "masks"):
        assert load(one, table).equals(load(other, table))


def test_processes_of_their_own_give_the_same_as_one(pictures, tmp_path, load):
    segment(pictures, tmp_path / "one", workers=1)
    segment(pictures, tmp_path / "two", workers=2, shard=2)
    assert_equal(load, tmp_path / "one", tmp_path / "two")
    assert len(load(tmp_path / "one")) == 7


def test_images_that_break_or_hang_are_set_aside_and_stop_no_other(pictures, tmp_path, write_picture, load):
    write_picture(pictures / "a/crash.png", 1)
    write_picture(pictures / "b/hang.png", 1)
    summary = segment(pictures, tmp_path / "out", options=WorkerOptions(1, timeout_s=20, tries=2))
    told = {each["source"]: (each["reason"], each["tries"]) for each in summary.failures}
    assert told["a/crash.png"][0].startswith("a/crash.png: its process was ended by SIGKILL")
    assert told["b/hang.png"][0] == "b/hang.png: took more than 20 s; --timeout allows more."
    assert [tries for _, tries in told.values()] == [2, 2]
    assert len(load(tmp_path / "out")) == 7


def test_a_model_that_no_worker_can_open_ends_the_run(pictures, tmp_path, bright_everywhere):
    site = bright_everywhere / "sitecustomize.py"
    site.write_text(site.read_text().replace("module.Predictor = ", "raise SystemExit(3)\n    module.Predictor = "))
    with pytest.raises(ModelError, match="a worker could not open it; its process ended with code 1"):
        segment(pictures, tmp_path / "out")


def wait_for_shards(out, number):
    until(lambda: len(list((out / "log").glob("*.json"))) >= number)


def children_of(pid, word="vesalius.archive.child"):
    """Processes with this word in their command, all that were started on the way included."""
    found = []
    for each in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it ended just now
            found += [each] if word in " ".join([each.name(), *each.cmdline()]) else []
    return found


def test_a_killed_driver_and_killed_workers_change_nothing(slow_pictures, tmp_path, load, held):
    out, chance = tmp_path / "out", random.Random(0)
    arguments = [sys.executable, "-c", COMMAND, "archive", "run", str(slow_pictures), "--task", "segment"]
    arguments += ["-p", "square", "-o", str(out), "--threads", "1", "--shard", "4", "--workers", "2"]
    for shards in (3, 7):  # the driver is killed after a few shards, twice
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_shards(out, shards)
        until(partial(children_of, process.pid))
        children_of(process.pid)[0].send_signal(signal.SIGKILL)
        time.sleep(chance.random() / 2)
        process.kill()
        process.wait()
    held.unlink()
    segment(slow_pictures, tmp_path / "whole", workers=1)
    assert segment(slow_pictures, out, workers=2).failures == ()
    assert_equal(load, tmp_path / "whole", out)
    assert os.listdir(out / "pending") == []


@pytest.mark.usefixtures("held")
def test_no_worker_outlives_a_killed_driver(slow_pictures, tmp_path):
    arguments = [sys.executable, "-c", COMMAND, "archive", "run", str(slow_pictures), "--task", "segment"]
    arguments += ["-p", "square", "-o", str(tmp_path / "out"), "--shard", "4"]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_shards(tmp_path / "out", 2)
    workers = children_of(process.pid)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=PATIENCE_S)
    assert workers
    assert alive == []


def test_on_ray_the_same_comes_out_though_workers_are_killed(slow_pictures, tmp_path, load, write_picture, held):
    pytest.importorskip("ray", reason="needs the extra ray")
    write_picture(slow_pictures / "0/crash.png", 1)
    out = tmp_path / "out"
    arguments = [sys.executable, "-c", COMMAND, "archive", "run", str(slow_pictures), "--task", "segment", "--json"]
    arguments += ["-p", "square", "-o", str(out), "--shard", "4", "--workers", "2", "--ray", "local"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for_shards(out, 3)
    actors = children_of(process.pid, "MapWorker") + children_of(process.pid)
    actors[0].send_signal(signal.SIGKILL)
    held.unlink()
    shown, told = process.communicate(timeout=5 * PATIENCE_S)
    assert process.returncode == 2, told
    assert [each["source"] for each in json.loads(shown)["failures"]] == ["0/crash.png"]
    assert "Traceback" not in told
    segment(slow_pictures, tmp_path / "whole", workers=1)
    assert_equal(load, tmp_path / "whole", out)


def test_an_s3_server_gives_images_and_takes_results(pictures, tmp_path, load, monkeypatch):
    moto = pytest.importorskip("moto.server", reason="needs moto's server")
    s3fs = pytest.importorskip("s3fs", reason="needs s3fs")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    settings = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    for name, value in {**settings, "AWS_DEFAULT_REGION": "us-east-1", "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    try:
        s3fs.S3FileSystem.clear_instance_cache()
        system = s3fs.S3FileSystem()
        system.mkdir("archive")
        system.put(str(pictures), "archive/in", recursive=True)
        for name in ("in/", "in/a/"):  # as consoles leave them, in the place of folders
            system.call_s3("put_object", Bucket="archive", Key=name, Body=b"")

        def end(progress):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            segment("s3://archive/in", "s3://archive/out", shard=2, workers=1, watch=end)
        assert segment("s3://archive/in", "s3://archive/out", shard=2, workers=1).failures == ()
        segment(pictures, tmp_path / "out")
        assert read_status("s3://archive/out").totals.items == 7
        for table in ("rows", "masks"):
            here, there = load(tmp_path / "out", table), load("s3://archive/out", table)
            assert here.drop_columns("key").equals(there.drop_columns("key"))
        assert not system.exists("archive/out/pending") or system.ls("archive/out/pending") == []
    finally:
        server.stop()
