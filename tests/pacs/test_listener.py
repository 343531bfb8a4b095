import random
import shutil
import socket
import ssl
import subprocess
import threading
import time
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

pynetdicom = pytest.importorskip("pynetdicom", reason="needs the extra pacs")

from pynetdicom.fsm import InvalidEventError  # noqa: E402

from vesalius.errors import ConfigError  # noqa: E402
from vesalius.pacs import guard as guarding  # noqa: E402
from vesalius.pacs import listener, worker  # noqa: E402
from vesalius.pacs.listener import (  # noqa: E402
    MISMATCH,
    NOT_UNDERSTOOD,
    OTHER_SERIES,
    OUT_OF_RESOURCES,
    SUCCESS,
    guard,
    listening,
    transfer_syntaxes,
)
from vesalius.pacs.rules import Destination, PacsRules, QueueSettings, Rule  # noqa: E402
from vesalius.pacs.series_queue import SeriesQueue  # noqa: E402
from vesalius.pacs.settings import ListenSettings  # noqa: E402
from vesalius.pacs.states import State  # noqa: E402
from waiting import PATIENCE_S, until  # noqa: E402

STATUSES = (SUCCESS, OUT_OF_RESOURCES, MISMATCH, NOT_UNDERSTOOD, OTHER_SERIES)
SOON_S = 30
"""Less than what stands still may take where nothing shortens it."""
AT_ONCE = QueueSettings(rest_seconds=0, retry_seconds=0, attempts=1)


@pytest.fixture
def queue(tmp_path) -> SeriesQueue:
    return SeriesQueue(tmp_path / "queue", 10 * 2**20)


@pytest.fixture
def port(queue):
    with listening(queue, ListenSettings(port=0, megabytes=1)) as bound:
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


def hear(capsys, words: str) -> None:
    """Wait until a thread of the listener says something, which it may do after its answer."""
    said: list[str] = []
    until(lambda: said.append(capsys.readouterr().err) or words in " ".join("".join(said).split()))


def test_echo_is_answered(port):
    node = pynetdicom.AE()
    node.add_requested_context("1.2.840.10008.1.1")
    association = node.associate("127.0.0.1", port, ae_title="VESALIUS")
    assert association.send_c_echo().Status == 0
    association.release()


@pytest.mark.slow
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
        (["1.2.840.10008.1.2.1.99"], None),  # deflated: 100 MiB of it may be 100 GiB
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
    plain = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"]
    jpeg = [f"1.2.840.10008.1.2.4.{each}" for each in (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203)]
    assert sorted(transfer_syntaxes()) == sorted([*plain, *jpeg, "1.2.840.10008.1.2.5"])
    assert f"({len(pynetdicom.AllStoragePresentationContexts)})" in page
    standard = ListenSettings()
    assert f"at most {standard.associations} at a time" in page
    assert f"{standard.megabytes} MiB an instance" in page
    assert f"{listener.ASSOCIATION_S:.0f} s to begin, {listener.PDU_S:.0f} s a PDU" in page
    assert f"{listener.SILENCE_S:.0f} s of silence" in page
    assert f"PDUs of {pynetdicom.AE().maximum_pdu_size:,} bytes" in page
    assert all(f"| {status:04X} |" in page for status in STATUSES)


def test_an_instance_of_another_series_is_refused_for_good(port, make_slice):
    known, other = make_slice("1.2.3.4"), make_slice("1.2.3.5")
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = known.SOPInstanceUID
    assert send(port, known, other) == [0, OTHER_SERIES]
    assert OTHER_SERIES >> 12 == 0xC  # no sender takes it for a disk that may have room tomorrow


def test_only_calls_to_its_title_are_taken(port, make_slice, capsys):
    assert send(port, make_slice("1.2.3.4"), called="ANOTHER") == []
    hear(capsys, "turned away (Called AE title not recognised): from 'TEST' at 127.0.0.1 to 'ANOTHER'.")


def test_values_that_pydicom_repeats_are_not_said(queue):
    def complain():
        warnings.warn_explicit("Invalid value for VR UI: '1.2.01'", UserWarning, "x.py", 1, "pydicom.valuerep")

    with listening(queue, ListenSettings(port=0)):
        complain()
    with pytest.raises(UserWarning):
        complain()


def test_only_known_callers_are_let_in(queue, make_slice, capsys):
    with listening(queue, ListenSettings(port=0, caller=("KNOWN",))) as bound:
        assert send(bound, make_slice("1.2.3.4"), calling="STRANGER") == []
        hear(capsys, "turned away (Calling AE title not recognised): from 'STRANGER'")
        assert send(bound, make_slice("1.2.3.4"), calling="KNOWN") == [0]


def test_an_instance_without_its_uids_is_refused(port, queue, capsys, make_slice):
    odd = make_slice("1.2.3.4")
    del odd.SeriesInstanceUID
    assert send(port, odd) == [0xC000]
    assert queue.list_series() == []
    assert "Doe" not in capsys.readouterr().err


def test_what_exceeds_the_quota_is_refused_and_told(tmp_path, make_slice, capsys):
    small = SeriesQueue(tmp_path / "small", 100)
    with listening(small, ListenSettings(port=0)) as bound:
        assert send(bound, make_slice("1.2.3.4")) == [0xA700]
    assert list(small.unfinished.iterdir()) == []
    assert "the quota of 100 bytes is used up" in " ".join(capsys.readouterr().err.split())


def test_an_instance_that_is_too_large_ends_its_association_alone(port, queue, make_slice):
    large = make_slice("1.2.3.4")
    large.Rows = large.Columns = 1024
    large.PixelData = bytes(2 * 2**20)
    assert send(port, large) == [None]
    assert queue.list_series() == []
    assert send(port, make_slice("1.2.3.5")) == [0]


@pytest.mark.slow
def test_noise_does_not_end_the_listener(port, make_slice):
    draws = random.Random(0)
    for length in (1, 6, 10, 74, 500, 5000):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as stranger:
            kind = bytes([draws.randrange(1, 8)])
            stranger.sendall(kind + b"\0" + draws.randrange(0, 2**32).to_bytes(4, "big") + draws.randbytes(length))
    assert send(port, make_slice("1.2.3.4")) == [0]


def test_a_caller_that_breaks_the_protocol_leaves_no_association_behind(capsys):
    """What a fuzzed association met now and then: pynetdicom's thread died, and the association stayed for minutes."""
    ended = threading.Event()

    def act(what):
        raise InvalidEventError(f"Invalid event '{what}' for the current state 'Sta13'")

    dul = Mock(state_machine=SimpleNamespace(do_action=act))
    guard(SimpleNamespace(assoc=SimpleNamespace(dul=dul, kill=ended.set)))
    dul.state_machine.do_action("Evt7")
    assert ended.wait(PATIENCE_S)
    dul.kill_dul.assert_called_once()
    dul.socket.close.assert_called_once()
    assert "does not keep to the protocol" in capsys.readouterr().err


def ends(stranger: socket.socket) -> bool:
    """Whether the other side hangs up."""
    try:
        while stranger.recv(2**16):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.slow
@pytest.mark.parametrize("said", [b"", b"\x01", b"\x04\x00\x00\x01\x00\x00abcd"])
def test_callers_that_stop_in_the_middle_lose_their_place(queue, monkeypatch, make_slice, said):
    for each in (guarding, listener):
        monkeypatch.setattr(each, "ASSOCIATION_S", 0.2)
    with listening(queue, ListenSettings(port=0, associations=1)) as bound:
        with socket.create_connection(("127.0.0.1", bound), timeout=SOON_S) as stranger:
            stranger.sendall(said)
            assert ends(stranger)
        monkeypatch.undo()
        assert answers_soon(bound, make_slice("1.2.3.4"))


@pytest.mark.slow
def test_a_caller_that_stops_in_the_middle_of_an_instance_loses_its_place(queue, recorded, monkeypatch, make_slice):
    monkeypatch.setattr(guarding, "PDU_S", 0.5)
    with listening(queue, ListenSettings(port=0, associations=1)) as bound:
        with socket.create_connection(("127.0.0.1", bound), timeout=SOON_S) as stranger:
            stranger.sendall(recorded[0])
            assert stranger.recv(1) == b"\x02"  # accepted
            stranger.sendall(b"\x04\x00\x00\x01\x00\x00abcd")
            assert ends(stranger)
        monkeypatch.undo()
        assert answers_soon(bound, make_slice("1.2.3.5"))


def answers_soon(port: int, dataset: Dataset) -> bool:
    """Whether an instance is taken as soon as the thread of a former association has gone."""
    answers = []
    until(lambda: answers.extend(send(port, dataset)) or answers)
    return answers == [0]


def test_no_more_is_read_than_a_pdu_may_have(capsys):
    connection = Mock()
    read = guarding._reader(connection, lambda: True)
    with pytest.raises(ConnectionAbortedError):  # upon which pynetdicom ends the association
        read(0xFFFFFFFF)
    connection.recv.assert_not_called()
    assert "PDU that is too large" in capsys.readouterr().err


def test_a_caller_that_sends_byte_by_byte_has_no_more_time(monkeypatch):
    monkeypatch.setattr(guarding, "PDU_S", 0.2)
    connection = Mock()
    connection.recv.side_effect = lambda size: time.sleep(0.02) or b"x"
    with pytest.raises(TimeoutError):
        guarding._reader(connection, lambda: True)(1000)
    assert connection.recv.call_count < 1000


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> ListenSettings:
    """A port of its own for TLS, with a certificate of localhost that it signed itself."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl (Debian: openssl)")
    folder = tmp_path_factory.mktemp("tls")
    key, found = folder / "key.pem", folder / "cert.pem"
    kind = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1")
    name = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    made = ["openssl", "req", *kind, *name, "-keyout", str(key), "-out", str(found)]
    subprocess.run(made, check=True, capture_output=True)
    return ListenSettings(port=0, certificate=found, key=key)


@pytest.mark.slow
def test_callers_over_tls_that_say_nothing_keep_nobody_waiting(queue, certificate, make_slice):
    with listening(queue, certificate) as bound, socket.create_connection(("127.0.0.1", bound)):
        node = pynetdicom.AE()
        node.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        node.connection_timeout = node.acse_timeout = node.dimse_timeout = SOON_S
        trusted = ssl.create_default_context(cafile=str(certificate.certificate))
        association = node.associate("127.0.0.1", bound, ae_title="VESALIUS", tls_args=(trusted, "localhost"))
        assert association.is_established
        large = make_slice("1.2.3.4")
        large.Rows = large.Columns = 512
        large.PixelData = bytes(2**19)  # of many records
        assert association.send_c_store(large).Status == 0
        association.release()


def test_the_file_that_tls_cannot_use_is_named(certificate, tmp_path):
    wrong = tmp_path / "ca.pem"
    wrong.write_text("no certificate")
    for change in ({"client_ca": wrong}, {"certificate": wrong}):
        with pytest.raises(ConfigError, match=r"ca\.pem") as caught:
            replace(certificate, **change).tls()
        assert ("cert.pem" in str(caught.value)) is False


@pytest.mark.skipif(shutil.which("storescu") is None, reason="needs dcmtk's storescu (Debian: dcmtk)")
def test_dcmtk_sends_to_it(port, queue, tmp_path, make_slice):
    file = tmp_path / "slice.dcm"
    make_slice("1.2.3.4").save_as(file, enforce_file_format=True)
    subprocess.run(["storescu", "-aec", "VESALIUS", "127.0.0.1", str(port), str(file)], check=True, timeout=PATIENCE_S)
    assert len(queue.list_series()) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": "0.0.0.0"}, "--caller"),
        ({"certificate": Path("a.pem")}, "belong together"),
        ({"client_ca": Path("a.pem")}, "needs --certificate"),
        ({"associations": -3}, "--associations: expected 1 or more, got -3"),
        ({"megabytes": 0}, "--megabytes: expected 1 or more, got 0"),
        ({"aet": "A TITLE THAT IS TOO LONG"}, "AE title"),
    ],
)
def test_settings_that_leave_a_door_open_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ListenSettings(**settings)


def test_a_port_in_use_is_said(queue, port):
    with pytest.raises(ConfigError, match="another --port"), listening(queue, ListenSettings(port=port)):
        pass


@pytest.fixture
def roomy_port(queue):
    """Of a listener that turns nobody away for lack of places, though threads of former callers take their time."""
    with listening(queue, ListenSettings(port=0, megabytes=1, associations=200)) as bound:
        yield bound


@pytest.mark.slow
def test_whatever_a_node_is_sent_it_goes_on(roomy_port, queue, make_slice, monkeypatch):
    """All files that pydicom brings, as they are: accepted or refused, and what was accepted is named or refused."""
    statuses: dict[str, int | None] = {}
    for path in sorted(Path(pydicom.data.get_testdata_file("CT_small.dcm")).parent.rglob("*")):
        try:
            dataset = pydicom.dcmread(path)
            sop_class, syntax = dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID
        except Exception:
            continue  # no file that a node could announce
        node = pynetdicom.AE()
        node.add_requested_context(sop_class, syntax)
        association = node.associate("127.0.0.1", roomy_port, ae_title="VESALIUS")
        if not association.is_established:
            continue
        try:
            statuses[path.name] = association.send_c_store(dataset).get("Status")
        except (ValueError, AttributeError, RuntimeError):
            statuses[path.name] = None  # the sender's own library refuses
        association.abort()
    assert sum(status == 0 for status in statuses.values()) > 50
    assert send(roomy_port, make_slice("1.2.3.4")) == [0]
    sent = []
    monkeypatch.setattr(worker, "send", lambda file, destination, own_aet: sent.append(file))
    rules = PacsRules((Rule("all", "name", ("web",)),), {"web": Destination(url="https://web.example.org")}, AT_ONCE)
    own = worker.Worker(queue, rules, "pocket", "VESALIUS")
    while own.step():
        pass
    assert len(sent) > 20
    assert [each.reason for each in queue.list_series() if each.state not in (State.DONE, State.REFUSED)] == []


@pytest.fixture
def recorded(port, make_slice) -> list[bytes]:
    """What a sender says in an association that stores an image, in the pieces in which it says it."""
    said: list[bytes] = []

    def relay(source: socket.socket, target: socket.socket, keep: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(2**16):
                if keep:
                    said.append(piece)
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

    with socket.create_server(("127.0.0.1", 0)) as between:

        def serve() -> None:
            sender, _ = between.accept()
            with sender, socket.create_connection(("127.0.0.1", port)) as listener:
                back = threading.Thread(target=relay, args=(listener, sender, False))
                back.start()
                relay(sender, listener, True)
                back.join()

        thread = threading.Thread(target=serve)
        thread.start()
        assert send(between.getsockname()[1], make_slice("1.2.3.4")) == [0]
        thread.join()
    return said


@pytest.mark.slow
def test_an_association_with_wrong_bytes_does_not_end_the_listener(port, queue, recorded, make_slice):
    """A recorded association with bytes changed, left out or doubled, 150 times; then a sound one is served."""
    draws = random.Random(0)
    for _ in range(150):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as stranger:
            stranger.settimeout(0.2)
            for piece in recorded:
                with suppress(OSError):
                    stranger.sendall(spoil(piece, draws))
                    stranger.recv(2**16)
    assert answers_soon(port, make_slice("1.2.3.5"))  # all places may be taken until the last of the 150 is given up
    until(lambda: list(queue.unfinished.iterdir()) == [])
    stored = [pydicom.dcmread(path) for series in queue.list_series() for path in series.folder.iterdir()]
    assert len(stored) >= 2


def spoil(piece: bytes, draws: random.Random) -> bytes:
    """Two in five pieces are left as they are."""
    place, kind = draws.randrange(len(piece)), draws.randrange(5)
    if kind == 0:
        return piece[:place] + draws.randbytes(draws.randrange(1, 8)) + piece[place + 1 :]
    if kind == 1:
        return piece[:place] + piece[min(len(piece), place + draws.randrange(1, 100)) :]
    if kind == 2:
        return piece + piece
    return piece
