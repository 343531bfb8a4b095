import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from unittest.mock import Mock

import pytest
from pydicom.dataset import Dataset

pynetdicom = pytest.importorskip("pynetdicom", reason="needs the extra pacs")
pytest.importorskip("dicomweb_client", reason="needs the extra pacs")

from vesalius.errors import ConfigError, OutputError  # noqa: E402
from vesalius.pacs import guard, sending  # noqa: E402
from vesalius.pacs.rules import Destination  # noqa: E402
from vesalius.pacs.sending import DicomWeb, send  # noqa: E402


@pytest.fixture
def service() -> Iterator[HTTPServer]:
    """Answers everything with status 403 and a text that names a patient; keeps what identified the caller."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.server.seen.append(self.headers.get("Authorization"))
            self.send_response(403)
            self.end_headers()
            self.wfile.write(b"Doe^Jane")

        def log_message(self, *parts: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.seen = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def url_of(server: HTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}/dicom-web"


FAILED = json.dumps({"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [272]}}]}})
THERE = FAILED.replace("272", str(0x0111))


@pytest.fixture
def answering() -> Iterator[HTTPServer]:
    """Answers everything with ``answer``: status, Content-Type and text."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def do_GET(self) -> None:
            status, kind, text = self.server.answer
            self.send_response(status)
            if kind:
                self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *parts: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        ((200, "application/dicom+json", "{}"), None),
        ((200, "", ""), None),
        ((202, "application/dicom+json", FAILED), "reason 272"),
        ((202, "application/dicom+json; charset=utf-8", FAILED), "reason 272"),
        ((202, "Application/JSON;charset=UTF-8", FAILED), "reason 272"),
        ((202, "application/dicom+json", THERE), None),
        ((202, "text/html", "<p>Doe^Jane</p>"), "status 202"),
        ((200, "application/dicom+json; charset=utf-8", "no JSON, Doe^Jane"), "something else than DICOM"),
        ((409, "application/dicom+json; charset=utf-8", THERE), None),
        ((409, "application/dicom+json", FAILED), "reason 272"),
        ((409, "application/dicom+json", "{}"), "status 409"),
        ((409, "text/html", "<p>no</p>"), "something else than DICOM"),
        ((500, "text/html", "Doe^Jane"), "status 500"),
    ],
)
def test_what_a_service_did_not_store_is_said(answering, make_slice, tmp_path, answer, refusal):
    answering.answer = answer
    make_slice("1.2.3").save_as(tmp_path / "a.dcm", enforce_file_format=True)
    web = DicomWeb(url_of(answering))
    if refusal is None:
        web.store(tmp_path / "a.dcm")
        return
    with pytest.raises(OutputError, match=refusal) as caught:
        web.store(tmp_path / "a.dcm")
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("kind", ["text/html", "", 'multipart/related; type="application/dicom"; boundary=x'])
def test_answers_that_are_no_dicom_are_said(answering, tmp_path, kind):
    answering.answer = 200, kind, "--x\r\nContent-Type: application/dicom\r\n\r\nDoe^Jane\r\n--x--"
    web = DicomWeb(url_of(answering))
    for ask in (lambda: web.fetch("1.2", "1.2.3", tmp_path), lambda: web.find({}, 5)):
        with pytest.raises(OutputError, match="something else than DICOM") as caught:
            ask()
        assert "Doe" not in str(caught.value)


def test_rows_that_are_no_series_are_said(answering):
    answering.answer = 200, "application/dicom+json", '["a"]'
    with pytest.raises(OutputError, match="something else than DICOM"):
        DicomWeb(url_of(answering)).find({}, 5)


@pytest.mark.parametrize(("code", "stored"), [(0x0000, True), (0xB000, True), (0x0111, True), (0xA700, False)])
def test_an_instance_that_a_node_has_already_is_stored(make_slice, tmp_path, monkeypatch, code, stored):
    status = Dataset()
    status.Status = code
    association = Mock(is_established=True, accepted_contexts=[1])
    association.send_c_store.return_value = status
    monkeypatch.setattr(pynetdicom.AE, "associate", lambda *_, **__: association)
    make_slice("1.2.3").save_as(tmp_path / "a.dcm", enforce_file_format=True)
    there = Destination(aet="ARCHIVE", host="127.0.0.1", port=9)
    if stored:
        send(tmp_path / "a.dcm", there)
        return
    with pytest.raises(OutputError, match=f"status {code:04X}"):
        send(tmp_path / "a.dcm", there)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"VESALIUS_PACS_PASSWORD": "pass"}, "_PASSWORD is set and VESALIUS_PACS_USER is not"),
        ({"VESALIUS_PACS_USER": "me"}, "_USER is set and VESALIUS_PACS_PASSWORD is not"),
        ({"VESALIUS_PACS_USER": "me", "VESALIUS_PACS_PASSWORD": "p", "VESALIUS_PACS_TOKEN": "t"}, "unset the other"),
    ],
)
def test_credentials_that_would_be_ignored_are_refused(monkeypatch, environment, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        DicomWeb("http://127.0.0.1:9/dicom-web")


@pytest.mark.parametrize(
    ("environment", "header"),
    [
        ({"VESALIUS_PACS_TOKEN": "t0ken"}, "Bearer t0ken"),
        ({"VESALIUS_PACS_USER": "me", "VESALIUS_PACS_PASSWORD": "pass"}, "Basic bWU6cGFzcw=="),
        ({}, None),
    ],
)
def test_the_environment_identifies_the_caller(service, monkeypatch, environment, header):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(OutputError, match="status 403") as caught:
        DicomWeb(url_of(service)).find({}, 5)
    assert service.seen == [header]
    assert "Doe" not in str(caught.value)


def test_credentials_do_not_go_over_the_network_in_clear(monkeypatch):
    monkeypatch.setenv("VESALIUS_PACS_TOKEN", "t0ken")
    with pytest.raises(ConfigError, match="in clear"):
        DicomWeb("http://pacs.example.org/dicom-web")


def test_authorities_of_ones_own_are_gone_by(monkeypatch, tmp_path):
    address = "https://web.example.org/dicom-web"
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert sending._make_client(address)._session.verify is True
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with pytest.raises(ConfigError, match="ca.pem, which is no file"):
        DicomWeb(address)
    (tmp_path / "ca.pem").touch()
    assert sending._make_client(address)._session.verify == str(tmp_path / "ca.pem")


@pytest.mark.parametrize(
    ("called", "supported", "reason"),
    [
        ("WRONG", "1.2.840.10008.5.1.4.1.1.2", r"refuses a call from VESALIUS \(Called AE title not recognised\)"),
        ("NODE", "1.2.840.10008.5.1.4.1.1.4", "does not accept CT Image Storage as Explicit VR Little Endian"),
    ],
)
def test_why_a_node_took_nothing_is_said(make_slice, tmp_path, called, supported, reason):
    make_slice("1.2.3").save_as(tmp_path / "a.dcm", enforce_file_format=True)
    node = pynetdicom.AE(ae_title="NODE")
    node.require_called_aet = True
    node.add_supported_context(supported)
    server = node.start_server(("127.0.0.1", 0), block=False)
    try:
        with pytest.raises(OutputError, match=f"{called} at 127.0.0.1:[0-9]+: {reason}"):
            send(tmp_path / "a.dcm", Destination(aet=called, host="127.0.0.1", port=server.server_address[1]))
    finally:
        server.shutdown()
        node.shutdown()


def test_a_service_that_is_not_there_is_said():
    with pytest.raises(OutputError, match="does not answer"):
        DicomWeb("http://127.0.0.1:9/dicom-web").find({}, 5)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom's socket
def test_a_node_that_is_not_there_is_said(make_slice, tmp_path):
    make_slice("1.2.3").save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(OutputError, match="NOWHERE at 127.0.0.1:9: does not answer"):
        send(tmp_path / "a.dcm", Destination(aet="NOWHERE", host="127.0.0.1", port=9))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom's socket
def test_a_node_that_stops_in_the_middle_of_its_answer_is_given_up(make_slice, tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "ASSOCIATION_S", 0.2)
    monkeypatch.setattr(sending, "TIMEOUT_S", 1.0)
    hung_up = []

    def answer(server: socket.socket) -> None:
        caller, _ = server.accept()
        with caller:
            caller.settimeout(30)
            caller.sendall(b"\x02\x00\x00\x01\x00\x00abcd")
            with suppress(ConnectionError):
                while caller.recv(2**16):
                    pass
            hung_up.append(True)

    make_slice("1.2.3").save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        with pytest.raises(OutputError, match="does not answer"):
            send(tmp_path / "a.dcm", Destination(aet="SLOW", host="127.0.0.1", port=server.getsockname()[1]))
        thread.join()
    assert hung_up == [True]
