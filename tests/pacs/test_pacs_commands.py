"""`vesalius pacs` with a service, and a queue, of the test's own."""

import json
import time
from datetime import datetime

import pydicom
import pytest

pytest.importorskip("highdicom", reason="needs the extra pacs")

from vesalius.errors import OutputError  # noqa: E402
from vesalius.pacs import dicomweb  # noqa: E402
from vesalius.pacs.series_queue import SeriesQueue  # noqa: E402

WHERE = ("--url", "http://127.0.0.1:9/dicom-web", "--study", "1.2", "--series", "1.2.3")


@pytest.fixture
def service(trials, monkeypatch):
    """Holds one series; tells how often it was fetched and what was stored."""
    seen = {"fetched": 0, "stored": [], "weighted": False, "searches": True}

    class Service:
        def __init__(self, url):
            self.url = url

        def fetch(self, study, series, folder, instances):
            assert instances == (4 if seen["searches"] else None)
            seen["fetched"] += 1
            for place, each in enumerate(trials.make_series(1)):
                each.PatientName, each.PatientID = "Doe^Jane", "secret-17"
                if seen["weighted"]:
                    block = each.private_block(0x0019, "SIEMENS MR HEADER", create=True)
                    block.add_new(0x0C, "IS", 1000 if place else 0)
                each.save_as(folder / f"{place}.dcm", enforce_file_format=True)

        def find(self, filters, limit):
            if not seen["searches"]:
                raise OutputError("answered with status 404")
            return [dicomweb.RemoteSeries("1.2." * 15 + "4", "1.2.3", "CT", "", "portal", "20260101", 4)]

        def store(self, file):
            seen["stored"].append(pydicom.dcmread(file).Modality)

    monkeypatch.setattr(dicomweb, "DicomWeb", Service)
    return seen


COMMANDS = (("segment", "-p", "liver"), ("name",))


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_fetched_for_a_result_that_could_not_be_written(run, service, tmp_path, command):
    (tmp_path / "result.dcm").write_bytes(b"mine")
    name, *options = command
    code, _, said = run("pacs", name, *WHERE, *options, "--out", "result.dcm")
    assert (code, service["fetched"]) == (2, 0)
    assert "there already" in said
    assert (tmp_path / "result.dcm").read_bytes() == b"mine"
    assert run("pacs", name, *WHERE, *options, "--out", "result.txt")[0] == 2
    assert run("pacs", name, *WHERE, *options)[0] == 2
    assert service["fetched"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_results_are_made_from_deidentified_copies_if_asked(run, service, tmp_path, command):
    name, *options = command
    code, _, said = run("pacs", name, *WHERE, *options, "--out", "result.dcm", "--deidentify", "copies", "--send")
    assert (code, service["fetched"]) == (2, 0)
    assert "--deidentify with --send" in " ".join(said.split())
    assert run("pacs", name, *WHERE, *options, "--out", "result.dcm", "--deidentify", "copies")[0] == 0
    copies = list(map(pydicom.dcmread, (tmp_path / "copies").rglob("*.dcm")))
    content = (tmp_path / "result.dcm").read_bytes()
    assert len(copies) == 4
    assert all(each.SOPInstanceUID.encode() in content for each in copies)
    assert b"secret-17" not in content
    assert service["stored"] == []


def test_copies_that_make_other_stacks_are_refused_and_not_kept(run, service, tmp_path):
    service["weighted"] = True
    code, _, said = run("pacs", "name", *WHERE, "--out", "result.dcm", "--deidentify", "copies")
    assert code == 2
    assert "belong together otherwise" in " ".join(said.split())
    assert list(tmp_path.iterdir()) == []


def test_copies_without_a_result_are_not_kept(run, service, tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise OutputError(f"{path}: cannot be written")

    for name in ("report_names", "segment_to_dicom"):
        monkeypatch.setattr(f"vesalius.clinical.work.{name}", refuse)
    for name, *options in COMMANDS:
        code, _, said = run("pacs", name, *WHERE, *options, "--out", "result.dcm", "--deidentify", "copies")
        assert (code, "cannot be written" in said) == (2, True)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_results_that_are_sent_leave_nothing_here(run, service, tmp_path):
    assert run("pacs", "segment", *WHERE, "-p", "liver", "--send")[0] == 0
    assert service["stored"] == ["SEG", "SR"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_report_that_nothing_was_learnt_is_delivered(run, service, tmp_path):
    code, told, said = run("pacs", "segment", *WHERE, "-p", "fracture", "--out", "result.dcm", "--send")
    assert (code, service["stored"]) == (2, ["SR"])
    assert told.split() == ["result.report.dcm"]
    assert "learnt none of the phrases" in " ".join(said.split())


def test_a_service_that_does_not_search_is_fetched_from_all_the_same(run, service, tmp_path):
    service["searches"] = False
    assert run("pacs", "name", *WHERE, "--out", "result.dcm")[0] == 0
    assert (service["fetched"], (tmp_path / "result.dcm").is_file()) == (1, True)


def test_a_segmentation_of_before_is_not_delivered_as_one_of_today(run, service, tmp_path):
    (tmp_path / "result.dcm").write_bytes(b"of before")
    assert run("pacs", "segment", *WHERE, "-p", "fracture", "--out", "result.dcm", "--overwrite", "--send")[0] == 2
    assert service["stored"] == ["SR"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["--study", "--series"])
def test_what_is_no_uid_is_said(run, service, command, option):
    name, *options = command
    where = list(WHERE)
    where[where.index(option) + 1] = "abc"
    code, _, said = run("pacs", name, *where, *options, "--out", "result.dcm")
    assert (code, service["fetched"]) == (2, 0)
    assert f"{option} abc: expected a UID" in " ".join(said.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--limit", "-1"), "--limit: expected 1 or more, got -1"),
        (("--filter", "Modlity=CT"), "'Modlity' is no keyword of DICOM. Did you mean Modality?"),
        (("--filter", "Modality=CT", "--filter", "Modality=MR"), "Modality is given twice"),
        (("--filter", "Modality"), "expected KEYWORD=VALUE"),
    ],
)
def test_filters_that_would_be_ignored_are_refused(run, service, options, message):
    code, _, said = run("pacs", "find", "--url", WHERE[1], *options)
    assert code == 2
    assert message in " ".join(said.split())


def test_series_are_listed_as_other_commands_take_them(run, service):
    code, told, said = run("pacs", "find", "--url", WHERE[1])
    assert (code, told) == (0, f"--study {'1.2.' * 15}4 --series 1.2.3\n")
    assert "CT, portal, 20260101 (4 instances)" in said


def test_a_model_that_is_not_there_is_said_before_anything_is_accepted(run, tmp_path):
    destination = '[destination.archive]\naet = "A"\nhost = "localhost"\nport = 9\n'
    rule = '[[rule]]\nname = "names"\ntask = "name"\nsend_to = "archive"\n'
    (tmp_path / "rules.toml").write_text(destination + rule)
    code, _, said = run(
        "pacs", "listen", "--rules", "rules.toml", "--queue", "queue", "--port", "0", "--model", "pockte"
    )
    assert code == 2
    assert "Did you mean 'pocket'?" in " ".join(said.split())
    assert "listens on" not in said


@pytest.fixture
def queue(tmp_path) -> SeriesQueue:
    """Of two series, the first of which failed and waits, and the second of which was refused."""
    found = SeriesQueue(tmp_path / "queue", 2**20)
    for uid in ("1.1", "1.2"):
        (tmp_path / "arriving").write_bytes(b"x")
        found.store(uid, f"{uid}.1", tmp_path / "arriving")
    with found.claim(0, 3) as series:
        found.fail(series, "no answer", attempts=3, wait_s=600)
    with found.claim(0, 3) as series:
        found.refuse(series, "no image")
    return found


def test_status_says_when_what_failed_is_tried_again(run, queue):
    code, told, _ = run("pacs", "status", "queue")
    assert code == 0
    assert "in 10 min" in told
    failed = {each["reason"]: each for each in json.loads(run("pacs", "status", "queue", "--json")[1])["failed"]}
    assert failed["no image"]["next_attempt"] is None
    left = datetime.fromisoformat(failed["no answer"]["next_attempt"]).timestamp() - time.time()
    assert 500 < left <= 600
    assert run("pacs", "retry", "queue")[0] == 0
    assert "now" in run("pacs", "status", "queue")[1].split()


def test_status_says_what_lies_in_the_queue_s_folder_unknown_to_its_database(run, queue):
    assert "in no series" not in run("pacs", "status", "queue")[2]
    (queue.list_series()[0].folder / f"{24 * '0'}.dcm").write_bytes(b"x")
    assert json.loads(run("pacs", "status", "queue", "--json")[1])["unlisted"] == 1
    assert "1 files in" in run("pacs", "status", "queue")[2]


@pytest.mark.parametrize("by_number", [True, False])
def test_one_series_is_removed_if_confirmed(run, queue, by_number):
    first, second = queue.list_series()
    name = first.short if by_number else first.uid
    code, _, said = run("pacs", "remove", "queue", name)
    assert (code, "add --yes" in said, len(queue.list_series())) == (2, True, 2)
    assert run("pacs", "remove", "queue", name, "--yes")[0] == 0
    assert [each.uid for each in queue.list_series()] == [second.uid]
    assert not first.folder.exists()


@pytest.mark.parametrize("name", ["1.9", "deadbeef", "5", ""])
def test_a_series_that_is_not_there_is_not_removed(run, queue, name):
    code, _, said = run("pacs", "remove", "queue", name, "--yes")
    assert (code, len(queue.list_series())) == (2, 2)
    assert "holds no series" in said


def test_what_is_worked_on_is_not_removed_by_command(run, queue):
    queue.retry()
    with queue.claim(0, 3) as series:
        code, _, said = run("pacs", "remove", "queue", series.uid, "--yes")
    assert code == 2
    assert "is being worked on" in " ".join(said.split())
    assert series.folder.exists()
