"""The wake heap: which resource is to be looked at, and when. One task waits; each look is a task of its own.

`handlers.py` wakes a key when its object changes, `reconciler.py` when its next slot comes, `follower.py`
when a run ends. A key is never looked at twice at once: a wake meanwhile means one more look afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import heapq
import itertools
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from assistantcron.background import backoff
from assistantcron.errors import AssistantCronError
from assistantcron.resource import Key

log = logging.getLogger(__name__)

LONGEST_SLEEP = 30.0
"""Seconds after which the wall clock is read again, in case somebody has set it."""
SPARE = 1000
"""Entries of the heap that may be out of date, beside as many as there are keys."""


class Scheduler:
    """`wake` from anywhere in the loop; `run` until cancelled; `drain` before the end."""

    def __init__(
        self,
        look: Callable[[Key], Awaitable[None]],
        *,
        now: Callable[[], datetime],
        interrupted: Callable[[Key], None],
    ) -> None:
        """`look(key)` is one pass; `interrupted(key)` is told when one broke off, things half done."""
        self._look = look
        self._now = now
        self._interrupted = interrupted
        self._heap: list[tuple[datetime, int, Key]] = []
        self._due: dict[Key, datetime] = {}
        self._sequence = itertools.count()
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._failures: dict[Key, int] = {}
        self._news = asyncio.Event()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._due)

    def wake(self, key: Key, at: datetime) -> None:
        """Look at `key` at that instant (aware UTC), or earlier if it is due earlier already."""
        if key in self._due and self._due[key] <= at:
            return
        self._due[key] = at
        self._push(key, at)

    def forget(self, key: Key) -> None:
        """Drop its wakes; entries left in the heap are passed over when they come up."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    async def run(self) -> None:
        """Start a pass for every key that comes due."""
        while True:
            self._news.clear()
            delay = self._start_due()
            with contextlib.suppress(TimeoutError):
                # Not `wait_for`: before Python 3.12 that makes a task, which kopf cancels when it dies.
                async with asyncio.timeout(delay):
                    await self._news.wait()

    async def drain(self, seconds: float) -> None:
        """Start nothing more; let the passes under way end, and cancel what has not after `seconds`."""
        self._stopping = True
        tasks = set(self._running.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _start_due(self) -> float:
        """Start what is due; seconds until there may be more to do."""
        now = self._now()
        while self._heap and not self._stopping:
            at, _, key = self._heap[0]
            if self._due.get(key) != at:
                heapq.heappop(self._heap)
                continue
            if at > now:
                return min((at - now).total_seconds(), LONGEST_SLEEP)
            heapq.heappop(self._heap)
            if key in self._running:
                # Looked at again when that pass ends: `_ended` finds the key still due.
                continue
            del self._due[key]
            task = self._running[key] = asyncio.create_task(self._pass(key), name=f"pass {key}")
            task.add_done_callback(functools.partial(self._ended, key))
        return LONGEST_SLEEP

    def _push(self, key: Key, at: datetime) -> None:
        heapq.heappush(self._heap, (at, next(self._sequence), key))
        if len(self._heap) > 2 * len(self._due) + SPARE:
            # A key woken now, again and again, leaves an entry for its next slot behind each time.
            self._heap = [(at, next(self._sequence), key) for key, at in self._due.items()]
            heapq.heapify(self._heap)
        self._news.set()

    async def _pass(self, key: Key) -> None:
        try:
            await self._look(key)
        except Exception as error:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            if isinstance(error, AssistantCronError):
                # Such as the 403 of an API server that has not read its own roles yet.
                log.warning("will look again: %s", error.message, extra=key.where)
            else:
                log.exception("looking at a resource failed", extra=key.where)
            self._interrupted(key)
            self.wake(key, self._now() + timedelta(seconds=backoff(failures)))
        else:
            self._failures.pop(key, None)

    def _ended(self, key: Key, task: asyncio.Task[None]) -> None:
        """Not in `_pass`: of a task that is cancelled before its first step no line is run."""
        del self._running[key]
        if task.cancelled():
            # By us at shutdown; otherwise by kopf, which cancels every task younger than itself when it dies.
            self._interrupted(key)
            if not self._stopping:
                self.wake(key, self._now())
        if (at := self._due.get(key)) is not None:
            self._push(key, at)
