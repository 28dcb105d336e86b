"""The one write of a pass: what is written, when people hear of it, and what is kept when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from assistantcron.announce import Event
from assistantcron.errors import Refused, Transient
from assistantcron.facts import Accounted, DidNotRun, Ended, Fact, Health, Started
from assistantcron.recorder import CONFLICTS, EVENTS_QUEUED, Recorder
from assistantcron.records import Server
from assistantcron.resource import ActiveRun, Resource, Slot, Status, own_thread, slot_thread
from assistantcron.table import Memory, Table
from assistantcron.telemetry import Telemetry
from assistantcron.tidier import GRACE, Tidier
from tests.core.builders import GOOD, UID, at, ended, frame, manual, run, status
from tests.parts.clock import Clock
from tests.parts.operation import KEY, FakeKube
from tests.parts.server import FakeServer

OTHER_UID = "5d1f3c1a-7c55-4d5e-9a53-0a5f6a3e7b11"
SLOT_THREAD = slot_thread(UID, Slot(at("08:00")).name, 1)
MISSED = DidNotRun("Missed", at("08:00"), at("08:00"), 1, "Rejected", "no")


def ours(name: str = "run-1", **changes: Any) -> ActiveRun:
    return run(name, thread_id=SLOT_THREAD, **changes)


class Desk:
    """A recorder, and all that it writes to."""

    def __init__(self) -> None:
        self.kube, self.table, self.clock = FakeKube(), Table(), Clock()
        self.telemetry = Telemetry()
        self.tidier = Tidier(now=self.clock, recorded=self.table.recorded)
        self.recorder = Recorder(self.kube, self.table, self.tidier, self.telemetry, now=self.clock)

    def apply(self, **fields: Any) -> Memory:
        """An object that the watch has told of; the memory of it."""
        self.kube.apply(**{"schedule": "0 * * * *", "status": status(), **fields})
        return self.watch()

    def watch(self) -> Memory:
        self.table.put(self.kube.objects[KEY])
        memory = self.table.get(KEY)
        assert memory is not None
        return memory

    async def record(self, memory: Memory, *facts: Fact, clients: Mapping[str, Server] | None = None) -> bool:
        return await self.recorder.record(memory, facts, frame(memory.resource, at("08:00")), clients or {})

    async def events(self) -> list[str]:
        """The reasons of those posted, once all that is queued has gone out."""
        task = asyncio.create_task(self.recorder.run())
        await self.recorder.flush(5)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return [reason for reason, _ in self.kube.events]

    def metric(self, metric: str, **labels: str) -> float:
        if metric.startswith("runs_"):
            labels |= {"namespace": KEY.namespace, "name": KEY.name}
        return self.telemetry.registry.get_sample_value(f"assistantcron_{metric}_total", labels) or 0.0

    def to_delete(self) -> dict[tuple[Server, str | None], Any]:
        """When the tidier is to look at which thread; None: at all of the resource."""
        return {(job.client, job.thread_id): due for job, due in self.tidier._jobs.items()}


@pytest.fixture
def desk() -> Desk:
    return Desk()


class TestOneWrite:
    async def test_all_facts_of_a_pass_are_one_write(self, desk: Desk) -> None:
        memory = desk.apply()
        assert await desk.record(memory, Started(ours()), ended(), GOOD, Accounted(at("08:00")))
        assert len(desk.kube.writes) == 1
        assert desk.kube.status().counts.succeeded == 1
        assert desk.metric("status_writes", result="written") == 1

    async def test_without_anything_new_there_is_none(self, desk: Desk) -> None:
        memory = desk.apply()
        await desk.record(memory, Started(ours()), GOOD)
        await desk.record(memory, Started(ours()), GOOD)
        assert len(desk.kube.writes) == 1

    async def test_what_was_written_is_known_before_the_watch_tells(self, desk: Desk) -> None:
        memory = desk.apply()
        await desk.record(memory, Started(ours()), GOOD)
        assert memory.resource == Resource.from_body(desk.kube.objects[KEY])
        assert desk.table.put(desk.kube.objects[KEY]) is None

    async def test_people_hear_of_it_once(self, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        memory = desk.apply()
        await desk.record(memory, Started(ours()), GOOD)
        await desk.record(memory, ended("run-1"), GOOD)
        await desk.record(memory, ended("run-1"), GOOD)
        assert (await desk.events()).count("RunCompleted") == 1
        assert desk.metric("runs_ended", status="success") == 1
        (line,) = [one for one in caplog.records if "run ended" in one.getMessage()]
        assert vars(line)["run_id"] == "run-1"
        assert vars(line)["slot"] == "2026-03-02T08:00:00Z"


class TestAWriteThatFails:
    @pytest.fixture
    def memory(self, desk: Desk) -> Memory:
        memory = desk.apply()
        desk.kube.down = True
        return memory

    async def test_tells_nobody_and_keeps_what_happened(self, desk: Desk, memory: Memory) -> None:
        with pytest.raises(Transient):
            await desk.record(memory, Started(ours()), MISSED, GOOD)
        assert memory.facts == (Started(ours()), MISSED)
        assert desk.metric("runs_started", trigger="Schedule") == 0
        assert desk.metric("status_writes", result="error") == 1
        assert desk.to_delete() == {}
        desk.kube.down = False
        assert await desk.events() == []

    async def test_does_not_keep_how_things_looked(self, desk: Desk, memory: Memory) -> None:
        """Whether the resource is ready, and up to when it is accounted for, the next pass sees anew."""
        bad = Health(ready=False, reason="DeploymentUnavailable", message="down")
        with pytest.raises(Transient):
            await desk.record(memory, bad, Accounted(at("08:00")))
        assert memory.facts == ()

    async def test_is_made_good_by_the_next(self, desk: Desk, memory: Memory) -> None:
        with pytest.raises(Transient):
            await desk.record(memory, Started(ours()), GOOD)
        with pytest.raises(Transient):
            await desk.record(memory, ended(), GOOD)
        desk.kube.down = False
        assert await desk.record(memory, GOOD)
        counts = desk.kube.status().counts
        assert (counts.started, counts.succeeded) == (1, 1)
        assert memory.facts == ()
        assert (await desk.events()).count("RunCompleted") == 1
        assert desk.metric("runs_started", trigger="Schedule") == 1

    async def test_for_good_keeps_them_likewise(
        self, desk: Desk, memory: Memory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def refuse(*_: object) -> None:
            raise Refused("could not write: the API server answered 403", reason="ClusterRefused")

        monkeypatch.setattr(desk.kube, "write_status", refuse)
        with pytest.raises(Refused):
            await desk.record(memory, Started(ours()))
        assert memory.facts == (Started(ours()),)


class TestAWriteWhoseAnswerIsLost:
    """It is in the status, and the operator does not know."""

    async def lost(self, desk: Desk, *facts: Fact, **fields: Any) -> Memory:
        memory = desk.apply(**fields)
        desk.kube.loses_answers = True
        with pytest.raises(Transient):
            await desk.record(memory, *facts, GOOD)
        return memory

    @pytest.mark.parametrize("watch", ["told", "late"])
    async def test_is_told_by_the_next_and_once(self, desk: Desk, watch: str) -> None:
        client = FakeServer()
        memory = await self.lost(desk, ended(), status=status(active=(ours(),)))
        memory.client = client
        assert await desk.events() == []
        for _ in range(2):
            if watch == "told":
                desk.watch()
            assert await desk.record(memory, GOOD)
        assert desk.kube.status().counts.succeeded == 1
        assert (await desk.events()).count("RunCompleted") == 1
        assert desk.metric("runs_ended", status="success") == 1
        assert list(desk.to_delete()) == [(client, SLOT_THREAD)]
        assert memory.unanswered is None

    async def test_is_told_also_when_more_has_happened_meanwhile(self, desk: Desk) -> None:
        memory = await self.lost(desk, Started(ours()))
        desk.kube.down = True
        with pytest.raises(Transient):
            await desk.record(memory, ended(), GOOD)
        desk.kube.down = False
        desk.watch()
        assert await desk.record(memory, GOOD)
        counts = desk.kube.status().counts
        assert (counts.started, counts.succeeded) == (1, 1)
        assert desk.metric("runs_started", trigger="Schedule") == 1
        assert desk.metric("runs_ended", status="success") == 1
        assert (await desk.events()).count("RunCompleted") == 1


class TestAConflict:
    """Somebody has changed the object since it was read."""

    async def test_is_folded_onto_what_is_there_now(self, desk: Desk) -> None:
        memory = desk.apply()
        desk.kube.meanwhile = [lambda: desk.kube.edit(input={"other": 1})]
        assert await desk.record(memory, Started(ours()), GOOD)
        assert [one.run_id for one in desk.kube.status().active] == ["run-1"]
        assert memory.resource.generation == 2
        assert memory.resource.spec["input"] == {"other": 1}
        assert desk.metric("status_writes", result="conflict") == 1

    async def test_does_not_call_the_edit_observed(self, desk: Desk) -> None:
        memory = desk.apply()
        desk.kube.meanwhile = [lambda: desk.kube.edit(schedule="30 * * * *")]
        await desk.record(memory, Accounted(at("08:00")), GOOD)
        found = desk.kube.status()
        assert (found.observed_generation, found.observed_schedule) == (1, "0 * * * * | Etc/UTC")

    async def test_what_somebody_else_has_recorded_is_no_news(self, desk: Desk) -> None:
        """Another replica has started, and written, the same."""
        memory = desk.apply()
        theirs = status(
            active=(ours(),),
            accounted_through=at("08:00"),
            last_schedule_time=at("08:00"),
            counts={"started": 1},
        )

        def write() -> None:
            desk.kube.objects[KEY]["status"] = theirs.to_json()
            desk.kube._changed(KEY)

        desk.kube.meanwhile = [write]
        assert await desk.record(memory, Started(ours()), GOOD)
        assert desk.kube.status().counts.started == 1
        assert desk.metric("runs_started", trigger="Schedule") == 0

    async def test_over_and_over_is_put_off_and_nothing_lost(self, desk: Desk) -> None:
        memory = desk.apply()
        desk.kube.meanwhile = [lambda: desk.kube.edit(input={})] * CONFLICTS
        with pytest.raises(Transient, match="faster than it can be written"):
            await desk.record(memory, Started(ours()), GOOD)
        assert memory.facts == (Started(ours()),)
        assert await desk.record(memory, GOOD)
        assert desk.kube.status().counts.started == 1


class TestAResourceThatIsGone:
    async def test_is_noticed_by_the_write(self, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        client = FakeServer()
        memory = desk.apply()
        memory.client = client
        del desk.kube.objects[KEY]
        assert not await desk.record(memory, Started(ours()), GOOD)
        assert memory.facts == ()
        assert desk.table.get(KEY) is None
        assert list(desk.to_delete()) == [(client, None)]
        assert "started for a resource that is gone" in caplog.text
        assert await desk.events() == []

    async def test_is_noticed_when_another_has_its_name(self, desk: Desk) -> None:
        memory = desk.apply()
        desk.kube.apply(uid=OTHER_UID, status=Status())
        assert not await desk.record(memory, Started(ours()), GOOD)
        assert desk.kube.status() == Status()

    async def test_does_not_take_the_place_of_the_one_that_has_its_name_now(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The watch tells of both before the write's answer is there."""
        memory = desk.apply()
        write = desk.kube.write_status

        async def written_and_made_again(*given: Any) -> Any:
            stored = await write(*given)
            desk.kube.apply(uid=OTHER_UID)
            desk.watch()
            return stored

        monkeypatch.setattr(desk.kube, "write_status", written_and_made_again)
        assert not await desk.record(memory, Started(ours()), GOOD)
        there = desk.table.get(KEY)
        assert there is not None
        assert there is not memory
        assert there.resource.uid == OTHER_UID

    async def test_is_tidied_wherever_it_has_been(self, desk: Desk) -> None:
        old, new = FakeServer("http://old"), FakeServer("http://new")
        memory = desk.apply()
        memory.client = new
        desk.recorder.deleted(memory, {"run-1": old, "run-2": new, "run-3": old})
        assert list(desk.to_delete()) == [(new, None), (old, None)]

    async def test_takes_its_metrics_along(self, desk: Desk) -> None:
        memory = desk.apply()
        await desk.record(memory, Started(ours()), GOOD)
        assert desk.metric("runs_started", trigger="Schedule") == 1
        desk.recorder.deleted(memory, {})
        assert desk.metric("runs_started", trigger="Schedule") == 0


class TestThreadsThatGo:
    """Only after the end is in status."""

    async def ended(self, desk: Desk, one: ActiveRun, client: Server, *facts: Fact, **more: Any) -> None:
        memory = desk.apply(status=status(active=(one,), **more))
        memory.client = client
        await desk.record(memory, *(facts or (ended(one.run_id),)), GOOD)

    async def test_not_before_a_grace_after_the_start(self, desk: Desk) -> None:
        client = FakeServer()
        await self.ended(desk, ours(), client)
        assert desk.to_delete() == {(client, SLOT_THREAD): at("08:00") + GRACE}

    async def test_at_once_after_a_long_run(self, desk: Desk) -> None:
        client = FakeServer()
        desk.clock.forward(3600)
        await self.ended(desk, ours(), client)
        assert desk.to_delete() == {(client, SLOT_THREAD): at("09:00")}

    async def test_of_a_run_on_a_shared_thread_the_lock_goes(self, desk: Desk) -> None:
        client = FakeServer()
        await self.ended(desk, run(thread_id=own_thread(UID)), client)
        assert list(desk.to_delete()) == [(client, SLOT_THREAD)]

    async def test_of_a_request_that_another_has_replaced_the_runs_own_thread_goes(self, desk: Desk) -> None:
        client = FakeServer()
        await self.ended(desk, manual(thread_id=SLOT_THREAD), client, ended("run-m"))
        assert list(desk.to_delete()) == [(client, SLOT_THREAD)]

    async def test_on_the_deployment_where_the_run_was(self, desk: Desk) -> None:
        old, new = FakeServer("http://old"), FakeServer("http://new")
        memory = desk.apply(status=status(active=(ours(),)))
        memory.client = new
        await desk.record(memory, ended(), GOOD, clients={"run-1": old})
        assert list(desk.to_delete()) == [(old, SLOT_THREAD)]

    async def test_not_while_it_waits_for_a_human(self, desk: Desk) -> None:
        paused = Ended("run-1", "interrupted", at("08:10"), awaiting=True)
        await self.ended(desk, ours(), FakeServer(), paused)
        assert desk.to_delete() == {}

    async def test_not_of_another_run(self, desk: Desk) -> None:
        await self.ended(desk, ours(), FakeServer(), Started(run("run-2", at("08:00") + timedelta(hours=1))))
        assert desk.to_delete() == {}


class TestEvents:
    async def test_one_that_cannot_be_posted_is_lost_and_the_others_go_out(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        post, tries = desk.kube.post_event, []

        async def fail_once(*given: Any) -> None:
            tries.append(given)
            if len(tries) == 1:
                raise Transient("no answer")
            await post(*given)

        monkeypatch.setattr(desk.kube, "post_event", fail_once)
        memory = desk.apply(status=status(active=(ours(), ours("run-2"))))
        await desk.record(memory, ended(), ended("run-2"))
        assert await desk.events() == ["RunCompleted"]
        assert desk.metric("events", result="lost") == 1
        assert desk.metric("events", result="posted") == 1

    async def test_too_many_delay_nothing(self, desk: Desk) -> None:
        memory = desk.apply(status=status(active=(ours(),)))
        for _ in range(EVENTS_QUEUED):
            desk.recorder._events.put_nowait((memory.resource, Event("Normal", "Ready", "well")))
        assert await desk.record(memory, ended())
        assert desk.metric("events", result="lost") == 1
        assert desk.kube.status().counts.succeeded == 1

    async def test_what_does_not_go_out_in_time_is_left(self, desk: Desk) -> None:
        memory = desk.apply(status=status(active=(ours(),)))
        await desk.record(memory, ended())
        await desk.recorder.flush(0.01)
        assert desk.kube.events == []
