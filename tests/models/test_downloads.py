"""Downloads from a server of our own on this machine, with the manners and faults of others."""

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vesalius.errors import ConfigError, ModelError, OutputError
from vesalius.models import public_weights as downloads
from vesalius.models import public_weights as sources
from vesalius.models.public_weights import WeightSource, fetch, verify

WEIGHTS = bytes(range(256)) * 20
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
SOURCE = WeightSource(
    name="tiny", title="Tiny", file="tiny.bin", models=("clipseg",), licence="MIT",
    hub="us/tiny", revision="abc", size=len(WEIGHTS), sha256=SHA256,
)  # fmt: skip
UNPUBLISHED = replace(SOURCE, size=None, sha256=None)


@dataclass
class Server:
    """What it serves, how, and what it was asked for."""

    body: bytes = WEIGHTS
    ranges: bool = True
    says_length: bool = True
    stops_after: int | None = None
    elsewhere: str = ""
    """Prefix that requests are redirected away from."""
    address: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.asked.append((handler.path, wanted))
        if self.elsewhere and handler.path.startswith(self.elsewhere):
            handler.send_response(302)
            handler.send_header("Location", f"{self.address}/there/tiny.bin")
            handler.end_headers()
            return
        if "tiny.bin" not in handler.path:
            handler.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        if start >= len(self.body):
            handler.send_error(416)
            return
        handler.send_response(206 if start else 200)
        if self.says_length:
            handler.send_header("Content-Length", str(len(self.body) - start))
        handler.end_headers()
        handler.wfile.write(self.body[start : self.stops_after])


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.address = f"http://127.0.0.1:{http.server_port}"
        yield state
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch, server):
    """Where the file belongs, in an empty weights folder, with the server as mirror of the hub."""
    for name in ("VESALIUS_MIRROR", "VESALIUS_OFFLINE", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VESALIUS_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", f"{server.address}/")
    register(monkeypatch, SOURCE)
    return tmp_path / "tiny" / "tiny.bin"


def register(monkeypatch, source: WeightSource) -> None:
    monkeypatch.setattr(sources, "read_sources", lambda: {source.name: source})


def leave_part(place, content: bytes):
    place.parent.mkdir()
    part = place.with_name("tiny.bin.part")
    part.write_bytes(content)
    return part


def test_a_file_of_the_hub_is_put_in_its_place_whole(server, place):
    seen = []
    assert fetch("tiny", lambda done, total: seen.append((done, total))) == place
    assert place.read_bytes() == WEIGHTS
    assert [path.name for path in place.parent.iterdir()] == ["tiny.bin"]
    assert server.asked == [("/us/tiny/resolve/abc/tiny.bin", None)]
    assert seen[-1] == (len(WEIGHTS), len(WEIGHTS))


def test_what_is_here_is_not_fetched_again(server, place):
    fetch("tiny")
    assert fetch("tiny") == place
    assert len(server.asked) == 1


def test_a_file_of_the_wrong_size_is_fetched_again(place):
    place.parent.mkdir()
    place.write_bytes(b"half")
    fetch("tiny")
    assert place.read_bytes() == WEIGHTS


def test_a_mirror_has_the_layout_of_a_weights_folder(server, place, monkeypatch):
    monkeypatch.setenv("VESALIUS_MIRROR", f"{server.address}/weights/")
    fetch("tiny")
    assert server.asked == [("/weights/tiny/tiny.bin", None)]


def test_a_mirror_also_has_what_only_a_page_leads_to(server, place, monkeypatch):
    register(monkeypatch, replace(SOURCE, hub=None, revision=None, page="https://example.org"))
    with pytest.raises(ModelError, match=r"no address to download from. Get tiny.bin from https://example.org"):
        fetch("tiny")
    monkeypatch.setenv("VESALIUS_MIRROR", server.address)
    assert fetch("tiny") == place


def test_an_address_is_used_as_it_is(server, monkeypatch):
    register(monkeypatch, replace(SOURCE, hub=None, revision=None, url=f"{server.address}/archives/tiny.bin"))
    fetch("tiny")
    assert server.asked == [("/archives/tiny.bin", None)]


def test_a_broken_connection_is_reported_and_the_next_fetch_goes_on(server, place):
    server.stops_after = 1000
    with pytest.raises(ModelError, match="the connection broke; the same command goes on"):
        fetch("tiny")
    assert not place.exists()
    server.stops_after = None
    fetch("tiny")
    assert place.read_bytes() == WEIGHTS
    assert [wanted for _, wanted in server.asked] == [None, "bytes=1000-"]


def test_a_range_survives_a_redirection(server, place):
    server.elsewhere = "/us/"
    leave_part(place, WEIGHTS[:700])
    fetch("tiny")
    assert place.read_bytes() == WEIGHTS
    assert server.asked[-1] == ("/there/tiny.bin", "bytes=700-")


def test_a_server_without_ranges_sends_everything_again(server, place):
    server.ranges = False
    leave_part(place, b"something else")
    fetch("tiny")
    assert place.read_bytes() == WEIGHTS


def test_a_finished_part_needs_no_server(server, place):
    leave_part(place, WEIGHTS)
    fetch("tiny")
    assert place.read_bytes() == WEIGHTS
    assert server.asked == []


def test_a_part_that_is_too_long_is_begun_anew(server, place):
    leave_part(place, WEIGHTS + b"more")
    fetch("tiny")
    assert place.read_bytes() == WEIGHTS
    assert [wanted for _, wanted in server.asked] == ["bytes=5124-", None]


def test_another_file_of_the_same_size_is_refused_and_deleted(server, place):
    server.body = WEIGHTS[::-1]
    with pytest.raises(ModelError, match=f"not the file expected .* not {SHA256}"):
        fetch("tiny")
    assert list(place.parent.iterdir()) == []


def test_a_file_of_another_size_is_not_downloaded(server, place):
    server.body = WEIGHTS * 2
    with pytest.raises(ModelError, match="expected 5120 bytes, the server has 10240; not downloaded"):
        fetch("tiny")
    assert not place.parent.exists()


def test_an_unpublished_size_has_a_limit(server, monkeypatch):
    register(monkeypatch, UNPUBLISHED)
    monkeypatch.setattr(downloads, "LARGEST", 5000)
    with pytest.raises(ModelError, match="expected at most 5000 bytes, the server has 5120"):
        fetch("tiny")
    server.says_length = False
    with pytest.raises(ModelError, match="more than 5000 bytes"):
        fetch("tiny")


def test_a_server_that_does_not_say_the_length_will_do(server, place):
    server.says_length = False
    fetch("tiny")
    assert place.read_bytes() == WEIGHTS


def test_an_unpublished_checksum_is_recorded_with_its_origin(server, place, monkeypatch):
    register(monkeypatch, UNPUBLISHED)
    fetch("tiny")
    record = json.loads((place.parent / "tiny.bin.json").read_text())
    assert record["sha256"] == SHA256
    assert record["from"] == f"{server.address}/us/tiny/resolve/abc/tiny.bin"
    assert verify("tiny").finding == "unchanged"


def test_a_file_that_changed_since_the_first_fetch_is_refused(server, place, monkeypatch):
    register(monkeypatch, UNPUBLISHED)
    fetch("tiny")
    place.unlink()
    server.body = WEIGHTS[::-1]
    with pytest.raises(ModelError, match=f"not {SHA256}\\); it was deleted. To take another .* delete .*tiny.bin.json"):
        fetch("tiny")
    assert [path.name for path in place.parent.iterdir()] == ["tiny.bin.json"]
    server.body = WEIGHTS
    fetch("tiny")
    assert verify("tiny").finding == "unchanged"


def test_an_answer_other_than_the_file_is_passed_on(monkeypatch):
    register(monkeypatch, replace(SOURCE, file="gone.bin"))
    with pytest.raises(ModelError, match=r"gone.bin: the server answers 404 Not Found"):
        fetch("tiny")


def test_without_a_network_the_message_says_which_file_goes_where(place, monkeypatch):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        with pytest.raises(ModelError, match=r"cannot be reached \(Connection refused\)") as caught:
            fetch("tiny")
    parts = ["HTTPS_PROXY", "VESALIUS_MIRROR", "HF_ENDPOINT", SOURCE.address, SHA256, str(place)]
    assert all(part in str(caught.value) for part in parts)
    assert not place.parent.exists()


@pytest.mark.parametrize("setting", ["VESALIUS_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_mode_asks_nobody(server, place, monkeypatch, setting):
    monkeypatch.setenv(setting, "1")
    with pytest.raises(ModelError, match="offline mode is on") as caught:
        fetch("tiny")
    assert str(place) in str(caught.value)
    assert server.asked == []


@pytest.mark.parametrize("mirror", ["file:///etc", "weights.example.org"])
def test_a_mirror_is_a_web_server(monkeypatch, mirror):
    monkeypatch.setenv("VESALIUS_MIRROR", mirror)
    with pytest.raises(ConfigError, match="starts with https:// or http://"):
        fetch("tiny")


def test_an_address_that_is_none_is_named(monkeypatch):
    monkeypatch.setenv("VESALIUS_MIRROR", "http://[bad")
    with pytest.raises(ModelError, match=r"http://\[bad/tiny/tiny\.bin cannot be reached .*VESALIUS_MIRROR"):
        fetch("tiny")


def test_a_folder_that_cannot_be_written_is_named(place, monkeypatch, tmp_path):
    (tmp_path / "tiny").write_text("in the way")
    with pytest.raises(OutputError, match="VESALIUS_WEIGHTS"):
        fetch("tiny")
