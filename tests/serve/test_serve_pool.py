import json
import threading
import time
from concurrent.futures import Future
from dataclasses import asdict
from types import SimpleNamespace

import pytest
from serve_client import half_bright, png

from scripted_child import ScriptedChild
from vesalius.isolation import ChildEndedError, ChildFailedError, ChildLateError
from vesalius.serve.pool import ProcessRunner, WorkerPool, WorkerSettings, open_engine, worker_settings
from vesalius.serve.refusals import Refusal, ServiceError
from vesalius.serve.settings import Limits, ServeSettings
from waiting import PATIENCE_S, until


class GatedRunner:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.gate, self.begun, self.jobs = threading.Event(), threading.Event(), []

    def run(self, job, timeout):
        if job["kind"] != "hello":
            self.begun.set()
            assert self.gate.wait(PATIENCE_S)
            self.jobs.append(job["kind"])
        return {}

    def close(self):
        pass


@pytest.fixture
def gated():
    runner = GatedRunner()
    pool = WorkerPool([runner], waiting=2, timeout=5)
    pool.start()
    yield runner, pool
    runner.gate.set()
    pool.close(PATIENCE_S)


def fill(runner, pool) -> list[Future]:
    first = pool.submit(0, {"kind": "first"})
    assert runner.begun.wait(PATIENCE_S)
    return [first, pool.submit(0, {"kind": "second"}), pool.submit(0, {"kind": "third"})]


def test_a_full_queue_says_when_to_come_back_and_recovers(gated):
    runner, pool = gated
    accepted = fill(runner, pool)
    with pytest.raises(ServiceError) as caught:
        pool.submit(0, {"kind": "fourth"})
    assert caught.value.status == 429
    assert 1 <= caught.value.retry_after <= 60
    runner.gate.set()
    assert [each.result(PATIENCE_S) for each in accepted] == [{}, {}, {}]
    assert pool.submit(0, {"kind": "fifth"}).result(PATIENCE_S) == {}


def test_what_nobody_waits_for_is_not_done(gated):
    runner, pool = gated
    accepted = fill(runner, pool)
    assert accepted[1].cancel()
    runner.gate.set()
    accepted[2].result(PATIENCE_S)
    assert runner.jobs == ["first", "third"]


def test_stopping_does_what_was_accepted_and_accepts_no_more(gated):
    runner, pool = gated
    accepted = fill(runner, pool)
    closing = threading.Thread(target=pool.close, args=(PATIENCE_S,))
    closing.start()
    until(lambda: pool._stopping)
    with pytest.raises(ServiceError, match="stopped"):
        pool.submit(0, {"kind": "late"})
    assert not pool.ready
    runner.gate.set()
    closing.join(PATIENCE_S)
    assert all(each.done() for each in accepted)


def test_stopping_does_not_wait_longer_than_allowed_for_a_job_that_runs(gated):
    runner, pool = gated
    fill(runner, pool)
    start = time.monotonic()
    pool.close(0.05)
    assert time.monotonic() - start < PATIENCE_S / 2
    assert runner.jobs == []


def test_a_failure_is_told_to_whoever_asked_and_the_next_job_is_done():
    class Failing(GatedRunner):
        def run(self, job, timeout):
            if job["kind"] == "bad":
                raise ServiceError(422, Refusal("bad"))
            return {"kind": job["kind"]}

    pool = WorkerPool([Failing()], waiting=2, timeout=5)
    pool.start()
    with pytest.raises(ServiceError, match="bad"):
        pool.submit(0, {"kind": "bad"}).result(PATIENCE_S)
    assert pool.submit(0, {"kind": "good"}).result(PATIENCE_S) == {"kind": "good"}
    pool.close(PATIENCE_S)


def test_workers_have_equal_shares_of_cache_and_cores(tmp_path, monkeypatch):
    monkeypatch.setattr("vesalius.processes.count_cores", lambda: 5)
    shared = worker_settings(ServeSettings(tmp_path, workers=2, limits=Limits(cache_megabytes=10)), tmp_path)
    assert [(each.place, each.cache_bytes, each.threads) for each in shared] == [(0, 5 * 2**20, 2), (1, 5 * 2**20, 2)]
    assert [each.threads for each in worker_settings(ServeSettings(tmp_path), tmp_path)] == [0]  # all cores


OWN = WorkerSettings("pocket", "uploads", 1, 1, 1, 0, 1)


def scripted(*answers, starts=()) -> ProcessRunner:
    runner = ProcessRunner(OWN)
    told = [each if isinstance(each, Exception) else json.dumps({"answer": each}).encode() for each in answers]
    runner._child = ScriptedChild(told, starts)
    return runner


def test_what_a_worker_refuses_arrives_as_it_was(monkeypatch):
    refused = ServiceError(503, Refusal("no room", "store", "less", "much", "Wait."), retry_after=7, log="full")

    def refuse(job):
        raise refused

    monkeypatch.setattr("vesalius.predict.Predictor", lambda *_, **__: None)
    monkeypatch.setattr("vesalius.serve.pool.Engine", lambda *_: SimpleNamespace(do=refuse))
    runner = ProcessRunner(OWN)
    runner._child = ScriptedChild([open_engine(json.dumps(asdict(OWN)).encode())(b"{}")], [])
    with pytest.raises(ServiceError) as caught:
        runner.run({}, 1)
    assert vars(caught.value) == vars(refused)


def test_a_job_whose_worker_ended_is_tried_once_more():
    assert scripted(ChildEndedError("gone"), {"done": True}).run({"kind": "x"}, 1) == {"done": True}


@pytest.mark.parametrize(
    ("runner", "status", "told"),
    [
        (scripted(ChildEndedError("gone"), ChildEndedError("gone")), 500, "ended 2 times"),
        (scripted(ChildLateError("late")), 504, "took too long and was stopped"),
        (scripted(starts=[ChildLateError("late")]), 503, "could not load the model"),
        (scripted(starts=[ChildEndedError("cannot be started (no memory)")]), 503, "could not load the model"),
        (scripted(ChildFailedError("ModelError", "/srv/x: bad")), 503, "could not load the model"),
    ],
)
def test_a_job_that_no_worker_answers_fails_visibly(runner, status, told):
    with pytest.raises(ServiceError, match=told) as caught:
        runner.run({"kind": "x"}, 1)
    assert caught.value.status == status
    assert "/srv" not in str(caught.value.refusal)
    assert bool(caught.value.log) == (status == 503)


def test_a_worker_that_cannot_start_is_told_in_the_log_and_tries_again_until_it_is_ready(monkeypatch, logged):
    monkeypatch.setattr("vesalius.serve.pool.RETRY_S", 0.01)
    unable = [ChildFailedError("MemoryError", ""), OSError("no pipe"), ChildEndedError("cannot be started (no memory)")]
    pool = WorkerPool([scripted({}, {"done": True}, starts=unable)], waiting=2, timeout=5)
    pool.start()
    until(lambda: pool.ready)
    assert pool.submit(0, {"kind": "x"}).result(PATIENCE_S) == {"done": True}
    pool.close(PATIENCE_S)
    assert "could not load the model; MemoryError" in logged.text
    assert "OSError at" in logged.text
    assert "cannot be started (no memory)" in logged.text


def test_a_start_that_fails_is_told_to_whoever_asked_and_the_next_job_is_done():
    unable = [ChildEndedError("cannot be started"), ChildEndedError("cannot be started")]
    pool = WorkerPool([scripted({"done": True}, starts=unable)], waiting=2, timeout=5)
    pool.start()
    with pytest.raises(ServiceError, match="could not load") as caught:
        pool.submit(0, {"kind": "x"}).result(PATIENCE_S)
    assert (caught.value.status, caught.value.retry_after) == (503, 5)
    assert pool.submit(0, {"kind": "y"}).result(PATIENCE_S) == {"done": True}
    pool.close(PATIENCE_S)


def test_a_request_that_is_refused_at_a_full_queue_is_told_in_the_one_form(serve):
    runner = GatedRunner()
    client = serve(runner=runner, limits={"queue": 1})
    pool = client.inside.pool
    first = pool.submit(0, {"kind": "first"})
    assert runner.begun.wait(PATIENCE_S)
    second = pool.submit(0, {"kind": "second"})
    answer = client.post("/api/uploads", files=[("files", ("a.png", png(half_bright())))])
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["error"]["what"] == "The queue is full"
    assert list(client.inside.store.uploads.iterdir()) == []
    runner.gate.set()
    first.result(PATIENCE_S), second.result(PATIENCE_S)
