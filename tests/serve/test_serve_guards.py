import asyncio
import errno
import logging
import re

import pytest
from serve_client import ask, half_bright, png, send
from starlette.formparsers import MultiPartParser

from vesalius.addresses import is_loopback
from vesalius.errors import ConfigError
from vesalius.serve import guards, running
from vesalius.serve.refusals import ServiceError
from vesalius.serve.running import MOST_FILES, allow_open_files
from vesalius.serve.settings import ServeSettings
from waiting import PATIENCE_S

TOKEN = "a token that is long enough"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost", 200),
        ("[::1]:8000", 200),
        ("127.0.0.2:8000", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:8000", 421),
        ("localhost@evil.example", 421),
        ("[::1", 421),
        ("", 421),
        ("x" * 4000, 421),
    ],
)
def test_only_its_own_names_are_answered(client, host, status):
    assert client.get("/healthz", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8000", 200),
        ("https://127.0.0.1:8000", 200),
        ("http://127.0.0.1:3000", 403),
        ("http://127.0.0.1", 403),
        ("http://evil.example", 403),
        ("null", 403),
        ("http://127.0.0.1:x", 403),
        ("file://", 403),
    ],
)
def test_pages_of_other_origins_may_not_ask(client, origin, status):
    assert client.get("/api/model", headers={"Origin": origin}).status_code == status


def test_an_origin_that_is_allowed_may_ask_and_is_told_so(serve):
    client = serve(allowed_origins=("http://viewer.example:3000",))
    headers = {"Origin": "http://viewer.example:3000"}
    answer = client.get("/api/model", headers=headers)
    assert answer.headers["access-control-allow-origin"] == "http://viewer.example:3000"
    asked = {**headers, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    preflight = client.options("/api/uploads", headers=asked)
    assert preflight.status_code == 204
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert "access-control-allow-origin" not in client.get("/api/model").headers


def test_behind_a_proxy_it_answers_to_the_names_that_are_allowed(serve):
    client = serve(allowed_hosts=("images.example.org",))
    headers = {"Host": "images.example.org", "Origin": "https://images.example.org"}
    assert client.get("/api/model", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": b"Bearer \xff\xfe"},
        {"Cookie": f"token={TOKEN}"},
    ],
)
def test_without_the_token_nothing_is_told(serve, headers):
    client = serve(token=TOKEN)
    for path in ("/api/model", "/metrics", "/openapi.json", "/api/uploads/x", "/info/", "/datastore/"):
        answer = client.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in answer.text


def test_with_the_token_everything_works_and_health_needs_none(serve):
    client = serve(token=TOKEN)
    assert client.get("/api/model", headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200
    assert client.get("/healthz").status_code == 200
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "LOCALHOST", "::1"])
def test_this_machine_is_served_without_a_token(tmp_path, host):
    ServeSettings(tmp_path, host=host).check()
    assert is_loopback(host)  # the rule by which results and credentials stay here, too


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_other_machines_are_served_only_with_a_token(tmp_path, host):
    with pytest.raises(ConfigError, match="VESALIUS_SERVE_TOKEN"):
        ServeSettings(tmp_path, host=host).check()
    ServeSettings(tmp_path, host=host, token=TOKEN).check()


def test_a_short_token_and_a_pattern_of_origins_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="16 characters"):
        ServeSettings(tmp_path, token="short").check()
    for origin in ("*", "http://*", "viewer.example", "http://viewer.example/page"):
        with pytest.raises(ConfigError, match="--allow-origin"):
            ServeSettings(tmp_path, allowed_origins=(origin,)).check()
    assert TOKEN not in repr(ServeSettings(tmp_path, token=TOKEN))


@pytest.mark.parametrize("name", ["images.example.org:8443", "*", "*.example.org", "https://a.org", "a/b", "", "[::1]"])
def test_names_that_no_request_has_are_refused_at_the_start(tmp_path, name):
    with pytest.raises(ConfigError, match="--allow-host"):
        ServeSettings(tmp_path, allowed_hosts=(name,)).check()
    ServeSettings(tmp_path, allowed_hosts=("images.example.org", "10.0.0.7", "fe80::1", "node_1")).check()


@pytest.mark.parametrize("token", [f" {TOKEN}", f"{TOKEN}\n", f"{TOKEN}ä", f"{TOKEN}\x7f"])
def test_tokens_that_no_header_carries_are_refused_at_the_start(tmp_path, token):
    with pytest.raises(ConfigError, match="VESALIUS_SERVE_TOKEN: expected letters of English"):
        ServeSettings(tmp_path, token=token).check()


def test_answers_tell_browsers_to_run_nothing_foreign(client):
    for answer in (client.get("/"), client.get("/api/model"), client.get("/nothing"), client.post("/api/uploads")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe-inline" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert client.get("/api/model").headers["cache-control"] == "no-store"
    assert client.get("/").headers["cache-control"] == "no-cache"  # or else an old page asks for files of before


def test_bodies_beyond_the_limit_are_refused_with_and_without_their_length(serve):
    client = serve(limits={"upload_megabytes": 1})
    large = b"x" * (2 * 2**20)
    announced = client.post("/api/uploads", files=[("files", ("a.png", large))])
    boundary = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    unannounced = client.post(
        "/api/uploads",
        content=iter([boundary, large, b"\r\n--b--\r\n"]),
        headers={"content-type": "multipart/form-data; boundary=b"},
    )
    for answer in (announced, unannounced):
        assert answer.status_code == 413
        assert "--upload-megabytes" in answer.json()["error"]["remedy"]
    upload = send(client, png(half_bright()))
    words = client.post(f"/api/uploads/{upload['id']}/segment", json={"phrases": ["x" * 2**20]})
    assert words.status_code == 413


def test_the_log_says_nothing_of_patients_files_or_phrases(client, logged):
    upload = send(client, png(half_bright()), "Jane Doe 1970.png")
    ask(client, upload, "liver of Jane Doe")
    client.post("/api/uploads", files=[("files", ("Jane Doe.nii.gz", b"damaged"))])
    client.get("/api/uploads/JaneDoe", params={"name": "Jane Doe"})
    ours = [each.getMessage() for each in logged.records if each.name.startswith("vesalius")]
    assert any("POST /api/uploads 201" in each for each in ours)
    assert not any(word in each for each in ours for word in ("Jane", "Doe", upload["id"], "liver"))
    assert "Jane" not in client.get("/metrics").text


@pytest.mark.parametrize("loudness", [[], ["--verbose"]])
def test_a_request_is_one_line_of_the_log_with_verbose_too(run, tmp_path, monkeypatch, loudness):
    log = logging.getLogger("vesalius.serve")
    before = log.level, log.propagate
    monkeypatch.setattr(running, "run", lambda settings, tell: log.info("GET 200 in 1 ms"))
    code, _, told = run("serve", "--store", tmp_path, *loudness)
    assert (code, told.count("GET 200 in 1 ms")) == (0, 1)
    assert (log.level, log.propagate) == before


def test_a_fault_is_told_by_its_kind_alone(client, monkeypatch, logged):
    upload = send(client, png(half_bright()))

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Jane Doe")

    monkeypatch.setattr(client.inside.engine.predictor, "predict_slices", fail)
    answer = client.post(f"/api/uploads/{upload['id']}/segment", json={"phrases": ["liver"]})
    assert answer.status_code == 500
    assert "RuntimeError" in answer.json()["error"]["what"]
    assert "Jane" not in answer.text + logged.text
    assert "fault: RuntimeError at" in logged.text


HOSTILE = ["<script>alert(1)</script>.png", "\u202egnp.exe.png", 'a"; x="b.png', "a\nb.png", "💀.png"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_come_back_as_text(client, name):
    upload = send(client, png(half_bright()), name)
    answer = client.get(f"/api/uploads/{upload['id']}")
    assert answer.headers["content-type"] == "application/json"
    assert "\n" not in answer.json()["name"]
    assert "\u202e" not in answer.json()["name"]
    files = [path.name for path in client.inside.store.uploads.rglob("*.png")]
    assert all(each.isascii() and "<" not in each for each in files)


def test_docs_that_need_a_foreign_server_are_left_out(client):
    assert client.get("/docs").status_code == 404
    described = client.get("/openapi.json")
    assert described.json()["info"]["title"] == "Vesalius"
    refused = described.json()["paths"]["/api/model"]["get"]["responses"]["503"]["content"]
    assert refused == {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}
    referred = set(re.findall(r'"#/components/schemas/(.+?)"', described.text))
    assert "ErrorAnswer" in referred <= described.json()["components"]["schemas"].keys()


def test_a_body_may_be_large_only_where_files_are_sent(serve):
    client = serve(token=TOKEN)
    large = [("password", ("a.txt", b"x" * (2 * 2**20)))]
    assert client.post("/auth/token", files=large).status_code == 413
    assert (
        client.get("/healthz", headers={"content-length": str(2**21), "content-type": "multipart/x"}).status_code == 413
    )
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for method, path in (
        ("POST", "/api/uploads"),
        ("POST", f"/api/uploads/{'0' * 32}/corrections"),
        ("PUT", "/session/"),
        ("PUT", "/datastore/?image=x"),
        ("POST", "/infer/pocket?image=x"),
    ):
        answer = client.request(method, path, files=[("x", ("a", b"x" * (2 * 2**20)))], headers=headers)
        assert answer.status_code in (404, 422), path


def test_forms_that_take_up_too_much_together_are_told_to_come_back(serve):
    client = serve(limits={"upload_megabytes": 1})
    service = client.inside.service
    with service.forms.receiving(2 * 2**20, 2 * 2**20):
        answer = client.post("/api/uploads", files=[("files", ("a.png", png(half_bright())))])
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0
    send(client, png(half_bright()))


def test_an_upload_that_stands_still_is_given_up(client, monkeypatch):
    parts = [{"type": "http.request", "body": b"--x\r\n", "more_body": True}]
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"multipart/form-data; boundary=x")]
    scope = {"type": "http", "method": "POST", "path": "/api/uploads", "query_string": b"", "headers": headers}
    told = []

    async def receive():
        if parts:
            return parts.pop()
        return await asyncio.Event().wait()

    async def send_on(message):
        told.append(message)

    with monkeypatch.context() as patch:
        patch.setattr(guards, "STANDSTILL_S", 0.2)
        asyncio.run(asyncio.wait_for(client.app(scope, receive, send_on), PATIENCE_S))
    assert told[0]["status"] == 408
    send(client, png(half_bright()))


def test_of_a_form_without_a_length_what_came_is_counted(serve):
    forms = serve(limits={"upload_megabytes": 1}).inside.service.forms
    with forms.receiving(0, 100) as first, forms.receiving(0, 100) as second:
        first(60)
        second(40)
        with pytest.raises(ServiceError, match="Too much"):
            second(1)
    with forms.receiving(0, 100) as alone:
        alone(60)
        alone(60)  # a form's own limit is elsewhere


def test_a_form_of_more_files_than_can_be_opened_says_to_send_a_zip(client, monkeypatch):
    async def fail(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(MultiPartParser, "parse", fail)
    answer = client.post("/api/uploads", files=[("files", ("a.png", png(half_bright())))])
    assert answer.status_code == 413
    assert "zip" in answer.json()["error"]["remedy"]


def test_a_service_may_open_many_files(monkeypatch):
    resource = pytest.importorskip("resource", reason="of Unix alone")
    limits = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 10**6))
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: limits.append(wanted))
    allow_open_files()
    assert limits == [(MOST_FILES, 10**6)]


def test_methods_of_any_name_make_no_new_counters(client):
    for method in ("AAAA", "BBBB"):
        client.request(method, "/api/model")
        client.request(method, "/nothing")
    assert "AAAA" not in client.get("/metrics").text


@pytest.mark.parametrize("phrase", ['"\\ud800"', '"liver \\udfff"'])
def test_halves_of_characters_are_refused_in_words(client, phrase):
    upload = send(client, png(half_bright()))
    headers = {"content-type": "application/json"}
    body = f'{{"phrases": [{phrase}]}}'
    answer = client.post(f"/api/uploads/{upload['id']}/segment", content=body, headers=headers)
    assert answer.status_code == 422
    fields = {"params": (None, f'{{"phrases": [{phrase}]}}')}
    answer = client.post(f"/infer/pocket?image={upload['id']}", files=fields)
    assert (answer.status_code, answer.json()["error"]["where"]) == (422, "phrases")


def test_numbers_of_hundreds_of_digits_are_refused_in_words(client):
    upload = send(client, png(half_bright()))
    ask(client, upload, "liver")
    assert client.get(f"/api/uploads/{upload['id']}/seg.dcm?numbers={'9' * 300}").status_code == 422
    fields = {"params": (None, f'{{"threshold": {"9" * 400}}}')}
    answer = client.post(f"/infer/pocket?image={upload['id']}", files=fields)
    assert (answer.status_code, answer.json()["error"]["where"]) == (422, "threshold")
