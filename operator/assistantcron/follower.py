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

from assistantcron.errors import AssistantCronError, NotFound
from assistantcron.facts import Ended
from assistantcron.payload import FENCE, OPERATOR
from assistantcron.records import Run, Server, Thread
from assistantcron.resource import ActiveRun, Key, Outcome, Resource, claim_thread

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


@dataclass(frozen=True)
class _Followed:
    """A run in flight, and the client it was started with: an edit may have moved the resource since."""

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
            followed = _Followed(resource.key, before.client if before and moved else client, run, shared)
            self._followed.setdefault(uid, {})[run.run_id] = followed
            if before and before.run.status != run.status:
                # The pause is in status: it must not hide the end.
                self._ended.pop(run.run_id, None)
        for run_id in old:
            self._ended.pop(run_id, None)

    def clients(self, uid: str) -> dict[str, Server]:
        """The client of each of the resource's runs in flight."""
        return {run_id: one.client for run_id, one in self._followed.get(uid, {}).items()}

    def forget(self, uid: str) -> None:
        """Stop following the resource's runs."""
        for run_id in self._followed.pop(uid, {}):
            self._ended.pop(run_id, None)

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
        sweep = 0
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            sweep += 1
            await asyncio.gather(
                *(self._sweep(*group) for group in self._due(waiting_too=sweep % WAITING_EVERY == 0))
            )

    def _due(self, *, waiting_too: bool) -> list[tuple[Server, list[_Followed]]]:
        """The runs to look at, by client."""
        groups: dict[int, tuple[Server, list[_Followed]]] = {}
        for runs in self._followed.values():
            for one in runs.values():
                if one.run.run_id not in self._ended and (waiting_too or one.run.status is None):
                    groups.setdefault(id(one.client), (one.client, []))[1].append(one)
        return list(groups.values())

    async def _sweep(self, client: Server, due: list[_Followed]) -> None:
        try:
            busy: set[str] = set()
            if not all(one.shared for one in due):
                busy = {
                    thread.thread_id
                    for thread in await client.search_threads({OPERATOR: "run"}, status="busy")
                }
            await asyncio.gather(
                *(self._observe(one) for one in due if one.shared or one.run.thread_id not in busy)
            )
        except AssistantCronError as error:
            log.warning("cannot see how runs are doing: %s", error.message, extra={"reason": error.reason})

    async def _observe(self, one: _Followed) -> None:
        end = await self._end_of(one, one.run)
        if end is not None and not (end.awaiting and one.run.status == "interrupted"):
            self._ended[end.run_id] = end
            self._changed(one.key)

    async def _end_of(self, one: _Followed, run: ActiveRun) -> Ended | None:
        """None while it goes on."""
        try:
            last = await one.client.run(run.thread_id, run.run_id)
            if last.status not in FINAL:
                return None
            thread = await one.client.thread(run.thread_id)
            waits = thread.status == "interrupted" and last.status == "success"
            if run.status == "interrupted" or waits or (thread.status == "busy" and not one.shared):
                there = await one.client.runs(run.thread_id)
                runs = [other for other in there if not other.metadata.get(FENCE)]
                # A person resumes with a run of their own; on a shared thread others' runs come as well,
                # so there only what follows a pause that we have seen is taken for its end.
                later = runs if run.status == "interrupted" or not one.shared else [last]
                last = [r for r in later if r.created_at >= last.created_at][-1]
                waits = (
                    thread.status == "interrupted"
                    and last.status == "success"
                    and last.run_id == runs[-1].run_id
                )
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
