"""How runs end: one search per deployment and sweep tells which are still busy; only the others are read singly.

`reconciler.py` says which runs are in flight (`follow`) and reads what was found out (`ended`); in between `run`
sweeps and wakes the resource whose run has ended or waits for a human.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from assistantcron.errors import AssistantCronError, NotFound
from assistantcron.payload import OPERATOR
from assistantcron.records import Run, Thread
from assistantcron.resource import ActiveRun, Ended, Key, Outcome, Resource

log = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
WAITING_EVERY = 5
"""Sweeps between two looks at a run that waits for a human."""
FINAL: dict[str, Outcome] = {
    "success": "success",
    "error": "error",
    "timeout": "timeout",
    "interrupted": "interrupted",
}


class Reader(Protocol):
    """The part of `deployment.Deployment` that following needs."""

    async def search_threads(self, metadata: Mapping[str, Any], *, status: str | None = None) -> list[Thread]: ...
    async def thread(self, thread_id: str) -> Thread: ...
    async def run(self, thread_id: str, run_id: str) -> Run: ...
    async def runs(self, thread_id: str) -> list[Run]: ...


@dataclass
class _Followed:
    key: Key
    client: Reader
    runs: dict[str, ActiveRun]
    shared: bool
    """Whether the runs use a thread that others may use, too."""
    ended: dict[str, Ended] = field(default_factory=dict)


class Follower:
    """Keyed by the resource's UID: a re-created one starts anew."""

    def __init__(self, changed: Callable[[Key], None], *, now: Callable[[], datetime]) -> None:
        """`changed(key)` is called when a run of it has ended or begun to wait for a human."""
        self._changed = changed
        self._now = now
        self._followed: dict[str, _Followed] = {}

    def __len__(self) -> int:
        return sum(len(entry.runs) for entry in self._followed.values())

    def follow(self, resource: Resource, client: Reader, runs: Iterable[ActiveRun], *, shared: bool) -> None:
        """These are the runs in flight now; ends of others are forgotten, for status has them."""
        in_flight = {run.run_id: run for run in runs}
        if not in_flight:
            self._followed.pop(resource.uid, None)
            return
        old = self._followed.get(resource.uid)
        ended = {run_id: end for run_id, end in old.ended.items() if run_id in in_flight} if old else {}
        # An end that status has already (a pause) must not hide the next one.
        ended = {i: end for i, end in ended.items() if not (end.awaiting and in_flight[i].status == "interrupted")}
        self._followed[resource.uid] = _Followed(resource.key, client, in_flight, shared, ended)

    def forget(self, uid: str) -> None:
        """Stop following the resource's runs."""
        self._followed.pop(uid, None)

    def ended(self, uid: str) -> tuple[Ended, ...]:
        """What has been seen to end since `follow`."""
        return tuple(self._followed[uid].ended.values()) if uid in self._followed else ()

    async def look(self, uid: str) -> None:
        """Read the resource's runs now: a slot is not to be skipped for a run that has just ended."""
        if (entry := self._followed.get(uid)) is not None:
            await asyncio.gather(*(self._observe(entry, run) for run in entry.runs.values()))

    async def run(self) -> None:
        """Sweep until cancelled."""
        sweep = 0
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            sweep += 1
            clients = {id(entry.client): entry.client for entry in self._followed.values()}
            await asyncio.gather(
                *(self._sweep(client, waiting_too=sweep % WAITING_EVERY == 0) for client in clients.values())
            )

    async def _sweep(self, client: Reader, *, waiting_too: bool) -> None:
        entries = [entry for entry in self._followed.values() if entry.client is client]
        due = [
            (entry, run)
            for entry in entries
            for run in entry.runs.values()
            if run.run_id not in entry.ended and (waiting_too or run.status is None)
        ]
        if not due:
            return
        try:
            busy: set[str] = set()
            if any(not entry.shared for entry, _ in due):
                found = await client.search_threads({OPERATOR: "run"}, status="busy")
                busy = {thread.thread_id for thread in found}
            await asyncio.gather(*(self._observe(entry, run) for entry, run in due if run.thread_id not in busy))
        except AssistantCronError as error:
            log.warning("cannot see how runs are doing: %s", error.message, extra={"reason": error.reason})

    async def _observe(self, entry: _Followed, run: ActiveRun) -> None:
        end = await self._end_of(entry, run)
        if end is None or (end.awaiting and run.status == "interrupted"):
            return
        entry.ended[run.run_id] = end
        self._changed(entry.key)

    async def _end_of(self, entry: _Followed, run: ActiveRun) -> Ended | None:
        """None while it goes on."""
        try:
            last = await entry.client.run(run.thread_id, run.run_id)
            if last.status not in FINAL:
                return None
            thread = await entry.client.thread(run.thread_id)
            waits = thread.status == "interrupted" and last.status == "success"
            if run.status == "interrupted" or waits or (thread.status == "busy" and not entry.shared):
                runs = await entry.client.runs(run.thread_id)
                # A person resumes with a run of their own; on a shared thread others' runs come as well,
                # so there only what follows a pause that we have seen is taken for its end.
                later = runs if run.status == "interrupted" or not entry.shared else [last]
                last = [one for one in later if one.created_at >= last.created_at][-1]
                waits = thread.status == "interrupted" and last.status == "success" and last.run_id == runs[-1].run_id
        except NotFound:
            return Ended(run.run_id, "lost", self._now(), "run or thread was deleted before the end was seen")
        if last.status not in FINAL:
            return None
        ended_at = last.updated_at or self._now()
        if waits:
            return Ended(run.run_id, "interrupted", ended_at, "waits for a human", awaiting=True)
        return Ended(run.run_id, FINAL[last.status], ended_at, _message(last, thread))


def _message(last: Run, thread: Thread) -> str | None:
    """Why it failed, in a line. `thread.error` is what the server has already cleared of internals."""
    if last.status == "interrupted":
        return "cancelled on the server"
    if last.status == "success" or not isinstance(thread.error, dict):
        return None
    kind, text = str(thread.error.get("error", "")), str(thread.error.get("message", ""))
    return " ".join(f"{kind}: {text}".split())[:300].strip(": ") or None
