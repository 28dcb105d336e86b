"""Passes over a resource when something goes wrong between them, or in the middle of one.

Real parts on a stub deployment; the API server is `FakeKube`. Each test ends with what must hold: how many
runs the server has ever accepted for the slot, and what status tells of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from assistantcron.errors import AssistantCronError
from assistantcron.resource import Slot, Status, slot_thread
from assistantcron.schedule import Schedule
from assistantcron.spec import parse_spec
from assistantcron.starter import SETTLE, TAKE_OVER
from assistantcron.tidier import GRACE
from tests.bed.stub import StubDeployment
from tests.core.builders import UID, at
from tests.parts.operation import (
    GIVEN,
    KEY,
    KINDS,
    Clock,
    FakeKube,
    Json,
    Life,
    accepted,
    claims,
    fences,
)

RUNS = "/threads/[^/]+/runs"
OTHER_UID = "5d1f3c1a-7c55-4d5e-9a53-0a5f6a3e7b11"
TOKEN = "please"
NEXT = 300
REQUEST = Slot(at("08:00"), TOKEN).name
StartLife = Callable[..., Life]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube()


@pytest.fixture
async def begin(kube: FakeKube, stub: StubDeployment, clock: Clock) -> AsyncIterator[StartLife]:
    """`begin()`: a process starts; those before it are as good as dead."""
    lives: list[Life] = []

    def start(url: str | None = None) -> Life:
        lives.append(Life(kube, url or stub.url, clock))
        return lives[-1]

    yield start
    for life in lives:
        await life.close()


@pytest.fixture
def life(begin: StartLife) -> Life:
    return begin()


@pytest.fixture(autouse=True)
def given(stub: StubDeployment) -> None:
    """The thread that a spec may name is there."""
    stub.state.create_thread(GIVEN, {}, if_exists="raise")


@pytest.fixture
def second_stub() -> Iterator[StubDeployment]:
    with StubDeployment() as deployment:
        yield deployment


def slot_due(kube: FakeKube, clock: Clock, **spec: Any) -> Slot:
    """An armed resource whose slot has just come; the next one comes within `NEXT` seconds."""
    came = clock().replace(second=0, microsecond=0)
    both = (came, came + timedelta(seconds=NEXT))
    schedules = [f"{one.minute} {one.hour} {one.day} {one.month} *" for one in both]
    status = Status(
        observed_generation=1,
        observed_schedule=str(Schedule.parse(schedules, "Etc/UTC")),
        accounted_through=came - timedelta(seconds=30),
        next_schedule_time=came,
    )
    kube.apply(status=status, schedules=schedules, **spec)
    return Slot(came)


async def until(true: Callable[[], object]) -> None:
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came true")


async def asked(life: Life, kube: FakeKube, **spec: Any) -> None:
    """A resource that is known, and a request that nobody has looked at yet."""
    kube.apply(**spec)
    await life.look()
    kube.ask(TOKEN)


async def end_run(stub: StubDeployment, run: str | None) -> None:
    """As soon as it works, it has worked."""
    assert run is not None
    await until(lambda: any(one["run_id"] == run for one in stub.started))
    stub.end_run(run)


def ready(kube: FakeKube) -> tuple[str, str]:
    condition = kube.status().condition("Ready")
    assert condition is not None
    return condition.status, condition.reason


class TestALostAnswer:
    @pytest.mark.parametrize("kind", KINDS)
    async def test_to_the_start_is_made_good_by_the_next_pass(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock, kind: str
    ) -> None:
        slot = slot_due(kube, clock, **KINDS[kind])
        stub.fault("POST", RUNS, end="drop", after=True)
        await life.look()
        assert kube.status().active == ()
        assert ready(kube) == ("False", "DeploymentUnavailable")
        await life.go_on(5)
        (run,) = accepted(stub, slot.name)
        assert [one.run_id for one in kube.status().active] == [run]
        assert kube.status().counts.started == 1
        # With the run in status, nothing is wrong any more.
        written = next(one for one in kube.writes if one.counts.started)
        assert (condition := written.condition("Ready")) is not None
        assert condition.status == "True"

    async def test_to_the_claim_is_made_good_likewise(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)
        stub.fault("POST", "/threads", end="drop", after=True)
        await life.look()
        await life.go_on(5)
        assert [one.run_id for one in kube.status().active] == accepted(stub, slot.name)
        assert kube.status().active[0].attempt == 1

    async def test_that_stays_unclear_is_not_called_missed_when_a_newer_slot_comes(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock, concurrencyPolicy="Allow")
        stub.fault("POST", RUNS, end="drop", after=True)
        await life.look()
        stub.fault("*", ".*", status=503, times=None, headers={"retry-after": "1"})
        clock.forward(NEXT)
        await life.look()
        assert kube.status().counts.missed == 0
        stub.faults.clear()
        await life.go_on(5)
        (run,) = accepted(stub, slot.name)
        assert run in [one.run_id for one in kube.status().active]
        assert kube.status().counts.missed == 0

    async def test_to_the_request_for_a_run_is_answered_once(
        self, kube: FakeKube, stub: StubDeployment, life: Life
    ) -> None:
        await asked(life, kube)
        stub.fault("POST", RUNS, end="drop", after=False)
        await life.look()
        await life.go_on(5)
        (run,) = accepted(stub, REQUEST)
        answer = kube.status().last_run_request
        assert answer is not None
        assert (answer.token, answer.outcome, answer.run_id) == (TOKEN, "Started", run)
        assert kube.status().counts.started == 1


class TestALaterLife:
    """The process dies somewhere, and another one begins."""

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("trigger", ["slot", "request"])
    async def test_finds_the_run_that_was_not_written(
        self,
        kube: FakeKube,
        stub: StubDeployment,
        begin: StartLife,
        clock: Clock,
        kind: str,
        trigger: str,
    ) -> None:
        first = begin()
        if trigger == "slot":
            name = slot_due(kube, clock, **KINDS[kind]).name
        else:
            await asked(first, kube, **KINDS[kind])
            name = REQUEST
        kube.down = True
        await first.look()
        kube.down = False
        second = begin()
        await second.look()
        await second.go_on(5)
        (run,) = accepted(stub, name)
        assert [one.run_id for one in kube.status().active] == [run]
        assert kube.status().counts.started == 1

    @pytest.mark.parametrize("kind", KINDS)
    async def test_starts_what_was_only_claimed(
        self, kube: FakeKube, stub: StubDeployment, begin: StartLife, clock: Clock, kind: str
    ) -> None:
        first = begin()
        slot = slot_due(kube, clock, **KINDS[kind])
        first.may_act = False
        await first.look()
        second = begin()
        for _ in range(10):
            await second.look()
            if kube.status().active:
                break
            clock.forward(10)
        (run,) = accepted(stub, slot.name)
        assert [(one.run_id, one.attempt) for one in kube.status().active] == [(run, 2)]
        assert ready(kube) == ("True", "Scheduled")

    async def test_does_not_forbid_a_slot_for_a_run_that_it_has_yet_to_find(
        self, kube: FakeKube, stub: StubDeployment, begin: StartLife, clock: Clock
    ) -> None:
        """What the found run does to the newer slot is judged when it is in status."""
        slot = slot_due(kube, clock)
        kube.down = True
        await begin().look()
        kube.down = False
        clock.forward(NEXT)
        second = begin()
        await second.look()
        await second.go_on(5)
        (run,) = accepted(stub, slot.name)
        status = kube.status()
        assert [one.run_id for one in status.active] == [run]
        assert [(one.outcome, one.reason) for one in status.slots] == [("Skipped", "ConcurrencyForbidden")]
        assert (status.counts.started, status.counts.skipped) == (1, 1)

    async def test_without_its_deployment_decides_nothing_that_it_cannot_know(
        self, kube: FakeKube, stub: StubDeployment, begin: StartLife, clock: Clock
    ) -> None:
        """The Secret has gone while the operator was away: the slot may have run all the same."""
        kube.secrets["key"] = {"url": stub.url}
        slot = slot_due(kube, clock, deployment={"secretRef": {"name": "key"}})
        first = begin()
        # The Secret is read before the API server goes away.
        await first.targets.client(KEY, parse_spec(kube.objects[KEY]["spec"]))
        kube.down = True
        await first.look()
        kube.down = False
        del kube.secrets["key"]
        second = begin()
        await second.look()
        assert kube.status().counts.missed == 0
        assert ready(kube) == ("False", "SecretNotFound")
        assert kube.status().condition("Stalled") is not None
        kube.secrets["key"] = {"url": stub.url}
        clock.forward(60)
        await second.look()
        assert [one.run_id for one in kube.status().active] == accepted(stub, slot.name)
        assert kube.status().counts.missed == 0

    async def test_that_knows_nothing_is_due_calls_a_slot_without_deployment_missed(
        self, kube: FakeKube, life: Life, clock: Clock
    ) -> None:
        kube.apply(schedule="* * * * *", deployment={"secretRef": {"name": "key"}})
        await life.look()
        clock.forward(60)
        await life.look()
        (slot,) = kube.status().slots
        assert (slot.outcome, slot.reason) == ("Missed", "SecretNotFound")


class TestNotKnowing:
    async def test_what_runs_is_asked_again_when_the_server_says(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)
        stub.fault("POST", "/threads/search", status=503, headers={"retry-after": "2"})
        await life.look()
        assert ready(kube) == ("False", "DeploymentUnavailable")
        assert accepted(stub, slot.name) == []
        assert life.wakes[KEY] - clock() < timedelta(seconds=3)
        await life.go_on(5)
        assert [one.run_id for one in kube.status().active] == accepted(stub, slot.name)
        assert ready(kube) == ("True", "Scheduled")

    async def test_a_start_goes_on_from_the_last_attempt_though_the_first_is_gone(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)
        stub.fault("POST", RUNS, end="drop", after=False)
        await life.look()
        second = slot_thread(UID, slot.name, 2)
        stub.fault("POST", f"/threads/{second}/runs", status=429)
        await life.go_on(2)
        assert len(claims(stub)) == 2
        stub.state.delete_thread(slot_thread(UID, slot.name, 1))
        await life.go_on(10)
        (run,) = accepted(stub, slot.name)
        assert [(one.run_id, one.thread_id) for one in kube.status().active] == [(run, second)]


class TestTwoAtOnce:
    @pytest.mark.parametrize("kind", KINDS)
    async def test_start_each_slot_once_and_write_it_once(
        self, kube: FakeKube, stub: StubDeployment, begin: StartLife, clock: Clock, kind: str
    ) -> None:
        one, other = begin(), begin()
        slot = slot_due(kube, clock, **KINDS[kind])
        await asyncio.gather(one.look(), other.look())
        await one.look()
        await other.look()
        (run,) = accepted(stub, slot.name)
        status = kube.status()
        assert [active.run_id for active in status.active] == [run]
        assert (status.counts.started, status.counts.missed, status.counts.skipped) == (1, 0, 0)

    async def test_the_one_that_lost_says_nothing_of_it_when_the_other_has_written(
        self, kube: FakeKube, begin: StartLife, clock: Clock
    ) -> None:
        one, other = begin(), begin()
        slot_due(kube, clock)
        one.may_act = False
        await one.look()
        clock.forward(TAKE_OVER.total_seconds())
        await other.look()
        assert ready(kube) == ("True", "Scheduled")
        await one.look()
        assert ready(kube) == ("True", "Scheduled")


class TestNotLeadingAnyMore:
    async def test_between_claim_and_start_it_stops(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)
        life.may_act = False
        await life.look()
        assert len(claims(stub)) == 1
        assert accepted(stub, slot.name) == []
        assert kube.status().counts.missed == 0

    async def test_leading_again_it_uses_its_claim(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)
        life.may_act = False
        await life.look()
        life.may_act = True
        await life.go_on(5)
        assert [one.run_id for one in kube.status().active] == accepted(stub, slot.name)
        assert kube.status().active[0].attempt == 1


class TestABrokenOffPass:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(("path", "carried_out"), [("/threads", True), (RUNS, True), (RUNS, False)])
    async def test_is_looked_into_by_the_next(
        self,
        kube: FakeKube,
        stub: StubDeployment,
        life: Life,
        clock: Clock,
        kind: str,
        path: str,
        carried_out: bool,
    ) -> None:
        """kopf cancels what is younger than itself when it dies."""
        slot = slot_due(kube, clock, **KINDS[kind])
        hanging = stub.fault("POST", path, end="hang", after=carried_out)
        task = asyncio.create_task(life.look())
        await until(lambda: hanging.hits)
        if carried_out:
            await until(lambda: stub.requests("POST", path))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        life.reconciler.interrupted(KEY)
        assert life.memory.unsure
        clock.forward(SETTLE.total_seconds())
        for _ in range(3):
            life.wake(KEY, clock())
            await life.look()
        (run,) = accepted(stub, slot.name)
        assert [one.run_id for one in kube.status().active] == [run]
        assert kube.status().counts.started == 1

    async def test_while_it_wrote_keeps_what_it_had_found_out(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)

        def cancel() -> None:
            raise asyncio.CancelledError

        kube.meanwhile = [cancel]
        with pytest.raises(asyncio.CancelledError):
            await life.look()
        life.reconciler.interrupted(KEY)
        life.wake(KEY, clock())
        await life.look()
        await life.go_on(5)
        assert [one.run_id for one in kube.status().active] == accepted(stub, slot.name)
        assert kube.status().counts.started == 1


class TestAnApiServerThatDoesNotAnswer:
    async def test_keeps_nothing_from_being_seen_and_doubles_nothing(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        """It goes away in write 1; the run ends meanwhile; then both are written."""
        slot = slot_due(kube, clock)
        kube.down = True
        await life.look()
        (run,) = accepted(stub, slot.name)
        await life.go_on(5)
        await end_run(stub, run)
        await life.follower.look(life.memory.resource.uid)
        await life.go_on(5)
        assert accepted(stub, slot.name) == [run]
        assert kube.writes == []
        kube.down = False
        await life.go_on(5)
        status = kube.status()
        assert status.active == ()
        assert status.last_run is not None
        assert (status.last_run.run_id, status.last_run.status) == (run, "success")
        assert (status.counts.started, status.counts.succeeded) == (1, 1)
        assert (await life.flush()).count("RunCompleted") == 1
        await life.tidy(GRACE.total_seconds())
        assert claims(stub) == []

    async def test_that_only_loses_its_answer_doubles_nothing_and_people_hear_of_it(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)
        await life.look()
        (run,) = accepted(stub, slot.name)
        await end_run(stub, run)
        kube.loses_answers = True
        await life.see()
        assert kube.status().counts.succeeded == 1
        assert await life.flush() == []
        await life.go_on(5)
        await life.look()
        assert (await life.flush()).count("RunCompleted") == 1
        assert kube.status().counts.succeeded == 1
        metric = life.telemetry.registry.get_sample_value(
            "assistantcron_runs_ended_total", {"namespace": "team", "name": "nightly", "status": "success"}
        )
        assert metric == 1
        await life.tidy(GRACE.total_seconds())
        assert claims(stub) == []

    @pytest.mark.parametrize("failures", [1, 3])
    async def test_a_start_whose_write_failed_is_counted_once(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock, failures: int
    ) -> None:
        slot = slot_due(kube, clock)
        kube.loses_answers = True
        await life.look()
        kube.down = True
        for _ in range(failures):
            await life.go_on(5)
        kube.down = False
        await life.go_on(5)
        await life.look()
        assert [one.run_id for one in kube.status().active] == accepted(stub, slot.name)
        assert kube.status().counts.started == 1
        labels = {"namespace": "team", "name": "nightly", "trigger": "Schedule"}
        assert life.telemetry.registry.get_sample_value("assistantcron_runs_started_total", labels) == 1


class TestAnEditThatMeetsAWrite:
    """It comes between our reading and our writing, and the watch brings it later than the conflict does."""

    async def test_the_run_is_written_onto_the_new_version(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)
        kube.meanwhile = [lambda: kube.edit(assistant="agent", input={"seconds": 1800})]
        await life.look()
        assert [one.run_id for one in kube.status().active] == accepted(stub, slot.name)
        assert kube.status().counts.started == 1
        assert kube.objects[KEY]["spec"]["input"] == {"seconds": 1800}

    async def test_the_edit_is_looked_at_at_once(self, kube: FakeKube, life: Life, clock: Clock) -> None:
        slot_due(kube, clock)
        kube.meanwhile = [lambda: kube.edit(suspend=True)]
        await life.look()
        assert life.wakes[KEY] <= clock()
        # The watch has nothing new to tell: its version is the one that the conflict has brought.
        await life.go_on(5)
        assert ready(kube) == ("True", "Suspended")
        assert kube.status().next_schedule_time is None

    async def test_an_invalid_one_too(self, kube: FakeKube, life: Life) -> None:
        kube.apply(schedule="nonsense")
        kube.meanwhile = [lambda: kube.edit(schedule="0 0 1 1 *")]
        await life.look()
        await life.go_on(5)
        assert ready(kube) == ("True", "Scheduled")

    async def test_a_request_is_answered_at_once(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot_due(kube, clock, concurrencyPolicy="Allow")
        kube.meanwhile = [lambda: kube.ask(TOKEN)]
        await life.look()
        assert life.wakes[KEY] <= clock()
        await life.go_on(5)
        answer = kube.status().last_run_request
        assert answer is not None
        assert [answer.run_id] == accepted(stub, REQUEST)
        assert kube.status().counts.started == 2

    async def test_a_request_also_where_nothing_else_would_be_looked_at_for_long(
        self, kube: FakeKube, stub: StubDeployment, life: Life
    ) -> None:
        kube.apply()
        kube.meanwhile = [lambda: kube.ask(TOKEN)]
        await life.look()
        await life.go_on(5)
        assert [one.run_id for one in kube.status().active] == accepted(stub, REQUEST)
        assert kube.status().counts.started == 1

    async def test_many_in_a_row_only_delay_the_write(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)
        kube.meanwhile = [lambda: kube.edit(input={"seconds": 1800})] * 7
        await life.look()
        assert kube.status().active == ()
        await life.go_on(5)
        assert [one.run_id for one in kube.status().active] == accepted(stub, slot.name)
        assert kube.status().counts.started == 1


class TestDeletion:
    async def test_the_runs_in_flight_end_and_their_threads_go(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)
        await life.look()
        life.delete()
        await life.tidy()
        await life.tidy(GRACE.total_seconds())
        assert len(claims(stub)) == 1
        await end_run(stub, accepted(stub, slot.name)[0])
        await life.tidy(GRACE.total_seconds())
        assert claims(stub) == []
        assert len(life.follower) == 0

    async def test_what_is_to_be_kept_is_kept(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock, **KINDS["kept"])
        await life.look()
        life.delete()
        await end_run(stub, accepted(stub, slot.name)[0])
        await life.tidy()
        await life.tidy(GRACE.total_seconds())
        assert len(claims(stub)) == 1

    @pytest.mark.parametrize("kind", KINDS)
    async def test_a_claim_without_a_run_goes(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock, kind: str
    ) -> None:
        slot_due(kube, clock, **KINDS[kind])
        life.may_act = False
        await life.look()
        assert len(claims(stub)) == 1
        life.delete()
        await life.tidy()
        await life.tidy(GRACE.total_seconds())
        assert claims(stub) == []

    async def test_in_the_middle_of_a_pass_starts_nothing(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)
        late = stub.fault("POST", "/assistants/search", delay=0.3)
        task = asyncio.create_task(life.look())
        await until(lambda: late.hits)
        life.delete()
        await task
        assert accepted(stub, slot.name) == []
        assert claims(stub) == []
        assert len(life.follower) == len(life.table) == 0

    async def test_in_the_middle_of_a_pass_that_has_nothing_to_write_is_noticed(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot_due(kube, clock)
        await life.look()
        await life.go_on(5)
        # What is known of the assistant is too old by then.
        clock.forward(NEXT - 120)
        life.reconciler.lookups.distrust(life.targets.clients()[0])
        late = stub.fault("POST", "/assistants/search", delay=0.3)
        writes = len(kube.writes)
        task = asyncio.create_task(life.look())
        await until(lambda: late.hits)
        life.delete()
        await task
        assert len(kube.writes) == writes
        assert len(life.follower) == len(life.table) == 0
        assert KEY not in life.wakes

    async def test_in_the_middle_of_a_start_lets_the_run_end_and_its_thread_go(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)
        late = stub.fault("POST", RUNS, delay=0.3)
        task = asyncio.create_task(life.look())
        await until(lambda: late.hits)
        life.delete()
        await life.tidy()
        await task
        (run,) = accepted(stub, slot.name)
        assert KEY not in life.wakes
        await end_run(stub, run)
        await life.tidy()
        await life.tidy(GRACE.total_seconds())
        assert claims(stub) == []
        assert len(life.follower) == len(life.table) == 0

    async def test_of_a_requested_run_in_the_middle_of_its_start_likewise(
        self, kube: FakeKube, stub: StubDeployment, life: Life
    ) -> None:
        await asked(life, kube)
        late = stub.fault("POST", RUNS, delay=0.3)
        task = asyncio.create_task(life.look())
        await until(lambda: late.hits)
        life.delete()
        await task
        await end_run(stub, accepted(stub, REQUEST)[0])
        await life.tidy()
        await life.tidy(GRACE.total_seconds())
        assert claims(stub) == []

    async def test_while_the_status_is_written_leaves_no_ghost(
        self, kube: FakeKube, life: Life, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The write is carried out, and the watch tells of the deletion before its answer is there."""
        slot_due(kube, clock)
        write = kube.write_status

        async def write_and_delete(*given: Any) -> Any:
            stored = await write(*given)
            life.delete()
            return stored

        monkeypatch.setattr(kube, "write_status", write_and_delete)
        await life.look()
        assert len(life.table) == len(life.follower) == 0
        assert KEY not in life.wakes

    async def test_just_after_the_last_look_is_learned_from_the_first_write(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)
        life.watch()
        kube.meanwhile = [lambda: kube.objects.pop(KEY)]
        await life.look()
        assert len(life.table) == len(life.follower) == 0
        await end_run(stub, accepted(stub, slot.name)[0])
        await life.tidy()
        await life.tidy(GRACE.total_seconds())
        assert claims(stub) == []


class TestWhatTheWatchHasNotTold:
    """It can be silent for a minute, or be begun anew and never tell: what a run costs is looked at first."""

    @pytest.mark.parametrize("kind", KINDS)
    async def test_nothing_is_started_for_a_resource_that_was_deleted(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock, kind: str
    ) -> None:
        slot = slot_due(kube, clock, **KINDS[kind])
        life.watch()
        del kube.objects[KEY]
        await life.look(watch=False)
        assert accepted(stub, slot.name) == []
        assert claims(stub) == []
        assert len(life.table) == len(life.follower) == 0
        assert KEY not in life.wakes

    async def test_nor_for_one_that_was_made_again(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot_due(kube, clock)
        life.watch()
        kube.apply(uid=OTHER_UID)
        await life.look(watch=False)
        await life.look()
        assert stub.requests("POST", RUNS) == []
        assert life.memory.resource.uid == OTHER_UID

    async def test_nor_for_one_that_was_suspended(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)
        life.watch()
        kube.edit(suspend=True)
        await life.look(watch=False)
        await life.go_on(5)
        assert accepted(stub, slot.name) == []
        assert [(one.outcome, one.reason) for one in kube.status().slots] == [("Skipped", "Suspended")]
        assert ready(kube) == ("True", "Suspended")

    async def test_an_edit_that_changes_what_is_due_is_judged_first(
        self, kube: FakeKube, stub: StubDeployment, life: Life
    ) -> None:
        await asked(life, kube)
        life.watch()
        kube.edit(input={"seconds": 1800})
        await life.look(watch=False)
        await life.go_on(5)
        (start,) = [one for one in stub.requests("POST", RUNS) if one.status == 200]
        assert start.body["input"] == {"seconds": 1800}
        assert kube.status().counts.started == 1

    async def test_an_api_server_that_does_not_answer_holds_up_no_start(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)
        life.watch()
        kube.down = True
        await life.look(watch=False)
        assert len(accepted(stub, slot.name)) == 1


class TestMadeAgainUnderTheSameName:
    async def test_the_old_run_ends_by_itself_and_is_none_of_the_new_one(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)
        await life.look()
        (run,) = accepted(stub, slot.name)
        kube.apply(uid=OTHER_UID)
        await life.look()
        status = kube.status()
        assert (status.active, status.counts.started, status.last_run) == ((), 0, None)
        kube.ask(TOKEN)
        await life.look()
        assert len(accepted(stub, REQUEST)) == 1
        await end_run(stub, run)
        await life.tidy()
        await life.tidy(GRACE.total_seconds())
        assert [one["metadata"]["assistantcron_uid"] for one in claims(stub)] == [OTHER_UID]
        assert [one.run_id for one in kube.status().active] == accepted(stub, REQUEST)

    async def test_in_the_middle_of_a_start_too(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)
        late = stub.fault("POST", RUNS, delay=0.3)
        task = asyncio.create_task(life.look())
        await until(lambda: late.hits)
        kube.apply(uid=OTHER_UID)
        life.watch()
        await task
        await life.look()
        assert life.memory.resource.uid == OTHER_UID
        assert kube.status().counts.started == 0
        await end_run(stub, accepted(stub, slot.name)[0])
        await life.tidy()
        await life.tidy(GRACE.total_seconds())
        assert claims(stub) == []

    async def test_on_its_old_request_the_new_one_starts_nothing(
        self, kube: FakeKube, stub: StubDeployment, life: Life
    ) -> None:
        await asked(life, kube)
        await life.look()
        kube.apply(uid=OTHER_UID, token=TOKEN)
        await life.look()
        await life.go_on(5)
        answer = kube.status().last_run_request
        assert answer is not None
        assert answer.outcome == "Ignored"
        assert len(accepted(stub, REQUEST)) == 1


class TestAnotherDeploymentInBetween:
    async def test_a_run_in_flight_is_followed_and_tidied_where_it_is(
        self, kube: FakeKube, stub: StubDeployment, second_stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)
        await life.look()
        (run,) = accepted(stub, slot.name)
        kube.edit(deployment={"url": second_stub.url})
        await life.look()
        assert [one.run_id for one in kube.status().active] == [run]
        await end_run(stub, run)
        await life.see()
        last = kube.status().last_run
        assert last is not None
        assert (last.run_id, last.status) == (run, "success")
        await life.tidy(GRACE.total_seconds())
        assert claims(stub) == []

    async def test_the_next_run_is_on_the_new_one(
        self, kube: FakeKube, second_stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot_due(kube, clock, concurrencyPolicy="Allow")
        await life.look()
        kube.edit(deployment={"url": second_stub.url})
        kube.ask(TOKEN)
        await life.look()
        (run,) = accepted(second_stub, REQUEST)
        await end_run(second_stub, run)
        await life.see()
        last = kube.status().last_run
        assert last is not None
        assert (last.run_id, last.status) == (run, "success")
        assert len(kube.status().active) == 1
        await life.tidy(GRACE.total_seconds())
        assert claims(second_stub) == []

    async def test_all_threads_of_a_deleted_resource_go(
        self, kube: FakeKube, stub: StubDeployment, second_stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock, concurrencyPolicy="Allow")
        await life.look()
        kube.edit(deployment={"url": second_stub.url})
        kube.ask(TOKEN)
        await life.look()
        life.delete()
        await end_run(stub, accepted(stub, slot.name)[0])
        await end_run(second_stub, accepted(second_stub, REQUEST)[0])
        await life.tidy()
        await life.tidy(GRACE.total_seconds())
        assert claims(stub) == claims(second_stub) == []


class TestAKeyThatIsRotated:
    """The Secret has a new key, the operator the old one: it reads the Secret again before it gives up."""

    @pytest.fixture
    def locked(self) -> Iterator[StubDeployment]:
        with StubDeployment(api_key="old") as deployment:
            yield deployment

    @pytest.fixture
    def secret(self, kube: FakeKube, locked: StubDeployment) -> Json:
        kube.secrets["key"] = {"url": locked.url, "apiKey": "old"}
        return {"deployment": {"secretRef": {"name": "key"}}}

    async def test_the_start_is_made_with_the_new_one_on_the_same_claim(
        self, kube: FakeKube, locked: StubDeployment, life: Life, clock: Clock, secret: Json
    ) -> None:
        slot = slot_due(kube, clock, **secret)

        def rotate() -> None:
            locked.api_key = kube.secrets["key"]["apiKey"] = "new"

        late = locked.fault("POST", RUNS, delay=0.2)
        task = asyncio.create_task(life.look())
        await until(lambda: late.hits)
        rotate()
        await task
        assert accepted(locked, slot.name) == []
        await life.go_on(5)
        assert [one.run_id for one in kube.status().active] == accepted(locked, slot.name)
        assert kube.status().active[0].attempt == 1
        assert fences(locked) == []
        # The claim was called spent, and is in use: it stays until the run's end is in status.
        await life.tidy(GRACE.total_seconds())
        await end_run(locked, accepted(locked, slot.name)[0])
        await life.tidy(100)
        assert len(claims(locked)) == 1
        await life.see()
        await life.tidy(100)
        assert claims(locked) == []

    async def test_a_wrong_one_is_an_outcome(
        self, kube: FakeKube, locked: StubDeployment, life: Life, clock: Clock, secret: Json
    ) -> None:
        slot_due(kube, clock, **secret)
        late = locked.fault("POST", RUNS, delay=0.2)
        task = asyncio.create_task(life.look())
        await until(lambda: late.hits)
        locked.api_key = "new"
        await task
        (slot,) = kube.status().slots
        assert (slot.outcome, slot.reason) == ("Missed", "Unauthorized")

    @pytest.mark.parametrize("gone", [False, True])
    async def test_a_secret_that_cannot_be_read_is_no_traceback(
        self, kube: FakeKube, locked: StubDeployment, life: Life, clock: Clock, secret: Json, gone: bool
    ) -> None:
        slot = slot_due(kube, clock, **secret)
        late = locked.fault("POST", RUNS, delay=0.2)
        task = asyncio.create_task(life.look())
        await until(lambda: late.hits)
        locked.api_key = "new"
        if gone:
            del kube.secrets["key"]
        else:
            kube.down = True
        await task
        if gone:
            assert [one.reason for one in kube.status().slots] == ["Unauthorized"]
            return
        kube.down = False
        kube.secrets["key"]["apiKey"] = "new"
        await life.go_on(5)
        (run,) = accepted(locked, slot.name)
        assert [one.run_id for one in kube.status().active] == [run]

    async def test_a_run_in_flight_is_followed_with_the_new_one(
        self, kube: FakeKube, locked: StubDeployment, life: Life, clock: Clock, secret: Json
    ) -> None:
        slot = slot_due(kube, clock, **secret)
        await life.look()
        (run,) = accepted(locked, slot.name)
        locked.api_key = kube.secrets["key"]["apiKey"] = "new"
        await end_run(locked, run)
        with pytest.raises(AssistantCronError):
            await life.follower.look(life.memory.resource.uid)
        clock.forward(60)
        life.wake(KEY, clock())
        await life.look()
        await life.see()
        last = kube.status().last_run
        assert last is not None
        assert (last.run_id, last.status) == (run, "success")
        await life.tidy(GRACE.total_seconds())
        assert claims(locked) == []


class TestWhatIsLeftBehind:
    """No thread stays that nobody needs, and none goes that somebody does."""

    @pytest.mark.parametrize("kind", KINDS)
    async def test_a_claim_whose_start_was_refused_goes(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock, kind: str
    ) -> None:
        slot_due(kube, clock, **KINDS[kind])
        stub.fault("POST", RUNS, status=422, body={"detail": "no"})
        await life.look()
        assert [one.reason for one in kube.status().slots] == ["Rejected"]
        assert len(claims(stub)) == 1
        await life.tidy(GRACE.total_seconds())
        assert claims(stub) == []

    @pytest.mark.parametrize("kind", KINDS)
    async def test_also_after_a_crash(
        self, kube: FakeKube, stub: StubDeployment, begin: StartLife, clock: Clock, kind: str
    ) -> None:
        first = begin()
        slot_due(kube, clock, **KINDS[kind])
        stub.fault("POST", RUNS, status=422, body={"detail": "no"})
        await first.look()
        second = begin()
        await second.look()
        await second.sweep()
        assert claims(stub) == []

    @pytest.mark.parametrize("kind", KINDS)
    async def test_a_claim_whose_slot_a_newer_one_has_replaced_goes(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock, kind: str
    ) -> None:
        slot = slot_due(kube, clock, **KINDS[kind])
        stub.fault("POST", RUNS, status=429)
        await life.look()
        stub.fault("POST", RUNS, status=422, body={"detail": "no"})
        clock.forward(NEXT)
        await life.look()
        assert [one.reason for one in kube.status().slots] == ["Rejected", "DeploymentUnavailable"]
        assert accepted(stub, slot.name) == []
        await life.sweep()
        assert claims(stub) == []

    async def test_a_thread_to_be_kept_stays_and_is_looked_at_no_more(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock, **KINDS["kept"])
        await life.look()
        await end_run(stub, accepted(stub, slot.name)[0])
        await life.see()
        await life.tidy(GRACE.total_seconds())
        (kept,) = claims(stub)
        assert kept["metadata"]["assistantcron_unused"] is False
        await life.sweep()
        before = len(stub.ledger)
        await life.sweep()
        assert len(stub.ledger) - before == 2
        assert claims(stub) == [kept]

    async def test_a_crash_between_write_2_and_the_deletion_leaves_no_thread(
        self, kube: FakeKube, stub: StubDeployment, begin: StartLife, clock: Clock
    ) -> None:
        first = begin()
        slot = slot_due(kube, clock)
        await first.look()
        await end_run(stub, accepted(stub, slot.name)[0])
        await first.see()
        second = begin()
        await second.look()
        await second.sweep()
        assert claims(stub) == []

    async def test_nothing_goes_before_its_end_is_in_status(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)
        await life.look()
        await end_run(stub, accepted(stub, slot.name)[0])
        kube.down = True
        await life.follower.look(life.memory.resource.uid)
        await life.look()
        await life.sweep()
        assert len(claims(stub)) == 1

    async def test_the_tombstone_of_an_attempt_stays_until_its_slot_is_recorded(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)
        stub.fault("POST", RUNS, end="drop", after=False)
        await life.look()
        # The second attempt's claim is refused for a while; the fence stands on the first.
        stub.fault("POST", "/threads", status=429, times=3)
        await life.go_on(5)
        assert len(fences(stub)) == 1
        await life.tidy(GRACE.total_seconds())
        assert len(claims(stub)) == 1
        stub.faults.clear()
        await life.go_on(5)
        assert kube.status().active[0].attempt == 2
        await life.tidy(100)
        (claim,) = claims(stub)
        assert claim["thread_id"] == kube.status().active[0].thread_id
        assert len(accepted(stub, slot.name)) == 1

    async def test_what_waits_for_a_human_stays(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock, input={"ask": "May I?"})
        await life.look()
        await until(lambda: stub.started)
        await until(lambda: stub.state.threads[claims(stub)[0]["thread_id"]].question)
        await life.see()
        assert kube.status().active[0].status == "interrupted"
        life.delete()
        await life.tidy()
        await life.tidy(1000)
        assert len(claims(stub)) == 1
        assert accepted(stub, slot.name)

    async def test_what_was_cancelled_goes(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)
        await life.look()
        (run,) = accepted(stub, slot.name)
        assert run is not None
        await until(lambda: stub.started)
        client = life.targets.clients()[0]
        await client.cancel_run(claims(stub)[0]["thread_id"], run)
        await life.see()
        last = kube.status().last_run
        assert last is not None
        assert last.status == "interrupted"
        await life.tidy(GRACE.total_seconds())
        assert claims(stub) == []

    async def test_a_persons_copy_of_a_thread_stays(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock)
        await life.look()
        await end_run(stub, accepted(stub, slot.name)[0])
        await life.see()
        copy = "1f0c3b52-52a4-4b0e-8a25-3a5c1f1f5a01"
        stub.state.create_thread(copy, dict(claims(stub)[0]["metadata"]), if_exists="raise")
        await life.sweep()
        assert [one["thread_id"] for one in claims(stub)] == [copy]

    async def test_an_adopted_run_that_waits_beside_a_fence_is_still_seen_to_wait(
        self, kube: FakeKube, stub: StubDeployment, life: Life, clock: Clock
    ) -> None:
        slot = slot_due(kube, clock, input={"ask": "May I?"})
        await life.look()
        thread = claims(stub)[0]["thread_id"]
        await until(lambda: stub.state.threads[thread].question)
        client = life.targets.clients()[0]
        fence = {"assistant_id": "agent", "metadata": {"assistantcron_fence": True}, "after_seconds": 3600}
        posted = await client.create_run(thread, fence, request_id="team/nightly/fence")
        await client.cancel_run(thread, posted.run_id)
        stub.state.threads[thread].document["status"] = "interrupted"
        await life.see()
        assert [one.status for one in kube.status().active] == ["interrupted"]
        assert len(accepted(stub, slot.name)) == 1
