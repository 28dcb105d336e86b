"""Exactly once, place by place: a real client, a stub deployment, and what happens between two requests.

The same with whole processes that are killed is in `tests/e2e/test_exactly_once.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, NoReturn

import httpx
import pytest

from assistantcron.errors import Conflict, Refused, Transient, Unclear
from assistantcron.resource import ActiveRun, Slot, Trigger, own_thread, slot_thread
from assistantcron.starter import SETTLE, TAKE_OVER, Order, Starter
from tests.bed.stub import StubDeployment
from tests.core.builders import UID, at
from tests.parts.operation import GIVEN, KINDS, Clock, Json, Meddled, accepted, claims, edited, fences, order

SLOT = Slot(at("08:00"))
CLAIM = slot_thread(UID, SLOT.name, 1)
SECOND = slot_thread(UID, SLOT.name, 2)
RUNS = "/threads/[^/]+/runs"
SHARED = ("given", "own")
HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client(stub: StubDeployment) -> AsyncIterator[Meddled]:
    meddled = Meddled(stub.url)
    await meddled.create_thread(GIVEN, {})
    yield meddled
    await meddled.close()


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Process(Starter):
    """A starter, and what it said is spent."""

    def __init__(self, token: str, clock: Clock) -> None:
        self.leads = True
        self.spent: list[str] = []
        super().__init__(
            token, may_act=lambda: self.leads, now=clock, spent=lambda _, thread: self.spent.append(thread)
        )


@pytest.fixture
def process(clock: Clock) -> Process:
    return Process("one", clock)


@pytest.fixture
def other(clock: Clock) -> Process:
    """Another process: a later life, or a second replica."""
    return Process("other", clock)


async def started(one: Starter, wanted: Order, *, fresh: bool = False) -> ActiveRun:
    return await one.start(wanted, SLOT, fresh=fresh)


def nowhere(kind: str) -> str:
    """The thread on which a run of this kind is, if it is the first attempt's."""
    return {"given": GIVEN, "own": own_thread(UID)}.get(kind, CLAIM)


def original(stub: StubDeployment, thread: str = CLAIM, **more: Any) -> httpx.Response:
    """A start that was sent long ago reaches the server now."""
    sent = [one.body for one in stub.requests("POST", RUNS) if "assistantcron_slot" in one.body["metadata"]]
    body = sent[0] if sent else {"assistant_id": "agent", "input": {}, "multitask_strategy": "reject"}
    metadata = {"assistantcron_uid": UID, "assistantcron_slot": SLOT.name, "assistantcron_attempt": 1}
    body = {**body, "metadata": metadata, **more}
    return httpx.post(f"{stub.url}/threads/{thread}/runs", json=body, trust_env=False)


def loses(stub: StubDeployment, path: str, *, after: bool) -> None:
    """The next POST there has no answer, carried out or not."""
    stub.fault("POST", path, end="drop", after=after)


class TestAFreshStart:
    @pytest.mark.parametrize("kind", KINDS, indirect=True)
    async def test_claims_the_slot_and_starts_one_run(
        self, stub: StubDeployment, client: Meddled, process: Process, kind: str
    ) -> None:
        run = await started(process, order(client, **KINDS[kind]), fresh=True)
        assert accepted(stub, SLOT.name) == [run.run_id]
        assert (run.thread_id, run.attempt, run.trigger) == (nowhere(kind), 1, Trigger.SCHEDULE)
        assert run.scheduled_time == SLOT.time
        (claim,) = claims(stub)
        assert claim["thread_id"] == CLAIM
        assert process.spent == []

    @pytest.mark.parametrize(
        ("kind", "told"),
        [
            ("deleted", {"assistantcron_on_run_completed": "delete"}),
            ("kept", {"assistantcron_on_run_completed": "keep", "assistantcron_unused": True}),
            ("given", {"assistantcron_on_run_completed": "delete", "assistantcron_thread": GIVEN}),
            ("own", {"assistantcron_on_run_completed": "delete", "assistantcron_thread": own_thread(UID)}),
        ],
    )
    async def test_the_claim_tells_what_becomes_of_it(
        self, stub: StubDeployment, client: Meddled, process: Process, kind: str, told: Json
    ) -> None:
        await started(process, order(client, **KINDS[kind]), fresh=True)
        (claim,) = claims(stub)
        keys = ("assistantcron_on_run_completed", "assistantcron_unused", "assistantcron_thread")
        assert {key: claim["metadata"][key] for key in keys if key in claim["metadata"]} == told

    async def test_costs_two_requests(self, stub: StubDeployment, client: Meddled, process: Process) -> None:
        before = len(stub.ledger)
        await started(process, order(client), fresh=True)
        assert len(stub.ledger) - before == 2

    async def test_the_request_can_be_found_in_the_servers_log(
        self, stub: StubDeployment, client: Meddled, process: Process
    ) -> None:
        await started(process, order(client), fresh=True)
        (sent,) = stub.requests("POST", RUNS)
        assert sent.headers["x-request-id"] == "team/nightly/2026-03-02T08:00:00Z"

    async def test_of_many_processes_at_once_one_starts(
        self, stub: StubDeployment, client: Meddled, clock: Clock
    ) -> None:
        many = [Process(f"process-{number}", clock) for number in range(10)]
        came = await asyncio.gather(
            *(started(one, order(client), fresh=True) for one in many), return_exceptions=True
        )
        (run,) = accepted(stub, SLOT.name)
        assert {one.run_id for one in came if isinstance(one, ActiveRun)} == {run}
        assert all(isinstance(one, ActiveRun | Unclear) for one in came)


class TestALostClaim:
    """The answer to POST /threads did not come."""

    @pytest.mark.parametrize("kind", KINDS, indirect=True)
    @pytest.mark.parametrize("carried_out", [False, True])
    async def test_is_used_by_its_own_process_at_once(
        self, stub: StubDeployment, client: Meddled, process: Process, kind: str, carried_out: bool
    ) -> None:
        wanted = order(client, **KINDS[kind])
        loses(stub, "/threads", after=carried_out)
        with pytest.raises(Unclear):
            await started(process, wanted, fresh=True)
        run = await started(process, wanted)
        assert accepted(stub, SLOT.name) == [run.run_id]
        assert run.attempt == 1

    async def test_that_comes_late_is_refused(
        self, stub: StubDeployment, client: Meddled, process: Process
    ) -> None:
        loses(stub, "/threads", after=False)
        with pytest.raises(Unclear):
            await started(process, order(client), fresh=True)
        await started(process, order(client))
        with pytest.raises(Conflict):
            await client.create_thread(CLAIM, {})


class TestALostStart:
    """The answer to POST runs did not come."""

    @pytest.mark.parametrize("kind", KINDS, indirect=True)
    async def test_that_was_carried_out_is_adopted(
        self, stub: StubDeployment, client: Meddled, process: Process, kind: str
    ) -> None:
        wanted = order(client, **KINDS[kind])
        loses(stub, RUNS, after=True)
        with pytest.raises(Unclear):
            await started(process, wanted, fresh=True)
        run = await started(process, wanted)
        assert accepted(stub, SLOT.name) == [run.run_id]
        assert (run.thread_id, run.attempt) == (nowhere(kind), 1)

    async def test_that_was_not_is_fenced_and_started_anew(
        self, stub: StubDeployment, client: Meddled, process: Process
    ) -> None:
        loses(stub, RUNS, after=False)
        with pytest.raises(Unclear):
            await started(process, order(client), fresh=True)
        run = await started(process, order(client))
        assert (run.thread_id, run.attempt) == (SECOND, 2)
        assert process.spent == [CLAIM]
        assert original(stub).status_code == 409
        assert accepted(stub, SLOT.name) == [run.run_id]

    async def test_an_answer_of_500_may_hide_a_run(
        self, stub: StubDeployment, client: Meddled, process: Process
    ) -> None:
        stub.fault("POST", RUNS, after=True, status=500, body="Internal Server Error")
        with pytest.raises(Unclear):
            await started(process, order(client), fresh=True)
        # After a 500 the server closes the connection.
        await asyncio.sleep(0.1)
        run = await started(process, order(client))
        assert accepted(stub, SLOT.name) == [run.run_id]

    @pytest.mark.parametrize("kind", SHARED, indirect=True)
    async def test_on_a_shared_thread_its_run_is_waited_for(
        self, stub: StubDeployment, client: Meddled, process: Process, clock: Clock, kind: str
    ) -> None:
        wanted = order(client, **KINDS[kind])
        loses(stub, RUNS, after=False)
        with pytest.raises(Unclear):
            await started(process, wanted, fresh=True)
        clock.forward(SETTLE.total_seconds() - 5)
        with pytest.raises(Unclear) as unclear:
            await started(process, wanted)
        assert unclear.value.retry_after is not None
        assert 0 < unclear.value.retry_after <= 5
        late = original(stub, nowhere(kind)).json()["run_id"]
        assert (await started(process, wanted)).run_id == late
        assert accepted(stub, SLOT.name) == [late]

    @pytest.mark.parametrize("kind", SHARED, indirect=True)
    async def test_on_a_shared_thread_there_is_a_second_try_in_the_end(
        self, stub: StubDeployment, client: Meddled, process: Process, clock: Clock, kind: str
    ) -> None:
        wanted = order(client, **KINDS[kind])
        loses(stub, RUNS, after=False)
        with pytest.raises(Unclear):
            await started(process, wanted, fresh=True)
        clock.forward(SETTLE.total_seconds())
        run = await started(process, wanted)
        assert (run.thread_id, run.attempt) == (nowhere(kind), 2)
        assert accepted(stub, SLOT.name) == [run.run_id]
        assert process.spent == [CLAIM]
        # Looked for by the first claim, it is the second attempt's all the same.
        (found,) = await process.find(wanted, at("07:00"), lambda one: one.thread_id == SECOND)
        assert found.run == run

    @pytest.mark.parametrize("kind", SHARED, indirect=True)
    async def test_on_a_shared_thread_the_wait_begins_with_the_start_and_not_with_an_old_claim(
        self, stub: StubDeployment, client: Meddled, process: Process, clock: Clock, kind: str
    ) -> None:
        wanted = order(client, **KINDS[kind])
        stub.fault("POST", RUNS, status=429)
        with pytest.raises(Transient):
            await started(process, wanted, fresh=True)
        clock.forward(SETTLE.total_seconds())
        loses(stub, RUNS, after=False)
        with pytest.raises(Unclear):
            await started(process, wanted)
        with pytest.raises(Unclear):
            await started(process, wanted)
        late = original(stub, nowhere(kind)).json()["run_id"]
        assert (await started(process, wanted)).run_id == late
        assert accepted(stub, SLOT.name) == [late]

    @pytest.mark.parametrize("kind", SHARED, indirect=True)
    async def test_on_a_shared_thread_a_later_life_waits_for_what_the_earlier_may_have_sent_last(
        self, stub: StubDeployment, client: Meddled, process: Process, clock: Clock, kind: str
    ) -> None:
        wanted = order(client, **KINDS[kind])
        stub.fault("POST", RUNS, status=429)
        with pytest.raises(Transient):
            await started(process, wanted, fresh=True)
        clock.forward(SETTLE.total_seconds())
        loses(stub, RUNS, after=False)
        with pytest.raises(Unclear):
            await started(process, wanted)
        later = Process("later", clock)
        with pytest.raises(Unclear):
            await started(later, wanted)
        late = original(stub, nowhere(kind)).json()["run_id"]
        assert (await started(later, wanted)).run_id == late
        assert accepted(stub, SLOT.name) == [late]

    async def test_a_connection_that_was_refused_leaves_the_claim_usable(
        self, stub: StubDeployment, client: Meddled, process: Process
    ) -> None:
        async def refuse() -> None:
            stub.refuse()
            # The client is to see that its connections are closed.
            await asyncio.sleep(0.1)

        client.before["create_run"] = refuse
        with pytest.raises(Transient) as error:
            await started(process, order(client), fresh=True)
        assert not isinstance(error.value, Unclear)
        stub.listen()
        run = await started(process, order(client))
        assert (run.thread_id, run.attempt) == (CLAIM, 1)
        assert fences(stub) == []

    async def test_429_leaves_the_claim_usable(
        self, stub: StubDeployment, client: Meddled, process: Process
    ) -> None:
        stub.fault("POST", RUNS, status=429, headers={"retry-after": "7"}, body={"detail": "later"})
        with pytest.raises(Transient) as error:
            await started(process, order(client), fresh=True)
        assert error.value.retry_after == 7
        assert (await started(process, order(client))).attempt == 1


class TestTheFence:
    """A late original that lands between the looks."""

    @pytest.fixture
    async def unclear(self, stub: StubDeployment, client: Meddled, process: Process) -> Order:
        """An order whose first start was lost on its way."""
        loses(stub, RUNS, after=False)
        wanted = order(client)
        with pytest.raises(Unclear):
            await started(process, wanted, fresh=True)
        return wanted

    async def test_an_original_before_the_fence_is_adopted(
        self, stub: StubDeployment, client: Meddled, process: Process, unclear: Order
    ) -> None:
        client.before["fence"] = lambda: original(stub)
        run = await started(process, unclear)
        assert accepted(stub, SLOT.name) == [run.run_id]
        assert run.attempt == 1
        assert process.spent == []

    async def test_an_original_that_came_and_went_before_the_fence_is_adopted_and_the_fence_taken_down(
        self, stub: StubDeployment, client: Meddled, process: Process, unclear: Order
    ) -> None:
        def come_and_go() -> None:
            run = original(stub).json()["run_id"]
            httpx.post(f"{stub.url}/threads/{CLAIM}/runs/{run}/cancel?wait=1", trust_env=False)

        client.before["fence"] = come_and_go
        run = await started(process, unclear)
        assert accepted(stub, SLOT.name) == [run.run_id]
        assert fences(stub) == []

    async def test_an_original_after_the_fence_is_refused(
        self, stub: StubDeployment, client: Meddled, process: Process, unclear: Order
    ) -> None:
        answers: list[int] = []
        client.after["fence"] = lambda: answers.append(original(stub).status_code)
        run = await started(process, unclear)
        assert answers == [409]
        assert accepted(stub, SLOT.name) == [run.run_id]

    @pytest.mark.parametrize("carried_out", [False, True])
    async def test_a_fence_whose_answer_is_lost_is_put_up_again(
        self, stub: StubDeployment, process: Process, unclear: Order, carried_out: bool
    ) -> None:
        loses(stub, RUNS, after=carried_out)
        with pytest.raises(Unclear):
            await started(process, unclear)
        run = await started(process, unclear)
        assert run.attempt == 2
        assert original(stub).status_code == 409
        assert accepted(stub, SLOT.name) == [run.run_id]
        assert len(fences(stub)) == 1

    async def test_one_that_was_left_standing_is_taken_down_by_whoever_adopts(
        self, stub: StubDeployment, client: Meddled, process: Process, other: Process, unclear: Order
    ) -> None:
        def come_and_go() -> None:
            run = original(stub).json()["run_id"]
            httpx.post(f"{stub.url}/threads/{CLAIM}/runs/{run}/cancel?wait=1", trust_env=False)

        def die() -> NoReturn:
            raise KeyboardInterrupt

        client.before["fence"] = come_and_go
        client.before["cancel_run"] = die
        with pytest.raises(KeyboardInterrupt):
            await started(process, unclear)
        assert len(fences(stub)) == 1
        run = await started(other, unclear)
        assert accepted(stub, SLOT.name) == [run.run_id]
        assert fences(stub) == []

    async def test_it_would_not_run_within_anybodys_memory(
        self, stub: StubDeployment, process: Process, unclear: Order
    ) -> None:
        await started(process, unclear)
        (fence,) = fences(stub)
        assert fence["created_at"] > "2030"

    @pytest.mark.parametrize("status", [400, 404, 422])
    async def test_where_the_server_takes_none_it_takes_no_original_either(
        self, stub: StubDeployment, process: Process, unclear: Order, status: int
    ) -> None:
        stub.fault("POST", f"/threads/{CLAIM}/runs", status=status, body={"detail": "no such assistant"})
        assert (await started(process, unclear)).attempt == 2

    async def test_without_a_right_to_put_it_up_nothing_is_started(
        self, stub: StubDeployment, process: Process, unclear: Order
    ) -> None:
        stub.fault("POST", f"/threads/{CLAIM}/runs", status=403, body={"detail": "no"})
        with pytest.raises(Refused) as error:
            await started(process, unclear)
        assert error.value.reason == "Unauthorized"
        assert accepted(stub, SLOT.name) == []


class TestTakingOver:
    """The claim is another process's: a crashed one, or one that is at it."""

    @pytest.fixture(params=KINDS)
    async def claimed(self, request: pytest.FixtureRequest, client: Meddled, process: Process) -> Order:
        """An order that a process has claimed, and got no further."""
        wanted = order(client, **KINDS[request.param])
        process.leads = False
        with pytest.raises(Transient) as error:
            await started(process, wanted, fresh=True)
        assert error.value.reason == "NotLeader"
        return wanted

    @staticmethod
    def patience(wanted: Order) -> float:
        return (TAKE_OVER if wanted.spec.thread is None else SETTLE).total_seconds()

    async def test_the_claim_of_a_live_one_is_respected(
        self, stub: StubDeployment, other: Process, clock: Clock, claimed: Order
    ) -> None:
        clock.forward(self.patience(claimed) - 3)
        with pytest.raises(Unclear) as unclear:
            await started(other, claimed, fresh=True)
        assert unclear.value.retry_after is not None
        assert 0 < unclear.value.retry_after <= 3
        assert accepted(stub, SLOT.name) == []

    async def test_nobody_waits_longer_at_once_than_for_a_live_one(
        self, other: Process, claimed: Order
    ) -> None:
        with pytest.raises(Unclear) as unclear:
            await started(other, claimed, fresh=True)
        assert unclear.value.retry_after is not None
        assert 5 < unclear.value.retry_after <= TAKE_OVER.total_seconds()

    async def test_an_old_one_is_given_up(
        self, stub: StubDeployment, other: Process, clock: Clock, claimed: Order
    ) -> None:
        clock.forward(self.patience(claimed))
        run = await started(other, claimed, fresh=True)
        assert accepted(stub, SLOT.name) == [run.run_id]
        assert run.attempt == 2
        assert other.spent == [CLAIM]

    async def test_the_first_process_goes_on_when_it_leads_again(
        self, stub: StubDeployment, process: Process, claimed: Order
    ) -> None:
        process.leads = True
        run = await started(process, claimed)
        assert accepted(stub, SLOT.name) == [run.run_id]
        assert run.attempt == 1

    async def test_the_first_process_adopts_what_the_other_has_started(
        self, stub: StubDeployment, process: Process, other: Process, clock: Clock, claimed: Order
    ) -> None:
        clock.forward(self.patience(claimed))
        run = await started(other, claimed, fresh=True)
        process.leads = True
        assert await started(process, claimed) == run
        assert accepted(stub, SLOT.name) == [run.run_id]

    async def test_of_many_that_take_over_at_once_one_starts(
        self, stub: StubDeployment, clock: Clock, claimed: Order
    ) -> None:
        many = [Process(f"process-{number}", clock) for number in range(10)]
        clock.forward(self.patience(claimed))
        came = await asyncio.gather(
            *(started(one, claimed, fresh=True) for one in many), return_exceptions=True
        )
        (run,) = accepted(stub, SLOT.name)
        assert {one.run_id for one in came if isinstance(one, ActiveRun)} <= {run}
        assert all(isinstance(one, ActiveRun | Unclear) for one in came)

    async def test_the_first_process_is_stopped_by_the_fence_between_claim_and_start(
        self, stub: StubDeployment, client: Meddled, process: Process
    ) -> None:
        """Frozen after its check, it posts when another has taken over."""
        fence = {"assistant_id": "agent", "metadata": {"assistantcron_fence": True}, "after_seconds": 3600}
        url = f"{stub.url}/threads/{CLAIM}/runs"
        client.before["create_run"] = lambda: httpx.post(url, json=fence, trust_env=False)
        with pytest.raises(Unclear):
            await started(process, order(client), fresh=True)
        run = await started(process, order(client))
        assert run.attempt == 2
        assert accepted(stub, SLOT.name) == [run.run_id]


class TestARefusal:
    @pytest.mark.parametrize(
        ("kind", "status", "detail", "error", "reason"),
        [
            ("kept", 422, "Invalid assistant: 'agent'. Must be either", Refused, "AssistantNotFound"),
            ("kept", 404, "Thread or assistant not found.", Refused, "AssistantNotFound"),
            ("kept", 400, "Cannot specify both", Refused, "Rejected"),
            ("kept", 413, "Request body too large", Refused, "Rejected"),
            ("kept", 401, "who are you", Refused, "Unauthorized"),
            ("given", 409, "Thread is already running a task.", Conflict, "ThreadBusy"),
            ("given", 422, "Thread is already running a task.", Conflict, "ThreadBusy"),
            ("given", 404, "Thread or assistant not found.", Refused, "AssistantNotFound"),
        ],
    )
    async def test_is_told_and_the_claim_is_spent(
        self,
        stub: StubDeployment,
        client: Meddled,
        process: Process,
        kind: str,
        status: int,
        detail: str,
        error: type[Refused],
        reason: str,
    ) -> None:
        stub.fault("POST", RUNS, status=status, body={"detail": detail})
        with pytest.raises(error) as refused:
            await started(process, order(client, **KINDS[kind]), fresh=True)
        assert refused.value.reason == reason
        assert process.spent == [CLAIM]
        # Should it be worth another try after all, that is made on the same claim, and at once.
        run = await started(process, order(client, **KINDS[kind]))
        assert (run.attempt, accepted(stub, SLOT.name)) == (1, [run.run_id])

    async def test_a_given_thread_that_is_gone_is_named(self, client: Meddled, process: Process) -> None:
        await client.delete_thread(GIVEN)
        with pytest.raises(Refused, match=GIVEN) as refused:
            await started(process, order(client, **KINDS["given"]), fresh=True)
        assert refused.value.reason == "ThreadNotFound"

    async def test_an_own_thread_is_made_on_every_deployment_that_the_resource_is_moved_to(
        self, process: Process, client: Meddled
    ) -> None:
        await started(process, order(client, **KINDS["own"]), fresh=True)
        with StubDeployment() as elsewhere:
            moved = Meddled(elsewhere.url)
            run = await process.start(order(moved, **KINDS["own"]), Slot(at("09:00")), fresh=True)
            await moved.close()
            assert run.thread_id == own_thread(UID)
            assert own_thread(UID) in elsewhere.state.threads

    async def test_an_own_thread_that_is_gone_is_made_anew_for_the_next_slot(
        self, client: Meddled, process: Process
    ) -> None:
        wanted = order(client, **KINDS["own"])
        await started(process, wanted, fresh=True)
        await client.delete_thread(own_thread(UID))
        with pytest.raises(Refused) as refused:
            await process.start(wanted, Slot(at("09:00")), fresh=True)
        assert refused.value.reason == "ThreadNotFound"
        run = await process.start(wanted, Slot(at("10:00")), fresh=True)
        assert run.thread_id == own_thread(UID)

    async def test_of_a_claim_that_was_taken_away_is_no_end(
        self, stub: StubDeployment, client: Meddled, process: Process
    ) -> None:
        client.before["create_run"] = lambda: httpx.delete(f"{stub.url}/threads/{CLAIM}", trust_env=False)
        with pytest.raises(Unclear, match="taken away"):
            await started(process, order(client), fresh=True)
        run = await started(process, order(client))
        assert accepted(stub, SLOT.name) == [run.run_id]

    async def test_of_the_claim_itself_leaves_nothing(
        self, stub: StubDeployment, client: Meddled, process: Process
    ) -> None:
        stub.fault("POST", "/threads", status=403, body={"detail": "no"})
        with pytest.raises(Refused):
            await started(process, order(client), fresh=True)
        assert claims(stub) == []
        assert process.spent == []


class TestAnEditInBetween:
    """A start is unclear, and then somebody changes where runs go."""

    @pytest.mark.parametrize(
        ("before", "after"), [("deleted", "given"), ("given", "deleted"), ("given", "own")]
    )
    async def test_the_run_is_found_where_it_was_sent(
        self, stub: StubDeployment, client: Meddled, process: Process, before: str, after: str
    ) -> None:
        wanted = order(client, **KINDS[before])
        loses(stub, RUNS, after=True)
        with pytest.raises(Unclear):
            await started(process, wanted, fresh=True)
        run = await started(process, edited(wanted, **{"thread": None, **KINDS[after]}))
        assert run.thread_id == nowhere(before)
        assert accepted(stub, SLOT.name) == [run.run_id]

    @pytest.mark.parametrize(
        ("before", "after"), [("deleted", "given"), ("given", "deleted"), ("given", "own")]
    )
    async def test_a_claim_on_which_nothing_was_sent_is_left_for_one_that_tells_the_right_thread(
        self, stub: StubDeployment, client: Meddled, process: Process, before: str, after: str
    ) -> None:
        wanted = order(client, **KINDS[before])
        loses(stub, "/threads", after=True)
        with pytest.raises(Unclear):
            await started(process, wanted, fresh=True)
        run = await started(process, edited(wanted, **{"thread": None, **KINDS[after]}))
        assert run.attempt == 2
        assert run.thread_id == (SECOND if after == "deleted" else nowhere(after))
        assert process.spent == [CLAIM]
        assert fences(stub) == []


class TestFinding:
    """After a restart: what an earlier life has started, and status may not know."""

    @pytest.mark.parametrize("kind", KINDS, indirect=True)
    async def test_a_run_is_found_with_its_slot(
        self, client: Meddled, process: Process, other: Process, kind: str
    ) -> None:
        wanted = order(client, **KINDS[kind])
        run = await started(process, wanted, fresh=True)
        (found,) = await other.find(wanted, at("07:00"), lambda _: False)
        assert (found.slot_name, found.run) == (SLOT.name, run)

    async def test_a_request_is_found_with_its_name(
        self, client: Meddled, process: Process, other: Process
    ) -> None:
        slot = Slot(at("08:00"), "please")
        run = await process.start(order(client), slot, fresh=True)
        (found,) = await other.find(order(client), at("07:00"), lambda _: False)
        assert (found.slot_name, found.run) == (slot.name, run)
        assert found.run.trigger is Trigger.MANUAL

    async def test_what_is_recorded_is_not_asked_about(
        self, stub: StubDeployment, client: Meddled, process: Process, other: Process
    ) -> None:
        await started(process, order(client), fresh=True)
        before = len(stub.ledger)
        assert await other.find(order(client), at("07:00"), lambda _: True) == ()
        assert len(stub.ledger) - before == 1

    async def test_what_is_not_clear_yet_must_be_waited_for(
        self, stub: StubDeployment, client: Meddled, process: Process, other: Process
    ) -> None:
        loses(stub, RUNS, after=False)
        with pytest.raises(Unclear):
            await started(process, order(client), fresh=True)
        with pytest.raises(Unclear):
            await other.find(order(client), at("07:00"), lambda _: False)

    async def test_what_came_to_nothing_is_given_up(
        self, stub: StubDeployment, client: Meddled, process: Process, other: Process, clock: Clock
    ) -> None:
        loses(stub, RUNS, after=False)
        with pytest.raises(Unclear):
            await started(process, order(client), fresh=True)
        clock.forward(TAKE_OVER.total_seconds())
        assert await other.find(order(client), at("07:00"), lambda _: False) == ()
        assert original(stub).status_code == 409
        assert other.spent == [CLAIM]

    async def test_claims_before_the_watermark_are_not_looked_at(
        self, client: Meddled, process: Process, other: Process, clock: Clock
    ) -> None:
        await started(process, order(client), fresh=True)
        assert await other.find(order(client), clock() + HOUR, lambda _: False) == ()

    async def test_another_resources_run_is_not_found(
        self, client: Meddled, process: Process, other: Process
    ) -> None:
        await started(process, order(client), fresh=True)
        stranger = order(client, uid="5d1f3c1a-7c55-4d5e-9a53-0a5f6a3e7b11")
        assert await other.find(stranger, at("07:00"), lambda _: False) == ()


class TestACopyOfAThread:
    """A person copies a slot's thread, to try something out: the copy has all its metadata."""

    async def test_is_neither_the_claim_nor_its_run(
        self, stub: StubDeployment, client: Meddled, process: Process, other: Process
    ) -> None:
        run = await started(process, order(client), fresh=True)
        (claim,) = claims(stub)
        copied = {**claim["metadata"], "assistantcron_attempt": 7}
        copy = "1f0c3b52-52a4-4b0e-8a25-3a5c1f1f5a01"
        await client.create_thread(copy, copied)
        await client.create_run(copy, {"assistant_id": "agent", "input": {}}, request_id="a person's")
        assert await started(other, order(client)) == run
        (found,) = await other.find(order(client), at("07:00"), lambda _: False)
        assert found.run == run
