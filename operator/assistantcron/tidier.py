"""Deleting threads that nobody needs any more: after the outcome is in status, and never sooner.

`recorder.py` names a thread when its end is in status (`later`). What an earlier process left behind, crashed
between record and deletion, is found by metadata (`sweep`), and so is all that a deleted resource leaves
(`gone`). What becomes of a thread, its own metadata and its runs say: a status can be forged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from assistantcron.background import Lanes, each, forever
from assistantcron.errors import AssistantCronError, NotFound, Transient
from assistantcron.payload import DISPOSAL, FENCE, NAME, NAMESPACE, OPERATOR, SLOT, UID, UNUSED, is_claim
from assistantcron.records import Server, Thread

log = logging.getLogger(__name__)

GRACE = timedelta(seconds=10)
"""Between a claim and its thread's deletion at the least.

A frozen process must have lost its lease by then, or its late claim would find the ID free again.
"""
SWEEP_SECONDS = 600.0
ROUND_SECONDS = 1.0
AT_ONCE = 10
"""Requests to one deployment: what starts and what is followed goes first."""
_RETRY = timedelta(seconds=5)
_WAITING = timedelta(seconds=60)
_GO = timedelta(0)
_GOES: tuple[dict[str, Any], ...] = ({DISPOSAL: "delete"}, {UNUSED: True})
"""What a claim says that goes in the end, or goes if nothing has run on it."""


@dataclass(frozen=True)
class _Job:
    """A thread to delete; without `thread_id`: all those of a resource that is gone."""

    client: Server
    uid: str
    thread_id: str | None = None
    tombstone: bool = field(default=False, compare=False)
    """It stays until its slot is recorded: till then a late original must find it there."""


class Tidier:
    """What is to go, and when; each deployment goes at its own pace."""

    def __init__(self, *, now: Callable[[], datetime], recorded: Callable[[Thread], bool | None]) -> None:
        """`recorded(claim)`: whether its slot is in a status; None if there is no such resource."""
        self._now = now
        self._recorded = recorded
        self._jobs: dict[_Job, datetime] = {}
        self._lanes = Lanes("deleting threads")

    def __len__(self) -> int:
        return sum(job.thread_id is not None for job in self._jobs)

    def servers(self) -> set[Server]:
        """The clients of all that waits."""
        return {job.client for job in self._jobs}

    def later(
        self, client: Server, thread_id: str, uid: str, at: datetime, *, tombstone: bool = False
    ) -> None:
        """Delete the thread at that instant or after, if it carries `uid` and is marked for deletion.

        A `tombstone` is the claim of an attempt that was given up.
        """
        self._jobs.setdefault(_Job(client, uid, thread_id, tombstone), at)

    def gone(self, client: Server, uid: str) -> None:
        """The resource was deleted: so are its threads, once their runs have ended."""
        self._jobs.setdefault(_Job(client, uid), self._now())

    async def sweep(self, client: Server) -> None:
        """Queue what an earlier process left: threads to delete whose slot is in status."""
        try:
            threads = await self._search(client, {OPERATOR: "run"})
        except AssistantCronError as error:
            log.warning("cannot look for threads left behind: %s", error.message)
            return
        for thread in threads:
            if thread.created_at < self._now() - GRACE and self._recorded(thread):
                self.later(client, thread.thread_id, str(thread.metadata.get(UID)), self._now())

    async def run(self) -> None:
        """Delete what is due, until cancelled."""
        try:
            await forever("the tidier", self._round, pause=ROUND_SECONDS)
        finally:
            await self._lanes.stop()

    async def _round(self) -> None:
        now = self._now()
        due: dict[Server, list[_Job]] = {}
        for job, at in self._jobs.items():
            if at <= now:
                due.setdefault(job.client, []).append(job)
        for client, jobs in due.items():
            self._lanes.start(client, partial(each, jobs, self._tidy, at_once=AT_ONCE))

    async def _tidy(self, job: _Job) -> None:
        again = None
        try:
            if job.thread_id is None:
                await self._tidy_all(job)
            else:
                again = await self._tidy_one(job, job.thread_id)
        except Transient:
            again = _RETRY
        except AssistantCronError as error:
            log.warning("thread cannot be deleted: %s", error.message, extra={"thread_id": job.thread_id})
        except Exception:
            log.exception("deleting a thread failed", extra={"thread_id": job.thread_id})
        if again is None:
            self._jobs.pop(job, None)
        else:
            self._jobs[job] = self._now() + again

    async def _tidy_all(self, job: _Job) -> None:
        for thread in await self._search(job.client, {OPERATOR: "run", UID: job.uid}):
            self.later(job.client, thread.thread_id, job.uid, max(self._now(), thread.created_at + GRACE))

    async def _tidy_one(self, job: _Job, thread_id: str) -> timedelta | None:
        """Delete the thread if it may go; how long to wait if it may not yet."""
        try:
            thread = await job.client.thread(thread_id)
            if thread.metadata.get(UID) != job.uid or not is_claim(thread):
                return None
            if job.tombstone and self._recorded(thread) is False:
                return _WAITING
            again = await self._needed(job.client, thread)
            if again is _GO:
                await job.client.delete_thread(thread_id)
                log.info("thread deleted", extra=_where(thread))
        except NotFound:
            return None
        return again or None

    async def _needed(self, client: Server, thread: Thread) -> timedelta | None:
        """For how long the thread is needed yet, `_GO` if it is not; None if it is to be kept."""
        goes, unused = thread.metadata.get(DISPOSAL) == "delete", thread.metadata.get(UNUSED)
        if goes and thread.status not in ("busy", "interrupted"):
            return _GO
        if not goes and not unused:
            return None
        # A fence is no run, but it makes the thread busy.
        runs = [run for run in await client.runs(thread.thread_id) if not run.metadata.get(FENCE)]
        if not runs:
            return _GO
        if not goes:
            await client.update_thread(thread.thread_id, {UNUSED: False})
            return None
        if any(run.status in ("pending", "running") for run in runs):
            return _RETRY
        waits_for_a_human = thread.status == "interrupted" and runs[-1].status == "success"
        return _WAITING if waits_for_a_human else _GO

    async def _search(self, client: Server, wanted: dict[str, Any]) -> list[Thread]:
        return [thread for goes in _GOES for thread in await client.search_threads({**wanted, **goes})]


def _where(thread: Thread) -> dict[str, object]:
    """The fields by which log lines are found."""
    told = thread.metadata
    return {
        "namespace": told.get(NAMESPACE),
        "cron": told.get(NAME),
        "slot": told.get(SLOT),
        "thread_id": thread.thread_id,
    }
