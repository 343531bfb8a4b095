"""Requests of every kind that /openapi.json allows: none is a fault of the service."""

import pytest
from hypothesis import HealthCheck, given, settings
from serve_client import ask, half_bright, png, send

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

pytestmark = pytest.mark.slow
RARELY = HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large, HealthCheck.large_base_example


@pytest.mark.filterwarnings("default")
def test_no_request_that_the_description_allows_is_a_fault(serve):
    client = serve(allowed_hosts=("testserver",))
    upload = send(client, png(half_bright()))
    ask(client, upload, "liver")
    described = schemathesis.openapi.from_asgi("/openapi.json", client.app)
    faults, asked = [], set()

    def check(case) -> None:
        if "id" in (case.path_parameters or {}) and case.method != "DELETE":
            case.path_parameters["id"] = upload["id"]
        answer = case.call()
        asked.add((case.method, case.path))
        if answer.status_code >= 500 and answer.status_code != 501:  # naming, which the tests' model does not do
            faults.append(f"{case.method} {case.path}: {answer.status_code} {answer.text[:300]}")
        elif answer.status_code >= 400:
            assert "what" in answer.json()["error"]

    few = settings(max_examples=5, deadline=None, derandomize=True, database=None, suppress_health_check=RARELY)
    for each in described.get_all_operations():
        few(given(case=each.ok().as_strategy())(check))()
    assert faults == []
    assert ("POST", "/api/uploads/{id}/segment") in asked
    assert len(asked) > 25
