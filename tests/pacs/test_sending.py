import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

pytest.importorskip("dicomweb_client", reason="needs the extra pacs")

from vesalius.errors import ConfigError, OutputError  # noqa: E402
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


def test_a_service_that_is_not_there_is_said():
    with pytest.raises(OutputError, match="does not answer"):
        DicomWeb("http://127.0.0.1:9/dicom-web").find({}, 5)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom's socket
def test_a_node_that_is_not_there_is_said(make_slice, tmp_path):
    make_slice("1.2.3").save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(OutputError, match="NOWHERE at 127.0.0.1:9: does not answer"):
        send(tmp_path / "a.dcm", Destination(aet="NOWHERE", host="127.0.0.1", port=9))
