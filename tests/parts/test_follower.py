"""How runs end: what is asked of the server, what the answers are taken to mean, and who is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from assistantcron import follower as module
from assistantcron.errors import NotFound, Refused, Unclear
from assistantcron.facts import Ended
from assistantcron.follower import PATIENT_EVERY, Follower
from assistantcron.payload import FENCE, OPERATOR
from assistantcron.records import Run
from assistantcron.resource import ActiveRun, Key, Resource, claim_thread
from tests.core.builders import UID, at, resource, run, status
from tests.parts.clock import Clock, turns, until
from tests.parts.server import DOWN, FakeServer, a_run

KEY = Key("team", "nightly")
OURS = {OPERATOR: "run"}


class Watched:
    """A follower with its clock, and the keys that it has woken."""

    def __init__(self) -> None:
        self.woken: list[Key] = []
        self.clock = Clock()
        self.follower = Follower(self.woken.append, now=self.clock)

    def follow(self, server: FakeServer, *runs: ActiveRun, uid: str = UID, name: str = "nightly") -> Resource:
        found = resource(uid=uid, name=name, status=status(active=runs))
        self.follower.follow(found, server)
        return found

    async def round(self) -> None:
        """One round, and all that it has begun."""
        await self.follower._round()
        await until(lambda: not self.follower._lanes._tasks)

    @property
    def ended(self) -> tuple[Ended, ...]:
        return self.follower.ended(UID)


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    made = Watched()
    yield made
    await made.follower._lanes.stop()


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


OTHER = UID[:-1] + "9"


def own(name: str = "r1", uid: str = UID, **changes: Any) -> ActiveRun:
    """A run on its own slot's thread."""
    one = run(name, **changes)
    return one.model_copy(update={"thread_id": claim_thread(uid, one, status())})


def shared(name: str = "r1", **changes: Any) -> ActiveRun:
    """A run on a given thread."""
    return run(name, **{"thread_id": "t", **changes})


# One search for all


async def test_what_is_busy_is_not_asked_about(watched: Watched, server: FakeServer) -> None:
    runs = [own(f"r{minute}", slot=at(f"08:{minute:02}")) for minute in range(30)]
    for one in runs:
        server.put(one.thread_id, "busy", metadata=OURS)
    watched.follow(server, *runs)
    await watched.round()
    assert server.asked == ["search"]
    assert watched.woken == []
    assert len(watched.follower) == 30


async def test_only_what_is_not_busy_any_more_is_read(watched: Watched, server: FakeServer) -> None:
    busy, done = own("r1"), own("r2", slot=at("08:05"))
    server.put(busy.thread_id, "busy", metadata=OURS)
    server.put(done.thread_id, "idle", a_run("r2", "success"), metadata=OURS)
    watched.follow(server, busy, done)
    await watched.round()
    assert server.asked == ["search", "run r2", f"thread {done.thread_id}"]
    assert [end.run_id for end in watched.ended] == ["r2"]
    assert watched.woken == [KEY]


async def test_what_has_ended_is_not_read_again(watched: Watched, server: FakeServer) -> None:
    one = own()
    server.put(one.thread_id, "idle", a_run("r1", "success"))
    watched.follow(server, one)
    for _ in range(2 * PATIENT_EVERY):
        await watched.round()
    assert server.count("run") == 1
    assert watched.woken == [KEY]


async def test_nothing_is_asked_when_nothing_is_in_flight(watched: Watched, server: FakeServer) -> None:
    watched.follow(server)
    await watched.round()
    assert server.asked == []


async def test_runs_on_shared_threads_are_read_singly(watched: Watched, server: FakeServer) -> None:
    """The thread is busy with whatever others do there."""
    server.put("t", "busy", a_run("r1", "success"), a_run("theirs", "running"), metadata=OURS)
    watched.follow(server, shared())
    await watched.round()
    assert server.asked == ["run r1", "thread t"]
    assert [end.status for end in watched.ended] == ["success"]


async def test_each_deployment_is_searched_once_for_all_resources(watched: Watched) -> None:
    servers = [FakeServer(), FakeServer("http://b")]
    for number in range(10):
        for server in servers:
            uid = UID[:-2] + f"{number}{servers.index(server)}"
            watched.follow(server, own(f"r-{number}", uid), uid=uid, name=f"n{number}")
    for server in servers:
        server.error, server.failing = DOWN, {f"run r-{number}" for number in range(10)}
    await watched.round()
    assert [server.count("search") for server in servers] == [1, 1]


# What the answers mean


def pending(one: Run) -> Run:
    return one.model_copy(update={"updated_at": None})


FAILED = {"error": "ValueError", "message": "boom\n at line 3"}


@pytest.mark.parametrize(
    ("thread_status", "runs", "ours", "expected"),
    [
        # Ended
        ("idle", [a_run("r1", "success")], None, ("success", False)),
        ("error", [a_run("r1", "error")], None, ("error", False)),
        ("error", [a_run("r1", "timeout")], None, ("timeout", False)),
        ("interrupted", [a_run("r1", "interrupted")], None, ("interrupted", False)),
        ("idle", [a_run("r1", "interrupted")], None, ("interrupted", False)),
        # Still going
        ("idle", [a_run("r1", "pending")], None, None),
        ("idle", [a_run("r1", "running")], None, None),
        ("idle", [a_run("r1", "a status of a later release")], None, None),
        # Waits for a human, seen for the first time and afterwards
        ("interrupted", [a_run("r1", "success")], None, ("interrupted", True)),
        ("interrupted", [a_run("r1", "success")], "interrupted", None),
        # A person has resumed it with a run of their own
        ("busy", [a_run("r1", "success"), a_run("r2", "running", "08:01")], None, None),
        ("busy", [a_run("r1", "success"), a_run("r2", "pending", "08:01")], "interrupted", None),
        (
            "idle",
            [a_run("r1", "success"), a_run("r2", "success", "08:01")],
            "interrupted",
            ("success", False),
        ),
        ("error", [a_run("r1", "success"), a_run("r2", "error", "08:01")], "interrupted", ("error", False)),
        ("error", [a_run("r1", "success"), a_run("r2", "error", "08:01")], None, ("error", False)),
        ("error", [a_run("r1", "success"), a_run("r2", "timeout", "08:01")], None, ("timeout", False)),
        (
            "interrupted",
            [a_run("r1", "success"), a_run("r2", "interrupted", "08:01")],
            "interrupted",
            ("interrupted", False),
        ),
        # … and that waits again
        ("interrupted", [a_run("r1", "success"), a_run("r2", "success", "08:01")], "interrupted", None),
        (
            "interrupted",
            [a_run("r1", "success"), a_run("r2", "success", "08:01")],
            None,
            ("interrupted", True),
        ),
        # A fence is no run
        (
            "interrupted",
            [a_run("r1", "success"), a_run("f", "interrupted", "23:00", **{FENCE: True})],
            None,
            ("interrupted", True),
        ),
        (
            "busy",
            [a_run("r1", "success"), a_run("f", "pending", "23:00", **{FENCE: True})],
            None,
            ("success", False),
        ),
        # What stands in the list before it counts for nothing
        ("busy", [a_run("r0", "error", "07:00"), a_run("r1", "success")], None, ("success", False)),
        # Stuck on busy, as after some cancellations
        ("busy", [a_run("r1", "interrupted")], None, ("interrupted", False)),
    ],
)
async def test_an_end_on_a_thread_of_its_own(
    watched: Watched,
    server: FakeServer,
    thread_status: str,
    runs: list[Run],
    ours: Any,
    expected: tuple[str, bool] | None,
) -> None:
    one = own(status=ours)
    server.put(one.thread_id, thread_status, *runs)
    watched.follow(server, one)
    await watched.follower.look(UID)
    assert [(end.status, end.awaiting) for end in watched.ended] == ([expected] if expected else [])
    assert watched.woken == ([KEY] if expected else [])


@pytest.mark.parametrize(
    ("thread_status", "runs", "ours", "expected"),
    [
        ("idle", [a_run("r1", "success")], None, ("success", False)),
        ("busy", [a_run("r1", "running")], None, None),
        # Others use the thread before and after
        ("busy", [a_run("r1", "success"), a_run("x", "running", "08:01")], None, ("success", False)),
        ("error", [a_run("r1", "success"), a_run("x", "error", "08:01")], None, ("success", False)),
        ("idle", [a_run("r1", "error"), a_run("x", "success", "08:01")], None, ("error", False)),
        ("busy", [a_run("x", "running", "07:00"), a_run("r1", "pending")], None, None),
        # Who waits: ours, or somebody else's
        ("interrupted", [a_run("r1", "success")], None, ("interrupted", True)),
        ("interrupted", [a_run("r1", "success"), a_run("x", "success", "08:01")], None, ("success", False)),
        # What follows a pause that we have seen is its end
        ("busy", [a_run("r1", "success"), a_run("r2", "running", "08:01")], "interrupted", None),
        (
            "idle",
            [a_run("r1", "success"), a_run("r2", "success", "08:01")],
            "interrupted",
            ("success", False),
        ),
        ("error", [a_run("r1", "success"), a_run("r2", "error", "08:01")], "interrupted", ("error", False)),
    ],
)
async def test_an_end_on_a_thread_that_others_use_too(
    watched: Watched,
    server: FakeServer,
    thread_status: str,
    runs: list[Run],
    ours: Any,
    expected: tuple[str, bool] | None,
) -> None:
    server.put("t", thread_status, *runs)
    watched.follow(server, shared(status=ours))
    await watched.follower.look(UID)
    assert [(end.status, end.awaiting) for end in watched.ended] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("last", "error", "message"),
    [
        (a_run("r1", "success"), None, None),
        (a_run("r1", "success"), FAILED, None),
        (a_run("r1", "error"), FAILED, "ValueError: boom at line 3"),
        (a_run("r1", "error"), {"error": "ValueError"}, "ValueError"),
        (a_run("r1", "error"), {"message": "boom"}, "boom"),
        (a_run("r1", "error"), {}, None),
        (a_run("r1", "error"), None, None),
        (a_run("r1", "error"), "text", None),
        (a_run("r1", "error"), {"error": 17, "message": ["a"]}, "17: ['a']"),
        (a_run("r1", "error"), {"error": "E", "message": "x" * 100_000}, "E: " + "x" * 297),
        (a_run("r1", "interrupted"), FAILED, "cancelled on the server"),
    ],
)
async def test_why_it_failed_is_told_in_a_line(
    watched: Watched, server: FakeServer, last: Run, error: Any, message: str | None
) -> None:
    one = own()
    server.put(one.thread_id, "idle", last, error=error)
    watched.follow(server, one)
    await watched.follower.look(UID)
    assert watched.ended[0].message == message


async def test_it_ended_when_the_server_says_or_else_now(watched: Watched, server: FakeServer) -> None:
    one, other = own("r1"), own("r2", slot=at("08:05"))
    server.put(one.thread_id, "idle", a_run("r1", "success"))
    server.put(other.thread_id, "idle", pending(a_run("r2", "success")))
    watched.follow(server, one, other)
    watched.clock.time = at("08:17")
    await watched.follower.look(UID)
    assert [end.time for end in watched.ended] == [at("08:00:30"), at("08:17")]


@pytest.mark.parametrize("ours", [None, "interrupted"])
@pytest.mark.parametrize("thread_is_there", [True, False])
async def test_a_run_that_is_not_there_any_more_is_lost(
    watched: Watched, server: FakeServer, ours: Any, thread_is_there: bool
) -> None:
    one = own(status=ours)
    if thread_is_there:
        server.put(one.thread_id, "idle")
    watched.follow(server, one)
    await watched.follower.look(UID)
    assert [(end.status, end.time) for end in watched.ended] == [("lost", at("08:00"))]


@pytest.mark.parametrize("one", [own(), shared()])
async def test_a_router_that_finds_nothing_at_all_loses_no_run(
    watched: Watched, server: FakeServer, one: ActiveRun, caplog: pytest.LogCaptureFixture
) -> None:
    """As while a deployment is rolled out behind an ingress: 404 to everything."""
    server.error = NotFound("HTTP 404", status=404)
    watched.follow(server, one)
    await watched.round()
    with pytest.raises(NotFound):
        await watched.follower.look(UID)
    assert watched.ended == ()
    assert "HTTP 404" in caplog.text


# A pause, its record and its end


async def test_a_pause_that_is_recorded_does_not_hide_the_end(watched: Watched, server: FakeServer) -> None:
    one = own()
    server.put(one.thread_id, "interrupted", a_run("r1", "success"))
    watched.follow(server, one)
    await watched.round()
    assert [end.awaiting for end in watched.ended] == [True]
    watched.follow(server, one.model_copy(update={"status": "interrupted"}))
    assert not watched.ended
    server.put(one.thread_id, "idle", a_run("r1", "success"), a_run("r2", "success", "09:00"))
    for _ in range(PATIENT_EVERY):
        await watched.round()
    assert watched.ended == (Ended("r1", "success", at("09:00:30")),)


async def test_what_waits_for_a_human_is_looked_at_more_rarely(watched: Watched, server: FakeServer) -> None:
    one = own(status="interrupted")
    server.put(one.thread_id, "interrupted", a_run("r1", "success"))
    watched.follow(server, one)
    for _ in range(4 * PATIENT_EVERY):
        await watched.round()
    assert server.count("run r1") == 4


async def test_a_look_that_began_before_the_pause_was_recorded_does_not_bring_it_back(
    watched: Watched, server: FakeServer
) -> None:
    one = own()
    server.put(one.thread_id, "interrupted", a_run("r1", "success"))
    watched.follow(server, one)
    server.gate.clear()
    late = asyncio.create_task(watched.follower.look(UID))
    await turns()
    watched.follow(server, one.model_copy(update={"status": "interrupted"}))
    server.gate.set()
    await late
    assert watched.ended == ()


async def test_a_look_that_began_before_the_end_was_recorded_is_forgotten(
    watched: Watched, server: FakeServer
) -> None:
    one = own()
    server.put(one.thread_id, "idle", a_run("r1", "success"))
    watched.follow(server, one)
    server.gate.clear()
    late = asyncio.create_task(watched.follower.look(UID))
    await turns()
    watched.follow(server)
    server.gate.set()
    await late
    assert watched.ended == ()
    assert watched.follower._ended == {}
    assert watched.woken == []


# Edits, deletion


async def test_a_run_stays_on_the_deployment_where_it_was_started(watched: Watched) -> None:
    old, new = FakeServer("http://old"), FakeServer("http://new")
    one = own()
    old.put(one.thread_id, "idle", a_run("r1", "success"))
    watched.follow(old, one)
    watched.follow(new, one)
    await watched.round()
    assert new.asked == []
    assert [end.status for end in watched.ended] == ["success"]
    assert watched.follower.clients(UID) == {"r1": old}
    assert watched.follower.servers() == {old}


async def test_after_an_edit_old_and_new_runs_are_followed_each_where_it_is(watched: Watched) -> None:
    old, new = FakeServer("http://old"), FakeServer("http://new")
    first, second = own("r1"), own("r2", slot=at("08:05"))
    watched.follow(old, first)
    watched.follow(new, first, second)
    assert watched.follower.clients(UID) == {"r1": old, "r2": new}
    watched.follow(new, second)
    assert watched.follower.servers() == {new}


async def test_a_new_key_for_the_same_deployment_is_used_at_once(watched: Watched) -> None:
    old, new = FakeServer(), FakeServer()
    one = own()
    new.put(one.thread_id, "idle", a_run("r1", "success"))
    watched.follow(old, one)
    watched.follow(new, one)
    await watched.round()
    assert old.asked == []
    assert [end.status for end in watched.ended] == ["success"]


async def test_a_resource_that_is_gone_is_not_followed(watched: Watched, server: FakeServer) -> None:
    one = own()
    server.put(one.thread_id, "idle", a_run("r1", "success"))
    watched.follow(server, one)
    await watched.round()
    watched.follower.forget(UID)
    watched.follower.forget("another")
    assert (watched.ended, len(watched.follower), watched.follower._ended) == ((), 0, {})
    asked = len(server.asked)
    await watched.round()
    assert len(server.asked) == asked
    await watched.follower.look(UID)


async def test_a_resource_that_was_made_again_begins_anew(watched: Watched, server: FakeServer) -> None:
    watched.follow(server, own("r1"))
    watched.follow(server, own("r1", OTHER), uid=OTHER)
    watched.follower.forget(UID)
    assert watched.follower.clients(OTHER) == {"r1": server}


# What goes wrong


@pytest.mark.parametrize("error", [DOWN, Unclear("no answer"), Refused("HTTP 400"), RuntimeError("a bug")])
async def test_a_deployment_that_fails_does_not_stop_the_others(
    watched: Watched, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = FakeServer("http://bad"), FakeServer("http://good")
    bad.error = error
    one, other = own("r1", OTHER), own("r2")
    good.put(other.thread_id, "idle", a_run("r2", "success"))
    watched.follow(bad, one, uid=OTHER, name="other")
    watched.follow(good, other)
    await watched.round()
    assert [end.status for end in watched.ended] == ["success"]
    (record,) = caplog.records
    assert (record.levelno, str(error) in caplog.text) == (
        logging.ERROR if isinstance(error, RuntimeError) else logging.WARNING,
        True,
    )


async def test_a_deployment_that_hangs_holds_nobody_else_up(watched: Watched) -> None:
    slow, good = FakeServer("http://slow"), FakeServer("http://good")
    slow.gate.clear()
    one, other = own("r1", OTHER), own("r2")
    good.put(other.thread_id, "busy", metadata=OURS)
    watched.follow(slow, one, uid=OTHER, name="other")
    watched.follow(good, other)
    for _ in range(3):
        await watched.follower._round()
        await turns()
    assert (slow.count("search"), good.count("search")) == (1, 3)


@pytest.mark.parametrize("error", [Unclear("no answer"), RuntimeError("a bug")])
async def test_one_run_that_cannot_be_read_does_not_stop_the_others_and_is_tried_more_rarely(
    watched: Watched, server: FakeServer, error: Exception
) -> None:
    bad, good = own("r1"), own("r2", slot=at("08:05"))
    server.put(good.thread_id, "idle", a_run("r2", "success"))
    server.error, server.failing = error, {"run r1"}
    watched.follow(server, bad, good)
    await watched.round()
    assert [end.run_id for end in watched.ended] == ["r2"]
    for _ in range(4 * PATIENT_EVERY - 1):
        await watched.round()
    assert server.count("run r1") == 1 + 4
    server.error = None
    server.put(bad.thread_id, "idle", a_run("r1", "success"))
    for _ in range(PATIENT_EVERY):
        await watched.round()
    assert [end.run_id for end in watched.ended] == ["r1", "r2"]


async def test_a_deployment_that_is_down_is_asked_more_rarely_and_often_again_once_it_answers(
    watched: Watched, server: FakeServer
) -> None:
    one = own()
    server.put(one.thread_id, "idle", a_run("r1", "running"))
    server.error = DOWN
    watched.follow(server, one)
    for _ in range(1 + 2 * PATIENT_EVERY):
        await watched.round()
    assert server.count("search") == 1 + 2
    server.error = None
    for _ in range(2 * PATIENT_EVERY):
        await watched.round()
    assert server.count("run r1") > PATIENT_EVERY


async def test_a_key_that_is_not_good_any_more_wakes_the_resource_which_reads_it_again(
    watched: Watched, server: FakeServer
) -> None:
    server.error = Refused("HTTP 401", reason="Unauthorized", status=401)
    watched.follow(server, own())
    await watched.round()
    assert watched.woken == [KEY]
    assert watched.ended == ()


async def test_few_requests_at_a_time_go_to_one_deployment(watched: Watched, server: FakeServer) -> None:
    runs = [shared(f"r{number}") for number in range(100)]
    server.put("t", "idle", *(a_run(one.run_id, "success") for one in runs))
    server.gate.clear()
    watched.follow(server, *runs)
    await watched.follower._round()
    await turns(100)
    assert len(server.asked) == module.AT_ONCE
    server.gate.set()
    await until(lambda: len(watched.ended) == 100)


async def test_looking_raises_what_the_server_raises(watched: Watched, server: FakeServer) -> None:
    server.error = DOWN
    watched.follow(server, own())
    with pytest.raises(type(DOWN)):
        await watched.follower.look(UID)


async def test_it_runs_on_whatever_happens_and_ends_when_told(
    watched: Watched, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SWEEP_SECONDS", 0.0)
    running = asyncio.create_task(watched.follower.run())
    one = own()
    server.put(one.thread_id, "busy", metadata=OURS)
    watched.follow(server, one)
    server.error = RuntimeError("a bug")
    await until(lambda: server.count("search") > 2)
    server.error, server.failing = None, set()
    server.gate.clear()
    await until(lambda: watched.follower._lanes._tasks)
    # As kopf does at its end.
    for task in asyncio.all_tasks() - {running, asyncio.current_task()}:
        task.cancel()
    server.gate.set()
    before = server.count("search")
    await until(lambda: server.count("search") > before + 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    assert watched.follower._lanes._tasks == {}


async def test_nothing_grows_with_the_runs_that_have_been(watched: Watched, server: FakeServer) -> None:
    for number in range(100):
        one = own(f"r{number}")
        server.put(one.thread_id, "idle", a_run(one.run_id, "success"))
        server.error = DOWN if number % 2 else None
        found = watched.follow(server, one)
        await watched.round()
        watched.follower.follow(replace(found, status=status()), server)
    follower = watched.follower
    assert (follower._ended, follower._unseen, follower._followed) == ({}, set(), {})
