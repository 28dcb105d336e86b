"""What the operator relies on when it speaks to a deployment, asked of the real server and of the stub alike.

Plain HTTP, not the operator's client: these are statements about servers. A stub that drifts fails here.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

Json = dict[str, Any]

NOBODY = "0b6e1d5c-6a0f-4d38-9d0a-2f4c7f6b1e55"
AGENT = str(uuid.uuid5(uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8"), "agent"))
BUSY = "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."
IN_FLIGHT = ("pending", "running")
HELLO = {"messages": [{"role": "user", "content": "Hello"}]}
LATER = 315_360_000
"""Seconds: ten years, for which a fence waits."""


@pytest.fixture(params=["stub", "dev_server"])
def server(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    url = request.getfixturevalue(request.param).url
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        yield client


def claim(server: httpx.Client, metadata: Json | None = None, **body: Any) -> httpx.Response:
    return server.post("/threads", json={"metadata": metadata or {}, **body})


def thread(server: httpx.Client, metadata: Json | None = None) -> str:
    answer = claim(server, metadata)
    assert answer.status_code == 200
    return str(answer.json()["thread_id"])


def start(server: httpx.Client, thread_id: str, given: Any = None, **body: Any) -> httpx.Response:
    sent = {"assistant_id": "agent", "input": given or {}, **body}
    return server.post(f"/threads/{thread_id}/runs", json=sent)


def run(server: httpx.Client, thread_id: str, given: Any = None, **body: Any) -> str:
    answer = start(server, thread_id, given, **body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["run_id"])


def get(server: httpx.Client, path: str) -> Json:
    answer = server.get(path)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def status(server: httpx.Client, thread_id: str, run_id: str) -> str:
    return str(get(server, f"/threads/{thread_id}/runs/{run_id}")["status"])


def ended(server: httpx.Client, thread_id: str, run_id: str) -> tuple[str, Json]:
    """Its last status, and the thread then."""
    wait_until(lambda: status(server, thread_id, run_id) not in IN_FLIGHT)
    return status(server, thread_id, run_id), get(server, f"/threads/{thread_id}")


def working(server: httpx.Client, thread_id: str, given: Any = None) -> str:
    """A run that works and goes on working."""
    run_id = run(server, thread_id, given or {"seconds": 60})
    wait_until(lambda: status(server, thread_id, run_id) == "running")
    return run_id


def cancel(server: httpx.Client, thread_id: str, run_id: str, query: str = "?wait=1") -> httpx.Response:
    return server.post(f"/threads/{thread_id}/runs/{run_id}/cancel{query}")


def search(server: httpx.Client, **body: Any) -> list[Json]:
    answer = server.post("/threads/search", json=body)
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()
    return found


def tag() -> Json:
    return {"test_tag": uuid.uuid4().hex}


# Claim: a thread's ID is given away once


def test_a_claim_is_won_once(server: httpx.Client) -> None:
    mine = str(uuid.uuid4())
    won = claim(server, {"a": 1}, thread_id=mine, if_exists="raise")
    assert won.status_code == 200
    assert (
        won.json().items()
        >= {"thread_id": mine, "status": "idle", "metadata": {"a": 1}, "values": None}.items()
    )
    assert datetime.fromisoformat(won.json()["created_at"]).utcoffset() == timedelta(0)
    for lost in (claim(server, {"a": 2}, thread_id=mine, if_exists="raise"), claim(server, thread_id=mine)):
        assert lost.status_code == 409
        assert lost.json() == {"detail": f"Thread with ID {mine} already exists"}
    assert get(server, f"/threads/{mine}")["metadata"] == {"a": 1}


def test_of_many_claims_at_once_one_is_won(server: httpx.Client) -> None:
    mine = str(uuid.uuid4())
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: claim(server, thread_id=mine).status_code, range(20)))
    assert sorted(answers) == [200] + [409] * 19


def test_do_nothing_gives_the_thread_that_is_there_unchanged(server: httpx.Client) -> None:
    mine = thread(server, {"a": 1})
    again = claim(server, {"a": 2, "b": 3}, thread_id=mine, if_exists="do_nothing")
    assert (again.status_code, again.json()) == (200, get(server, f"/threads/{mine}"))
    assert again.json()["metadata"] == {"a": 1}


def test_an_id_comes_back_in_lower_case_with_dashes(server: httpx.Client) -> None:
    mine = uuid.uuid4()
    assert claim(server, thread_id=mine.hex.upper()).json()["thread_id"] == str(mine)


def test_metadata_is_kept_but_for_reserved_keys(server: httpx.Client) -> None:
    reserved = dict.fromkeys(("thread_id", "assistant_id", "run_id", "cron_id"), "x")
    ours = {"plain": "a", "example.dev/slashed": "b", "number": 1, "nested": {"deep": [1, {"x": None}]}}
    assert claim(server, {**reserved, **ours}).json()["metadata"] == ours


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1]", b'{"thread_id":"x"}', b'{"thread_id":5}', b'{"metadata":null}', b'{"if_exists":"x"}'],
)
def test_a_wrong_claim_is_422(server: httpx.Client, body: bytes) -> None:
    answer = server.post("/threads", content=body)
    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], str)


# Threads


def test_metadata_are_merged_by_patch(server: httpx.Client) -> None:
    mine = thread(server, {"a": 1, "b": 1})
    patched = server.patch(f"/threads/{mine}", json={"metadata": {"b": 2, "c": 3, "run_id": "x"}})
    assert (patched.status_code, patched.json()["metadata"]) == (200, {"a": 1, "b": 2, "c": 3})
    assert get(server, f"/threads/{mine}")["metadata"] == {"a": 1, "b": 2, "c": 3}
    quiet = server.patch(
        f"/threads/{mine}", json={"metadata": {"c": 4}}, headers={"Prefer": "return=minimal"}
    )
    assert (quiet.status_code, quiet.content) == (204, b"")
    assert get(server, f"/threads/{mine}")["metadata"]["c"] == 4


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/threads/{}", None),
        ("DELETE", "/threads/{}", None),
        ("PATCH", "/threads/{}", {"metadata": {}}),
        ("GET", "/threads/{}/runs", None),
        ("GET", "/threads/{}/runs/{}", None),
        ("POST", "/threads/{}/runs/{}/cancel", None),
        ("POST", "/threads/{}/runs", {"assistant_id": "agent"}),
    ],
)
def test_what_is_not_there_is_404_and_what_is_no_id_is_422(
    server: httpx.Client, method: str, path: str, body: Json | None
) -> None:
    for name, expected in ((NOBODY, 404), ("x", 422)):
        answer = server.request(method, path.format(name, NOBODY), json=body)
        assert (answer.status_code, list(answer.json())) == (expected, ["detail"])


def test_delete_takes_the_runs_along(server: httpx.Client) -> None:
    mine = thread(server)
    its = run(server, mine, after_seconds=LATER)
    assert server.delete(f"/threads/{mine}").status_code == 204
    for gone in (f"/threads/{mine}", f"/threads/{mine}/runs", f"/threads/{mine}/runs/{its}"):
        assert server.get(gone).status_code == 404
    assert cancel(server, mine, its).status_code == 404
    assert server.delete(f"/threads/{mine}").status_code == 404
    assert search(server, ids=[mine]) == []


# Start


def test_a_start_without_a_claim_is_404_and_leaves_nothing(server: httpx.Client) -> None:
    mine = str(uuid.uuid4())
    late = start(server, mine, multitask_strategy="reject")
    assert (late.status_code, late.json()) == (404, {"detail": "Thread or assistant not found."})
    assert server.get(f"/threads/{mine}").status_code == 404


def test_a_start_after_the_thread_was_deleted_is_404(server: httpx.Client) -> None:
    mine = thread(server)
    server.delete(f"/threads/{mine}")
    assert start(server, mine).status_code == 404


def test_a_start_can_make_the_thread(server: httpx.Client) -> None:
    mine = str(uuid.uuid4())
    run(server, mine, after_seconds=LATER, if_not_exists="create", metadata={"a": 1})
    made = get(server, f"/threads/{mine}")
    assert made["metadata"] == {"a": 1, "graph_id": "agent", "assistant_id": AGENT}
    assert made["status"] == "busy"


def test_a_run_carries_the_metadata_of_thread_config_and_request(server: httpx.Client) -> None:
    mine = thread(server, {"of_thread": "t", "both": "t"})
    answer = start(
        server,
        mine,
        after_seconds=LATER,
        metadata={"of_run": "r", "both": "r", "run_id": "x", "thread_id": "x"},
        config={"metadata": {"of_config": "c", "cron_id": "x"}, "tags": ["a"]},
        context={"audience": "all"},
    )
    its = answer.json()
    ours = {"of_thread": "t", "of_run": "r", "of_config": "c", "both": "r"}
    assert its["metadata"] == ours | {"created_by": "system", "graph_id": "agent", "assistant_id": AGENT}
    assert (its["thread_id"], its["assistant_id"], its["status"]) == (mine, AGENT, "pending")
    assert answer.headers["content-location"] == f"/threads/{mine}/runs/{its['run_id']}"
    assert get(server, f"/threads/{mine}/runs/{its['run_id']}") == its
    assert get(server, f"/threads/{mine}")["metadata"] == {
        "of_thread": "t",
        "both": "t",
        "graph_id": "agent",
        "assistant_id": AGENT,
    }


def test_the_run_keeps_the_id_of_its_request(server: httpx.Client) -> None:
    sent = {"assistant_id": "agent", "after_seconds": LATER}
    headers = {"x-request-id": "team/nightly/2026-11-01T02:30:00Z"}
    its = server.post(f"/threads/{thread(server)}/runs", json=sent, headers=headers).json()
    assert its["kwargs"]["config"]["configurable"]["langgraph_request_id"] == headers["x-request-id"]


def test_a_busy_thread_rejects(server: httpx.Client) -> None:
    mine = thread(server)
    its = working(server, mine)
    refused = start(server, mine, multitask_strategy="reject")
    assert (refused.status_code, refused.json()) == (409, {"detail": BUSY})
    assert [one["run_id"] for one in server.get(f"/threads/{mine}/runs").json()] == [its]
    cancel(server, mine, its)


def test_of_many_rejecting_starts_at_once_one_is_accepted(server: httpx.Client) -> None:
    mine = thread(server)

    def once(_: int) -> int:
        return start(server, mine, after_seconds=LATER, multitask_strategy="reject").status_code

    with ThreadPoolExecutor(20) as pool:
        assert sorted(pool.map(once, range(20))) == [200] + [409] * 19


def test_reject_protects_only_while_a_run_is_in_flight(server: httpx.Client) -> None:
    mine = thread(server)
    for _ in range(2):
        ended(server, mine, run(server, mine, multitask_strategy="reject"))
    assert len(server.get(f"/threads/{mine}/runs").json()) == 2


def test_a_run_for_later_is_pending_and_makes_the_thread_busy(server: httpx.Client) -> None:
    mine = thread(server)
    its = start(server, mine, after_seconds=LATER).json()
    ahead = datetime.fromisoformat(its["created_at"]) - datetime.now(UTC)
    assert timedelta(seconds=LATER - 3600) < ahead <= timedelta(seconds=LATER)
    assert get(server, f"/threads/{mine}")["status"] == "busy"
    assert start(server, mine, multitask_strategy="reject").status_code == 409


def test_after_seconds_is_waited_for(server: httpx.Client) -> None:
    mine = thread(server)
    began = time.monotonic()
    assert ended(server, mine, run(server, mine, after_seconds=1))[0] == "success"
    assert time.monotonic() - began >= 1


def test_an_enqueued_run_waits_for_the_one_before(server: httpx.Client) -> None:
    mine = thread(server)
    first, second = working(server, mine, {"seconds": 1.5}), run(server, mine, multitask_strategy="enqueue")
    assert status(server, mine, second) == "pending"
    assert ended(server, mine, second)[0] == "success"
    assert status(server, mine, first) == "success"
    assert get(server, f"/threads/{mine}")["status"] == "idle"


@pytest.mark.parametrize(("strategy", "first_then"), [("interrupt", 200), ("rollback", 404)])
def test_interrupt_and_rollback_take_the_place_of_the_run_before(
    server: httpx.Client, strategy: str, first_then: int
) -> None:
    mine = thread(server)
    first, second = working(server, mine), run(server, mine, multitask_strategy=strategy)
    assert ended(server, mine, second)[0] == "success"
    left = server.get(f"/threads/{mine}/runs/{first}")
    assert left.status_code == first_then
    assert left.json().get("status") in (None, "interrupted")


@pytest.mark.parametrize(
    ("assistant", "expected", "says"),
    [("nobody", 422, "Invalid assistant: 'nobody'."), (NOBODY, 404, "Thread or assistant not found.")],
)
def test_an_unknown_assistant_is_refused(
    server: httpx.Client, assistant: str, expected: int, says: str
) -> None:
    mine = thread(server)
    answer = start(server, mine, assistant_id=assistant)
    assert answer.status_code == expected
    assert answer.json()["detail"].startswith(says)
    assert server.get(f"/threads/{mine}/runs").json() == []
    assert get(server, f"/threads/{mine}")["status"] == "idle"


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"assistant_id": 5}, 422),
        ({"metadata": None}, 422),
        ({"config": None}, 422),
        ({"context": [1]}, 422),
        ({"webhook": ""}, 422),
        ({"interrupt_before": "work"}, 422),
        ({"durability": "never"}, 422),
        ({"multitask_strategy": "queue"}, 422),
        ({"if_not_exists": "x"}, 422),
        ({"after_seconds": "x"}, 422),
        ({"config": {"configurable": {"a": 1}}, "context": {"b": 1}}, 400),
    ],
)
def test_a_wrong_start_is_refused(server: httpx.Client, wrong: Json, expected: int) -> None:
    mine = thread(server)
    answer = start(server, mine, **wrong)
    assert answer.status_code == expected
    assert isinstance(answer.json()["detail"], str)
    assert server.get(f"/threads/{mine}/runs").json() == []


def test_a_start_without_assistant_is_422(server: httpx.Client) -> None:
    assert server.post(f"/threads/{thread(server)}/runs", json={"input": {}}).status_code == 422


# Outcomes


def test_success(server: httpx.Client) -> None:
    mine = thread(server)
    outcome, after = ended(server, mine, run(server, mine, HELLO))
    assert (outcome, after["status"], after["error"], after["interrupts"]) == ("success", "idle", None, {})
    assert [one["content"] for one in after["values"]["messages"]] == ["Hello", "I was told: Hello"]


def test_an_empty_input_is_fine(server: httpx.Client) -> None:
    mine = thread(server)
    outcome, after = ended(server, mine, run(server, mine, {}))
    assert (outcome, after["status"]) == ("success", "idle")


def test_failure(server: httpx.Client) -> None:
    mine = thread(server)
    outcome, after = ended(server, mine, run(server, mine, {"fail": "no luck"}))
    assert (outcome, after["status"], after["interrupts"]) == ("error", "error", {})
    assert after["error"] == {"error": "ValueError", "message": "no luck"}
    outcome, after = ended(server, mine, run(server, mine, HELLO))
    assert (outcome, after["status"], after["error"]) == ("success", "idle", None)


def test_a_question_is_success_of_the_run_and_interrupts_the_thread(server: httpx.Client) -> None:
    mine = thread(server, {"of_thread": "t"})
    asking = run(server, mine, {"ask": "Publish?"}, metadata={"of_run": "r"})
    outcome, after = ended(server, mine, asking)
    assert (outcome, after["status"], after["error"]) == ("success", "interrupted", None)
    ((interrupt,),) = after["interrupts"].values()
    assert interrupt["value"] == "Publish?"

    sent = {"assistant_id": "agent", "command": {"resume": "yes"}}
    resumed = server.post(f"/threads/{mine}/runs", json=sent).json()
    assert resumed["metadata"]["of_thread"] == "t"
    assert "of_run" not in resumed["metadata"]
    outcome, after = ended(server, mine, resumed["run_id"])
    assert (outcome, after["status"], after["interrupts"]) == ("success", "idle", {})
    assert after["values"]["messages"][-1]["content"] == "A human said: yes"
    assert status(server, mine, asking) == "success"


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ("*", "interrupted"),
        (["work"], "interrupted"),
        # In a list the star is the name of a node.
        (["*"], "idle"),
        (["elsewhere"], "idle"),
    ],
)
def test_a_breakpoint_interrupts_the_thread(server: httpx.Client, nodes: Any, expected: str) -> None:
    mine = thread(server)
    outcome, after = ended(server, mine, run(server, mine, HELLO, interrupt_before=nodes))
    assert (outcome, after["status"]) == ("success", expected)


# Look, follow


def test_runs_are_listed_newest_first(server: httpx.Client) -> None:
    mine = thread(server)
    runs = [run(server, mine, after_seconds=LATER) for _ in range(12)]
    listed = f"/threads/{mine}/runs"

    def ids(query: str) -> list[str]:
        return [one["run_id"] for one in server.get(listed + query).json()]

    assert ids("?limit=1000") == runs[::-1]
    assert ids("") == runs[:1:-1]
    assert ids("?limit=3&offset=2") == runs[9:6:-1]
    assert ids("?limit=1000&status=pending") == runs[::-1]
    assert ids("?limit=1000&status=success") == []
    assert server.get(listed + "?limit=1&select=run_id&select=status").json() == [
        {"run_id": runs[-1], "status": "pending"}
    ]
    assert server.get(listed + "?limit=x").status_code == 400


def test_search_finds_by_metadata_and_status(server: httpx.Client) -> None:
    ours = tag()
    idle, busy = thread(server, {**ours, "slot": "a"}), thread(server, {**ours, "slot": "b"})
    run(server, busy, after_seconds=LATER)

    def found(**wanted: Any) -> set[str]:
        return {one["thread_id"] for one in search(server, **wanted)}

    assert found(metadata=ours) == {idle, busy}
    assert found(metadata={**ours, "slot": "b"}) == {busy}
    assert found(metadata=ours, status="busy") == {busy}
    assert found(metadata=ours, status="idle") == {idle}
    assert found(metadata=ours, status="error") == set()
    assert found(metadata=tag()) == set()
    assert found(metadata={**ours, "slot": ["a"]}) == set()
    assert found(ids=[idle, NOBODY]) == {idle}
    cancel(server, busy, server.get(f"/threads/{busy}/runs").json()[0]["run_id"])
    assert found(metadata=ours, status="busy") == set()
    assert found(metadata=ours, status="idle") == {idle, busy}


def test_search_looks_into_metadata(server: httpx.Client) -> None:
    ours = tag()
    mine = thread(server, {**ours, "deep": {"a": {"b": 1, "c": 2}, "d": 3}, "no": False})

    def found(wanted: Json) -> bool:
        return [one["thread_id"] for one in search(server, metadata=ours | wanted)] == [mine]

    assert found({"deep": {"a": {}}})
    assert found({"deep": {"a": {"b": 1}}})
    assert found({"no": False})
    assert not found({"deep": {"a": {"b": 2}}})
    assert not found({"deep": {"a": 1}})
    assert not found({"absent": None})


def test_search_pages_are_whole_and_disjoint(server: httpx.Client) -> None:
    ours = tag()
    made = sorted(thread(server, ours) for _ in range(25))
    pages = [
        server.post(
            "/threads/search",
            json={
                "metadata": ours,
                "limit": 10,
                "offset": offset,
                "sort_by": "thread_id",
                "sort_order": "asc",
                "select": ["thread_id", "status"],
            },
        )
        for offset in (0, 10, 20)
    ]
    assert [one for page in pages for one in page.json()] == [
        {"thread_id": one, "status": "idle"} for one in made
    ]
    assert [page.headers.get("x-pagination-next") for page in pages] == ["10", "20", None]
    assert len(search(server, metadata=ours)) == 10
    assert len(search(server, metadata=ours, limit=1000)) == 25


@pytest.mark.parametrize("field", ["created_at", "updated_at", "thread_id"])
def test_search_sorts_downwards_unless_told(server: httpx.Client, field: str) -> None:
    ours = tag()
    for _ in range(3):
        thread(server, ours)
    values = [one[field] for one in search(server, metadata=ours, sort_by=field)]
    assert values == sorted(values, reverse=True)
    assert [one[field] for one in search(server, metadata=ours, sort_by=field, sort_order="asc")] == values[
        ::-1
    ]


def test_search_without_order_has_the_latest_change_first(server: httpx.Client) -> None:
    ours = tag()
    first, second = thread(server, ours), thread(server, ours)
    assert [one["thread_id"] for one in search(server, metadata=ours)] == [second, first]
    server.patch(f"/threads/{first}", json={"metadata": {"a": 1}})
    assert [one["thread_id"] for one in search(server, metadata=ours)] == [first, second]


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"limit": 0}, 422),
        ({"limit": 1001}, 422),
        ({"offset": -1}, 422),
        ({"status": "pending"}, 422),
        ({"metadata": None}, 422),
        ({"select": ["error"]}, 422),
        ({"sort_by": "metadata"}, 422),
        ({"sort_order": "down"}, 422),
        ({"ids": ["x"]}, 400),
    ],
)
def test_a_wrong_search_is_refused(server: httpx.Client, wrong: Json, expected: int) -> None:
    assert server.post("/threads/search", json=wrong).status_code == expected


# Cancel


def test_cancel_stops_a_run_that_works(server: httpx.Client) -> None:
    mine = thread(server)
    its = working(server, mine)
    stopped = cancel(server, mine, its, "?action=interrupt&wait=1")
    assert (stopped.status_code, type(stopped.json())) == (200, dict)
    assert status(server, mine, its) == "interrupted"
    wait_until(lambda: get(server, f"/threads/{mine}")["status"] == "interrupted")
    assert get(server, f"/threads/{mine}")["error"]["error"] == "UserInterrupt"
    again = cancel(server, mine, its)
    assert again.status_code == 404
    assert again.json()["detail"].startswith("No matching runs to cancel.")


def test_cancel_without_waiting_is_202(server: httpx.Client) -> None:
    mine = thread(server)
    its = working(server, mine)
    stopped = cancel(server, mine, its, "")
    assert (stopped.status_code, stopped.content) == (202, b"")
    assert ended(server, mine, its)[0] == "interrupted"


def test_a_pending_run_that_is_cancelled_never_starts(server: httpx.Client) -> None:
    mine = thread(server)
    its = run(server, mine, after_seconds=LATER)
    assert cancel(server, mine, its, "?action=interrupt&wait=1").status_code == 200
    assert status(server, mine, its) == "interrupted"
    assert get(server, f"/threads/{mine}")["status"] == "idle"


def test_cancelling_a_pending_run_makes_a_thread_idle_where_another_works(server: httpx.Client) -> None:
    """A flaw of the server that whoever follows by `status: busy` must know."""
    mine = thread(server)
    its = working(server, mine)
    cancel(server, mine, run(server, mine, after_seconds=LATER))
    assert (status(server, mine, its), get(server, f"/threads/{mine}")["status"]) == ("running", "idle")
    cancel(server, mine, its)


def test_a_run_that_was_never_there_cannot_be_cancelled(server: httpx.Client) -> None:
    answer = cancel(server, thread(server), NOBODY)
    assert (answer.status_code, answer.json()) == (404, {"detail": "No runs found to cancel."})


# Assistants and the rest


def test_a_graph_is_looked_up_by_name(server: httpx.Client) -> None:
    known = server.post("/assistants/search", json={"graph_id": "agent", "limit": 1})
    assert known.status_code == 200
    (found,) = known.json()
    assert (found["assistant_id"], found["graph_id"]) == (AGENT, "agent")
    unknown = server.post("/assistants/search", json={"graph_id": "nobody", "limit": 1})
    assert unknown.status_code == 404
    assert unknown.json()["detail"].startswith("Graph 'nobody' not found.")


def test_an_assistant_is_looked_up_by_id(server: httpx.Client) -> None:
    assert get(server, f"/assistants/{AGENT}").items() >= {"assistant_id": AGENT, "graph_id": "agent"}.items()
    assert server.get(f"/assistants/{NOBODY}").status_code == 404
    assert server.get("/assistants/agent").status_code == 422


def test_a_run_by_id_is_a_run_by_name(server: httpx.Client) -> None:
    assert (
        start(server, thread(server), assistant_id=AGENT, after_seconds=LATER).json()["assistant_id"] == AGENT
    )


def test_the_server_says_what_it_is(server: httpx.Client) -> None:
    assert "langgraph_py_version" in get(server, "/info")
    assert get(server, "/ok")["ok"] is True
    nowhere = server.get("/nowhere")
    assert (nowhere.status_code, nowhere.json()) == (404, {"detail": "Not Found"})
