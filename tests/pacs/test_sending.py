import socket
import threading
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import pytest
from pydicom.dataset import Dataset

pynetdicom = pytest.importorskip("pynetdicom", reason="needs the extra pacs")
pytest.importorskip("dicomweb_client", reason="needs the extra pacs")

from vesalius.errors import OutputError  # noqa: E402
from vesalius.pacs import guard, sending  # noqa: E402
from vesalius.pacs.rules import Destination  # noqa: E402
from vesalius.pacs.sending import send  # noqa: E402
from waiting import PATIENCE_S  # noqa: E402


@pytest.fixture
def file(make_slice, tmp_path) -> Path:
    make_slice("1.2.3").save_as(tmp_path / "a.dcm", enforce_file_format=True)
    return tmp_path / "a.dcm"


@pytest.mark.parametrize(("code", "stored"), [(0x0000, True), (0xB000, True), (0x0111, True), (0xA700, False)])
def test_an_instance_that_a_node_has_already_is_stored(file, monkeypatch, code, stored):
    status = Dataset()
    status.Status = code
    association = Mock(is_established=True, accepted_contexts=[1])
    association.send_c_store.return_value = status
    monkeypatch.setattr(pynetdicom.AE, "associate", lambda *_, **__: association)
    there = Destination(aet="ARCHIVE", host="127.0.0.1", port=9)
    if stored:
        send(file, there, "VESALIUS")
        return
    with pytest.raises(OutputError, match=f"status {code:04X}"):
        send(file, there, "VESALIUS")


@pytest.mark.parametrize(
    ("called", "supported", "reason"),
    [
        ("WRONG", "1.2.840.10008.5.1.4.1.1.2", r"refuses a call from VESALIUS \(Called AE title not recognised\)"),
        ("NODE", "1.2.840.10008.5.1.4.1.1.4", "does not accept CT Image Storage as Explicit VR Little Endian"),
    ],
)
def test_why_a_node_took_nothing_is_said(file, called, supported, reason):
    node = pynetdicom.AE(ae_title="NODE")
    node.require_called_aet = True
    node.add_supported_context(supported)
    server = node.start_server(("127.0.0.1", 0), block=False)
    try:
        with pytest.raises(OutputError, match=f"{called} at 127.0.0.1:[0-9]+: {reason}"):
            send(file, Destination(aet=called, host="127.0.0.1", port=server.server_address[1]), "VESALIUS")
    finally:
        server.shutdown()
        node.shutdown()


def test_a_node_that_is_not_there_is_said(file):
    with pytest.raises(OutputError, match="NOWHERE at 127.0.0.1:9: does not answer"):
        send(file, Destination(aet="NOWHERE", host="127.0.0.1", port=9), "VESALIUS")


def test_a_node_that_stops_in_the_middle_of_its_answer_is_given_up(file, monkeypatch):
    monkeypatch.setattr(guard, "ASSOCIATION_S", 0.2)
    monkeypatch.setattr(sending, "TIMEOUT_S", 1.0)
    hung_up = []

    def answer(server: socket.socket) -> None:
        caller, _ = server.accept()
        with caller:
            caller.settimeout(PATIENCE_S)
            caller.sendall(b"\x02\x00\x00\x01\x00\x00abcd")
            with suppress(ConnectionError):
                while caller.recv(2**16):
                    pass
            hung_up.append(True)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        with pytest.raises(OutputError, match="does not answer"):
            send(file, Destination(aet="SLOW", host="127.0.0.1", port=server.getsockname()[1]), "VESALIUS")
        thread.join()
    assert hung_up == [True]
