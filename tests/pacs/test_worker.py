import threading

import pydicom
import pytest

pytest.importorskip("highdicom", reason="needs the extra pacs")

from vesalius.errors import OutputError  # noqa: E402
from vesalius.pacs import worker  # noqa: E402
from vesalius.pacs.rules import Destination, PacsRules, QueueSettings, Rule  # noqa: E402
from vesalius.pacs.series_queue import SeriesQueue, State  # noqa: E402

ARCHIVE = {"archive": Destination(aet="ORTHANC", host="127.0.0.1", port=1)}
LIVER = Rule("liver", "segment", ("archive",), ("liver",), modality=("CT",))
NAMES = Rule("names", "name", ("archive",))


@pytest.fixture
def work(tmp_path, trials, monkeypatch):
    """Puts a series into a queue, works until nothing is due, and tells what was sent and where the series stands."""

    def run(*rules, answers=(), slices=None, **settings):
        queue = SeriesQueue(tmp_path / "queue", 2**30)
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
        own = worker.Worker(queue, PacsRules(rules, ARCHIVE, patience), "pocket", "VESALIUS")
        while own.step():
            pass
        (found,) = queue.list_series()
        return sent, found

    return run


def test_rules_that_fit_are_carried_out_and_results_sent(work):
    sent, found = work(LIVER, NAMES)
    assert sent == ["SEG", "SR", "SR"]
    assert (found.state, found.reason) == (State.DONE, "")


def test_a_series_that_no_rule_fits_is_done(work):
    sent, found = work(Rule("none", "name", ("archive",), modality=("MR",)))
    assert (sent, found.state) == ([], State.DONE)


def test_what_was_sent_before_a_failure_is_sent_again_and_nothing_made_anew(work, monkeypatch):
    made, make = [], worker.Worker._make

    def count(self, series):
        made.append(series.revision)
        return make(self, series)

    monkeypatch.setattr(worker.Worker, "_make", count)
    sent, found = work(LIVER, answers=[None, OutputError("no answer")])
    assert sent == ["SEG", "SEG", "SR"]  # of the same UID, so an archive keeps it once
    assert (len(made), found.state) == (1, State.DONE)


def test_an_archive_that_never_answers_leaves_a_dead_letter(work):
    sent, found = work(NAMES, answers=[OutputError("no answer")] * 3, attempts=3)
    assert (sent, found.state, found.attempts, found.reason) == ([], State.DEAD, 3, "no answer")


def test_phrases_that_were_never_learnt_are_reported(work):
    sent, found = work(Rule("fracture", "segment", ("archive",), ("fracture",)))
    assert (sent, found.state) == (["SR"], State.DONE)


def test_what_cannot_be_read_is_refused_once(work, trials):
    slices = trials.make_series(1)
    for each in slices:
        del each.PixelData
    sent, found = work(NAMES, slices=slices)
    assert (sent, found.state) == ([], State.REFUSED)
    assert found.reason


def test_old_series_are_removed_however_busy_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "TIDY_S", 0)
    monkeypatch.setattr(worker, "LOOK_S", 60)  # were it idle, the test would wait
    queue, stopped = SeriesQueue(tmp_path / "queue", 2**30), threading.Event()
    for number in range(6):
        file = tmp_path / "arriving"
        file.write_bytes(b"x")
        queue.store(f"1.{number}", f"1.{number}.1", file)
    busy = worker.Worker(queue, PacsRules((NAMES,), ARCHIVE, QueueSettings(keep_days=0)), "pocket", "VESALIUS")
    kept = []

    def step():
        with queue.claim(0) as series:
            queue.done(series)
        kept.append(len(queue.list_series()))
        if len(kept) == 6:
            stopped.set()
        return True

    monkeypatch.setattr(busy, "step", step)
    busy.run(stopped)
    assert kept == [6, 5, 4, 3, 2, 1]


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
