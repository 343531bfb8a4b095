import random
import shutil
import socket
import subprocess
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

pynetdicom = pytest.importorskip("pynetdicom", reason="needs the extra pacs")

from vesalius.errors import ConfigError  # noqa: E402
from vesalius.pacs.listener import (  # noqa: E402
    MISMATCH,
    NOT_UNDERSTOOD,
    OUT_OF_RESOURCES,
    SUCCESS,
    ListenSettings,
    listening,
    transfer_syntaxes,
)
from vesalius.pacs.series_queue import SeriesQueue  # noqa: E402


@pytest.fixture
def queue(tmp_path) -> SeriesQueue:
    return SeriesQueue(tmp_path / "queue", 10 * 2**20)


@pytest.fixture
def port(queue):
    with listening(queue, ListenSettings(port=0, most_megabytes=1)) as bound:
        yield bound


def send(port: int, *datasets: Dataset, called: str = "VESALIUS", calling: str = "TEST") -> list[int | None]:
    """Statuses; empty if the association was refused."""
    node = pynetdicom.AE(ae_title=calling)
    node.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    association = node.associate("127.0.0.1", port, ae_title=called)
    if not association.is_established:
        return []
    found = [association.send_c_store(each).get("Status") for each in datasets]
    association.release()
    return found


def test_echo_is_answered(port):
    node = pynetdicom.AE()
    node.add_requested_context("1.2.840.10008.1.1")
    association = node.associate("127.0.0.1", port, ae_title="VESALIUS")
    assert association.send_c_echo().Status == 0
    association.release()


def test_what_is_sent_lies_in_the_queue_as_it_was(port, queue, make_slice):
    sent = [make_slice("1.2.3.4", number) for number in (1, 2)]
    assert send(port, *sent) == [0, 0]
    assert send(port, sent[0]) == [0]  # again
    (found,) = queue.list_series()
    stored = {each.SOPInstanceUID: each for each in map(pydicom.dcmread, found.folder.iterdir())}
    assert {uid: each.PixelData for uid, each in stored.items()} == {
        each.SOPInstanceUID: each.PixelData for each in sent
    }
    assert list(queue.unfinished.iterdir()) == []


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [
        (["1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.70"], "1.2.840.10008.1.2.4.70"),  # MPEG-4, lossless JPEG
        (["1.2.840.10008.1.2.4.102"], None),
    ],
)
def test_what_cannot_be_decoded_is_not_agreed_on(port, offered, agreed):
    node = pynetdicom.AE()
    node.add_requested_context(CTImageStorage, offered)
    association = node.associate("127.0.0.1", port, ae_title="VESALIUS")
    assert [each.transfer_syntax[0] for each in association.accepted_contexts] == ([] if agreed is None else [agreed])
    association.abort()


def test_the_conformance_statement_lists_what_is_agreed_on():
    page = " ".join((Path(__file__).parents[2] / "docs" / "conformance.md").read_text(encoding="utf-8").split())
    plain = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"]
    jpeg = [f"1.2.840.10008.1.2.4.{each}" for each in (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203)]
    assert sorted(transfer_syntaxes()) == sorted([*plain, *jpeg, "1.2.840.10008.1.2.5"])
    assert f"({len(pynetdicom.AllStoragePresentationContexts)})" in page
    standard = ListenSettings()
    assert f"at most {standard.most_associations} at a time" in page
    assert f"{standard.most_megabytes} MiB an instance" in page
    assert f"PDUs of {pynetdicom.AE().maximum_pdu_size:,} bytes" in page
    assert all(f"| {status:04X} |" in page for status in (SUCCESS, OUT_OF_RESOURCES, MISMATCH, NOT_UNDERSTOOD))


def test_only_calls_to_its_title_are_taken(port, make_slice):
    assert send(port, make_slice("1.2.3.4"), called="ANOTHER") == []


def test_only_known_callers_are_let_in(queue, make_slice):
    with listening(queue, ListenSettings(port=0, callers=("KNOWN",))) as bound:
        assert send(bound, make_slice("1.2.3.4"), calling="STRANGER") == []
        assert send(bound, make_slice("1.2.3.4"), calling="KNOWN") == [0]


def test_an_instance_without_its_uids_is_refused(port, queue, capsys, make_slice):
    odd = make_slice("1.2.3.4")
    del odd.SeriesInstanceUID
    assert send(port, odd) == [0xC000]
    assert queue.list_series() == []
    assert "Doe" not in capsys.readouterr().err


def test_what_exceeds_the_quota_is_refused_and_told(tmp_path, make_slice):
    small = SeriesQueue(tmp_path / "small", 100)
    with listening(small, ListenSettings(port=0)) as bound:
        assert send(bound, make_slice("1.2.3.4")) == [0xA700]


def test_an_instance_that_is_too_large_ends_its_association_alone(port, queue, make_slice):
    large = make_slice("1.2.3.4")
    large.Rows = large.Columns = 1024
    large.PixelData = bytes(2 * 2**20)
    assert send(port, large) == [None]
    assert queue.list_series() == []
    assert send(port, make_slice("1.2.3.5")) == [0]


def test_noise_does_not_end_the_listener(port, make_slice):
    draws = random.Random(0)
    for length in (1, 6, 10, 74, 500, 5000):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as stranger:
            kind = bytes([draws.randrange(1, 8)])
            stranger.sendall(kind + b"\0" + draws.randrange(0, 2**32).to_bytes(4, "big") + draws.randbytes(length))
    assert send(port, make_slice("1.2.3.4")) == [0]


@pytest.mark.skipif(shutil.which("storescu") is None, reason="needs dcmtk's storescu (Debian: dcmtk)")
def test_dcmtk_sends_to_it(port, queue, tmp_path, make_slice):
    file = tmp_path / "slice.dcm"
    make_slice("1.2.3.4").save_as(file, enforce_file_format=True)
    subprocess.run(["storescu", "-aec", "VESALIUS", "127.0.0.1", str(port), str(file)], check=True, timeout=30)
    assert len(queue.list_series()) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": "0.0.0.0"}, "--caller"),
        ({"certificate": Path("a.pem")}, "belong together"),
        ({"client_ca": Path("a.pem")}, "needs --certificate"),
        ({"aet": "A TITLE THAT IS TOO LONG"}, "AE title"),
    ],
)
def test_settings_that_leave_a_door_open_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ListenSettings(**settings).check()


def test_a_port_in_use_is_said(queue, port):
    with pytest.raises(ConfigError, match="another --port"), listening(queue, ListenSettings(port=port)):
        pass


@pytest.mark.slow
def test_whatever_a_node_is_sent_it_goes_on(port, queue, make_slice):
    """All files that pydicom brings, as they are."""
    statuses: dict[str, int | None] = {}
    for path in sorted(Path(pydicom.data.get_testdata_file("CT_small.dcm")).parent.rglob("*")):
        try:
            dataset = pydicom.dcmread(path)
            sop_class, syntax = dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID
        except Exception:
            continue  # no file that a node could announce
        node = pynetdicom.AE()
        node.add_requested_context(sop_class, syntax)
        association = node.associate("127.0.0.1", port, ae_title="VESALIUS")
        if not association.is_established:
            continue
        try:
            statuses[path.name] = association.send_c_store(dataset).get("Status")
        except (ValueError, AttributeError, RuntimeError):
            statuses[path.name] = None  # the sender's own library refuses
        association.abort()
    assert sum(status == 0 for status in statuses.values()) > 50
    assert send(port, make_slice("1.2.3.4")) == [0]
