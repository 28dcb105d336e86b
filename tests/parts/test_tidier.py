"""Which threads go, and when: never one that is needed, marked to be kept, or somebody else's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from assistantcron import payload
from assistantcron import tidier as module
from assistantcron.errors import NotFound, Refused, Unclear
from assistantcron.records import Run, Thread
from assistantcron.resource import slot_thread
from assistantcron.tidier import AT_ONCE, GRACE, Tidier
from tests.core.builders import UID, at
from tests.parts.clock import Clock, turns, until
from tests.parts.server import DOWN, FakeServer, a_run

SLOT = "2026-03-02T08:00:00Z"
OTHER = UID[:-1] + "9"


def metadata(slot: str = SLOT, **changes: Any) -> dict[str, Any]:
    """Those of a claim whose thread goes in the end."""
    told = {
        payload.OPERATOR: "run",
        payload.UID: UID,
        payload.SLOT: slot,
        payload.ATTEMPT: 1,
        payload.NAMESPACE: "team",
        payload.NAME: "nightly",
        payload.DISPOSAL: "delete",
    }
    return {key: value for key, value in (told | changes).items() if value is not None}


def claim(
    server: FakeServer, status: str = "idle", *runs: Run, created: datetime | None = None, **changes: Any
) -> str:
    """A slot's thread on the server; its ID."""
    told = metadata(**changes)
    thread_id = slot_thread(told[payload.UID], told[payload.SLOT], told[payload.ATTEMPT])
    server.put(thread_id, status, *runs, created=created, metadata=told)
    return thread_id


UNUSED = {payload.DISPOSAL: "keep", payload.UNUSED: True}
FENCE = a_run("f", "pending", "23:00", **{payload.FENCE: True})


class Desk:
    """A tidier with its clock, and what statuses know."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.known: dict[str, bool] = {}
        self.tidier = Tidier(now=self.clock, recorded=self.recorded)

    def recorded(self, thread: Thread) -> bool | None:
        return self.known.get(thread.thread_id)

    def later(self, server: FakeServer, thread_id: str, when: str = "08:00", **kind: Any) -> None:
        self.tidier.later(server, thread_id, UID, at(when), **kind)

    async def round(self, seconds: float = 0.0) -> None:
        """One round so much later, and all that it has begun."""
        self.clock.forward(seconds)
        await self.tidier._round()
        await until(lambda: not self.tidier._lanes._tasks)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    yield made
    await made.tidier._lanes.stop()


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


async def test_a_thread_goes_at_its_time_and_not_before(desk: Desk, server: FakeServer) -> None:
    mine = claim(server)
    desk.later(server, mine, "08:00:10")
    await desk.round(9.9)
    assert server.asked == []
    assert len(desk.tidier) == 1
    await desk.round(0.1)
    assert mine not in server.threads
    assert len(desk.tidier) == 0
    asked = len(server.asked)
    await desk.round(3600)
    assert len(server.asked) == asked


async def test_a_thread_that_is_named_twice_goes_once(desk: Desk, server: FakeServer) -> None:
    mine = claim(server)
    desk.later(server, mine)
    desk.later(server, mine, "08:30")
    assert len(desk.tidier) == 1
    await desk.round()
    assert server.count("delete") == 1
    assert len(desk.tidier) == 0


async def test_the_same_id_on_two_deployments_is_two_threads(desk: Desk, server: FakeServer) -> None:
    """A slot that was claimed before and after an edit of the deployment."""
    other = FakeServer("http://b")
    for one in (server, other):
        desk.later(one, claim(one))
    assert desk.tidier.servers() == {server, other}
    await desk.round()
    assert (server.threads, other.threads) == ({}, {})


@pytest.mark.parametrize(
    ("status", "runs", "changes"),
    [
        ("idle", [a_run("r1", "success")], {}),
        ("error", [a_run("r1", "error")], {}),
        ("idle", [], {}),
        # Cancelled, or stuck on busy after that
        ("interrupted", [a_run("r1", "interrupted")], {}),
        ("busy", [a_run("r1", "interrupted")], {}),
        ("interrupted", [a_run("r1", "success"), a_run("r2", "interrupted", "08:01")], {}),
        # A spent claim is busy with the fence on it
        ("busy", [FENCE], {}),
        ("busy", [FENCE], UNUSED),
        ("idle", [], UNUSED),
    ],
)
async def test_what_is_marked_and_not_needed_goes(
    desk: Desk, server: FakeServer, status: str, runs: list[Run], changes: dict[str, Any]
) -> None:
    mine = claim(server, status, *runs, **changes)
    desk.later(server, mine)
    await desk.round()
    assert mine not in server.threads
    assert len(desk.tidier) == 0


@pytest.mark.parametrize(
    ("status", "runs"),
    [
        ("idle", [a_run("r1", "success")]),
        ("busy", [a_run("r1", "running")]),
        ("interrupted", [a_run("r1", "success")]),
    ],
)
@pytest.mark.parametrize(
    "changes", [{payload.DISPOSAL: "keep"}, {payload.DISPOSAL: None}, {payload.DISPOSAL: "Delete"}, UNUSED]
)
async def test_what_is_to_be_kept_is_never_deleted(
    desk: Desk, server: FakeServer, status: str, runs: list[Run], changes: dict[str, Any]
) -> None:
    mine = claim(server, status, *runs, **changes)
    desk.later(server, mine)
    await desk.round()
    for _ in range(10):
        await desk.round(600)
    assert mine in server.threads
    assert server.threads[mine].metadata.get(payload.UNUSED) is not True
    assert server.count("delete") == 0
    assert len(desk.tidier) == 0


@pytest.mark.parametrize(
    "told",
    [
        {},
        {payload.DISPOSAL: "delete"},
        metadata() | {payload.UID: OTHER},
        metadata() | {payload.UID: None},
        metadata() | {payload.SLOT: "2026-03-02T09:00:00Z"},
        metadata() | {payload.ATTEMPT: 2},
        metadata() | {payload.UID: "not a UUID"},
    ],
)
async def test_a_status_that_names_somebody_elses_thread_deletes_nothing(
    desk: Desk, server: FakeServer, told: dict[str, Any]
) -> None:
    """A status can be forged; the thread's own word, and the ID that follows from it, cannot."""
    theirs = slot_thread(UID, SLOT, 1)
    server.put(theirs, "idle", a_run("r1", "success"), metadata=told)
    desk.later(server, theirs)
    server.put("somebodys", "idle", metadata=metadata())
    desk.later(server, "somebodys")
    await desk.round()
    assert set(server.threads) == {theirs, "somebodys"}
    assert len(desk.tidier) == 0


async def test_a_thread_that_is_gone_is_fine(
    desk: Desk, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    desk.later(server, slot_thread(UID, SLOT, 1))
    await desk.round()
    assert len(desk.tidier) == 0
    assert caplog.records == []


async def test_what_was_deleted_is_logged_with_all_by_which_one_looks_for_it(
    desk: Desk, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    mine = claim(server)
    desk.later(server, mine)
    await desk.round()
    (record,) = caplog.records
    told = vars(record)
    assert record.getMessage() == "thread deleted"
    assert (told["namespace"], told["cron"], told["slot"], told["thread_id"]) == (
        "team",
        "nightly",
        SLOT,
        mine,
    )


# Waiting


@pytest.mark.parametrize("running", ["pending", "running"])
async def test_a_thread_with_a_run_in_flight_is_waited_for(
    desk: Desk, server: FakeServer, running: str
) -> None:
    mine = claim(server, "busy", a_run("r1", "success"), a_run("r2", running, "08:01"))
    desk.later(server, mine)
    for _ in range(10):
        await desk.round(5)
    assert mine in server.threads
    assert len(desk.tidier) == 1
    claim(server, "idle", a_run("r1", "success"), a_run("r2", "success", "08:01"))
    await desk.round(5)
    assert mine not in server.threads


async def test_what_waits_for_a_human_waits_however_long_and_is_asked_about_now_and_then(
    desk: Desk, server: FakeServer
) -> None:
    mine = claim(server, "interrupted", a_run("r1", "success"))
    desk.later(server, mine)
    for _ in range(3600):
        await desk.round(1)
    assert mine in server.threads
    assert server.count("thread") == 60
    claim(server, "idle", a_run("r1", "success"), a_run("r2", "success", "08:30"))
    await desk.round(60)
    assert mine not in server.threads


async def test_a_tombstone_stays_until_its_slot_is_recorded(desk: Desk, server: FakeServer) -> None:
    mine = claim(server, "busy", FENCE)
    desk.known[mine] = False
    desk.later(server, mine, tombstone=True)
    for _ in range(10):
        await desk.round(60)
    assert mine in server.threads
    desk.known[mine] = True
    await desk.round(60)
    assert mine not in server.threads


async def test_a_tombstone_of_a_resource_that_is_gone_goes(desk: Desk, server: FakeServer) -> None:
    mine = claim(server, "busy", FENCE)
    desk.later(server, mine, tombstone=True)
    await desk.round()
    assert mine not in server.threads


# What a deleted resource leaves


async def test_all_that_a_deleted_resource_leaves_goes_when_its_runs_have_ended(
    desk: Desk, server: FakeServer
) -> None:
    leftovers: list[tuple[str, list[Run], dict[str, Any]]] = [
        ("idle", [a_run("r1", "success")], {}),
        ("busy", [a_run("r2", "running")], {}),
        ("idle", [a_run("r3", "success")], {payload.DISPOSAL: "keep"}),
        ("idle", [], UNUSED),
        ("idle", [a_run("r4", "success")], {payload.UID: OTHER}),
    ]
    done, works, kept, unused, theirs = (
        claim(server, thread_status, *runs, slot=f"2026-03-02T0{number}:00:00Z", **changes)
        for number, (thread_status, runs, changes) in enumerate(leftovers)
    )
    desk.tidier.gone(server, UID)
    assert len(desk.tidier) == 0
    await desk.round()
    await desk.round(GRACE.total_seconds())
    assert set(server.threads) == {works, kept, theirs}
    claim(server, "idle", a_run("r2", "success"), slot="2026-03-02T01:00:00Z")
    await desk.round(5)
    assert set(server.threads) == {kept, theirs}
    assert done not in server.threads
    assert unused not in server.threads


async def test_a_claim_of_a_deleted_resource_stays_for_the_grace_time(desk: Desk, server: FakeServer) -> None:
    mine = claim(server, created=at("08:00"))
    desk.tidier.gone(server, UID)
    await desk.round(1)
    await desk.round(GRACE.total_seconds() - 1.1)
    assert mine in server.threads
    await desk.round(0.1)
    assert mine not in server.threads


async def test_a_deployment_that_is_down_when_a_resource_is_deleted_is_asked_again(
    desk: Desk, server: FakeServer
) -> None:
    mine = claim(server)
    server.error = DOWN
    desk.tidier.gone(server, UID)
    for _ in range(3):
        await desk.round(5)
    server.error = None
    for _ in range(4):
        await desk.round(5)
    assert mine not in server.threads
    assert desk.tidier.servers() == set()


# What an earlier process left


async def test_a_sweep_finds_what_is_recorded_and_old_enough(desk: Desk, server: FakeServer) -> None:
    desk.clock.time = at("08:00:20")
    names: dict[str, str] = {}
    leftovers: list[tuple[str, bool | None, datetime, dict[str, Any]]] = [
        ("recorded", True, at("08:00"), {}),
        ("unused", True, at("08:00"), UNUSED),
        ("young", True, at("08:00:10"), {}),
        ("not recorded", False, at("08:00"), {}),
        ("unknown", None, at("08:00"), {}),
        ("kept", True, at("08:00"), {payload.DISPOSAL: "keep"}),
        ("another operator's", True, at("08:00"), {payload.OPERATOR: "own"}),
    ]
    for number, (name, known, created, changes) in enumerate(leftovers):
        slot = f"2026-03-02T0{number}:00:00Z"
        names[claim(server, created=created, slot=slot, **changes)] = name
        if known is not None:
            desk.known[slot_thread(UID, slot, 1)] = known
    server.put("a copy that a person made", "idle", created=at("08:00"), metadata=metadata())
    desk.known["a copy that a person made"] = True
    await desk.tidier.sweep(server)
    await desk.round()
    assert {names.get(one, one) for one in server.threads} == {
        "young",
        "not recorded",
        "unknown",
        "kept",
        "another operator's",
        "a copy that a person made",
    }


async def test_a_sweep_that_fails_is_told_of_and_ends_nothing(
    desk: Desk, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.error = DOWN
    await desk.tidier.sweep(server)
    assert "cannot look for threads left behind" in caplog.text
    assert len(desk.tidier) == 0


# What goes wrong


@pytest.mark.parametrize("error", [DOWN, Unclear("no answer in time")])
@pytest.mark.parametrize("request_", ["thread", "runs", "delete"])
async def test_a_passing_failure_is_tried_again(
    desk: Desk, server: FakeServer, error: Exception, request_: str
) -> None:
    mine = claim(server, "busy", a_run("r1", "interrupted"))
    server.error, server.failing = error, {f"{request_} {mine}"}
    desk.later(server, mine)
    await desk.round()
    await desk.round(4.9)
    assert server.count(request_) == 1
    await desk.round(0.1)
    assert server.count(request_) == 2
    server.error = None
    await desk.round(5)
    assert mine not in server.threads


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (Refused("HTTP 403", reason="Unauthorized", status=403), logging.WARNING),
        (RuntimeError("a bug"), logging.ERROR),
    ],
)
async def test_a_lasting_failure_is_told_of_once_and_left_to_the_next_sweep(
    desk: Desk, server: FakeServer, error: Exception, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    mine = claim(server)
    server.error = error
    desk.later(server, mine)
    for _ in range(10):
        await desk.round(60)
    assert [record.levelno for record in caplog.records] == [level]
    assert len(desk.tidier) == 0
    server.error = None
    desk.known[mine] = True
    await desk.tidier.sweep(server)
    await desk.round()
    assert mine not in server.threads


async def test_one_failure_does_not_stop_the_others(desk: Desk, server: FakeServer) -> None:
    slots = [f"2026-03-02T{hour:02}:00:00Z" for hour in range(24)]
    mine = [claim(server, slot=slot) for slot in slots]
    server.error, server.failing = RuntimeError("a bug"), {f"thread {mine[0]}", f"delete {mine[1]}"}
    for one in mine:
        desk.later(server, one)
    await desk.round()
    assert set(server.threads) == {mine[0], mine[1]}


async def test_a_deployment_that_hangs_holds_nobody_else_up(desk: Desk) -> None:
    slow, good = FakeServer("http://slow"), FakeServer("http://good")
    slow.gate.clear()
    desk.later(slow, claim(slow))
    for hour in range(3):
        slot = f"2026-03-02T{hour:02}:00:00Z"
        desk.later(good, claim(good, slot=slot))
        await desk.tidier._round()
        await turns()
        assert good.threads == {}
    assert slow.asked == [f"thread {slot_thread(UID, SLOT, 1)}"]
    assert len(desk.tidier) == 1


async def test_few_requests_at_a_time_go_to_one_deployment(desk: Desk, server: FakeServer) -> None:
    for day in range(1, 29):
        desk.later(server, claim(server, slot=f"2026-02-{day:02}T08:00:00Z"))
    server.gate.clear()
    await desk.tidier._round()
    await turns(100)
    assert len(server.asked) == AT_ONCE
    server.gate.set()
    await until(lambda: not server.threads)


async def test_it_runs_on_whatever_happens_loses_nothing_and_ends_when_told(
    desk: Desk, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROUND_SECONDS", 0.0)
    running = asyncio.create_task(desk.tidier.run())
    mine = claim(server)
    server.gate.clear()
    desk.later(server, mine)
    await until(lambda: server.asked)
    # As kopf does at its end.
    for task in asyncio.all_tasks() - {running, asyncio.current_task()}:
        task.cancel()
    await until(lambda: len(server.asked) > 1)
    assert len(desk.tidier) == 1
    server.gate.set()
    await until(lambda: not server.threads)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    assert desk.tidier._lanes._tasks == {}


async def test_a_404_of_a_router_is_made_good_by_the_next_sweep(desk: Desk, server: FakeServer) -> None:
    mine = claim(server)
    desk.known[mine] = True
    server.error = NotFound("HTTP 404", status=404)
    desk.later(server, mine)
    await desk.round()
    server.error = None
    desk.clock.forward(60)
    await desk.tidier.sweep(server)
    await desk.round()
    assert mine not in server.threads
