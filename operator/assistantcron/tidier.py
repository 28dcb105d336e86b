"""Deleting threads that nobody needs any more: after the outcome is in status, and never sooner.

`recorder.py` names a thread when its end is in status (`later`). What an earlier process left behind, crashed
between record and deletion, is found by metadata (`sweep`).
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from assistantcron.errors import AssistantCronError, NotFound, Transient
from assistantcron.payload import DISPOSAL, NAME, NAMESPACE, OPERATOR, SLOT, SPENT, UID
from assistantcron.records import Server, Thread

log = logging.getLogger(__name__)

GRACE = timedelta(seconds=10)
"""Between a claim and its thread's deletion at the least.

A frozen process must have lost its lease by then, or its late claim would find the ID free again.
"""
SWEEP_SECONDS = 600.0
_RETRY = timedelta(seconds=5)
_WAITING = timedelta(seconds=60)


@dataclass(frozen=True)
class _Job:
    client: Server
    thread_id: str
    uid: str


class Tidier:
    """One heap of threads to delete, one task."""

    def __init__(self, *, now: Callable[[], datetime]) -> None:
        self._now = now
        self._heap: list[tuple[datetime, int, _Job]] = []
        self._sequence = itertools.count()
        self._queued: set[str] = set()

    def __len__(self) -> int:
        return len(self._queued)

    def later(self, client: Server, thread_id: str, uid: str, at: datetime) -> None:
        """Delete the thread at that instant or after, if it carries `uid` and is marked for deletion."""
        if thread_id not in self._queued:
            self._queued.add(thread_id)
            self._push(_Job(client, thread_id, uid), at)

    async def sweep(self, client: Server, recorded: Callable[[Thread], bool]) -> None:
        """Queue what an earlier process left: threads to delete whose slot `recorded` says is in status."""
        marked = {OPERATOR: "run", DISPOSAL: "delete"}
        try:
            threads = await client.search_threads(marked)
        except AssistantCronError as error:
            log.warning("cannot look for threads left behind: %s", error.message)
            return
        for thread in threads:
            if thread.created_at < self._now() - GRACE and recorded(thread):
                self.later(client, thread.thread_id, str(thread.metadata.get(UID)), self._now())

    async def run(self) -> None:
        """Delete what is due, until cancelled."""
        while True:
            now = self._now()
            due = []
            while self._heap and self._heap[0][0] <= now:
                due.append(heapq.heappop(self._heap)[2])
            await asyncio.gather(*(self._tidy(job) for job in due))
            await asyncio.sleep(1.0)

    def _push(self, job: _Job, at: datetime) -> None:
        heapq.heappush(self._heap, (at, next(self._sequence), job))

    async def _tidy(self, job: _Job) -> None:
        try:
            # Status can be forged by whoever may edit it; the thread's own word cannot.
            thread = await job.client.thread(job.thread_id)
            if thread.metadata.get(UID) == job.uid and thread.metadata.get(DISPOSAL) == "delete":
                # A spent claim is busy with the fence on it.
                if thread.status in ("busy", "interrupted") and not thread.metadata.get(SPENT):
                    self._push(job, self._now() + (_WAITING if thread.status == "interrupted" else _RETRY))
                    return
                await job.client.delete_thread(job.thread_id)
                log.info("thread deleted", extra=_where(thread))
        except NotFound:
            pass
        except Transient:
            self._push(job, self._now() + _RETRY)
            return
        except AssistantCronError as error:
            log.warning("thread cannot be deleted: %s", error.message, extra={"thread_id": job.thread_id})
        self._queued.discard(job.thread_id)


def _where(thread: Thread) -> dict[str, object]:
    """The fields by which log lines are found."""
    told = thread.metadata
    return {
        "namespace": told.get(NAMESPACE),
        "cron": told.get(NAME),
        "slot": told.get(SLOT),
        "thread_id": thread.thread_id,
    }
