import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pydicom.dataset import Dataset

pytest.importorskip("dicomweb_client", reason="needs the extra pacs")

from vesalius.errors import ConfigError, OutputError  # noqa: E402
from vesalius.pacs import dicomweb  # noqa: E402
from vesalius.pacs.dicomweb import DicomWeb  # noqa: E402

FAILED = json.dumps({"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [272]}}]}})
THERE = FAILED.replace("272", str(0x0111))


class Service(HTTPServer):
    """Gives everybody the same answer, and keeps what was asked and by whom."""

    answer = (403, "text/html", "Doe^Jane")
    """Status, Content-Type and text or bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/dicom-web"


class Answer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        status, kind, text = self.server.answer
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text if isinstance(text, bytes) else text.encode())

    def log_message(self, *parts: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
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
def test_what_a_service_did_not_store_is_said(service, make_slice, tmp_path, answer, refusal):
    service.answer = answer
    make_slice("1.2.3").save_as(tmp_path / "a.dcm", enforce_file_format=True)
    web = DicomWeb(service.url)
    if refusal is None:
        web.store(tmp_path / "a.dcm")
        return
    with pytest.raises(OutputError, match=refusal) as caught:
        web.store(tmp_path / "a.dcm")
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("kind", ["text/html", "", 'multipart/related; type="application/dicom"; boundary=x'])
def test_answers_that_are_no_dicom_are_said(service, tmp_path, kind):
    service.answer = 200, kind, "--x\r\nContent-Type: application/dicom\r\n\r\nDoe^Jane\r\n--x--"
    web = DicomWeb(service.url)
    for ask in (lambda: web.fetch("1.2", "1.2.3", tmp_path), lambda: web.find({}, 5)):
        with pytest.raises(OutputError, match="something else than DICOM") as caught:
            ask()
        assert "Doe" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "sent", "instances", "refusal"),
    [
        (200, slice(None), 2, None),
        (200, slice(None), 1, None),
        (200, slice(None), None, None),
        (200, slice(None), 3, r"sent 2 instances of the 3 of this series"),
        (206, slice(None), None, "status 206, so it did not send all of the series"),
        (200, slice(-9), None, "its answer was cut off"),
        (200, slice(-400), None, "its answer was cut off"),
    ],
    ids=["all", "more", "unknown", "fewer", "partial", "unclosed", "cut"],
)
@pytest.mark.parametrize("boundary", ["a=b c", "x"])
def test_a_series_that_did_not_come_whole_is_said(
    service, make_slice, tmp_path, boundary, status, sent, instances, refusal
):
    content = b""
    for number in (1, 2):
        make_slice("1.2.3", number).save_as(tmp_path / "a.dcm", enforce_file_format=True)
        part = (tmp_path / "a.dcm").read_bytes()
        content += f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + part + b"\r\n"
    content += f"--{boundary}--\r\n\r\n".encode()
    folder = tmp_path / "fetched"
    folder.mkdir()
    service.answer = status, f'multipart/related; boundary="{boundary}" ; type="application/dicom"', content[sent]
    web = DicomWeb(service.url)
    if refusal is None:
        assert web.fetch("1.2", "1.2.3", folder, instances=instances) == len(list(folder.iterdir())) == 2
        return
    with pytest.raises(OutputError, match=refusal):
        web.fetch("1.2", "1.2.3", folder, instances=instances)


def test_rows_that_are_no_series_are_said(service):
    service.answer = 200, "application/dicom+json", '["a"]'
    with pytest.raises(OutputError, match="something else than DICOM"):
        DicomWeb(service.url).find({}, 5)


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
        DicomWeb(service.url).find({}, 5)
    assert [identified for _, identified in service.asked] == [header]
    assert "Doe" not in str(caught.value)


def test_credentials_do_not_go_over_the_network_in_clear(monkeypatch):
    monkeypatch.setenv("VESALIUS_PACS_TOKEN", "t0ken")
    with pytest.raises(ConfigError, match="in clear"):
        DicomWeb("http://pacs.example.org/dicom-web")


def test_authorities_of_ones_own_are_gone_by(monkeypatch, tmp_path):
    address = "https://web.example.org/dicom-web"
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert dicomweb._make_client(address)._session.verify is True
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with pytest.raises(ConfigError, match="ca.pem, which is no file"):
        DicomWeb(address)
    (tmp_path / "ca.pem").touch()
    assert dicomweb._make_client(address)._session.verify == str(tmp_path / "ca.pem")


def test_a_service_that_is_not_there_is_said():
    with pytest.raises(OutputError, match="does not answer"):
        DicomWeb("http://127.0.0.1:9/dicom-web").find({}, 5)


def test_an_instance_that_cannot_be_stored_is_told_in_words(tmp_path):
    with pytest.raises(OutputError, match="cannot be stored"):
        dicomweb._save(Dataset(), tmp_path / "1.dcm", "https://archive.example.org")


def test_wildcards_are_sent_as_they_are_and_what_would_divide_a_query_is_not(service):
    service.answer = 200, "application/dicom+json", "[]"
    filters = {"SeriesDescription": "Ves?lius*", "Modality": "CT,MR", "StudyID": "a&b=c+d %2A"}
    DicomWeb(service.url).find(filters, 5)
    ((asked, _),) = service.asked
    wanted = ["StudyID=a%26b%3Dc%2Bd%20%252A", "SeriesDescription=Ves?lius*", "Modality=CT,MR"]
    assert [each for each in wanted if each not in asked.partition("?")[2].split("&")] == []
