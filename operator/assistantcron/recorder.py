"""The one place that writes: a status, once a pass, and what follows from having written it.

Called by `reconciler.py` with the facts of a pass. Only after the write do people hear of it (Events,
metrics, log) and may threads be deleted; if the write fails, the facts wait in the resource's memory for the
next pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from assistantcron import announce
from assistantcron.errors import AssistantCronError, Conflict, NotFound, Transient
from assistantcron.facts import Accounted, Answered, DidNotRun, Ended, Fact, Health, Started
from assistantcron.kube import Kube
from assistantcron.records import Server
from assistantcron.resource import ActiveRun, Resource, Slot, Status, claim_thread, rfc3339, slot_of
from assistantcron.status import Frame, fold
from assistantcron.table import Memory, Table
from assistantcron.telemetry import Telemetry
from assistantcron.tidier import GRACE, Tidier

log = logging.getLogger("assistantcron")

CONFLICTS = 5
"""Tries of one write: each conflict means that somebody changed the object, and there are not many who do."""
EVENTS_QUEUED = 1000


class Recorder:
    """`record` from a pass; `run` posts Events in the background, for they must not delay a start."""

    def __init__(
        self, kube: Kube, table: Table, tidier: Tidier, telemetry: Telemetry, *, now: Callable[[], datetime]
    ) -> None:
        self._kube = kube
        self._table = table
        self._tidier = tidier
        self._telemetry = telemetry
        self._now = now
        self._events: asyncio.Queue[tuple[Resource, announce.Event]] = asyncio.Queue(EVENTS_QUEUED)

    async def record(
        self, memory: Memory, facts: Iterable[Fact], frame: Frame, clients: Mapping[str, Server]
    ) -> bool:
        """Fold the facts and write the status if that changes it. False: the resource is gone.

        `clients`: where the runs are that may have ended, by run ID.
        Raises `Transient` or `Refused` when the API server does not take it; the facts are kept then.
        """
        facts = tuple(facts)
        pending = (*memory.facts, *facts)
        memory.facts = tuple(fact for fact in pending if not isinstance(fact, Health | Accounted))
        for _ in range(CONFLICTS):
            resource = memory.resource
            new, news = fold(resource.status, pending, frame)
            self._catch_up(memory, news, clients)
            if new == resource.status:
                memory.facts = ()
                return True
            try:
                stored = await self._kube.write_status(resource, new.to_json())
            except NotFound:
                return self._orphaned(memory, clients)
            except Conflict:
                self._telemetry.status_writes.labels("conflict").inc()
                if not await self._read_again(memory, clients):
                    return False
                continue
            except AssistantCronError:
                self._telemetry.status_writes.labels("error").inc()
                memory.unanswered = (resource, news)
                raise
            self._telemetry.status_writes.labels("written").inc()
            if self._table.get(resource.key) is not memory:
                return self._orphaned(memory, clients)
            memory.facts, memory.unanswered = (), None
            self._table.put(stored)
            self._tell(resource, news, new)
            self._tidy(memory, resource, news, new, clients)
            return True
        raise Transient(f"the status of {memory.resource.key} changes faster than it can be written")

    async def current(self, memory: Memory, clients: Mapping[str, Server]) -> bool:
        """Whether what a pass has judged is still so, on the API server's word; brings `memory` up to date.

        Asked before a run that costs money: the watch can be silent for a minute, and when it is begun anew
        it never tells what was deleted meanwhile. If the API server does not answer, the run starts anyway.
        """
        judged = memory.resource
        with contextlib.suppress(AssistantCronError):
            return await self._read_again(memory, clients) and memory.resource is judged
        return True

    async def _read_again(self, memory: Memory, clients: Mapping[str, Server]) -> bool:
        """Bring the memory up to date; False: the resource is gone, or another one has its name."""
        found = await self._kube.get(memory.resource.key)
        if found is None or found["metadata"]["uid"] != memory.resource.uid:
            return self._orphaned(memory, clients)
        if found["metadata"]["resourceVersion"] != memory.resource.resource_version:
            memory.resource = Resource.from_body(found)
        return True

    async def run(self) -> None:
        """Post Events until cancelled."""
        while True:
            resource, event = await self._events.get()
            try:
                await self._kube.post_event(resource, event.kind, event.reason, event.message, self._now())
                self._telemetry.events.labels("posted").inc()
            except AssistantCronError as error:
                self._telemetry.events.labels("lost").inc()
                log.warning("an Event was lost: %s", error.message)
            finally:
                self._events.task_done()

    async def flush(self, seconds: float) -> None:
        """Let the Events that are queued go out, for at most so long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._events.join(), seconds)

    def _tell(self, resource: Resource, news: tuple[Fact, ...], new: Status) -> None:
        self._telemetry.report(resource.key, news)
        runs = _runs(resource, news)
        for fact in news:
            _log(resource, fact, runs, new)
        for event in announce.events(news, resource.status, new):
            if self._events.full():
                self._telemetry.events.labels("lost").inc()
            else:
                self._events.put_nowait((resource, event))

    def _catch_up(self, memory: Memory, news: tuple[Fact, ...], clients: Mapping[str, Server]) -> None:
        """What is no news any more after a write that failed was written by it: only the answer was lost."""
        if memory.unanswered is not None:
            old, tried = memory.unanswered
            written, status = tuple(fact for fact in tried if fact not in news), memory.resource.status
            if written:
                memory.unanswered = None
                self._tell(old, written, status)
                self._tidy(memory, old, written, status, clients)

    def _tidy(
        self,
        memory: Memory,
        resource: Resource,
        news: tuple[Fact, ...],
        new: Status,
        clients: Mapping[str, Server],
    ) -> None:
        """The claims of runs whose end is now in status; what may really go, their own metadata say."""
        ended = {fact.run_id for fact in news if isinstance(fact, Ended) and not fact.awaiting}
        for run_id, run in _runs(resource, news).items():
            client = clients.get(run_id, memory.client)
            if run_id in ended and client is not None:
                # Of a request that a newer one has replaced in status, the claim is known only where it is
                # the run's own thread; the tidier reads first what a thread is, and sweeps for the others.
                thread = claim_thread(resource.uid, run, new) or run.thread_id
                self._tidier.later(client, thread, resource.uid, max(self._now(), run.start_time + GRACE))

    def _orphaned(self, memory: Memory, clients: Mapping[str, Server]) -> bool:
        """Deleted while we worked: what was started is let end, and its thread goes after it."""
        resource = memory.resource
        for fact in memory.facts:
            if isinstance(fact, Started):
                slot = Slot(fact.run.scheduled_time, fact.token)
                log.info("started for a resource that is gone", extra=_where(resource, slot.name, fact.run))
        memory.facts = ()
        # The watch may not tell of it, if it was begun anew meanwhile.
        if self._table.remove(resource.key, resource.uid) is not None:
            self._telemetry.forget(resource.key)
        self._tidy_all(memory, clients)
        return False

    def deleted(self, memory: Memory, clients: Mapping[str, Server]) -> None:
        """The resource is gone: its runs are let end, and their threads go after them."""
        self._tidy_all(memory, clients)
        self._telemetry.forget(memory.resource.key)

    def _tidy_all(self, memory: Memory, clients: Mapping[str, Server]) -> None:
        for client in dict.fromkeys(filter(None, (memory.client, *clients.values()))):
            self._tidier.gone(client, memory.resource.uid)


def _runs(resource: Resource, news: tuple[Fact, ...]) -> dict[str, ActiveRun]:
    """The runs that news can be about."""
    started = (fact.run for fact in news if isinstance(fact, Started))
    return {run.run_id: run for run in (*resource.status.active, *started)}


def _where(
    resource: Resource, slot: str | None = None, run: ActiveRun | None = None
) -> dict[str, str | None]:
    """The fields by which log lines are found: namespace, name, slot, run ID."""
    return {
        **resource.key.where,
        "slot": slot,
        "run_id": run.run_id if run else None,
        "thread_id": run.thread_id if run else None,
    }


def _log(resource: Resource, fact: Fact, runs: Mapping[str, ActiveRun], new: Status) -> None:
    match fact:
        case Started(run, token):
            log.info("run started", extra=_where(resource, Slot(run.scheduled_time, token).name, run))
        case Ended(run_id=run_id):
            run = runs[run_id]
            slot = slot_of(run, new) or Slot(run.scheduled_time)
            text = "run waits for a human" if fact.awaiting else f"run ended: {fact.status}"
            log.info(text, extra={**_where(resource, slot.name, run), "reason": fact.message})
        case DidNotRun(outcome, first, _, count, reason, message):
            text = f"{count} slot{'s' if count > 1 else ''} {outcome.lower()}: {message}"
            log.info(text, extra={**_where(resource, rfc3339(first)), "reason": reason})
        case Answered(answer):
            log.info(
                "request answered: %s", answer.outcome, extra={**_where(resource), "reason": answer.reason}
            )
        case _:
            pass
