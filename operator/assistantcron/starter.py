"""Exactly once: claim, check, start; or find what an earlier life has started (design §4).

Called by `reconciler.py` for the one slot that `decide.py` asks for. The slot's thread, whose ID anybody can
compute and which the server makes only once, is the lock. For a run on a given or own thread it is only the
lock, and the run is found again there by our metadata.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from assistantcron import payload
from assistantcron.deployment import Deployment
from assistantcron.errors import Conflict, NotFound, Refused, Transient, Unclear
from assistantcron.records import Run, Thread
from assistantcron.resource import ActiveRun, Resource, Slot, Trigger, own_thread, slot_thread
from assistantcron.rules import Found
from assistantcron.schedule import Schedule
from assistantcron.spec import AssistantCronSpec

TAKE_OVER = timedelta(seconds=10)
"""Age from which another process's claim without a run is fenced: longer than a live one needs to start."""
SETTLE = timedelta(seconds=60)
"""How long an unclear start on a shared thread, where nothing can be fenced, is looked for before another."""
TEN_YEARS = 315_360_000
"""After which a fence would run: a run that nobody has asked for, should its thread still be there."""


@dataclass(frozen=True)
class Order:
    """What is to be started, and where."""

    resource: Resource
    spec: AssistantCronSpec
    schedule: Schedule
    client: Deployment

    @property
    def shared_thread(self) -> str | None:
        """The thread, given or own, that all runs use; None where each has its own."""
        if self.spec.thread is None:
            return None
        return self.spec.thread.id or own_thread(self.resource.uid)


class _Claim(Enum):
    USABLE = "ours, and nothing was sent on it"
    SPENT = "no run came of it, and none can come any more"


class Starter:
    """One per process: its token tells its own claims from others'."""

    def __init__(
        self,
        token: str,
        *,
        may_act: Callable[[], bool],
        now: Callable[[], datetime],
        spent: Callable[[Order, str], None],
    ) -> None:
        """`may_act()` is asked between claim and start: a process that has lost its leadership stops there.

        `spent(order, thread_id)` is told of claims that nobody needs once the slot is recorded, if they are
        empty then.
        """
        self._token = token
        self._may_act = may_act
        self._now = now
        self._spent = spent
        self._begun = now()
        self._posted: dict[str, datetime] = {}
        self._own_threads: set[tuple[str, str]] = set()

    async def start(self, order: Order, slot: Slot, *, fresh: bool) -> ActiveRun:
        """Start the slot, or adopt its run. `fresh`: surely nobody has tried before.

        Raises `Refused` (record it; `Conflict`: somebody else is using the thread), `Transient` (try again)
        or `Unclear` (try again, not `fresh`).
        """
        attempt = 1
        if not fresh:
            wanted = {payload.UID: order.resource.uid, payload.SLOT: slot.name}
            claims = [one for one in await order.client.search_threads(wanted) if payload.is_claim(one)]
            if claims:
                last = max(claims, key=_attempt)
                settled = await self._settle(order, last)
                if isinstance(settled, ActiveRun):
                    return settled
                if settled is _Claim.USABLE:
                    return await self._post(order, slot, _attempt(last))
                attempt = _attempt(last) + 1
        try:
            await order.client.create_thread(
                slot_thread(order.resource.uid, slot.name, attempt), self._metadata(order, slot, attempt)
            )
        except Conflict:
            if fresh:
                return await self.start(order, slot, fresh=False)
            raise Unclear(
                "another process is starting this slot", reason="StartUnclear", retry_after=1.0
            ) from None
        return await self._post(order, slot, attempt)

    async def find(
        self, order: Order, since: datetime, recorded: Callable[[Thread], bool | None]
    ) -> tuple[Found, ...]:
        """The runs that status may not know: those of slots claimed after `since` and not `recorded`."""
        wanted = {payload.UID: order.resource.uid, payload.OPERATOR: "run"}
        found = []
        # The margin is for the server's clock.
        for claim in await order.client.search_threads(wanted, created_since=since - timedelta(minutes=5)):
            if recorded(claim) or not payload.is_claim(claim):
                continue
            settled = await self._settle(order, claim)
            if isinstance(settled, ActiveRun):
                found.append(Found(str(claim.metadata.get(payload.SLOT)), settled))
        return tuple(found)

    def _metadata(self, order: Order, slot: Slot, attempt: int) -> dict[str, Any]:
        """The claim's: who, which slot, whose process, and whether the thread goes in the end."""
        metadata = {**payload.slot_metadata(order.resource, slot, attempt), payload.CLAIM: self._token}
        if order.shared_thread is not None:
            return metadata | {payload.DISPOSAL: "delete", payload.THREAD: order.shared_thread}
        if order.spec.deletes_threads:
            return metadata | {payload.DISPOSAL: "delete"}
        return metadata | {payload.DISPOSAL: "keep", payload.UNUSED: True}

    async def _post(self, order: Order, slot: Slot, attempt: int) -> ActiveRun:
        claim = slot_thread(order.resource.uid, slot.name, attempt)
        shared = order.shared_thread
        if order.spec.thread is not None and order.spec.thread.id is None:
            await self._make_own_thread(order)
        values = payload.variables(order.resource, slot, order.schedule.zone)
        body = payload.run_body(order.spec, values, payload.slot_metadata(order.resource, slot, attempt))
        if not self._may_act():
            raise Transient("this process is not the leader any more", reason="NotLeader")
        self._posted[claim] = self._now()
        try:
            run = await order.client.create_run(
                shared or claim, body, request_id=f"{order.resource.key}/{slot.name}"
            )
        except Unclear:
            raise
        except Transient:
            del self._posted[claim]
            raise
        except Refused as error:
            cause = await self._explain(order, claim, error)
            if not isinstance(cause, Unclear):
                del self._posted[claim]
                self._spent(order, claim)
            raise cause from None
        del self._posted[claim]
        return _active(run, slot.time, slot.trigger, attempt)

    async def _explain(self, order: Order, claim: str, error: Refused) -> Refused | Unclear:
        """What a refused start means: servers answer alike for no thread, a busy one, no assistant."""
        if isinstance(error, NotFound | Conflict):
            thread = order.shared_thread or claim
            try:
                await order.client.thread(thread)
            except NotFound:
                self._own_threads.discard((order.client.url, thread))
                if thread == claim:
                    return Unclear("the slot's claim was taken away", reason="StartUnclear")
                return Refused(f"thread {thread} does not exist on the deployment", reason="ThreadNotFound")
            if isinstance(error, Conflict):
                if thread == claim:
                    return Unclear("a run is on the slot's thread already", reason="StartUnclear")
                return Conflict("somebody else was using the thread", reason="ThreadBusy")
        if isinstance(error, NotFound) or error.reason == "AssistantNotFound":
            return Refused(
                f"the deployment has no assistant {order.spec.assistant}", reason="AssistantNotFound"
            )
        return error

    async def _make_own_thread(self, order: Order) -> None:
        uid = order.resource.uid
        thread = own_thread(uid)
        # An edit may have moved the resource to another deployment.
        if (order.client.url, thread) not in self._own_threads:
            key = order.resource.key
            metadata = {
                payload.OPERATOR: "own",
                payload.UID: uid,
                payload.NAMESPACE: key.namespace,
                payload.NAME: key.name,
            }
            await order.client.create_thread(thread, metadata, if_exists="do_nothing")
            self._own_threads.add((order.client.url, thread))

    async def _settle(self, order: Order, claim: Thread) -> ActiveRun | _Claim:
        """What became of a claim: its run, or that it may be used, or that it is spent."""
        if (adopted := await self._adopt(order, claim)) is not None:
            return adopted
        # Not what the spec says now: it may have been edited since.
        shared = claim.metadata.get(payload.THREAD)
        mine = claim.metadata.get(payload.CLAIM) == self._token
        if not mine or claim.thread_id in self._posted:
            if shared is not None:
                # The claim may be much older than the start: ours is known, an earlier life's ended with it.
                self._await(SETTLE, self._posted.get(claim.thread_id) or max(claim.created_at, self._begun))
            else:
                self._await(timedelta(0) if mine else TAKE_OVER, claim.created_at)
                # While the fence is pending, a late original is refused. Reading alone would let that land
                # between the look and the next attempt (measured: 3 doubled of 240; with the fence 0).
                await self._fence(order, claim)
                if (adopted := await self._adopt(order, claim)) is not None:
                    return adopted
        elif shared == order.shared_thread:
            return _Claim.USABLE
        self._spent(order, claim.thread_id)
        return _Claim.SPENT

    def _await(self, patience: timedelta, since: datetime) -> None:
        """Give the start that may have been sent on a claim that much time."""
        left = patience - (self._now() - since)
        if left > timedelta(0):
            text = "the slot's start is not clear yet: waiting for its run to appear"
            raise Unclear(text, reason="StartUnclear", retry_after=min(left, TAKE_OVER).total_seconds())

    async def _fence(self, order: Order, claim: Thread) -> None:
        body = {
            "assistant_id": order.spec.assistant,
            "input": {},
            "metadata": {payload.FENCE: True},
            "multitask_strategy": "reject",
            "after_seconds": TEN_YEARS,
        }
        try:
            await order.client.create_run(claim.thread_id, body, request_id=f"{order.resource.key}/fence")
        except Refused as error:
            # A run or a fence is there, which the next look tells; or the thread is gone, or the assistant,
            # and then a late original is refused as well.
            if error.reason == "Unauthorized":
                raise

    async def _adopt(self, order: Order, claim: Thread) -> ActiveRun | None:
        """The claim's run, if there is one: the oldest, for a person's resume run inherits our metadata."""
        uid, slot = claim.metadata.get(payload.UID), claim.metadata.get(payload.SLOT)
        try:
            runs = await order.client.runs(claim.metadata.get(payload.THREAD) or claim.thread_id)
        except NotFound:
            return None
        fences = [run for run in runs if run.metadata.get(payload.FENCE)]
        for run in runs:
            ours = (run.metadata.get(payload.UID), run.metadata.get(payload.SLOT)) == (uid, slot)
            if ours and run not in fences:
                await self._take_down(order, fences)
                self._posted.pop(claim.thread_id, None)
                trigger = Trigger(claim.metadata.get(payload.TRIGGER, Trigger.SCHEDULE))
                scheduled = datetime.fromisoformat(str(claim.metadata[payload.SCHEDULED_TIME]))
                # On a shared thread it may be another attempt's than this claim's.
                return _active(run, scheduled, trigger, _attempt(run))
        return None

    async def _take_down(self, order: Order, fences: list[Run]) -> None:
        """Whoever adopts cancels: a process may have died, or had no answer, between fence and cancel."""
        for fence in fences:
            if fence.status == "pending":
                with contextlib.suppress(Refused):
                    await order.client.cancel_run(fence.thread_id, fence.run_id)


def _attempt(one: Thread | Run) -> int:
    attempt = one.metadata.get(payload.ATTEMPT)
    return attempt if isinstance(attempt, int) and attempt > 0 else 1


def _active(run: Run, scheduled: datetime, trigger: Trigger, attempt: int) -> ActiveRun:
    return ActiveRun(
        run_id=run.run_id,
        thread_id=run.thread_id,
        scheduled_time=scheduled,
        start_time=run.created_at,
        trigger=trigger,
        attempt=attempt,
    )
