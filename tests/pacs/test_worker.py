import threading

import pydicom
import pytest

pytest.importorskip("highdicom", reason="needs the extra pacs")

from vesalius.errors import ConfigError, ModelError, OutputError, PromptError  # noqa: E402
from vesalius.pacs import worker  # noqa: E402
from vesalius.pacs.rules import Destination, PacsRules, QueueSettings, Rule  # noqa: E402
from vesalius.pacs.series_queue import SeriesQueue  # noqa: E402
from vesalius.pacs.states import State  # noqa: E402

ARCHIVE = {"archive": Destination(aet="ORTHANC", host="127.0.0.1", port=1)}
TWO = {**ARCHIVE, "web": Destination(url="https://web.example.org/dicom-web")}
LIVER = Rule("liver", "segment", ("archive",), ("liver",), modality=("CT",))
NAMES = Rule("names", "name", ("archive",))


@pytest.fixture
def queue(tmp_path) -> SeriesQueue:
    return SeriesQueue(tmp_path / "queue", 2**30)


def arrive(queue: SeriesQueue, number: int) -> None:
    file = queue.root / "arriving"
    file.write_bytes(b"x")
    queue.store(f"1.{number}", f"1.{number}.1", file)


@pytest.fixture
def work(queue, tmp_path, trials, monkeypatch):
    """Puts a series into a queue, works until nothing is due, and tells what was sent and where the series stands."""

    def run(*rules, answers=(), slices=None, destinations=ARCHIVE, **settings):
        for place, each in enumerate(trials.make_series(1) if slices is None else slices):
            file = tmp_path / f"{place}.dcm"
            each.save_as(file, enforce_file_format=True)
            queue.store(each.SeriesInstanceUID, each.SOPInstanceUID, file)
        sent, left = [], list(answers)

        def answer(file, destination, own_aet):
            if left and (error := left.pop(0)) is not None:
                raise error
            sent.append(pydicom.dcmread(file).Modality)

        monkeypatch.setattr(worker, "send", answer)
        patience = QueueSettings(rest_seconds=0, retry_seconds=0, **settings)
        own = worker.Worker(queue, PacsRules(rules, destinations, patience), "pocket", "VESALIUS")
        while own.step():
            pass
        (found,) = queue.list_series()
        return sent, found

    return run


@pytest.mark.slow
def test_rules_that_fit_are_carried_out_and_results_sent(work):
    sent, found = work(LIVER, NAMES)
    assert sent == ["SEG", "SR", "SR"]
    assert (found.state, found.reason) == (State.DONE, "")


def test_a_series_that_no_rule_fits_is_done(work):
    sent, found = work(Rule("none", "name", ("archive",), modality=("MR",)))
    assert (sent, found.state) == ([], State.DONE)


@pytest.fixture
def made(monkeypatch) -> list[int]:
    """Revisions of which results were made."""
    revisions, make = [], worker.Worker._make

    def count(self, series):
        revisions.append(series.revision)
        return make(self, series)

    monkeypatch.setattr(worker.Worker, "_make", count)
    return revisions


@pytest.mark.slow
def test_what_was_sent_before_a_failure_is_neither_sent_nor_made_again(work, made):
    sent, found = work(LIVER, answers=[None, OutputError("no answer")])
    assert sent == ["SEG", "SR"]
    assert (len(made), found.state, found.reason) == (1, State.DONE, "")


@pytest.fixture
def instant(monkeypatch, make_slice) -> None:
    """Results that take no model; of the modality of an image."""

    def carry_out(self, rule, series, folder, name):
        make_slice("1.2.3").save_as(folder / f"{name}-report.dcm", enforce_file_format=True)
        return [folder / f"{name}-report.dcm"]

    monkeypatch.setattr(worker.Worker, "_carry_out", carry_out)


@pytest.mark.usefixtures("instant")
def test_a_destination_that_is_gone_keeps_nothing_from_the_others(work):
    both = Rule("names", "name", ("archive", "web"))
    gone = [OutputError("the archive is gone"), None, *[OutputError("the archive is gone")] * 2]
    sent, found = work(both, answers=gone, destinations=TWO, attempts=3)
    assert (sent, found.state) == (["CT"], State.DEAD)
    assert found.results == (("01-report.dcm", "archive"),)


@pytest.fixture
def made_once(instant, work, queue):
    """A series whose results are made, and that nobody took; and what works on it by further rules."""
    _, found = work(NAMES, answers=[OutputError("no answer")], attempts=1)
    assert found.state == State.DEAD

    def go_on(rule, destinations):
        queue.retry()
        patience = QueueSettings(rest_seconds=0, retry_seconds=0, attempts=1)
        own = worker.Worker(queue, PacsRules((rule,), destinations, patience), "pocket", "VESALIUS")
        assert own.step()
        (now,) = queue.list_series()
        return now

    return queue, found, go_on


def test_what_was_made_is_sent_when_the_archive_is_back(made_once, made):
    _, _, go_on = made_once
    assert go_on(NAMES, ARCHIVE).state == State.DONE
    assert made == []


def test_results_that_a_power_cut_left_empty_are_made_anew(made_once, made):
    queue, found, go_on = made_once
    (result,) = queue.results_of(found).iterdir()
    result.write_bytes(b"")
    assert go_on(NAMES, ARCHIVE).state == State.DONE
    assert len(made) == 1


def test_results_for_a_destination_of_another_name_today_are_made_anew(made_once, made):
    _, _, go_on = made_once
    assert go_on(Rule("names", "name", ("renamed",)), {"renamed": ARCHIVE["archive"]}).state == State.DONE
    assert len(made) == 1


@pytest.mark.parametrize(
    ("rule", "model", "environment", "error"),
    [
        (LIVER, "pockte", {}, ModelError),
        (Rule("twice", "segment", ("archive",), ("liver", "Liver")), "pocket", {}, PromptError),
        (NAMES, "pockte", {}, ModelError),
        (NAMES, "pocket", {"VESALIUS_PACS_TOKEN": "t0ken"}, ConfigError),
    ],
)
def test_what_would_fail_with_each_series_fails_at_the_start(tmp_path, monkeypatch, rule, model, environment, error):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    places = {**ARCHIVE, "web": Destination(url="http://web.example.org/dicom-web")}
    rules = PacsRules((rule,), places, QueueSettings())
    with pytest.raises(error):
        worker.Worker(SeriesQueue(tmp_path, 1), rules, model, "VESALIUS").check()


@pytest.mark.slow
def test_an_archive_that_never_answers_leaves_a_dead_letter(work):
    sent, found = work(NAMES, answers=[OutputError("no answer")] * 3, attempts=3)
    assert (sent, found.state, found.attempts, found.reason) == ([], State.DEAD, 3, "no answer")


def test_phrases_that_were_never_learnt_are_reported(work):
    sent, found = work(Rule("fracture", "segment", ("archive",), ("fracture",)))
    assert (sent, found.state) == (["SR"], State.DONE)


@pytest.mark.parametrize(
    ("phrase", "modality", "remark"),
    [
        ("unicorn", ("CT",), "'unicorn' is not among what was learnt"),
        ("kidnies", (), "read as 'kidney'"),
        ("colon", ("ct", "mr"), "not expected on MR"),
        ("liver", (), None),
    ],
)
def test_phrases_that_were_not_learnt_are_said_at_the_start(tmp_path, capsys, phrase, modality, remark):
    rules = PacsRules((Rule("a", "segment", ("archive",), (phrase,), modality),), ARCHIVE, QueueSettings())
    worker.Worker(SeriesQueue(tmp_path, 1), rules, "pocket", "VESALIUS").check()
    said = " ".join(capsys.readouterr().err.split())
    assert said == "" if remark is None else f"rule 'a': '{phrase}'" in said and remark in said


def test_what_cannot_be_read_is_refused_once(work, trials):
    slices = trials.make_series(1)
    for each in slices:
        del each.PixelData
    sent, found = work(NAMES, slices=slices)
    assert (sent, found.state) == ([], State.REFUSED)
    assert found.reason


def test_old_series_are_removed_however_busy_it_is(queue, monkeypatch):
    monkeypatch.setattr(worker, "TIDY_S", 0)
    monkeypatch.setattr(worker, "LOOK_S", 60)  # were it idle, the test would wait
    stopped = threading.Event()
    for number in range(6):
        arrive(queue, number)
    busy = worker.Worker(queue, PacsRules((NAMES,), ARCHIVE, QueueSettings(keep_days=0)), "pocket", "VESALIUS")
    kept = []

    def step():
        with queue.claim(0, 3) as series:
            queue.done(series)
        kept.append(len(queue.list_series()))
        if len(kept) == 6:
            stopped.set()
        return True

    monkeypatch.setattr(busy, "step", step)
    busy.run(stopped)
    assert kept == [6, 5, 4, 3, 2, 1]


def test_removals_of_what_failed_are_said(queue, capsys):
    for number in range(2):
        arrive(queue, number)
    with queue.claim(0, 3) as series:
        queue.refuse(series, "no image")
    with queue.claim(0, 3) as series:
        queue.done(series)
    worker.Worker(queue, PacsRules((NAMES,), ARCHIVE, QueueSettings(keep_days=0)), "pocket", "VESALIUS")._tidy()
    told = capsys.readouterr().err
    assert told.count("removed") == 1
    assert "it was refused" in told


def test_a_series_that_cannot_be_removed_keeps_no_other(queue, monkeypatch, capsys):
    for number in range(2):
        arrive(queue, number)
        with queue.claim(0, 3) as series:
            queue.refuse(series, "no image")
    stuck, remove = queue.list_series()[0], queue.remove

    def refuse(series):
        if series.uid == stuck.uid:
            raise OutputError("Permission denied")
        return remove(series)

    monkeypatch.setattr(queue, "remove", refuse)
    worker.Worker(queue, PacsRules((NAMES,), ARCHIVE, QueueSettings(keep_days=0)), "pocket", "VESALIUS")._tidy()
    assert [each.uid for each in queue.list_series()] == [stuck.uid]
    assert f"series {stuck.short}: cannot be removed: Permission denied" in " ".join(capsys.readouterr().err.split())


def test_files_that_the_database_does_not_know_of_are_taken_in_or_said(queue, tmp_path, trials, capsys):
    folder = queue.incoming / ("0" * 24)
    folder.mkdir()
    (first, *_) = trials.make_series(1)
    whole, damaged = (folder / f"{24 * digit}.dcm" for digit in "12")
    first.save_as(whole, enforce_file_format=True)
    damaged.write_bytes(b"no image")
    own = worker.Worker(queue, PacsRules((NAMES,), ARCHIVE, QueueSettings(rest_seconds=0)), "pocket", "VESALIUS")
    own._tidy()
    (found,) = queue.list_series()
    assert (found.uid, found.state, found.revision) == (first.SeriesInstanceUID, State.RECEIVING, 1)
    assert len(list(found.folder.iterdir())) == 1
    assert queue.list_unlisted() == [damaged]
    told = " ".join(capsys.readouterr().err.split())
    assert "1 instances that the queue's database did not know of are taken in" in told
    assert f"{damaged.name}: cannot be read as DICOM" in told
    assert "1 files in " in told


def test_trouble_with_the_queue_does_not_end_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(worker, "TROUBLE_S", 0)
    own = worker.Worker(SeriesQueue(tmp_path, 1), PacsRules((NAMES,), ARCHIVE, QueueSettings()), "pocket", "VESALIUS")
    stopped, answers = threading.Event(), [OutputError("the disk is full"), None]

    def step():
        if (answer := answers.pop(0)) is not None:
            raise answer
        stopped.set()
        return True

    monkeypatch.setattr(own, "step", step)
    own.run(stopped)
    assert answers == []
    assert "the disk is full" in capsys.readouterr().err
