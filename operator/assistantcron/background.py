"""Work in the background that goes on whatever happens to a piece of it. No I/O of its own.

When kopf dies, it cancels every task that is younger than itself. Our loops are older, but what they wait for
may be younger, and its cancellation then looks like their own: without care a loop would end in silence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_BACKOFF = 60.0


async def forever(what: str, step: Callable[[], Awaitable[None]], *, pause: float) -> None:
    """`step`, and `pause` seconds later again, until the task that runs this is itself told to end."""
    while True:
        try:
            await step()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            log.warning("%s was interrupted from outside and goes on", what)
        except Exception:
            log.exception("%s failed and goes on", what)
        await asyncio.sleep(pause)


async def each(items: Iterable[T], do: Callable[[T], Awaitable[None]], *, at_once: int) -> None:
    """`do` for each of the items, a few at a time; it should not raise."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await do(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(worker())


def backoff(failures: int, *, first: float = 1.0, longest: float = LONGEST_BACKOFF) -> float:
    """Seconds until the next try after so many failures, from 1 on: twice as long each time."""
    # Of days of failures the power would be more than a float can hold.
    return min(first * 2.0 ** min(failures - 1, 20), longest)


class Lanes:
    """One piece of work at a time for each deployment: a slow one holds up nobody but itself."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._tasks: dict[object, asyncio.Task[None]] = {}

    def start(self, lane: object, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do it, unless the lane's last piece is still under way: whoever comes again asks again."""
        if lane not in self._tasks:
            task = self._tasks[lane] = asyncio.create_task(work(), name=self._what)
            task.add_done_callback(lambda done: self._ended(lane, done))

    async def stop(self) -> None:
        """Cancel what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, lane: object, task: asyncio.Task[None]) -> None:
        del self._tasks[lane]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed and goes on", self._what, exc_info=error)
