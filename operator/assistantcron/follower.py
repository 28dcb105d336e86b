"""How runs end: one search per deployment and sweep tells which are busy; only the others are read singly.

`reconciler.py` says which runs are in flight (`follow`) and reads what was found out (`ended`); in between
`run` sweeps and wakes the resource whose run has ended or waits for a human.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from assistantcron.background import Lanes, each, forever
from assistantcron.errors import AssistantCronError, NotFound
from assistantcron.facts import Ended
from assistantcron.payload import FENCE, OPERATOR
from assistantcron.records import Run, Server, Thread
from assistantcron.resource import ActiveRun, Key, Outcome, Resource, claim_thread

log = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
PATIENT_EVERY = 5
"""Rounds between two looks at a run that waits for a human, or that could not be seen last time."""
AT_ONCE = 20
"""Requests to one deployment: slots that start have the other connections."""
FINAL: dict[str, Outcome] = {
    "success": "success",
    "error": "error",
    "timeout": "timeout",
    "interrupted": "interrupted",
}


@dataclass(frozen=True)
class _Followed:
    """A run in flight, and the client it was started with: an edit may have moved the resource since."""

    uid: str
    key: Key
    client: Server
    run: ActiveRun
    shared: bool
    """Whether it uses a thread that others may use, too."""


class Follower:
    """Keyed by the resource's UID: a re-created one starts anew."""

    def __init__(self, changed: Callable[[Key], None], *, now: Callable[[], datetime]) -> None:
        """`changed(key)` is called when a run of it has ended or begun to wait for a human."""
        self._changed = changed
        self._now = now
        self._followed: dict[str, dict[str, _Followed]] = {}
        self._ended: dict[str, Ended] = {}
        self._unseen: set[str] = set()
        self._rounds = 0
        self._lanes = Lanes("a sweep for runs that have ended")

    def __len__(self) -> int:
        return sum(len(runs) for runs in self._followed.values())

    def follow(self, resource: Resource, client: Server) -> None:
        """Follow the runs that are active in the resource's status, and no others of it."""
        status, uid = resource.status, resource.uid
        old = self._followed.pop(uid, {})
        for run in status.active:
            before = old.pop(run.run_id, None)
            # An edit of the deployment does not move a run; a new key for the same is the better one.
            moved = before is not None and before.client.url != client.url
            shared = run.thread_id != claim_thread(uid, run, status)
            followed = _Followed(
                uid, resource.key, before.client if before and moved else client, run, shared
            )
            self._followed.setdefault(uid, {})[run.run_id] = followed
            if before and before.run.status != run.status:
                # The pause is in status: it must not hide the end.
                self._ended.pop(run.run_id, None)
        self._drop(old)

    def clients(self, uid: str) -> dict[str, Server]:
        """The client of each of the resource's runs in flight."""
        return {run_id: one.client for run_id, one in self._followed.get(uid, {}).items()}

    def forget(self, uid: str) -> None:
        """Stop following the resource's runs."""
        self._drop(self._followed.pop(uid, {}))

    def servers(self) -> set[Server]:
        """The clients of all runs in flight."""
        return {one.client for runs in self._followed.values() for one in runs.values()}

    def ended(self, uid: str) -> tuple[Ended, ...]:
        """What has been seen to end, and is not yet in the status that was followed last."""
        return tuple(self._ended[run_id] for run_id in self._followed.get(uid, {}) if run_id in self._ended)

    async def look(self, uid: str) -> None:
        """Read the resource's runs now: a slot is not to be skipped for a run that has just ended.

        Raises what the client raises.
        """
        runs = self._followed.get(uid, {}).values()
        await asyncio.gather(*(self._observe(one) for one in runs if one.run.run_id not in self._ended))

    async def run(self) -> None:
        """Sweep until cancelled."""
        try:
            await forever("the follower", self._round, pause=SWEEP_SECONDS)
        finally:
            await self._lanes.stop()

    async def _round(self) -> None:
        """Begin a sweep of every deployment where something is in flight and the last one is over."""
        self._rounds += 1
        due: dict[Server, list[_Followed]] = {}
        for runs in self._followed.values():
            for run_id, one in runs.items():
                patient = one.run.status is not None or run_id in self._unseen
                if run_id not in self._ended and (not patient or self._rounds % PATIENT_EVERY == 0):
                    due.setdefault(one.client, []).append(one)
        for client, group in due.items():
            self._lanes.start(client, partial(self._sweep, client, group))

    async def _sweep(self, client: Server, due: list[_Followed]) -> None:
        busy: set[str] = set()
        if not all(one.shared for one in due):
            try:
                found = await client.search_threads({OPERATOR: "run"}, status="busy")
            except Exception as error:  # noqa: BLE001 - a sweep must not end for the others
                self._cannot_see(due, error)
                return
            busy = {thread.thread_id for thread in found}
        looks = [one for one in due if one.shared or one.run.thread_id not in busy]
        await each(looks, self._try_to_observe, at_once=AT_ONCE)

    async def _try_to_observe(self, one: _Followed) -> None:
        try:
            await self._observe(one)
        except Exception as error:  # noqa: BLE001 - the same
            self._cannot_see([one], error)

    def _cannot_see(self, due: list[_Followed], error: Exception) -> None:
        where = _where(due[0]) if len(due) == 1 else {}
        if isinstance(error, AssistantCronError):
            extra = {**where, "reason": error.reason}
            which = "a run is" if len(due) == 1 else f"{len(due)} runs are"
            log.warning("cannot see how %s doing: %s", which, error.message, extra=extra)
        else:
            log.error("looking at runs failed", exc_info=error, extra=where)
        for one in filter(self._is_followed, due):
            self._unseen.add(one.run.run_id)
            if isinstance(error, AssistantCronError) and error.reason == "Unauthorized":
                # A pass reads the Secret again, and brings a client with a new key if there is one.
                self._changed(one.key)

    async def _observe(self, one: _Followed) -> None:
        end = await self._end_of(one)
        # Meanwhile somebody else may have looked, and a pass recorded it.
        if not self._is_followed(one):
            return
        self._unseen.discard(one.run.run_id)
        if end is not None and not (end.awaiting and one.run.status == "interrupted"):
            self._ended[end.run_id] = end
            self._changed(one.key)

    def _is_followed(self, one: _Followed) -> bool:
        return self._followed.get(one.uid, {}).get(one.run.run_id) == one

    def _drop(self, runs: dict[str, _Followed]) -> None:
        for run_id in runs:
            self._ended.pop(run_id, None)
            self._unseen.discard(run_id)

    async def _end_of(self, one: _Followed) -> Ended | None:
        """None while it goes on."""
        run, client = one.run, one.client
        try:
            first = await client.run(run.thread_id, run.run_id)
            if first.status not in FINAL:
                return None
            thread = await client.thread(run.thread_id)
            runs = [first, *await self._later(one, first, thread)]
        except NotFound:
            # A router with nothing behind it answers 404 to everything; a server finds something, or nothing.
            await client.search_threads({OPERATOR: "run"}, status="busy")
            return Ended(run.run_id, "lost", self._now(), "run or thread was deleted before the end was seen")
        # On a shared thread others' runs come as well: there only what follows a pause is taken for its end.
        last = first if one.shared and run.status is None else runs[-1]
        if last.status not in FINAL:
            return None
        ended_at = last.updated_at or self._now()
        if thread.status == "interrupted" and last.status == "success" and last is runs[-1]:
            return Ended(run.run_id, "interrupted", ended_at, "waits for a human", awaiting=True)
        return Ended(run.run_id, FINAL[last.status], ended_at, _message(last, thread))

    async def _later(self, one: _Followed, first: Run, thread: Thread) -> list[Run]:
        """The runs after it, with which people resume it; not read where there can be none that count."""
        paused = first.status == "success" and thread.status == "interrupted"
        resumed = thread.status == "busy" or (first.status == "success" and thread.status == "error")
        if not (one.run.status == "interrupted" or paused or (resumed and not one.shared)):
            return []
        return [
            other
            for other in await one.client.runs(one.run.thread_id)
            if other.run_id != first.run_id
            and other.created_at >= first.created_at
            and not other.metadata.get(FENCE)
        ]


def _message(last: Run, thread: Thread) -> str | None:
    """Why it failed, in a line. `thread.error` is what the server has already cleared of internals."""
    if last.status == "interrupted":
        return "cancelled on the server"
    if last.status == "success" or not isinstance(thread.error, dict):
        return None
    kind, text = str(thread.error.get("error", "")), str(thread.error.get("message", ""))
    return " ".join(f"{kind}: {text}".split())[:300].strip(": ") or None


def _where(one: _Followed) -> dict[str, str | None]:
    return {**one.key.where, "run_id": one.run.run_id, "thread_id": one.run.thread_id}
