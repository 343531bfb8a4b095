import subprocess
import sys
from contextlib import contextmanager

import pytest

from vesalius.errors import OutputError
from vesalius.pacs.series_queue import SeriesQueue, State, Stored

QUOTA = 1000


@pytest.fixture
def queue(tmp_path) -> SeriesQueue:
    return SeriesQueue(tmp_path / "queue", QUOTA)


def arrive(queue: SeriesQueue, series: str, instance: str, content: bytes = b"x" * 100) -> Stored:
    file = queue.root / "arriving"
    file.write_bytes(content)
    return queue.store(series, instance, file)


def state_of(queue: SeriesQueue, uid: str = "1.1") -> State:
    return next(each.state for each in queue.list_series() if each.uid == uid)


def test_names_on_disk_tell_no_uid(queue):
    arrive(queue, "1.1", "1.1.1")
    names = [path.name for path in queue.root.rglob("*")]
    assert not any("1.1" in name for name in names)


def test_an_instance_is_taken_once(queue):
    assert arrive(queue, "1.1", "1.1.1") == Stored.NEW
    assert arrive(queue, "1.1", "1.1.1") == Stored.KNOWN
    assert not (queue.root / "arriving").exists()
    assert len(list(queue.list_series()[0].folder.iterdir())) == 1


def test_an_instance_of_another_series_is_refused(queue):
    arrive(queue, "1.1", "1.1.1")
    with pytest.raises(OutputError, match="another series"):
        arrive(queue, "1.2", "1.1.1")


def test_the_quota_holds_and_nothing_is_left_of_what_is_refused(queue):
    arrive(queue, "1.1", "1.1.1", b"x" * 900)
    with pytest.raises(OutputError, match="quota"):
        arrive(queue, "1.1", "1.1.2", b"x" * 101)
    assert queue.used_bytes() == 900
    assert len(list(queue.list_series()[0].folder.iterdir())) == 1


def test_a_series_rests_before_it_is_claimed(queue):
    arrive(queue, "1.1", "1.1.1")
    with queue.claim(60) as found:
        assert found is None
    with queue.claim(0) as found:
        assert found.uid == "1.1"


def test_a_claim_is_held_by_one(queue):
    arrive(queue, "1.1", "1.1.1")
    with queue.claim(0) as first, SeriesQueue(queue.root, QUOTA).claim(0) as second:
        assert first is not None
        assert second is None


def test_a_claim_whose_holder_left_without_a_word_is_claimed_again(queue):
    arrive(queue, "1.1", "1.1.1")
    with queue.claim(0):
        pass
    assert state_of(queue) == State.CLAIMED
    with queue.claim(0) as again:
        assert again is not None


def test_what_was_made_is_not_made_again(queue):
    arrive(queue, "1.1", "1.1.1")
    with queue.claim(0) as found:
        assert queue.made(found, [("01-report.dcm", "archive")])
    with queue.claim(60) as again:
        assert (again.state, again.results) == (State.MADE, (("01-report.dcm", "archive"),))
        assert queue.done(again)
    with queue.claim(0) as nothing:
        assert nothing is None


def test_what_was_made_stays_so_when_sending_fails(queue):
    arrive(queue, "1.1", "1.1.1")
    with queue.claim(0) as found:
        queue.made(found, [("01-report.dcm", "archive")])
        queue.fail(found, "no answer", attempts=3, wait_s=0)
    assert state_of(queue) == State.MADE


def test_a_late_slice_begins_the_series_anew(queue):
    arrive(queue, "1.1", "1.1.1")
    with queue.claim(0) as found:
        arrive(queue, "1.1", "1.1.2")
        assert not queue.made(found, [("01-report.dcm", "archive")])
    assert state_of(queue) == State.RECEIVING
    with queue.claim(0) as again:
        assert again.revision == found.revision + 1
        assert again.results == ()


def test_failures_wait_longer_each_time_and_end_as_dead_letters(queue):
    arrive(queue, "1.1", "1.1.1")
    for attempt in range(2):
        with queue.claim(0) as found:
            assert found.attempts == attempt
            queue.fail(found, "no answer", attempts=3, wait_s=0)
    with queue.claim(0) as found:
        queue.fail(found, "no answer", attempts=3, wait_s=0)
    assert state_of(queue) == State.DEAD
    with queue.claim(0) as nothing:
        assert nothing is None
    assert queue.retry() == 1
    with queue.claim(0) as again:
        assert again.attempts == 0


def test_a_failure_is_not_due_before_its_time(queue):
    arrive(queue, "1.1", "1.1.1")
    with queue.claim(0) as found:
        queue.fail(found, "no answer", attempts=3, wait_s=60)
    with queue.claim(0) as nothing:
        assert nothing is None


def test_old_series_are_removed_after_success_alone(queue):
    arrive(queue, "1.1", "1.1.1")
    arrive(queue, "1.2", "1.2.1")
    with queue.claim(0) as found:
        queue.done(found)
    assert queue.remove_done(3600) == 0
    assert queue.remove_done(0) == 1
    assert [each.uid for each in queue.list_series()] == ["1.2"]
    assert queue.used_bytes() == 100


KILLED = """
import os, signal, sys
from pathlib import Path
from vesalius.pacs.series_queue import SeriesQueue
queue = SeriesQueue(Path(sys.argv[1]), 10**6)
with queue.claim(0) as found:
    print(found.uid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_holder_loses_its_claim(queue):
    arrive(queue, "1.1", "1.1.1")
    done = subprocess.run([sys.executable, "-c", KILLED, str(queue.root)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-9, "1.1\n")
    with queue.claim(0) as found:
        assert found.uid == "1.1"


HALF_STORED = """
import os, signal, sys
from pathlib import Path
from vesalius.pacs.series_queue import SeriesQueue
queue = SeriesQueue(Path(sys.argv[1]), 10**6)
with queue._open() as database:
    database.execute("BEGIN IMMEDIATE")
    database.execute("INSERT INTO instances VALUES ('1.1.9', '1.1', 50)")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_used_bytes_stay_right_when_an_arrival_is_killed(queue):
    arrive(queue, "1.1", "1.1.1")
    done = subprocess.run([sys.executable, "-c", HALF_STORED, str(queue.root)], capture_output=True, text=True)
    assert done.returncode == -9
    assert queue.used_bytes() == 100
    arrive(queue, "1.1", "1.1.2")
    assert SeriesQueue(queue.root, QUOTA).used_bytes() == 200


def test_no_statement_of_an_arrival_goes_through_all_instances(queue, monkeypatch):
    arrive(queue, "1.1", "1.1.1")
    said, opened = [], queue._open

    @contextmanager
    def listening():
        with opened() as database:
            database.set_trace_callback(said.append)
            yield database

    monkeypatch.setattr(queue, "_open", listening)
    arrive(queue, "1.1", "1.1.2")
    read = [each for each in said if "FROM instances" in each]
    assert read
    assert all("WHERE uid =" in each for each in read)


def test_a_queue_of_an_earlier_version_is_counted_once(queue):
    arrive(queue, "1.1", "1.1.1")
    with queue._open() as database:
        for name in ("instance_added", "instance_removed"):
            database.execute(f"DROP TRIGGER {name}")
        database.execute("DROP TABLE total")
    again = SeriesQueue(queue.root, QUOTA)
    assert again.used_bytes() == 100
    arrive(again, "1.1", "1.1.2")
    assert SeriesQueue(queue.root, QUOTA).used_bytes() == 200


def test_a_damaged_database_is_said(tmp_path):
    (tmp_path / "queue.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(OutputError, match="queue.sqlite: cannot be used"):
        SeriesQueue(tmp_path, QUOTA)
