import threading
import time
from concurrent.futures import Future

import pytest
from serve_client import half_bright, png

from vesalius.serve.pool import ProcessRunner, WorkerPool
from vesalius.serve.refusals import Refusal, ServiceError


class GatedRunner:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.gate, self.begun, self.jobs = threading.Event(), threading.Event(), []

    def run(self, job, timeout):
        if job["kind"] != "hello":
            self.begun.set()
            assert self.gate.wait(5)
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
    pool.close()


def fill(runner, pool) -> list[Future]:
    first = pool.submit(0, {"kind": "first"})
    assert runner.begun.wait(5)
    return [first, pool.submit(0, {"kind": "second"}), pool.submit(0, {"kind": "third"})]


def test_a_full_queue_says_when_to_come_back_and_recovers(gated):
    runner, pool = gated
    accepted = fill(runner, pool)
    with pytest.raises(ServiceError) as caught:
        pool.submit(0, {"kind": "fourth"})
    assert caught.value.status == 429
    assert 1 <= caught.value.retry_after <= 60
    runner.gate.set()
    assert [each.result(5) for each in accepted] == [{}, {}, {}]
    assert pool.submit(0, {"kind": "fifth"}).result(5) == {}


def test_what_nobody_waits_for_is_not_done(gated):
    runner, pool = gated
    accepted = fill(runner, pool)
    assert accepted[1].cancel()
    runner.gate.set()
    accepted[2].result(5)
    assert runner.jobs == ["first", "third"]


def test_stopping_does_what_was_accepted_and_accepts_no_more(gated):
    runner, pool = gated
    accepted = fill(runner, pool)
    closing = threading.Thread(target=pool.close)
    closing.start()
    while not pool._stopping:
        time.sleep(0.001)
    with pytest.raises(ServiceError, match="stopped"):
        pool.submit(0, {"kind": "late"})
    assert not pool.ready
    runner.gate.set()
    closing.join(5)
    assert all(each.done() for each in accepted)


def test_a_failure_is_told_to_whoever_asked_and_the_next_job_is_done():
    class Failing(GatedRunner):
        def run(self, job, timeout):
            if job["kind"] == "bad":
                raise ServiceError(422, Refusal("bad"))
            return {"kind": job["kind"]}

    pool = WorkerPool([Failing()], waiting=2, timeout=5)
    pool.start()
    with pytest.raises(ServiceError, match="bad"):
        pool.submit(0, {"kind": "bad"}).result(5)
    assert pool.submit(0, {"kind": "good"}).result(5) == {"kind": "good"}
    pool.close()


class ScriptedRunner(ProcessRunner):
    """A runner whose processes end or answer as a script says."""

    def __init__(self, script: list) -> None:
        self.script, self.stopped = script, 0

    def _try(self, job, due):
        return self.script.pop(0)

    def _stop(self, grace=0.0):
        self.stopped += 1


def test_a_job_whose_worker_ended_is_tried_once_more():
    runner = ScriptedRunner([None, {"answer": {"done": True}}])
    assert runner.run({"kind": "x"}, 1) == {"done": True}
    assert runner.stopped == 1


def test_a_job_that_ends_workers_twice_fails_visibly():
    with pytest.raises(ServiceError, match="ended 2 times") as caught:
        ScriptedRunner([None, None]).run({"kind": "x"}, 1)
    assert caught.value.status == 500


def test_a_request_that_is_refused_at_a_full_queue_is_told_in_the_one_form(serve):
    runner = GatedRunner()
    client = serve(runner=runner, limits={"queue": 1})
    pool = client.inside.pool
    first = pool.submit(0, {"kind": "first"})
    assert runner.begun.wait(5)
    second = pool.submit(0, {"kind": "second"})
    answer = client.post("/api/uploads", files=[("files", ("a.png", png(half_bright())))])
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["error"]["what"] == "The queue is full"
    assert list(client.inside.store.uploads.iterdir()) == []
    runner.gate.set()
    first.result(5), second.result(5)
