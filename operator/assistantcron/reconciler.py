"""One pass over one resource: observe → decide → act → fold → write the status once → next wake.

`scheduler.py` calls `look(key)`. What is decided stands in `decide.py`, how a slot is started once in
`starter.py`, what a status becomes in `status.py`, how it is written in `recorder.py`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from assistantcron.background import backoff
from assistantcron.decide import Decision, decide, decide_invalid, did_not_start, due, undecided
from assistantcron.deployment import Deployment
from assistantcron.errors import AssistantCronError, Conflict, InvalidSpec, Transient, Unclear
from assistantcron.facts import Fact, Health, Started
from assistantcron.follower import Follower
from assistantcron.lookups import KEPT_BAD, Lookups
from assistantcron.recorder import Recorder
from assistantcron.resource import Key, Resource, Slot
from assistantcron.rules import Found, Retry, View
from assistantcron.schedule import Schedule
from assistantcron.spec import AssistantCronSpec, parse_spec
from assistantcron.starter import Order, Starter
from assistantcron.status import Frame, fold
from assistantcron.table import Memory, Table
from assistantcron.targets import Targets, mend_of_credentials

log = logging.getLogger("assistantcron")

PASSING = timedelta(seconds=1)
"""Until another look at what the API server did not answer."""
SUSPENDED = Health(ready=True, reason="Suspended", message="no slot starts while spec.suspend is true")


@dataclass(frozen=True)
class Reconciler:
    """The parts that a pass uses; `wake(key, at)` asks for another one."""

    table: Table
    targets: Targets
    lookups: Lookups
    starter: Starter
    follower: Follower
    recorder: Recorder
    wake: Callable[[Key, datetime], None]
    now: Callable[[], datetime]

    async def look(self, key: Key) -> None:
        """Bring one resource up to date. Raises nothing for what its author or its deployment got wrong."""
        memory = self.table.get(key)
        if memory is None:
            return
        seen = memory.resource
        try:
            await self._pass(memory)
        except AssistantCronError as error:
            log.warning("will look again: %s", error.message, extra=key.where)
            wait = PASSING if isinstance(error, Transient) else KEPT_BAD
            self.wake(key, self.now() + wait * random.uniform(1.0, 2.0))
        else:
            met = memory.resource
            if (met.generation, met.run_request) != (seen.generation, seen.run_request):
                # An edit that the write met: when the watch brings it, it is no news any more.
                self.wake(key, self.now())

    def gone(self, memory: Memory) -> None:
        """The resource was deleted: no more runs; what is in flight is let end."""
        uid = memory.resource.uid
        self.recorder.deleted(memory, self.follower.clients(uid))
        self.follower.forget(uid)

    def interrupted(self, key: Key) -> None:
        """A pass broke off in the middle."""
        if (memory := self.table.get(key)) is not None:
            memory.unsure = True

    async def _pass(self, memory: Memory) -> None:
        resource, now = memory.resource, self.now()
        try:
            spec = parse_spec(resource.spec)
            schedule = Schedule.parse(spec.expressions, spec.time_zone)
        except InvalidSpec as error:
            frame = Frame(resource.generation, None, suspended=False, now=now)
            health = Health(ready=False, reason=error.reason, message=error.message, stalled=True)
            tried = tuple(memory.retries.values())
            decision = decide_invalid(_caught_up(memory, frame), error, now, tried)
            facts = [*self.follower.ended(resource.uid), *decision.facts, health]
            if await self._record(memory, facts, frame):
                memory.retries.clear()
            return
        frame = Frame(
            resource.generation,
            schedule,
            spec.suspend,
            now,
            spec.successful_runs_history_limit,
            spec.failed_runs_history_limit,
        )
        resource = _caught_up(memory, frame)
        _forget_answered(memory, resource)
        client, health = await self._deployment(resource, spec)
        memory.client = client or memory.client
        view = View(resource, spec, schedule, retries=tuple(memory.retries.values()))
        try:
            view = await self._observe(memory, view, client or health)
            decision = decide(view, now)
        except AssistantCronError as error:
            # Not knowing what runs, nothing may be started or skipped.
            for slot in due(view, now):
                self._postpone(memory, slot, error)
            decision = Decision(self.follower.ended(resource.uid), wake=now + KEPT_BAD)
        facts = list(decision.facts)
        if decision.start is not None:
            if not await self._still_so(memory):
                return
            facts += await self._start(memory, view, client or health, decision.start)
        if memory.retries and health.ready:
            last = max(memory.retries.values(), key=lambda retry: retry.slot.time)
            health = Health(ready=False, reason=last.reason, message=f"the deployment: {last.message}")
        facts.append(health)
        if await self._record(memory, facts, frame):
            self._look_forward(memory, client, decision, health)

    async def _record(self, memory: Memory, facts: list[Fact], frame: Frame) -> bool:
        """Write what was found out; False if the resource is gone, and then its runs are forgotten."""
        uid = memory.resource.uid
        written = await self.recorder.record(memory, facts, frame, self.follower.clients(uid))
        if written and self._there(memory):
            return True
        self.follower.forget(uid)
        return False

    async def _still_so(self, memory: Memory) -> bool:
        """The last look before a start: what has changed is judged anew, what is gone is forgotten."""
        resource = memory.resource
        current = await self.recorder.current(memory, self.follower.clients(resource.uid))
        if not self._there(memory):
            self.follower.forget(resource.uid)
            return False
        if not current:
            self.wake(resource.key, self.now())
        return current

    def _there(self, memory: Memory) -> bool:
        """Whether the watch has not told meanwhile that the resource was deleted, or made again."""
        return self.table.get(memory.resource.key) is memory

    async def _deployment(
        self, resource: Resource, spec: AssistantCronSpec
    ) -> tuple[Deployment | None, Health]:
        """The client of the resource's deployment, and whether that and what it is to run are known good."""
        try:
            client = await self.targets.client(resource.key, spec)
        except AssistantCronError as error:
            passing = isinstance(error, Transient)
            return None, Health(ready=False, reason=error.reason, message=error.message, stalled=not passing)
        health = await self.lookups.health(client, spec.assistant, spec.thread.id if spec.thread else None)
        if health.reason == "Unauthorized":
            health = replace(health, message=f"{health.message}; {mend_of_credentials(spec)}")
        return client, SUSPENDED if spec.suspend and health.ready else health

    async def _observe(self, memory: Memory, view: View, client: Deployment | Health) -> View:
        """What the server knows and status does not: runs that have ended, and runs of an earlier life."""
        uid, through = view.resource.uid, view.resource.status.accounted_through
        found: tuple[Found, ...] = ()
        look = undecided(view, self.now())
        if not isinstance(client, Health):
            self.follower.follow(view.resource, client)
            if look:
                await self.follower.look(uid)
                if memory.unsure and through is not None:
                    order = Order(view.resource, view.spec, view.schedule, client)
                    found = await self.starter.find(order, through, self.table.recorded)
        elif look and memory.unsure:
            raise Transient(client.message, reason=client.reason)
        memory.unsure = False
        for one in found:
            memory.retries.pop(one.slot_name, None)
        retries = tuple(memory.retries.values())
        return replace(view, ended=self.follower.ended(uid), found=found, retries=retries)

    async def _start(self, memory: Memory, view: View, client: Deployment | Health, slot: Slot) -> list[Fact]:
        """Start the slot, if there is a client and not just the reason why there is none; what came of it."""
        if isinstance(client, Health):
            if client.stalled:
                return [did_not_start(slot, "Missed", client.reason, client.message, self.now())]
            self._postpone(memory, slot, Transient(client.message, reason=client.reason))
            return []
        order = Order(view.resource, view.spec, view.schedule, client)
        fresh = slot.name not in memory.retries
        try:
            run = await self.starter.start(order, slot, fresh=fresh)
        except Conflict as error:
            fact = did_not_start(slot, "Skipped", error.reason, error.message, self.now())
        except Transient as error:
            self._postpone(memory, slot, error)
            return []
        except AssistantCronError as error:
            if error.reason == "Unauthorized" and (passing := await self._renewed(view, client, error)):
                self._postpone(memory, slot, passing)
                return []
            self.lookups.distrust(client)
            fact = did_not_start(slot, "Missed", error.reason, _told(view.spec, error), self.now())
        else:
            fact = Started(run, slot.token)
        memory.retries.pop(slot.name, None)
        return [fact]

    async def _renewed(self, view: View, client: Deployment, refusal: AssistantCronError) -> Transient | None:
        """After a 401 or 403: why the start is worth another try; None if the key is what it was."""
        try:
            new = await self.targets.renewed(view.resource.key, view.spec, client)
        except Transient as unread:
            return unread
        except AssistantCronError:
            return None
        return Transient(refusal.message, reason=refusal.reason, retry_after=0.0) if new else None

    def _postpone(self, memory: Memory, slot: Slot, error: AssistantCronError) -> None:
        """Try the slot again later: after what the server asked for, or twice as long as last time."""
        memory.unsure = memory.unsure or isinstance(error, Unclear)
        old = memory.retries.get(slot.name)
        failures = old.failures + 1 if old else 1
        wait = getattr(error, "retry_after", None)
        if wait is None:
            wait = backoff(failures) * random.uniform(0.5, 1.0)
        not_before = self.now() + timedelta(seconds=wait)
        first = old.slot if old else slot
        memory.retries[slot.name] = Retry(first, error.reason, error.message, not_before, failures)

    def _look_forward(
        self, memory: Memory, client: Deployment | None, decision: Decision, health: Health
    ) -> None:
        """Follow what is in flight now, and say when to look again."""
        resource = memory.resource
        if client is not None:
            self.follower.follow(resource, client)
        _forget_answered(memory, resource)
        wakes = [decision.wake, *(retry.not_before for retry in memory.retries.values())]
        if not health.ready:
            wakes.append(self.now() + KEPT_BAD)
        if at := min(filter(None, wakes), default=None):
            self.wake(resource.key, at)


def _caught_up(memory: Memory, frame: Frame) -> Resource:
    """The resource with what was found out about it and could not be written yet."""
    return replace(memory.resource, status=fold(memory.resource.status, memory.facts, frame)[0])


def _forget_answered(memory: Memory, resource: Resource) -> None:
    """Drop the failed starts of slots that have an outcome, or of a request that nobody makes any more."""
    through, answer = resource.status.accounted_through, resource.status.last_run_request
    for name, retry in list(memory.retries.items()):
        token = retry.slot.token
        if token is None:
            done = through is not None and retry.slot.time <= through
        else:
            done = token != resource.run_request or (answer is not None and answer.token == token)
        if done:
            del memory.retries[name]


def _told(spec: AssistantCronSpec, refusal: AssistantCronError) -> str:
    """Of a refusal in the server's own words: whose they are, and what to check."""
    match refusal.reason:
        case "Rejected":
            return f"the deployment: {refusal.message}"
        case "Unauthorized":
            return f"the deployment: {refusal.message}; {mend_of_credentials(spec)}"
        case _:
            return refusal.message
