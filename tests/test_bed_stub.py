"""The stub deployment's own: faults, key, ledger. What it answers without them is in `test_contract.py`."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest

from tests.bed.stub import StubDeployment

ROOT = Path(__file__).parents[1]
RUNS = r"/threads/[^/]+/runs"
DROPPED = (httpx.RemoteProtocolError, httpx.ReadError)


@pytest.fixture
def http(stub: StubDeployment) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stub.url, timeout=10, trust_env=False) as client:
        yield client


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def thread(http: httpx.Client) -> str:
    return str(http.post("/threads", json={}).json()["thread_id"])


def start(http: httpx.Client, thread_id: str, **given: Any) -> httpx.Response:
    return http.post(f"/threads/{thread_id}/runs", json={"assistant_id": "agent", "input": given})


def test_a_status_is_answered_so_many_times(stub: StubDeployment, http: httpx.Client) -> None:
    fault = stub.fault(
        "POST", "/threads", times=2, status=429, headers={"retry-after": "7"}, body={"detail": "later"}
    )
    for _ in range(2):
        refused = http.post("/threads", json={})
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
        assert refused.json() == {"detail": "later"}
    assert http.post("/threads", json={}).status_code == 200
    assert fault.hits == 2
    assert len(stub.ledger) == len(stub.state.threads) == 1


@pytest.mark.parametrize(
    ("body", "content"),
    [
        ("<html>" + "x" * 100_000, b"<html>" + b"x" * 100_000),
        (b'{"thread_id":', b'{"thread_id":'),
        ([1, {"thread_id": 5}], b'[1, {"thread_id": 5}]'),
    ],
)
def test_any_body_can_be_answered(
    stub: StubDeployment, http: httpx.Client, body: Any, content: bytes
) -> None:
    stub.fault("GET", "/threads/.*", status=200, body=body, headers={"content-type": "text/html"})
    answer = http.get(f"/threads/{uuid.uuid4()}")
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, content, "text/html")


def test_a_fault_is_for_its_method_and_path(stub: StubDeployment, http: httpx.Client) -> None:
    mine = thread(http)
    starts, anything = stub.fault("POST", RUNS, status=503), stub.fault("*", f"/threads/{mine}", status=502)
    assert http.post("/threads", json={}).status_code == 200
    assert http.get(f"/threads/{mine}/runs?limit=1").status_code == 200
    assert (starts.hits, anything.hits) == (0, 0)
    assert http.get(f"/threads/{mine}?a=b").status_code == 502
    assert start(http, mine).status_code == 503


def test_a_fault_without_end_lasts_until_it_is_taken_away(stub: StubDeployment, http: httpx.Client) -> None:
    fault = stub.fault("GET", "/ok", times=None, status=503)
    assert {http.get("/ok").status_code for _ in range(5)} == {503}
    stub.faults.remove(fault)
    assert http.get("/ok").status_code == 200


@pytest.mark.parametrize("after", [False, True])
def test_a_connection_is_dropped_before_or_after_the_request_was_carried_out(
    stub: StubDeployment, http: httpx.Client, after: bool
) -> None:
    mine = thread(http)
    stub.fault("POST", RUNS, end="drop", after=after)
    with pytest.raises(DROPPED):
        start(http, mine)
    assert len(http.get(f"/threads/{mine}/runs").json()) == after
    assert len(stub.requests("POST", RUNS)) == after


@pytest.mark.parametrize("after", [False, True])
def test_a_request_is_never_answered(stub: StubDeployment, http: httpx.Client, after: bool) -> None:
    mine = str(uuid.uuid4())
    stub.fault("POST", "/threads", end="hang", after=after)
    with pytest.raises(httpx.ReadTimeout):
        http.post("/threads", json={"thread_id": mine}, timeout=0.1)
    assert (mine in stub.state.threads) is after


def test_an_error_can_be_answered_though_the_run_was_started(
    stub: StubDeployment, http: httpx.Client
) -> None:
    mine = thread(http)
    stub.fault("POST", RUNS, status=500, body="Internal Server Error", after=True)
    assert (answer := start(http, mine)).status_code == 500
    assert answer.text == "Internal Server Error"
    wait_until(lambda: len(stub.started) == 1)


def test_a_slow_request_is_carried_out_also_if_nobody_waits_any_more(
    stub: StubDeployment, http: httpx.Client
) -> None:
    mine = str(uuid.uuid4())
    stub.fault("POST", "/threads", delay=0.3)
    with pytest.raises(httpx.ReadTimeout):
        http.post("/threads", json={"thread_id": mine}, timeout=0.05)
    assert mine not in stub.state.threads
    wait_until(lambda: mine in stub.state.threads)


def test_it_refuses_connections_and_comes_back(stub: StubDeployment, http: httpx.Client) -> None:
    mine = thread(http)
    stub.refuse()
    with pytest.raises(httpx.ConnectError):
        http.get("/ok")
    stub.listen()
    assert http.get(f"/threads/{mine}").status_code == 200


def test_a_key_is_asked_for_but_not_where_the_server_would_not(
    stub: StubDeployment, http: httpx.Client
) -> None:
    stub.api_key = "right"
    missing = http.post("/threads", json={})
    assert (missing.status_code, missing.json()) == (403, {"detail": "Missing authentication headers"})
    wrong = http.post("/threads", json={}, headers={"x-api-key": "wrong"})
    assert (wrong.status_code, wrong.json()) == (403, {"detail": "Invalid token"})
    assert http.post("/threads", json={}, headers={"X-Api-Key": "right"}).status_code == 200
    assert {http.get(path).status_code for path in ("/ok", "/info")} == {200}


def test_the_ledger_has_what_was_carried_out(stub: StubDeployment, http: httpx.Client) -> None:
    began, mine = time.time(), str(uuid.uuid4())
    for _ in range(2):
        http.post("/threads", json={"thread_id": mine}, headers={"X-Request-Id": "a/b"})
    its = start(http, mine).json()["run_id"]
    http.get(f"/threads/{mine}/runs/{its}?select=status")
    won, lost, started, looked = stub.ledger
    assert (won.method, won.path, won.body, won.status) == ("POST", "/threads", {"thread_id": mine}, 200)
    assert (won.headers["x-request-id"], won.thread, won.run) == ("a/b", mine, None)
    assert (lost.status, lost.thread) == (409, mine)
    assert (started.thread, started.run) == (looked.thread, looked.run) == (mine, its)
    assert began <= won.time <= looked.time <= time.time()
    assert stub.requests("GET", rf"{RUNS}/[^/]+") == [looked]


def test_what_was_started_is_known_when_the_thread_is_gone(stub: StubDeployment, http: httpx.Client) -> None:
    mine = thread(http)
    its = start(http, mine).json()["run_id"]
    wait_until(lambda: len(stub.started) == 1)
    http.delete(f"/threads/{mine}")
    assert [run["run_id"] for run in stub.started] == [its]


def test_a_run_ends_when_the_test_says_so(stub: StubDeployment, http: httpx.Client) -> None:
    mine = thread(http)
    its = start(http, mine, seconds=3600, fail="no luck").json()["run_id"]
    wait_until(lambda: len(stub.started) == 1)
    stub.end_run(its)
    assert http.get(f"/threads/{mine}/runs/{its}").json()["status"] == "error"
    with pytest.raises(LookupError):
        stub.end_run(its)


@pytest.mark.parametrize("end", ["drop", "hang"])
def test_it_stops_though_somebody_still_waits(end: Literal["drop", "hang"]) -> None:
    with StubDeployment(start_delay=60) as stub, httpx.Client(base_url=stub.url, trust_env=False) as http:
        start(http, thread(http))
        stub.fault("GET", "/ok", end=end)
        with pytest.raises((*DROPPED, httpx.ReadTimeout)):
            http.get("/ok", timeout=0.1)
    assert stub.started == []


def test_it_runs_on_its_own_and_counts() -> None:
    command = [sys.executable, "-m", "tests.bed.stub", "--api-key", "k"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[2].rstrip(";")
            with httpx.Client(base_url=url, trust_env=False, headers={"x-api-key": "k"}) as http:
                start(http, thread(http))
                wait_until(lambda: http.get("/stub").json()["started"] == 1)
                counts = http.get("/stub").json()
        finally:
            process.terminate()
    assert counts == {
        "threads": 1,
        "started": 1,
        "requests": {"POST /threads 200": 1, "POST /threads/{id}/runs 200": 1},
    }
