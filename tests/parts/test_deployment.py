"""The client against servers that fail, lie and leak: what it makes of their answers.

`Transient` must mean that the request was surely not carried out, `Unclear` that it may have been: whether a
slot is started a second time depends on it.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import ssl
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Self

import aiohttp
import httpx
import pytest
from aiohttp import web

from assistantcron import connections
from assistantcron import deployment as module
from assistantcron.deployment import Deployment
from assistantcron.egress import Policy, Target
from assistantcron.errors import (
    AssistantCronError,
    Conflict,
    InvalidSpec,
    NotFound,
    Refused,
    Transient,
    Unclear,
)
from tests.bed.controlplane import ControlPlane
from tests.bed.devserver import DevServer
from tests.bed.operator import DEADLINE
from tests.bed.stub import StubDeployment
from tests.parts.rawserver import saying, saying_for_ever, talking

NOBODY = "0b6e1d5c-6a0f-4d38-9d0a-2f4c7f6b1e55"
RUN: dict[str, Any] = {"assistant_id": "agent", "input": {}, "multitask_strategy": "reject"}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
KEY = "k3y-that-nobody-may-see"


class Client(Deployment):
    """Notes what its metrics are told."""

    def __init__(self, url: str, policy: Policy | None = None, **target: Any) -> None:
        host = httpx.URL(url).host
        self.results: Counter[tuple[str, str]] = Counter()
        super().__init__(
            Target(**{"url": url, "host": host, "trusted": True, **target}),
            policy or Policy(),
            observe=self._note,
        )

    def _note(self, method: str, result: str) -> None:
        self.results[method, result] += 1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def start(self, thread_id: str, **body: Any) -> Any:
        return await self.create_run(thread_id, {**RUN, **body}, request_id="team/nightly/slot")


@pytest.fixture
async def client(stub: StubDeployment) -> AsyncIterator[Client]:
    async with Client(stub.url) as made:
        yield made


async def thread(client: Client, **metadata: Any) -> str:
    return (await client.create_thread(str(uuid.uuid4()), metadata)).thread_id


# What works, on the stub and on the real server


@pytest.fixture(params=["stub", "dev_server"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    found: StubDeployment | DevServer = request.getfixturevalue(request.param)
    async with Client(found.url) as made:
        yield made


async def test_a_thread_is_made_once_read_changed_and_deleted(server: Client) -> None:
    mine = str(uuid.uuid4())
    made = await server.create_thread(mine, {"a": 1})
    assert (made.thread_id, made.status, made.metadata) == (mine, "idle", {"a": 1})
    assert made.created_at.tzinfo is UTC
    with pytest.raises(Conflict):
        await server.create_thread(mine, {"a": 2})
    assert (await server.create_thread(mine, {"a": 2}, if_exists="do_nothing")).metadata == {"a": 1}
    await server.update_thread(mine, {"b": 2})
    assert (await server.thread(mine)).metadata == {"a": 1, "b": 2}
    await server.delete_thread(mine)
    await server.delete_thread(mine)
    with pytest.raises(NotFound):
        await server.thread(mine)
    with pytest.raises(NotFound):
        await server.update_thread(mine, {})


async def test_a_run_is_started_found_again_and_cancelled(server: Client) -> None:
    mine = await thread(server)
    first = await server.start(mine, metadata={"tag": "one"}, input={"seconds": 60})
    assert first.thread_id == mine
    with pytest.raises(Conflict):
        await server.start(mine)
    (listed,) = await server.runs(mine)
    assert (listed.run_id, listed.metadata["tag"]) == (first.run_id, "one")
    await server.cancel_run(mine, first.run_id)
    await server.cancel_run(mine, first.run_id)
    await server.cancel_run(mine, NOBODY)
    assert (await server.run(mine, first.run_id)).status == "interrupted"
    second = await server.start(mine, after_seconds=3600)
    assert [run.run_id for run in await server.runs(mine)] == [first.run_id, second.run_id]
    await server.cancel_run(mine, second.run_id)
    await server.delete_thread(mine)
    for gone in (server.runs(mine), server.run(mine, first.run_id), server.start(mine)):
        with pytest.raises(NotFound):
            await gone


async def test_threads_are_found_by_metadata_status_and_age(server: Client) -> None:
    tag = uuid.uuid4().hex
    mine = [await thread(server, tag=tag) for _ in range(3)]
    busy = await server.start(mine[1], input={"seconds": 60})
    assert {one.thread_id for one in await server.search_threads({"tag": tag})} == set(mine)
    assert [one.thread_id for one in await server.search_threads({"tag": tag}, status="busy")] == [mine[1]]
    last = (await server.thread(mine[2])).created_at
    young = await server.search_threads({"tag": tag}, created_since=last)
    assert [one.thread_id for one in young] == [mine[2]]
    assert await server.search_threads({"tag": "another"}) == []
    await server.cancel_run(mine[1], busy.run_id)


async def test_assistants_are_found_by_graph_and_by_uuid(server: Client) -> None:
    await server.find_assistant("agent")
    await server.find_assistant(str(uuid.uuid5(uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8"), "agent")))
    for unknown in ("agnet", NOBODY):
        with pytest.raises(NotFound):
            await server.find_assistant(unknown)


async def test_a_server_that_knows_no_such_graph_may_also_find_nothing(
    stub: StubDeployment, client: Client
) -> None:
    stub.fault("POST", "/assistants/search", status=200, body=[])
    with pytest.raises(NotFound):
        await client.find_assistant("agent")


async def test_what_is_sent(stub: StubDeployment) -> None:
    async with Client(stub.url, api_key=KEY, authorization="Bearer other") as client:
        mine = await thread(client, who="wé")
        await client.start(mine)
    claim, start = stub.ledger
    assert claim.body == {"thread_id": mine, "metadata": {"who": "wé"}, "if_exists": "raise"}
    for entry in (claim, start):
        assert entry.headers["x-api-key"] == KEY
        assert entry.headers["authorization"] == "Bearer other"
        assert entry.headers["accept-encoding"] == "identity"
        assert entry.headers["content-type"] == "application/json"
        assert entry.headers["user-agent"].startswith("assistantcron/")
    assert start.headers["x-request-id"] == "team/nightly/slot"
    assert start.body == RUN


# Has it been carried out? Transient: surely not


def short(monkeypatch: pytest.MonkeyPatch, seconds: float = 0.2) -> None:
    monkeypatch.setattr(module, "TIMEOUT", httpx.Timeout(seconds, connect=DEADLINE, pool=DEADLINE))


@pytest.mark.parametrize(
    ("fault", "kind", "text", "wait"),
    [
        ({"status": 408}, Transient, "HTTP 408", None),
        ({"status": 425}, Transient, "HTTP 425", None),
        ({"status": 429, "headers": {"retry-after": "7"}}, Transient, "HTTP 429", 7.0),
        ({"status": 503, "headers": {"retry-after": "7"}}, Transient, "HTTP 503", 7.0),
        ({"status": 503}, Unclear, "HTTP 503", None),
        ({"status": 500, "body": "Internal Server Error"}, Unclear, "HTTP 500", None),
        ({"status": 502, "body": "<html>" + "x" * 100_000}, Unclear, "HTTP 502", None),
        ({"end": "drop"}, Unclear, "the connection was lost before the answer came", None),
        ({"end": "hang"}, Unclear, "no answer in time", None),
        ({"status": 401, "body": {"detail": "no"}}, Refused, "HTTP 401: no", None),
        ({"status": 422, "body": {"detail": "bad"}}, Refused, "HTTP 422: bad", None),
        ({"status": 307, "headers": {"location": "/elsewhere"}}, Refused, "redirect", None),
        ({"status": 303, "headers": {"location": "http://[bad"}}, AssistantCronError, "", None),
    ],
)
@pytest.mark.parametrize("after", [False, True])
async def test_a_start_that_fails(
    stub: StubDeployment,
    monkeypatch: pytest.MonkeyPatch,
    fault: dict[str, Any],
    kind: type[AssistantCronError],
    text: str,
    wait: float | None,
    after: bool,
) -> None:
    """Whether or not the server has carried it out, the client cannot know more than it is told."""
    short(monkeypatch)
    async with Client(stub.url) as client:
        mine = await thread(client)
        put = stub.fault("POST", "/threads/.*/runs", after=after, times=None, **fault)
        with pytest.raises(AssistantCronError) as caught:
            await client.start(mine)
        assert kind is AssistantCronError or type(caught.value) is kind
        assert text in caught.value.message
        assert len(caught.value.message) < 250
        assert getattr(caught.value, "retry_after", None) == wait
        assert put.hits == 1, "a POST is never repeated behind our back"
        put.times = 0
        assert len(await client.runs(mine)) == after, "the next request finds a good connection"


async def test_who_is_refused_has_sent_nothing(stub: StubDeployment, client: Client) -> None:
    mine = await thread(client)
    stub.refuse()
    async with Client(stub.url) as fresh:
        with pytest.raises(Transient) as caught:
            await fresh.start(mine)
        assert type(caught.value) is Transient
        stub.listen()
        assert await fresh.runs(mine) == []
        await fresh.start(mine)


async def test_a_connection_that_was_good_a_moment_ago_leaves_it_unclear(
    stub: StubDeployment, client: Client
) -> None:
    """The request may have been read before the server went."""
    mine = await thread(client)
    stub.refuse()
    with pytest.raises(Transient):
        await client.start(mine)
    stub.listen()
    assert await client.runs(mine) == []


async def test_who_gets_no_connection_has_sent_nothing(
    stub: StubDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", 1)
    monkeypatch.setattr(module, "TIMEOUT", httpx.Timeout(DEADLINE, pool=0.2))
    async with Client(stub.url) as client:
        hanging = stub.fault("GET", "/threads/.*", end="hang")
        first = asyncio.create_task(client.thread(NOBODY))
        while not hanging.hits:  # noqa: ASYNC110 - the stub has a loop of its own
            await asyncio.sleep(0.01)
        with pytest.raises(Transient) as caught:
            await client.create_thread(NOBODY, {})
        assert type(caught.value) is Transient
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    assert stub.requests("POST", ".*") == []


async def test_a_name_that_does_not_resolve_has_been_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved(monkeypatch)
    async with Client("http://agents.example.com") as client:
        with pytest.raises(Transient) as caught:
            await client.create_thread(NOBODY, {})
    assert type(caught.value) is Transient
    assert "resolved" in caught.value.message


async def test_a_server_without_tls_has_been_sent_nothing(stub: StubDeployment) -> None:
    async with Client(stub.url.replace("http:", "https:")) as client:
        with pytest.raises(Transient) as caught:
            await client.create_thread(NOBODY, {})
    assert (type(caught.value), caught.value.reason) == (Transient, "TLSError")
    assert stub.ledger == []


async def test_a_slow_server_is_waited_for(stub: StubDeployment, client: Client) -> None:
    stub.fault("POST", "/threads", delay=0.3)
    await thread(client)


# Answers that are none


GOOD_RUN = {
    "run_id": NOBODY,
    "thread_id": NOBODY,
    "status": "pending",
    "created_at": "2026-03-02T08:00:00+00:00",
}


@pytest.mark.parametrize(
    "body",
    [
        "<html><body>Welcome</body></html>",
        '{"run_id": "cut o',
        "",
        "null",
        "[]",
        "[" * 100_000,
        b"\xff\xfe",
        "p4ss" * 25_000,
        {"run_id": NOBODY},
        GOOD_RUN | {"run_id": 17},
        GOOD_RUN | {"run_id": ""},
        GOOD_RUN | {"run_id": "x" * 65},
        GOOD_RUN | {"run_id": None},
        GOOD_RUN | {"thread_id": ["p4ss"]},
        GOOD_RUN | {"status": {}},
        GOOD_RUN | {"metadata": "p4ss"},
        GOOD_RUN | {"created_at": "yesterday"},
        GOOD_RUN | {"created_at": "2026-03-02T08:00:00"},
        GOOD_RUN | {"created_at": "0001-01-01T00:00:00+14:00"},
        GOOD_RUN | {"created_at": "9999-12-31T23:59:59-14:00"},
        GOOD_RUN | {"updated_at": "soon"},
        json.dumps(GOOD_RUN | {"status": "\ud800"}),
    ],
)
async def test_an_answer_that_is_not_langgraphs_is_unclear_and_not_repeated(
    stub: StubDeployment, client: Client, body: Any
) -> None:
    stub.fault("POST", "/threads/.*/runs", status=200, body=body)
    with pytest.raises(Unclear) as caught:
        await client.start(NOBODY)
    assert caught.value.reason == "InvalidResponse"
    assert caught.value.message == "HTTP 200 with an answer that is not LangGraph's"


async def test_fields_of_a_later_release_are_passed_over(stub: StubDeployment, client: Client) -> None:
    stub.fault("GET", "/threads/.*/runs/.*", status=200, body=GOOD_RUN | {"new": [1], "status": "unheard of"})
    assert (await client.run(NOBODY, NOBODY)).status == "unheard of"


@pytest.mark.parametrize("status", [200, 400])
async def test_what_is_compressed_all_the_same_is_not_unpacked(
    stub: StubDeployment, client: Client, status: int
) -> None:
    """We ask for none, and 10 kB can hold 10 MB."""
    bomb = gzip.compress(json.dumps(GOOD_RUN | {"metadata": {"a": "x" * 10_000_000}}).encode())
    stub.fault("GET", ".*", status=status, body=bomb, headers={"content-encoding": "gzip"})
    with pytest.raises(Unclear if status == 200 else Refused) as caught:
        await client.run(NOBODY, NOBODY)
    assert caught.value.message in ("HTTP 200 with an answer that is not LangGraph's", "HTTP 400")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        HEAD + b"x" * 100_000 + b": y\r\n\r\n",
        HEAD + b"content-length: 1000\r\n\r\n{}",
        HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_not_even_http_is_unclear(content: bytes) -> None:
    async with talking(saying(content)) as url, Client(url) as client:
        with pytest.raises(
            Unclear, match=r"^the connection (was lost before the answer came|failed \(\w+\))$"
        ):
            await client.start(NOBODY)


async def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BODY", 100_000)
    async with talking(saying_for_ever(HEAD + b"\r\n", b" " * 10_000)) as url, Client(url) as client:
        with pytest.raises(Unclear) as caught:
            await client.start(NOBODY)
    assert caught.value.reason == "InvalidResponse"
    assert "larger than 100000 bytes" in caught.value.message


async def test_of_an_endless_error_page_only_the_beginning_is_read() -> None:
    page = saying_for_ever(b"HTTP/1.1 502 Bad Gateway\r\n\r\n", b"<p>" * 10_000)
    async with talking(page) as url, Client(url) as client:
        with pytest.raises(Unclear, match=r"^HTTP 502$"):
            await client.start(NOBODY)


async def test_a_server_that_says_a_byte_now_and_then_does_not_hold_us_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each byte is in time, and there is no end."""
    monkeypatch.setattr(module, "TOTAL_SECONDS", 0.3)
    async with talking(saying_for_ever(HEAD + b"\r\n", b" ", pause=0.01)) as url, Client(url) as client:
        with pytest.raises(Unclear, match="did not end in time"):
            await client.start(NOBODY)


async def test_a_redirect_is_not_followed_and_takes_no_key_along(stub: StubDeployment) -> None:
    with StubDeployment() as other:
        stub.fault("GET", ".*", status=307, headers={"location": f"{other.url}/threads/{NOBODY}"})
        async with Client(stub.url, api_key=KEY) as client:
            with pytest.raises(Refused, match="redirect"):
                await client.thread(NOBODY)
        assert other.ledger == []


async def test_cookies_are_not_kept(stub: StubDeployment, client: Client) -> None:
    mine = await thread(client)
    cookie = {"set-cookie": "who=somebody; Path=/"}
    stub.fault("GET", ".*", status=200, body={**GOOD_RUN, "thread_id": mine}, headers=cookie)
    await client.thread(mine)
    await client.thread(mine)
    assert "cookie" not in stub.ledger[-1].headers


# What we send


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, "\ud800", "half \udfff of a pair", datetime(2026, 3, 2, tzinfo=UTC)],
)
async def test_what_json_cannot_say_is_refused_before_anything_is_sent(
    stub: StubDeployment, client: Client, value: Any
) -> None:
    with pytest.raises(Refused) as caught:
        await client.start(NOBODY, input={"a": [{"b": value}]})
    assert caught.value.reason == "InvalidSpec"
    assert stub.ledger == []


@pytest.mark.parametrize(
    "value", ["Grüße 🙂", "\x00\x1b", 2**53 + 1, 1e300, -0.0, None, True, [[[]]], {"": {"$": "\\u0000"}}]
)
async def test_what_json_can_say_arrives(stub: StubDeployment, client: Client, value: Any) -> None:
    await client.start(await thread(client), input={"a": value})
    assert stub.ledger[-1].body["input"] == {"a": value}


@pytest.mark.parametrize(
    "forged", ["", ".", "..", "../assistants", "a/b", "a?b", "a#b", "a%2fb", "a b", "ä", "a\n"]
)
async def test_a_forged_id_leads_nowhere(stub: StubDeployment, client: Client, forged: str) -> None:
    for ask in (client.thread, client.runs):
        with pytest.raises(NotFound):
            await ask(forged)
    for run in ((forged, NOBODY), (NOBODY, forged)):
        with pytest.raises(NotFound):
            await client.run(*run)
        await client.cancel_run(*run)
    with pytest.raises(NotFound):
        await client.start(forged)
    with pytest.raises(NotFound):
        await client.update_thread(forged, {})
    await client.delete_thread(forged)
    assert stub.ledger == []


# Searching


async def test_a_search_brings_all_pages(
    stub: StubDeployment, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 3)
    mine = {await thread(client, tag="a") for _ in range(6)}
    found = await client.search_threads({"tag": "a"})
    assert [one.thread_id for one in found] == sorted(mine, reverse=True)
    asked = [entry.body for entry in stub.requests("POST", "/threads/search")]
    assert [(one["limit"], one["offset"]) for one in asked] == [(3, 0), (3, 3), (3, 6)]


async def test_a_search_by_age_stops_at_the_first_that_is_too_old(
    stub: StubDeployment, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 3)
    mine = [await client.create_thread(str(uuid.uuid4()), {"tag": "a"}) for _ in range(9)]
    found = await client.search_threads({"tag": "a"}, created_since=mine[7].created_at)
    assert [one.thread_id for one in found] == [mine[8].thread_id, mine[7].thread_id]
    assert len(stub.requests("POST", "/threads/search")) == 1


async def test_a_server_that_always_gives_the_same_page_is_asked_twice(
    stub: StubDeployment, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    page = [{"thread_id": name, "created_at": "2026-03-02T08:00:00Z"} for name in "ab"]
    fault = stub.fault("POST", "/threads/search", times=None, status=200, body=page)
    assert [one.thread_id for one in await client.search_threads({})] == ["a", "b"]
    assert fault.hits == 2


async def test_a_server_that_always_knows_more_is_not_asked_for_ever(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    monkeypatch.setattr(module, "MOST", 6)
    for _ in range(7):
        await thread(client, tag="a")
    with pytest.raises(Unclear) as caught:
        await client.search_threads({"tag": "a"})
    assert caught.value.reason == "InvalidResponse"


async def test_a_page_that_is_too_large_is_asked_for_in_parts(
    stub: StubDeployment, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With each thread comes its state."""
    mine = {await thread(client, tag="a", state="x" * 1000) for _ in range(12)}
    monkeypatch.setattr(module, "MAX_BODY", 12_000)
    monkeypatch.setattr(module, "PAGE", 100)
    assert {one.thread_id for one in await client.search_threads({"tag": "a"})} == mine
    limits = [entry.body["limit"] for entry in stub.requests("POST", "/threads/search")]
    assert limits[:2] == [100, 10]
    monkeypatch.setattr(module, "MAX_BODY", 500)
    with pytest.raises(Unclear, match="larger than 500 bytes"):
        await client.search_threads({"tag": "a"})


async def test_runs_come_without_their_inputs_and_oldest_first(
    stub: StubDeployment, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = await thread(client)
    started = [
        await client.start(mine, input={"x": "y" * 50_000}, multitask_strategy="enqueue") for _ in range(3)
    ]
    monkeypatch.setattr(module, "MAX_BODY", 50_000)
    assert [run.run_id for run in await client.runs(mine)] == [run.run_id for run in started]


# Where it may go


def resolved(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Every host name has these addresses; without any, none has one."""

    async def resolve(_: object, host: str, port: int = 0, family: Any = 0) -> list[dict[str, Any]]:
        if not addresses:
            raise OSError("no such name")
        return [
            {"hostname": host, "host": one, "port": port, "family": family, "proto": 0, "flags": 0}
            for one in addresses
        ]

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.8.8.8", "loopback"),
        ("[::1]", "loopback"),
        ("[::ffff:127.0.0.1]", "loopback"),
        ("[::ffff:7f00:1]", "loopback"),
        ("localhost", "loopback"),
        ("LocalHost", "loopback"),
        ("0x7f000001", "loopback"),
        ("0.0.0.0", "unspecified"),  # noqa: S104 - to be refused
        ("[::]", "unspecified"),
        ("169.254.169.254", "link-local"),
        ("[::ffff:169.254.169.254]", "link-local"),
        ("[fe80::1]", "link-local"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "broadcast"),
    ],
)
async def test_a_resource_may_not_call_special_addresses(stub: StubDeployment, host: str, kind: str) -> None:
    url, bare = f"http://{host}:{stub.port}", host.strip("[]").lower()
    async with Client(url, host=bare, trusted=False, api_key=KEY) as client:
        with pytest.raises(AssistantCronError, match=f"is a {kind} address") as caught:
            await client.create_thread(NOBODY, {})
        assert caught.value.reason == "HostNotAllowed"
        assert client.results == {("POST", "HostNotAllowed"): 1}
    assert stub.ledger == []


@pytest.mark.parametrize("host", ["2130706433", "127.1"])
async def test_an_address_in_an_odd_form_is_not_called_at_all(stub: StubDeployment, host: str) -> None:
    """`egress.parse_url` refuses it before; the client does not rely on that."""
    async with Client(f"http://{host}:{stub.port}", host=host, trusted=False) as client:
        with pytest.raises(Refused) as caught:
            await client.create_thread(NOBODY, {})
    assert caught.value.reason == "InvalidURL"
    assert stub.ledger == []


@pytest.mark.parametrize(
    "addresses", [("127.0.0.1",), ("93.184.215.14", "127.0.0.1"), ("::ffff:127.0.0.1",), ("fe80::1%eth0",)]
)
async def test_a_name_is_as_special_as_the_worst_of_its_addresses(
    stub: StubDeployment, monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
) -> None:
    resolved(monkeypatch, *addresses)
    async with Client(f"http://agents.example.com:{stub.port}", trusted=False) as client:
        asked = await asyncio.gather(*(client.thread(NOBODY) for _ in range(20)), return_exceptions=True)
    assert {getattr(one, "reason", None) for one in asked} == {"HostNotAllowed"}
    assert stub.ledger == []


@pytest.mark.parametrize(
    ("host", "policy", "allowed"),
    [
        ("127.0.0.1", Policy(allow_loopback=True), True),
        ("localhost", Policy(allow_loopback=True), True),
        ("localhost", Policy(("localhost",)), False),
        ("localhost", Policy(("localhost",), allow_loopback=True), True),
        ("localhost", Policy(("127.0.0.0/8", "::1/128"), allow_loopback=True), True),
        ("127.0.0.1", Policy(("127.0.0.0/8",), allow_loopback=True), True),
        ("127.0.0.1", Policy(("10.0.0.0/8", "*.example.com"), allow_loopback=True), False),
        ("localhost", Policy(("*.example.com",), allow_loopback=True), False),
    ],
)
async def test_allowed_hosts_hold_for_resources(
    stub: StubDeployment, monkeypatch: pytest.MonkeyPatch, host: str, policy: Policy, allowed: bool
) -> None:
    resolved(monkeypatch, "127.0.0.1")
    async with Client(f"http://{host}:{stub.port}", policy, trusted=False) as client:
        if allowed:
            await client.find_assistant("agent")
        else:
            with pytest.raises(AssistantCronError) as caught:
                await client.find_assistant("agent")
            assert caught.value.reason == "HostNotAllowed"
    assert bool(stub.ledger) is allowed


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_the_operators_own_default_may_be_anywhere(stub: StubDeployment, host: str) -> None:
    async with Client(f"http://{host}:{stub.port}", Policy(("10.0.0.0/8",)), trusted=True) as client:
        await client.find_assistant("agent")


@pytest.mark.parametrize("url", ["http://xn--a", "http://agents.example.com/" + "x" * 70_000])
async def test_a_url_that_no_client_takes_is_the_authors_mistake(url: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        Deployment(Target(url, "agents.example.com"), Policy(), observe=lambda *_: None)
    assert caught.value.reason == "InvalidURL"


# Secrets


async def test_credentials_go_only_with_the_target_that_has_them(stub: StubDeployment) -> None:
    async with (
        Client(stub.url, api_key=KEY) as one,
        Client(stub.url, authorization=f"Bearer {KEY}") as other,
        Client(stub.url) as none,
    ):
        for client in (one, other, none, one):
            await client.find_assistant("agent")
    sent = [(e.headers.get("x-api-key"), e.headers.get("authorization")) for e in stub.ledger]
    assert sent == [(KEY, None), (None, f"Bearer {KEY}"), (None, None), (KEY, None)]


async def test_nobody_gets_to_see_a_key(
    stub: StubDeployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    short(monkeypatch)
    target = Target(stub.url, "127.0.0.1", trusted=True, api_key=KEY, authorization=KEY, ca=None)
    client = Deployment(target, Policy(), observe=lambda *_: None)
    told = [repr(client), repr(target), str(vars(client))]
    for fault in (
        {"status": 401},
        {"status": 500},
        {"status": 200, "body": "no"},
        {"end": "drop"},
        {"end": "hang"},
    ):
        stub.fault("GET", ".*", **fault)
        with pytest.raises(AssistantCronError) as caught:
            await client.thread(NOBODY)
        told += [repr(caught.value), str(caught.value)]
        shown = caught.value.__context__ is not None and not caught.value.__suppress_context__
        assert not shown, "a traceback shows no more than the message"
    await client.close()
    assert KEY not in "".join(told) + caplog.text


async def test_another_targets_key_is_refused_and_told_apart(stub: StubDeployment) -> None:
    stub.api_key = KEY
    async with Client(stub.url, api_key="wrong") as client:
        with pytest.raises(Refused) as caught:
            await client.find_assistant("agent")
    assert (caught.value.reason, caught.value.status) == ("Unauthorized", 403)


# TLS


@pytest.fixture
async def https(control_plane: ControlPlane) -> AsyncIterator[str]:
    """A server with the certificate that the API server has made for itself."""
    certificates = control_plane.folder / "certificates"
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificates / "apiserver.crt", certificates / "apiserver.key")

    async def found(_: web.BaseRequest) -> web.Response:
        return web.json_response([{"assistant_id": NOBODY}])

    runner = web.ServerRunner(web.Server(found))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_certificate_is_checked_against_the_secrets_own_authority(
    https: str, control_plane: ControlPlane
) -> None:
    authority = (control_plane.folder / "certificates" / "apiserver.crt").read_text(encoding="utf-8")
    async with Client(https, ca=f"# Aussteller: Größe\n{authority}") as client:
        await client.find_assistant("agent")
    async with Client(https) as client:
        with pytest.raises(Transient) as caught:
            await client.find_assistant("agent")
    assert (type(caught.value), caught.value.reason) == (Transient, "TLSError")
    assert "certificate" in caught.value.message


@pytest.mark.parametrize(
    "authority", ["nonsense", "ümlaut", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
async def test_an_authority_that_is_none_is_the_authors_mistake(authority: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        Deployment(Target("https://a.b", "a.b", ca=authority), Policy(), observe=lambda *_: None)
    assert caught.value.reason == "InvalidSecret"
    assert authority not in caught.value.message


# Metrics, and the end


async def test_every_request_is_counted_with_its_result(
    stub: StubDeployment, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = await thread(client)
    with pytest.raises(Conflict):
        await client.create_thread(mine, {})
    await client.delete_thread(mine)
    await client.delete_thread(mine)
    stub.fault("GET", ".*", status=502)
    with pytest.raises(Unclear):
        await client.thread(mine)
    hanging = stub.fault("GET", ".*", end="hang")
    waiting = asyncio.create_task(client.thread(mine))
    while not hanging.hits:  # noqa: ASYNC110 - the stub has a loop of its own
        await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert client.results == {
        ("POST", "ok"): 1,
        ("POST", "Rejected"): 1,
        ("DELETE", "ok"): 1,
        ("DELETE", "Rejected"): 1,
        ("GET", "DeploymentUnavailable"): 1,
        ("GET", "Aborted"): 1,
    }


async def test_a_closed_client_says_so(client: Client) -> None:
    await client.close()
    await client.close()
    with pytest.raises(Transient):
        await client.thread(NOBODY)


async def test_many_requests_at_once_all_get_their_answers(stub: StubDeployment, client: Client) -> None:
    made = await asyncio.gather(*(thread(client, number=number) for number in range(300)))
    assert len(set(made)) == 300
    assert client.results == {("POST", "ok"): 300}
