import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager

import pytest
from filelock import FileLock

from vesalius.errors import OutputError
from vesalius.pacs import series_queue
from vesalius.pacs.series_queue import SeriesQueue
from vesalius.pacs.states import OtherSeriesError, State

QUOTA = 1000


@pytest.fixture
def queue(tmp_path) -> SeriesQueue:
    return SeriesQueue(tmp_path / "queue", QUOTA)


def arrive(queue: SeriesQueue, series: str, instance: str, content: bytes = b"x" * 100) -> None:
    file = queue.root / "arriving"
    file.write_bytes(content)
    queue.store(series, instance, file)


def make(queue: SeriesQueue, found, *results: tuple[str, str]):
    folder = queue.results_of(found)
    folder.mkdir()
    for file, _ in results:
        (folder / file).write_bytes(b"result")
    return queue.made(found, results)


def change(queue: SeriesQueue, statement: str) -> None:
    with closing(sqlite3.connect(queue.root / "queue.sqlite")) as database:
        database.execute(statement)


def found_in(queue: SeriesQueue, uid: str = "1.1"):
    return next(each for each in queue.list_series() if each.uid == uid)


def test_names_on_disk_tell_no_uid(queue):
    arrive(queue, "1.1", "1.1.1")
    names = [path.name for path in queue.root.rglob("*")]
    assert not any("1.1" in name for name in names)


def test_an_instance_is_taken_once(queue):
    arrive(queue, "1.1", "1.1.1")
    arrive(queue, "1.1", "1.1.1", b"of the same name")
    (file,) = queue.list_series()[0].folder.iterdir()
    assert file.read_bytes() == b"x" * 100


def test_an_instance_of_another_series_is_refused(queue):
    arrive(queue, "1.1", "1.1.1")
    with pytest.raises(OtherSeriesError, match="another series"):
        arrive(queue, "1.2", "1.1.1")


def test_the_quota_holds_and_nothing_is_left_of_what_is_refused(queue):
    arrive(queue, "1.1", "1.1.1", b"x" * 900)
    with pytest.raises(OutputError, match="quota"):
        arrive(queue, "1.1", "1.1.2", b"x" * 101)
    assert queue.used_bytes() == 900
    assert len(list(queue.list_series()[0].folder.iterdir())) == 1


def test_a_series_rests_before_it_is_claimed(queue):
    arrive(queue, "1.1", "1.1.1")
    with queue.claim(60, 3) as found:
        assert found is None
    with queue.claim(0, 3) as found:
        assert found.uid == "1.1"


def test_a_claim_is_held_by_one(queue):
    arrive(queue, "1.1", "1.1.1")
    with queue.claim(0, 3) as first, SeriesQueue(queue.root, QUOTA).claim(0, 3) as second:
        assert first is not None
        assert second is None


def test_a_claim_whose_holder_left_without_a_word_is_claimed_again(queue):
    arrive(queue, "1.1", "1.1.1")
    with queue.claim(0, 3):
        pass
    assert found_in(queue).state == State.CLAIMED
    with queue.claim(0, 3) as again:
        assert again is not None


def test_what_was_made_is_not_made_again(queue):
    arrive(queue, "1.1", "1.1.1")
    with queue.claim(0, 3) as found:
        assert make(queue, found, ("01-report.dcm", "archive"))
    with queue.claim(60, 3) as again:
        assert (again.state, again.results) == (State.MADE, (("01-report.dcm", "archive"),))
        assert queue.done(again)
    with queue.claim(0, 3) as nothing:
        assert nothing is None


def test_what_was_made_stays_so_when_sending_fails(queue):
    arrive(queue, "1.1", "1.1.1")
    with queue.claim(0, 3) as found:
        queue.fail(make(queue, found, ("01-report.dcm", "archive")), "no answer", attempts=3, wait_s=0)
    assert found_in(queue).state == State.MADE


def test_a_late_slice_begins_the_series_anew(queue):
    arrive(queue, "1.1", "1.1.1")
    with queue.claim(0, 3) as found:
        arrive(queue, "1.1", "1.1.2")
        assert make(queue, found, ("01-report.dcm", "archive")) is None
    assert found_in(queue).state == State.RECEIVING
    with queue.claim(0, 3) as again:
        assert again.revision == found.revision + 1
        assert again.results == ()


def test_failures_wait_longer_each_time_and_end_as_dead_letters(queue):
    arrive(queue, "1.1", "1.1.1")
    for attempt in (1, 2):
        with queue.claim(0, 3) as found:
            assert found.attempts == attempt
            queue.fail(found, "no answer", attempts=3, wait_s=0)
    with queue.claim(0, 3) as found:
        queue.fail(found, "no answer", attempts=3, wait_s=0)
    assert found_in(queue).state == State.DEAD
    with queue.claim(0, 3) as nothing:
        assert nothing is None
    assert queue.retry() == 1
    with queue.claim(0, 3) as again:
        assert again.attempts == 1


def test_what_waits_for_its_next_attempt_is_tried_at_once(queue):
    for place in ("1", "2"):
        arrive(queue, f"1.{place}", f"1.{place}.1")
    with queue.claim(0, 3) as found:
        queue.fail(found, "no answer", attempts=3, wait_s=3600)
    assert queue.retry() == 1
    for _ in range(2):
        with queue.claim(0, 3) as again:
            assert again.attempts == 1
            queue.done(again)


def test_a_series_that_ends_its_process_each_time_is_dead_in_the_end(queue):
    arrive(queue, "1.1", "1.1.1")
    for _ in range(3):
        with queue.claim(0, 3) as found:
            assert found is not None  # and nothing is heard of it again
    arrive(queue, "1.2", "1.2.1")
    with queue.claim(0, 3) as found:
        assert found.uid == "1.2"  # the next has its turn
    dead = found_in(queue)
    assert (dead.state, dead.attempts) == (State.DEAD, 3)
    assert "was ended each time" in dead.reason


def test_attempts_at_making_do_not_count_against_sending(queue):
    arrive(queue, "1.1", "1.1.1")
    with queue.claim(0, 3) as found:
        queue.fail(found, "no memory", attempts=3, wait_s=0)
    with queue.claim(0, 3) as found:
        made = make(queue, found, ("01-report.dcm", "archive"))
        assert (found.attempts, made.attempts, made.reason) == (2, 1, "")
        queue.fail(made, "no answer", attempts=3, wait_s=0)
    with queue.claim(0, 3) as again:
        assert (again.attempts, again.reason) == (2, "no answer")
        queue.done(again)
    assert (found_in(queue).state, found_in(queue).reason) == (State.DONE, "")


def test_what_was_sent_is_struck_off(queue):
    pairs = [("01-report.dcm", "archive"), ("01-report.dcm", "web")]
    arrive(queue, "1.1", "1.1.1")
    with queue.claim(0, 3) as found:
        made = make(queue, found, *pairs)
        assert queue.sent(made, pairs[0])
    assert found_in(queue).results == (pairs[1],)
    with queue.claim(0, 3) as found:
        arrive(queue, "1.1", "1.1.2")
        assert not queue.sent(found, pairs[1])


def test_results_are_on_disk_before_they_count_as_made(queue, monkeypatch):
    synced, sync = [], series_queue._sync
    monkeypatch.setattr(series_queue, "_sync", lambda path: (synced.append(path), sync(path)))
    arrive(queue, "1.1", "1.1.1")
    with queue.claim(0, 3) as found:
        synced.clear()
        make(queue, found, ("01-report.dcm", "archive"))
        folder = queue.results_of(found)
    assert synced == [folder / "01-report.dcm", folder, queue.outgoing]
    arrive(queue, "1.2", "1.2.1")
    assert queue.incoming in synced  # the new folder's own entry


def test_results_that_are_not_there_do_not_count_as_made(queue):
    arrive(queue, "1.1", "1.1.1")
    with queue.claim(0, 3) as found, pytest.raises(OutputError, match="No such file"):
        queue.made(found, [("01-report.dcm", "archive")])
    assert found_in(queue).state == State.CLAIMED


def test_many_attempts_do_not_end_in_an_infinite_wait(queue):
    arrive(queue, "1.1", "1.1.1")
    with queue._open() as database:
        database.execute("UPDATE series SET attempts = 5000")
    with queue.claim(0, 10**6) as found:
        assert queue.fail(found, "no answer", attempts=10**6, wait_s=60)


def test_a_failure_is_not_due_before_its_time(queue):
    arrive(queue, "1.1", "1.1.1")
    with queue.claim(0, 3) as found:
        queue.fail(found, "no answer", attempts=3, wait_s=60)
    with queue.claim(0, 3) as nothing:
        assert nothing is None
    assert queue._take("1.1", 0, 3) is None  # as when another process has listed it before


def test_what_is_to_be_sent_is_not_due_before_its_time(queue):
    arrive(queue, "1.1", "1.1.1")
    with queue.claim(0, 3) as found:
        queue.fail(make(queue, found, ("01-report.dcm", "archive")), "no answer", attempts=3, wait_s=60)
    assert queue._take("1.1", 0, 3) is None


def test_what_is_over_is_removed_in_time_and_nothing_else(queue):
    for place in range(5):
        arrive(queue, f"1.{place}", f"1.{place}.1")
    for _ in range(4):
        with queue.claim(0, 1) as found:
            {
                "1.0": lambda each: queue.done(each),
                "1.1": lambda each: queue.refuse(each, "no image"),
                "1.2": lambda each: queue.fail(each, "no answer", attempts=1, wait_s=0),
                "1.3": lambda each: make(queue, each, ("01-report.dcm", "archive")),
            }[found.uid](found)
    assert queue.list_old(3600) == []
    old = queue.list_old(0)
    assert [(each.uid, each.state) for each in old] == [
        ("1.0", State.DONE),
        ("1.1", State.REFUSED),
        ("1.2", State.DEAD),
    ]
    assert all(queue.remove(each) for each in old)
    assert sorted(each.uid for each in queue.list_series()) == ["1.3", "1.4"]
    assert queue.used_bytes() == 200
    assert len(list(queue.incoming.iterdir())) == 2
    assert len(list(queue.claims.iterdir())) == 1  # the lock of the series that was claimed and is not over


def test_a_file_that_the_database_refused_is_found_and_taken_in_where_it_lies(queue):
    arrive(queue, "1.1", "1.1.1")
    change(queue, "CREATE TRIGGER full BEFORE INSERT ON series BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    with pytest.raises(OutputError, match="disk is full"):
        arrive(queue, "1.2", "1.2.1")
    change(queue, "DROP TRIGGER full")
    (left,) = queue.list_unlisted()
    assert [each.uid for each in queue.list_series()] == ["1.1"]
    queue.store("1.2", "1.2.1", left)
    assert queue.list_unlisted() == []
    assert left.is_file()
    assert (found_in(queue, "1.2").revision, queue.used_bytes()) == (1, 200)


def test_files_of_callers_that_went_away_are_removed(queue):
    old, new, others = (queue.unfinished / name for name in ("0" * 32 + ".dcm", "1" * 32 + ".dcm", "thesis.docx"))
    for file in (old, new, others):
        file.write_bytes(b"half")
    for file in (old, others):
        os.utime(file, (time.time() - 7200,) * 2)
    queue.remove_abandoned()
    assert sorted(queue.unfinished.iterdir()) == [new, others]


@pytest.mark.parametrize("taken", ["incoming/patient1/1.dcm", "unfinished/thesis.docx"])
def test_a_folder_of_something_else_is_refused_and_stays_as_it_was(tmp_path, taken):
    root = tmp_path / "data"
    (root / taken).parent.mkdir(parents=True)
    (root / taken).write_bytes(b"of the user")
    before = sorted(root.rglob("*"))
    with pytest.raises(OutputError, match=r"data: holds \w+[.\w]* and no queue\.sqlite, so it is no queue"):
        SeriesQueue(root, QUOTA)
    assert sorted(root.rglob("*")) == before


def test_an_empty_disk_and_a_folder_of_other_names_can_be_a_queue(tmp_path):
    for name in ("lost+found", "notes.txt"):
        (tmp_path / "data" / name).mkdir(parents=True)
    assert SeriesQueue(tmp_path / "data", QUOTA).database.exists()


def test_only_files_that_are_named_as_instances_are_taken_in(queue):
    arrive(queue, "1.1", "1.1.1")
    (stored,) = queue.incoming.glob("*/*.dcm")
    lost = stored.with_name("0" * 24 + ".dcm")
    for file in (lost, stored.with_name("mine.dcm"), queue.incoming / "patient1" / stored.name):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"x")
    assert queue.list_unlisted() == [lost]


def test_a_series_is_removed_with_its_results_and_may_come_again(queue):
    arrive(queue, "1.1", "1.1.1")
    arrive(queue, "1.2", "1.2.1")
    with queue.claim(0, 3) as found:
        make(queue, found, ("01-report.dcm", "archive"))
    assert queue.remove(found_in(queue))
    assert [each.uid for each in queue.list_series()] == ["1.2"]
    assert (queue.used_bytes(), list(queue.outgoing.iterdir()), list(queue.claims.iterdir())) == (100, [], [])
    arrive(queue, "1.1", "1.1.1")
    assert found_in(queue).revision == 1


def test_what_is_worked_on_or_has_changed_is_not_removed(queue):
    arrive(queue, "1.1", "1.1.1")
    listed = found_in(queue)
    with queue.claim(0, 3):
        assert not SeriesQueue(queue.root, QUOTA).remove(found_in(queue))
    arrive(queue, "1.1", "1.1.2")
    assert not queue.remove(listed)
    assert len(list(found_in(queue).folder.iterdir())) == 2


def test_a_series_whose_files_cannot_be_deleted_stays_known(queue, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied")

    arrive(queue, "1.1", "1.1.1")
    monkeypatch.setattr(series_queue.shutil, "rmtree", refuse)
    with pytest.raises(OutputError, match="Permission denied"):
        queue.remove(found_in(queue))
    assert queue.used_bytes() == 100


def test_a_lock_that_the_disk_refuses_is_an_error_of_the_queue(queue, monkeypatch):
    def refuse(self, **settings):
        raise OSError(28, "No space left on device")

    arrive(queue, "1.1", "1.1.1")
    monkeypatch.setattr(FileLock, "acquire", refuse)
    with pytest.raises(OutputError, match="No space left on device"), queue.claim(0, 3):
        pass


@pytest.mark.skipif(os.name != "posix", reason="needs modes of POSIX")
def test_it_is_for_its_owner_alone(tmp_path):
    place = tmp_path / "new" / "queue"
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "queue.sqlite").touch(mode=0o644)
    for root in (place, tmp_path / "old"):
        arrive(SeriesQueue(root, QUOTA), "1.1", "1.1.1")
        assert root.joinpath("queue.sqlite").stat().st_mode & 0o077 == 0
    assert place.stat().st_mode & 0o077 == 0


def test_a_place_that_cannot_hold_a_queue_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="the queue cannot be used"):
        SeriesQueue(tmp_path / "file", QUOTA)


KILLED = """
import os, signal, sys
from pathlib import Path
from vesalius.pacs.series_queue import SeriesQueue
queue = SeriesQueue(Path(sys.argv[1]), 10**6)
with queue.claim(0, 3) as found:
    print(found.uid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_holder_loses_its_claim(queue):
    arrive(queue, "1.1", "1.1.1")
    done = subprocess.run([sys.executable, "-c", KILLED, str(queue.root)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-9, "1.1\n")
    with queue.claim(0, 3) as found:
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
