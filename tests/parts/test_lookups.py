"""Whether deployment, assistant and thread are there: what people are told, and what it costs the server."""

from __future__ import annotations

import asyncio
import gc

import pytest

from assistantcron.errors import AssistantCronError, Denied, Refused, Transient, Unclear
from assistantcron.lookups import GOOD, KEPT_BAD, KEPT_GOOD, Lookups
from tests.parts.clock import Clock
from tests.parts.server import FakeServer

THREAD = "7f0c3b52-52a4-4b0e-8a25-3a5c1f1f5a01"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lookups(clock: Clock) -> Lookups:
    return Lookups(now=clock)


@pytest.fixture
def server() -> FakeServer:
    made = FakeServer()
    made.put(THREAD)
    return made


async def test_ten_thousand_resources_cost_a_request(lookups: Lookups, server: FakeServer) -> None:
    found = await asyncio.gather(*(lookups.health(server, "agent", None) for _ in range(10_000)))
    assert set(found) == {GOOD}
    assert server.asked == ["assistant agent"]


async def test_each_assistant_thread_and_deployment_is_asked_about_once(lookups: Lookups) -> None:
    servers = [FakeServer(), FakeServer()]
    for _ in range(3):
        for server in servers:
            server.put("t1")
            server.put("t2")
            for thread in (None, "t1", "t2"):
                assert await lookups.health(server, "agent", thread) is GOOD
    for server in servers:
        assert server.asked == ["assistant agent", "thread t1", "thread t2"]


@pytest.mark.parametrize(
    ("assistant", "thread", "reason", "words"),
    [
        ("agnet", None, "AssistantNotFound", "spec.assistant: the deployment has no assistant agnet"),
        ("agnet", THREAD, "AssistantNotFound", "spec.assistant: the deployment has no assistant agnet"),
        ("agent", "gone", "ThreadNotFound", "spec.thread.id: the deployment has no thread gone"),
    ],
)
async def test_what_is_not_there_is_named_with_its_field(
    lookups: Lookups, server: FakeServer, assistant: str, thread: str | None, reason: str, words: str
) -> None:
    health = await lookups.health(server, assistant, thread)
    assert (health.ready, health.stalled, health.reason) == (False, True, reason)
    assert health.message.startswith(words)


@pytest.mark.parametrize(
    ("error", "stalled"),
    [
        (Transient("the connection was refused"), False),
        (Unclear("not LangGraph's", reason="InvalidResponse"), False),
        (Refused("HTTP 401: no", reason="Unauthorized", status=401), True),
        (Denied("a.b is a loopback address"), True),
    ],
)
async def test_whether_a_person_must_act(
    lookups: Lookups, server: FakeServer, error: AssistantCronError, stalled: bool
) -> None:
    server.error = error
    health = await lookups.health(server, "agent", None)
    assert (health.ready, health.stalled, health.reason) == (False, stalled, error.reason)
    assert error.message in health.message


async def test_a_good_answer_is_kept_for_minutes(lookups: Lookups, server: FakeServer, clock: Clock) -> None:
    await lookups.health(server, "agent", None)
    clock.forward(KEPT_GOOD.total_seconds() - 1)
    await lookups.health(server, "agent", None)
    assert len(server.asked) == 1
    clock.forward(1)
    await lookups.health(server, "agent", None)
    assert len(server.asked) == 2


async def test_a_bad_answer_is_kept_for_seconds_for_all(
    lookups: Lookups, server: FakeServer, clock: Clock
) -> None:
    for _ in range(100):
        assert not (await lookups.health(server, "agnet", None)).ready
    assert len(server.asked) == 1
    clock.forward(KEPT_BAD.total_seconds() - 1)
    await lookups.health(server, "agnet", None)
    assert len(server.asked) == 1
    clock.forward(1)
    server.error = None
    await lookups.health(server, "agnet", None)
    assert len(server.asked) == 2


async def test_a_thread_is_not_asked_about_before_its_assistant_is_good(
    lookups: Lookups, server: FakeServer
) -> None:
    await lookups.health(server, "agnet", THREAD)
    assert server.asked == ["assistant agnet"]


async def test_after_distrust_that_deployment_is_asked_again_and_no_other(lookups: Lookups) -> None:
    one, other = FakeServer(), FakeServer()
    for _ in range(2):
        for server in (one, other):
            await lookups.health(server, "agent", None)
        lookups.distrust(one)
    await lookups.health(one, "agent", None)
    assert (len(one.asked), len(other.asked)) == (3, 1)


async def test_an_answer_of_one_deployment_is_never_taken_for_anothers(lookups: Lookups) -> None:
    """Two clients may have lain at the same place in memory, one after the other."""
    for number in range(100):
        server = FakeServer()
        server.error = None if number % 2 else Transient("down")
        assert (await lookups.health(server, "agent", None)).ready == bool(number % 2)
        del server
        gc.collect(0)


async def test_answers_of_resources_that_come_and_go_do_not_pile_up(
    lookups: Lookups, server: FakeServer, clock: Clock
) -> None:
    for number in range(10_000):
        server.put(f"t{number}")
        await lookups.health(server, "agent", f"t{number}")
        clock.forward(1)
    assert len(lookups._answers) < 3 * KEPT_GOOD.total_seconds()
