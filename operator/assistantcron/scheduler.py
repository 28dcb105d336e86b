"""The wake heap: which resource is to be looked at, and when. One task waits; each look is a task of its own.

`handlers.py` wakes a key when its object changes, `reconciler.py` when its next slot comes, `follower.py`
when a run ends. A key is never looked at twice at once: a wake meanwhile means one more look afterwards.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from assistantcron.resource import Key

log = logging.getLogger(__name__)

LONGEST_SLEEP = 30.0
"""Seconds after which the wall clock is read again, in case somebody has set it."""
FIRST_RETRY, LONGEST_RETRY = 1.0, 60.0


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
        heapq.heappush(self._heap, (at, next(self._sequence), key))
        self._news.set()

    def forget(self, key: Key) -> None:
        """Drop its wakes; entries left in the heap are passed over when they come up."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    async def run(self) -> None:
        """Start a pass for every key that comes due."""
        while True:
            self._news.clear()
            delay = self._start_due()
            try:
                await asyncio.wait_for(self._news.wait(), timeout=delay)
            except TimeoutError:
                continue

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
                # Looked at again when that pass ends: `_pass` finds the key still due.
                continue
            del self._due[key]
            self._running[key] = asyncio.create_task(self._pass(key), name=f"pass {key}")
        return LONGEST_SLEEP

    async def _pass(self, key: Key) -> None:
        try:
            await self._look(key)
            self._failures.pop(key, None)
        except asyncio.CancelledError:
            # Ours at shutdown; otherwise kopf's, which cancels every task younger than itself when it dies.
            self._interrupted(key)
            if self._stopping:
                raise
            self.wake(key, self._now())
        except Exception:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            log.exception(
                "looking at a resource failed", extra={"namespace": key.namespace, "cron": key.name}
            )
            self._interrupted(key)
            delay = min(FIRST_RETRY * 2 ** (failures - 1), LONGEST_RETRY)
            self.wake(key, self._now() + timedelta(seconds=delay))
        finally:
            del self._running[key]
            if (at := self._due.get(key)) is not None:
                heapq.heappush(self._heap, (at, next(self._sequence), key))
                self._news.set()
